"""Silent movers: people, resting hands, objects in the background, and crumbs near the hits.

Their motion makes no sound; it teaches a network which motion is not an impact.
"""

from __future__ import annotations

import math

from foleyflow.simulation.constants import GRAVITY_MPS2
from foleyflow.simulation.materials import sample_material
from foleyflow.simulation.motion.kinematic_world import KinematicWorld, Motion
from foleyflow.simulation.motion.rotations import (
    NO_ROTATION,
    X_AXIS,
    Z_AXIS,
    Pose,
    Vec,
    add,
    align_axes,
    axis_angle,
    horizontal,
    multiply,
)
from foleyflow.simulation.motion.trajectories import SmoothNoise


def add_person(world: KinematicWorld, name: str, position: Vec, *, sway_m: float) -> None:
    """Add a simple person (torso, head, legs) that stands at a position and sways."""
    rng, body = world.rng, world.add_driven_body(name)
    tall = rng.uniform(0.8, 1.1)
    wide = rng.uniform(0.13, 0.2)
    world.add_rod(body, "cloth", wide, (0.0, 0.0, 0.35 * tall), (0.0, 0.0, tall))
    world.add_ellipsoid(body, "skin", [0.08, 0.09, 0.115], (0, 0, tall + wide + 0.1))
    for y in (-0.09, 0.09):
        world.add_rod(body, "cloth", 0.07, (0.0, y, 0.0), (0.0, y, 0.4 * tall))
    sway = SmoothNoise(rng, sway_m, low_hz=0.08, high_hz=0.8)
    facing = axis_angle(Z_AXIS, rng.uniform(0, 2 * math.pi))

    def motion(time_s: float) -> list[Pose]:
        x, y, _ = sway.at(time_s)
        return [(add(position, (x, y, 0.0)), multiply(facing, axis_angle(X_AXIS, 0.6 * y)))]

    world.drive((name,), motion)


def add_resting_hand(
    world: KinematicWorld, name: str, position: Vec, arm_direction: Vec, *, sway_m: float
) -> None:
    """Add a hand that holds something or rests, with a forearm that leaves the picture.

    Args:
        name: of its body.
        position: of the fingertips, world, metres.
        arm_direction: from the fingertips towards the elbow.
        sway_m: amplitude of its random motion.
    """
    rng, body = world.rng, world.add_driven_body(name)
    world.add_ellipsoid(body, "skin", [0.05, 0.04, 0.03], (0.05, 0.0, 0.015))
    for k in range(4):
        y = (k - 1.5) * 0.018
        end = (-0.012, 0.8 * y, rng.uniform(0.0, 0.012))
        world.add_rod(body, "skin", 0.009, (0.03, y, 0.025), end)
    world.add_rod(body, "skin", 0.0105, (0.03, 0.035, 0.01), (-0.01, 0.02, 0.0))
    rise = math.radians(rng.uniform(10, 40))
    wrist = (0.09, 0.0, 0.02)
    elbow = add(wrist, (0.5 * math.cos(rise), 0.0, 0.5 * math.sin(rise)))
    look = str(rng.choice(("skin", "cloth")))
    world.add_rod(body, look, rng.uniform(0.03, 0.042), wrist, elbow)
    sway = SmoothNoise(rng, sway_m)
    rotation = align_axes(arm_direction, Z_AXIS)
    world.drive((name,), lambda time_s: [(add(position, sway.at(time_s)), rotation)])


def add_bystanders(
    world: KinematicWorld, *, distance_m: float, azimuth_rad: float | None = None
) -> None:
    """Add one or two people or floating objects.

    Args:
        distance_m: their least distance from the origin.
        azimuth_rad: direction in which the camera mostly looks, so that they are behind the action
            and do not hide it; None for any direction.
    """
    rng = world.rng
    for index in range(1 + int(rng.random() < 0.3)):
        spread = math.pi if azimuth_rad is None else 1.5
        azimuth = (azimuth_rad or 0.0) + rng.uniform(-spread, spread)
        position = horizontal(azimuth, distance_m * rng.uniform(1.0, 2.0))
        if rng.random() < 0.5:
            add_person(world, f"bystander{index}", position, sway_m=rng.uniform(0.01, 0.12))
        else:
            _add_floater(world, f"floater{index}", add(position, (0, 0, rng.uniform(0.1, 0.9))))


def _add_floater(world: KinematicWorld, name: str, position: Vec) -> None:
    """Add an object that drifts, swings or passes by in the background."""
    rng, body = world.rng, world.add_driven_body(name)
    look = str(rng.choice((sample_material(rng), "cloth", "leaf", "skin")))
    shape = str(rng.choice(("box", "sphere", "ellipsoid", "capsule")))
    world.add_geom(body, shape, look, size=list(rng.uniform(0.03, 0.15, 3)))
    noise = SmoothNoise(rng, rng.uniform(0.02, 0.15), low_hz=0.1, high_hz=1.2)
    velocity = rng.uniform(-0.4, 0.4, 2) if rng.random() < 0.5 else (0.0, 0.0)
    spin_rad_per_s = rng.uniform(-1.5, 1.5)
    middle_s = 0.5 * world.duration_s

    def motion(time_s: float) -> list[Pose]:
        elapsed_s = time_s - middle_s
        drift = (float(velocity[0]) * elapsed_s, float(velocity[1]) * elapsed_s, 0.0)
        x, y, z = add(add(position, drift), noise.at(time_s))
        return [((x, y, max(0.05, z)), axis_angle(Z_AXIS, spin_rad_per_s * time_s))]

    world.drive((name,), motion)


def add_crumbs(world: KinematicWorld, touches: list[tuple[float, Vec]]) -> None:
    """Add small loose pieces near the first hit that hop at hits nearby, without sound.

    Args:
        touches: (time, world position) of the hits, in the order of time.
    """
    if not touches:
        return
    rng = world.rng
    look = sample_material(rng)
    size = rng.uniform(0.003, 0.012)
    for index in range(int(rng.integers(2, 9))):
        azimuth, distance_m = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.09)
        offset = horizontal(azimuth, distance_m)
        home = add(touches[0][1], (offset[0], offset[1], size))
        # A hop at some of the hits nearby, when the previous hop has ended
        hops: list[tuple[float, float, Vec, Vec]] = []
        at, free_s = home, -math.inf
        for time_s, position in touches:
            if time_s < free_s or math.dist(position, at) > 0.2 or rng.random() < 0.25:
                continue
            rise_mps = rng.uniform(0.2, 1.0)
            span_s = 2.0 * rise_mps / GRAVITY_MPS2
            step = rng.normal(0.0, 0.06, 2) * span_s
            velocity = (float(step[0]) / span_s, float(step[1]) / span_s, rise_mps)
            hops.append((time_s, span_s, at, velocity))
            at, free_s = add(at, (float(step[0]), float(step[1]), 0.0)), time_s + span_s
        body = world.add_driven_body(f"crumb{index}")
        shape = "sphere" if rng.random() < 0.5 else "box"
        world.add_geom(body, shape, look, size=[size, size, size])
        world.drive((f"crumb{index}",), _hopping(home, hops))


def _hopping(home: Vec, hops: list[tuple[float, float, Vec, Vec]]) -> Motion:
    """Return a motion of ballistic arcs, at rest between them."""

    def motion(time_s: float) -> list[Pose]:
        at = home
        for start_s, span_s, origin, velocity in hops:
            if time_s <= start_s:
                break
            elapsed_s = min(time_s - start_s, span_s)
            fall = 0.5 * GRAVITY_MPS2 * elapsed_s * elapsed_s
            at = add(
                origin,
                (velocity[0] * elapsed_s, velocity[1] * elapsed_s, velocity[2] * elapsed_s - fall),
            )
        return [(at, NO_ROTATION)]

    return motion
