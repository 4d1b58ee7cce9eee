"""The "sweeps" family: a tool or hand that swings through plants, or past an edge, and goes on.

A strike turns back where it touches; a sweep does not. Recordings of sticks in bushes, grass and
gravel consist of sweeps, and their sound begins where the tool enters, in the middle of its motion.
Some sweeps pass above the plants, without contact and without sound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.contacts import Body, Friction, Impact
from foleyflow.simulation.motion.background import add_bystanders, add_person
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.prop_catalogue import add_ground, add_prop
from foleyflow.simulation.motion.rotations import (
    ORIGIN,
    Z_AXIS,
    Pose,
    Vec,
    add,
    align_axes,
    axis_angle,
    cross,
    horizontal,
    scale,
    transform,
    unit,
)
from foleyflow.simulation.motion.strikers import Striker, add_striker, arm_motion
from foleyflow.simulation.motion.striking_motion import sample_camera_azimuths
from foleyflow.simulation.motion.trajectories import (
    LEAD_OUT_S,
    MOTION_START_S,
    FramePath,
    Lift,
    SmoothNoise,
    sample_rhythm,
)
from foleyflow.simulation.scene import Scene

STALKS = 26  # at most; each has two geoms
RUSTLES = 14  # faint touches in one sweep, at most


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One passage of the tool.

    Attributes:
        time_s: when it passes the middle of the plants.
        speed_mps: of its tip there.
        direction: 1 or -1 along the axis of all sweeps.
        raised_m: how far above the plants it passes; 0 for a contact.
    """

    time_s: float
    speed_mps: float
    direction: float
    raised_m: float


def sample_sweeps(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a scene of sweeps through plants, or past the edge of a thing."""
    world = KinematicWorld("strike", duration_s, rng)
    add_ground(world)
    azimuth = rng.uniform(0, 2 * math.pi)
    tool = str(rng.choice(("stick", "spoon", "palm"), p=(0.75, 0.1, 0.15)))
    striker = add_striker(world, "arm", tool=tool)
    # The middle of the passage, the direction of the hand, and the axis of the sweeps
    toward_hand = add(horizontal(azimuth), scale(Z_AXIS, rng.uniform(0.15, 1.2)))
    steep = rng.uniform(-0.6, 0.6) if rng.random() < 0.5 else 0.0
    side = (-math.sin(azimuth), math.cos(azimuth), steep)
    axis = unit(side)
    through_plants = rng.random() < 0.7
    height_m = rng.uniform(0.08, 0.45)
    middle: Vec = (0.0, 0.0, height_m * rng.uniform(0.4, 0.9))
    sweeps, half_m = _sample_sweeps(rng, duration_s)
    radius_m = rng.uniform(0.04, 0.2) if through_plants else 0.02
    if through_plants:
        _add_plants(world, axis, radius_m, height_m, sweeps)
    else:
        middle = _add_edge(world, height_m)
    _drive(world, striker, sweeps, (middle, align_axes(toward_hand, axis)), half_m)
    for sweep in sweeps:
        _add_contacts(world, striker, sweep, radius_m if through_plants else 0.0)
    if rng.random() < 0.25:
        position = horizontal(azimuth, rng.uniform(0.75, 1.0))
        add_person(world, "striker", position, sway_m=rng.uniform(0.005, 0.04))
    if rng.random() < 0.2:
        add_bystanders(world, distance_m=1.2, azimuth_rad=azimuth)
    extent = rng.uniform(0.35, 0.9) * (height_m + half_m) + 0.08
    return world.build_scene(
        focus_m=add(middle, (0.0, 0.0, 0.1 * half_m)),
        extent_m=float(min(extent, 1.1)),
        azimuth_deg=sample_camera_azimuths(rng, azimuth),
        elevation_deg=(-60.0, -6.0),
    )


def _sample_sweeps(rng: np.random.Generator, duration_s: float) -> tuple[list[Sweep], float]:
    """Sample sweeps to and fro, and their usual reach on each side of the middle, metres."""
    usual_mps = 1.0 * 5.0 ** rng.random()
    half_m = rng.uniform(0.12, 0.4)
    miss_fraction = rng.uniform(0.1, 0.4) if rng.random() < 0.6 else 0.0
    same_side = rng.random() < 0.45  # every sweep in the same direction, with a silent return
    sweeps: list[Sweep] = []
    direction, free_s = 1.0, MOTION_START_S + 0.5
    for time_s, accent in sample_rhythm(rng, duration_s):
        if time_s < free_s:
            continue
        speed_mps = usual_mps * accent * rng.uniform(0.7, 1.2)
        missed = rng.random() < miss_fraction
        sweeps.append(
            Sweep(
                time_s=time_s,
                speed_mps=speed_mps,
                direction=direction,
                raised_m=rng.uniform(0.08, 0.25) if missed else 0.0,
            )
        )
        free_s = time_s + max(0.3, 1.6 * half_m / speed_mps) * (1.7 if same_side else 1.0)
        direction = direction if same_side else -direction
    return sweeps, half_m


def _drive(
    world: KinematicWorld, striker: Striker, sweeps: Sequence[Sweep], frame: Pose, half_m: float
) -> None:
    """Drive the arm: its lift is the position along the axis, 0 in the middle of the plants.

    It comes from one side, is fastest in the middle and comes to rest on the other side. Before a
    sweep from the side where it is not, it returns above the plants.
    """
    rng = world.rng
    begin = sweeps[0].direction if sweeps else 1.0
    place = Lift(MOTION_START_S, -begin * half_m)
    path = FramePath()
    path.stop(MOTION_START_S, MOTION_START_S, frame)
    for sweep in sweeps:
        side = -sweep.direction
        reach_m = half_m * rng.uniform(0.8, 1.2)
        span_s = max(1.4 * reach_m / sweep.speed_mps, 0.08)
        start_s = max(sweep.time_s - span_s, place.time_s + 0.05)
        if place.lift_m * side < 0:
            # The return, raised above everything
            middle_s = 0.5 * (place.time_s + start_s)
            lifted = add(frame[0], scale(Z_AXIS, rng.uniform(0.15, 0.3)))
            path.stop(middle_s, middle_s, (lifted, frame[1]))
        elif start_s - place.time_s > 0.3 and rng.random() < 0.6:
            # Waits, and draws back shortly before the sweep
            place.reach(start_s - 0.15, place.lift_m * rng.uniform(0.7, 1.1))
        place.reach(start_s, side * reach_m)
        passing = add(frame[0], scale(Z_AXIS, sweep.raised_m))
        path.stop(start_s, sweep.time_s + 0.8 * span_s, (passing, frame[1]))
        # Through the middle at the speed of the sweep
        place.reach(sweep.time_s, 0.0, sweep.direction * sweep.speed_mps)
        place.reach(sweep.time_s + span_s, -side * reach_m)
    place.hold(max(place.time_s, world.duration_s + LEAD_OUT_S))
    shoulder = transform(frame, (0.6, 0.0, 0.1))
    tremor = SmoothNoise(rng, rng.uniform(0.002, 0.02))
    wrist_flex = SmoothNoise(rng, rng.uniform(0.01, 0.15), low_hz=0.3, high_hz=2.5)
    world.drive(striker.body_names, arm_motion(striker, place, path, tremor, shoulder, wrist_flex))


def _add_plants(
    world: KinematicWorld, axis: Vec, radius_m: float, height_m: float, sweeps: Sequence[Sweep]
) -> None:
    """Add stalks that bend when the tool passes, and swing back."""
    rng = world.rng
    material = str(rng.choice(("cardboard", "wood", "plastic"), p=(0.6, 0.25, 0.15)))
    look = str(rng.choice(("leaf", "cloth", "wood", "cardboard"), p=(0.7, 0.1, 0.1, 0.1)))
    world.bodies["plants"] = Body(
        name="plants",
        material=material,
        shape="bar",
        size_m=(height_m, 0.02, 0.004),
        damping=rng.uniform(4.0, 10.0),
    )
    # Places, lengths and leanings
    count = int(rng.integers(10, STALKS + 1))
    across = unit(cross(axis, Z_AXIS))
    level_axis = unit((axis[0], axis[1], 0.0))
    wide_m = max(radius_m, rng.uniform(0.05, 0.3))
    along_m = rng.uniform(-1.0, 1.0, count) * radius_m
    places = [
        add(scale(level_axis, float(x)), scale(across, float(y)))
        for x, y in zip(along_m, rng.uniform(-1.0, 1.0, count) * wide_m, strict=True)
    ]
    names, thick_m = [], rng.uniform(0.0015, 0.008)
    for index in range(count):
        body = world.add_driven_body(f"stalk{index}")
        tall_m = height_m * rng.uniform(0.6, 1.3)
        lean = (
            float(rng.normal(0.0, 0.15)) * tall_m,
            float(rng.normal(0.0, 0.15)) * tall_m,
            tall_m,
        )
        world.add_rod(body, look, thick_m, ORIGIN, lean)
        if rng.random() < 0.7:
            size_m = rng.uniform(0.008, 0.05)
            world.add_ellipsoid(body, look, [size_m, 0.6 * size_m, 0.2 * size_m], lean)
        names.append(body.name)
    # Bending about the horizontal axis across the sweeps
    touched = [sweep for sweep in sweeps if not sweep.raised_m]
    rates_hz, decays_s = rng.uniform(1.5, 5.0, count), rng.uniform(0.1, 0.5, count)
    bends_rad = rng.uniform(0.2, 1.1, count)
    wind = SmoothNoise(rng, rng.uniform(0.0, 0.06), low_hz=0.2, high_hz=1.5)

    def bend_rad(index: int, time_s: float) -> float:
        total = 0.0
        for sweep in touched:
            elapsed_s = time_s - sweep.time_s
            elapsed_s -= sweep.direction * float(along_m[index]) / sweep.speed_mps
            if 0.0 < elapsed_s < 2.0:
                rise = 1.0 - math.exp(-elapsed_s / 0.03)
                swing = math.cos(2 * math.pi * float(rates_hz[index]) * elapsed_s)
                fall = math.exp(-elapsed_s / float(decays_s[index]))
                size = min(1.0, 0.4 * sweep.speed_mps) * float(bends_rad[index])
                total += sweep.direction * size * rise * swing * fall
        return total

    turn_axis = scale(across, -1.0)

    def motion(time_s: float) -> list[Pose]:
        sway_rad = wind.at(time_s)[0]
        return [
            (place, axis_angle(turn_axis, sway_rad + bend_rad(index, time_s)))
            for index, place in enumerate(places)
        ]

    world.drive(tuple(names), motion)


def _add_edge(world: KinematicWorld, height_m: float) -> Vec:
    """Add a thing that the tool hits in passing; returns the highest point of its middle."""
    rng = world.rng
    prop = add_prop(
        world,
        "plants",
        position=ORIGIN,
        max_size_m=float(max(0.1, rng.uniform(0.5, 1.5) * height_m)),
    )
    prop.plan_responses(rng)
    return add(prop.base[0], (0.0, 0.0, prop.height_m))


def _add_contacts(world: KinematicWorld, striker: Striker, sweep: Sweep, radius_m: float) -> None:
    """Add the touch where the tool enters, faint touches while it passes, and its friction."""
    if sweep.raised_m:
        return
    rng, other = world.rng, striker.body.name
    enters_s = sweep.time_s - radius_m / sweep.speed_mps
    leaves_s = sweep.time_s + radius_m / sweep.speed_mps

    def touch(time_s: float, fraction: float) -> None:
        x, y = rng.uniform(-0.9, 0.9, 2)
        world.impacts.append(
            Impact(
                time_s=time_s,
                body="plants",
                other=other,
                impulse_ns=fraction * sweep.speed_mps * striker.mass_kg,
                speed_mps=sweep.speed_mps,
                position=(float(x), float(y), 1.0),
            )
        )

    touch(enters_s, rng.uniform(0.3, 0.9))
    if not radius_m:
        return
    # Too faint to count as events of their own
    for _ in range(int(rng.integers(4, RUSTLES + 1))):
        touch(rng.uniform(enters_s, leaves_s), 0.01 * 10.0 ** rng.random())
    times_s = np.arange(enters_s, leaves_s + 0.06, 0.005)
    if len(times_s) >= 4:
        progress = np.linspace(-1.0, 1.0, len(times_s))
        world.frictions.append(
            Friction(
                body="plants",
                other=other,
                kind="scrape",
                times_s=times_s,
                speed_mps=sweep.speed_mps * (1.0 - 0.8 * progress**2),
                force_n=np.full(len(times_s), rng.uniform(0.5, 5.0)),
            )
        )
