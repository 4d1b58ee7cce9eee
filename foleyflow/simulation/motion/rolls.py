"""The "rolls" family: balls and cylinders that roll on slopes and tables, things that are pushed.

Rolling is simulated; pushing is driven.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.contacts import Body
from foleyflow.simulation.materials import sample_material
from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.drops import (
    add_free_body,
    add_solid,
    add_solid_ground,
    simulate_scene,
)
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.prop_catalogue import (
    add_ground,
    add_table,
    sample_main_or_other_material,
)
from foleyflow.simulation.motion.props import sample_heading
from foleyflow.simulation.motion.rigid_bodies import Release, set_simulation_options
from foleyflow.simulation.motion.rotations import (
    NO_ROTATION,
    ORIGIN,
    X_AXIS,
    Y_AXIS,
    Z_AXIS,
    Pose,
    Quat,
    add,
    align_axes,
    axis_angle,
    conjugate,
    horizontal,
    multiply,
    rotate,
    scale,
    smooth_step,
)
from foleyflow.simulation.motion.strikers import add_striker, arm_motion
from foleyflow.simulation.motion.striking_motion import add_scrape_friction, sample_camera_azimuths
from foleyflow.simulation.motion.trajectories import (
    LEAD_OUT_S,
    MOTION_START_S,
    FramePath,
    Lift,
    SmoothNoise,
)
from foleyflow.simulation.scene import Scene

SIMULATION_LEAD_S = -0.8
Push = tuple[float, float, float, float]  # start and end in seconds, start and end in metres


def sample_rolls(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a rolling or pushing scene."""
    is_pushing = rng.random() < 0.25
    world = KinematicWorld("roll", duration_s, rng)
    return _pushing(world) if is_pushing else _rolling(world)


def _rolling(world: KinematicWorld) -> Scene:
    """Balls and cylinders on a slope or a table, against walls, blocks and each other."""
    rng, duration_s = world.rng, world.duration_s
    set_simulation_options(world.spec)
    main = sample_material(rng)
    add_solid_ground(world, "roll floor")
    # The board: sloped, raised, or none (the ground)
    heading = sample_heading(rng)
    long, wide = rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.35)
    material = _main_or_any(rng, main)
    is_sloped = rng.random() < 0.55
    tilt = math.radians(rng.uniform(4, 22)) if is_sloped else 0.0
    high = long * math.sin(tilt) + (0.02 if is_sloped else rng.uniform(0.0, 0.5))
    if is_sloped or high >= 0.1:
        rotation = multiply(heading, axis_angle(Y_AXIS, tilt))
        center = (0.0, 0.0, high)
        half = (long, wide, 0.012)
        add_solid(world, "board", material=material, half_m=half, pose=(center, rotation))
        surface: Pose = (add(center, rotate(rotation, (0, 0, 0.012))), rotation)
        _add_stops(world, surface, long, wide, main)
        _add_supports(world, heading, tilt, long, wide, high)
    else:
        center, surface = ORIGIN, (ORIGIN, heading)
        _add_stops(world, surface, long, wide, main)
    releases = []
    usual_m = 0.018 * 3.5 ** rng.random()
    for index in range(int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1)))):
        # The body: cylinders lie on their side, boxes are flat
        name = f"object{index}"
        shape = str(rng.choice(("sphere", "cylinder", "box"), p=(0.72, 0.18, 0.10)))
        size = usual_m * rng.uniform(0.8, 1.3)
        body_material = sample_main_or_other_material(rng, main)
        radius_m = add_free_body(world, name, material=body_material, shape=shape, radius_m=size)
        geom = world.spec.geom(f"{name}_0")
        body_rotation = NO_ROTATION
        if shape == "cylinder":
            geom.size = [size, size * rng.uniform(0.5, 1.5), 0.0]
            body_rotation, radius_m = axis_angle(X_AXIS, 0.5 * math.pi), size
        elif shape == "box":
            geom.size = [size, size, 0.6 * size]
            radius_m = 0.6 * size
        # Its start: at the upper end, or on the way of the others
        y = float(np.clip(rng.normal(0.0, 0.4), -0.8, 0.8)) * wide
        x = -long * rng.uniform(0.7, 0.95)
        if index and rng.random() < 0.4:
            x = long * rng.uniform(-0.2, 0.6)
        position = add(surface[0], rotate(surface[1], (x, y, radius_m + 0.0005)))
        direction = rotate(surface[1], (1.0, rng.normal(0.0, 0.15), 0.0))
        speed = rng.uniform(0.0, 0.6) if is_sloped else rng.uniform(0.4, 1.8)
        if x > -0.5 * long and not is_sloped:
            speed = 0.0
        spin = rotate(conjugate(body_rotation), (0.0, speed / radius_m, 0.0))
        releases.append(
            Release(
                name=name,
                time_s=rng.uniform(-0.5, 0.45 * duration_s),
                position=position,
                rotation=multiply(surface[1], body_rotation),
                velocity=scale(direction, speed),
                spin=spin if shape != "box" else ORIGIN,
            )
        )
    if rng.random() < 0.3:
        add_bystanders(world, distance_m=1.4)
    return simulate_scene(
        world,
        releases,
        start_s=SIMULATION_LEAD_S,
        center_m=center,
        extent_m=long * rng.uniform(0.8, 1.2),
        elevation_deg=(-60.0, -12.0),
    )


def _main_or_any(rng: np.random.Generator, main: str) -> str:
    """Return the main material of a clip in half of the cases, otherwise any."""
    return main if rng.random() < 0.5 else sample_material(rng)


def _add_stops(world: KinematicWorld, surface: Pose, long: float, wide: float, main: str) -> None:
    """Sometimes add a wall at the end of the surface and rails along it."""
    rng = world.rng
    position, rotation = surface
    if rng.random() < 0.55:
        half = (0.015, wide, rng.uniform(0.02, 0.08))
        pose = (add(position, rotate(rotation, (long - 0.015, 0.0, half[2]))), rotation)
        add_solid(world, "stop", material=_main_or_any(rng, main), half_m=half, pose=pose)
    if rng.random() < 0.35:
        material = sample_material(rng)
        for index, y in enumerate((-wide, wide)):
            pose = (add(position, rotate(rotation, (0.0, y, 0.015))), rotation)
            half = (long, 0.008, 0.018)
            add_solid(world, f"rail{index}", material=material, half_m=half, pose=pose)


def _add_supports(
    world: KinematicWorld, heading: Quat, tilt: float, long: float, wide: float, high: float
) -> None:
    """Add what holds the board up."""
    body = world.add_fixed_body("legs", (ORIGIN, heading))
    look = sample_material(world.rng)
    for x in (-0.8, 0.8):
        top = high - x * long * math.tan(tilt) * math.cos(tilt) - 0.02
        if top > 0.02:
            position = (x * long * math.cos(tilt), 0.0, 0.5 * top)
            world.add_box(body, look, [0.015, 0.8 * wide, 0.5 * top], position)


def _pushing(world: KinematicWorld) -> Scene:
    """A hand that pushes a thing to and fro on a table or the floor."""
    rng, duration_s = world.rng, world.duration_s
    support, top_m = add_ground(world), 0.0
    azimuth = rng.uniform(0, 2 * math.pi)
    if rng.random() < 0.65:
        support = add_table(world, "table", rng.uniform(0.3, 0.9))
        top_m = support.height_m
    # The pushed thing
    material = sample_material(rng)
    half = (rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.08), rng.uniform(0.012, 0.05))
    world.bodies["pushed"] = Body(
        name="pushed",
        material=material,
        shape="box",
        size_m=(2 * half[0], 2 * half[1], 2 * half[2]),
        damping=rng.uniform(1.0, 1.4),
    )
    body = world.add_driven_body("pushed")
    if rng.random() < 0.6:
        world.add_box(body, material, half)
    else:
        world.add_cylinder(body, material, half[0], half[2])
    # The pushes and their friction
    along = horizontal(rng.uniform(0, 2 * math.pi))
    pushes = _sample_pushes(rng, duration_s, room_m=rng.uniform(0.08, 0.25))
    for push in pushes:
        times_s = np.arange(push[0], push[1], 0.005)
        if len(times_s) >= 8:
            add_scrape_friction(
                world,
                "pushed",
                support.name,
                times_s,
                lambda time_s, push=push: _offset_m([push], time_s),  # type: ignore[misc]
                rng.uniform(1.0, 8.0),
            )
    # The hand, which follows the thing
    striker = add_striker(world, "arm", tool="palm" if rng.random() < 0.7 else "fist")
    end_s = duration_s + LEAD_OUT_S
    lift, path = Lift(MOTION_START_S, 0.0), FramePath()
    lift.hold(end_s)
    hand_direction = horizontal(azimuth)
    top = (0.0, 0.0, top_m + 2.0 * half[2])
    path.stop(
        MOTION_START_S,
        end_s,
        (top, align_axes(hand_direction, Z_AXIS)),
        offset=lambda time_s: scale(along, _offset_m(pushes, time_s)),
    )
    shoulder = add(top, scale(add(hand_direction, Z_AXIS), 0.5))
    arm = arm_motion(striker, lift, path, SmoothNoise(rng, 0.0), shoulder)
    heading = sample_heading(rng)

    def motion(time_s: float) -> list[Pose]:
        offset = scale(along, _offset_m(pushes, time_s))
        return [*arm(time_s), (add(offset, (0.0, 0.0, top_m + half[2])), heading)]

    world.drive((*striker.body_names, "pushed"), motion)
    if rng.random() < 0.3:
        add_bystanders(world, distance_m=1.2, azimuth_rad=azimuth)
    return world.build_scene(
        focus_m=(0.0, 0.0, top_m + 0.08),
        extent_m=rng.uniform(0.25, 0.5),
        azimuth_deg=sample_camera_azimuths(rng, azimuth),
        elevation_deg=(-55.0, -8.0),
    )


def _sample_pushes(rng: np.random.Generator, duration_s: float, *, room_m: float) -> list[Push]:
    """Sample pushes to and fro, with pauses between them."""
    time_s, at_m = MOTION_START_S, 0.0
    pushes = []
    while time_s < duration_s:
        time_s += rng.uniform(0.0, 0.3) if rng.random() < 0.6 else rng.uniform(0.3, 1.2)
        goal_m = -math.copysign(rng.uniform(0.3, 1.0) * room_m, at_m or rng.normal())
        span_s = max(0.2, abs(goal_m - at_m) / rng.uniform(0.15, 0.7))
        pushes.append((time_s, time_s + span_s, at_m, goal_m))
        time_s, at_m = time_s + span_s, goal_m
    return pushes


def _offset_m(pushes: list[Push], time_s: float) -> float:
    """Return where the pushed thing is along its course."""
    at_m = pushes[0][2]
    for start_s, end_s, origin_m, goal_m in pushes:
        if time_s <= start_s:
            break
        x = min(1.0, (time_s - start_s) / (end_s - start_s))
        at_m = origin_m + smooth_step(x, goal_m - origin_m)
    return at_m
