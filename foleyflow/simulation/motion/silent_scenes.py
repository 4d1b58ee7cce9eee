"""The "still" family: motion without sound.

Near misses, waving, swaying, things that are put down softly, or no motion. The contact log of
every scene is empty; these scenes teach a network that motion alone is not an impact.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.constants import GRAVITY_MPS2
from foleyflow.simulation.motion.background import add_bystanders, add_person
from foleyflow.simulation.motion.kinematic_world import KinematicWorld, Motion
from foleyflow.simulation.motion.prop_catalogue import add_ground, add_prop, add_table
from foleyflow.simulation.motion.rotations import (
    NO_ROTATION,
    ORIGIN,
    Z_AXIS,
    Pose,
    Vec,
    add,
    align_axes,
    axis_angle,
    horizontal,
    scale,
)
from foleyflow.simulation.motion.strikers import add_striker, arm_motion
from foleyflow.simulation.motion.striking_motion import (
    StrokeStyle,
    build_framed_scene,
    drive_strokes,
    sample_camera_azimuths,
    sample_strokes,
    sample_targets,
)
from foleyflow.simulation.motion.trajectories import (
    LEAD_OUT_S,
    MOTION_START_S,
    FramePath,
    Lift,
    SmoothNoise,
    sample_rhythm,
)
from foleyflow.simulation.scene import Scene

TOOLS = ("stick", "palm", "hammer", "knife", "spoon", "fist")


def sample_still(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a silent scene."""
    kinds = ("misses", "waving", "pendulums", "placing", "sway", "nothing")
    kind = str(rng.choice(kinds, p=(0.36, 0.24, 0.1, 0.12, 0.12, 0.06)))
    world = KinematicWorld("still", duration_s, rng)
    add_ground(world)
    if kind == "misses":
        return _misses(world)
    azimuth = rng.uniform(0, 2 * math.pi)
    base = _sample_base(world, table_probability=0.4)
    max_size = rng.uniform(0.08, 0.4)
    add_prop(world, "thing0", position=base, max_size_m=max_size)
    height, extent = base[2] + 0.25, rng.uniform(0.3, 0.6)
    if kind == "waving":
        _add_waving_arms(world, add(base, (0.0, 0.0, max_size)), azimuth)
    elif kind == "pendulums":
        _add_pendulums(world, base, azimuth)
    elif kind == "placing":
        _add_placing_hand(world, base, azimuth)
    elif kind == "sway":
        position = horizontal(azimuth + math.pi, 0.5)
        add_person(world, "person", position, sway_m=rng.uniform(0.02, 0.15))
        add_bystanders(world, distance_m=0.8, azimuth_rad=azimuth)
        height, extent = 0.7, rng.uniform(0.6, 1.0)
    return world.build_scene(
        focus_m=(0.0, 0.0, height),
        extent_m=extent,
        azimuth_deg=sample_camera_azimuths(rng, azimuth),
        elevation_deg=(-50.0, -6.0),
    )


def _sample_base(world: KinematicWorld, *, table_probability: float) -> Vec:
    """Return the origin or, with a probability, the centre of the top of a new table."""
    if world.rng.random() >= table_probability:
        return ORIGIN
    return (0.0, 0.0, add_table(world, "table", world.rng.uniform(0.3, 0.9)).height_m)


def _misses(world: KinematicWorld) -> Scene:
    """Strokes that all stop short of a thing."""
    rng = world.rng
    azimuth = rng.uniform(0, 2 * math.pi)
    tool = str(rng.choice(TOOLS))
    base = _sample_base(world, table_probability=0.5)
    prop = add_prop(world, "thing0", position=base, max_size_m=rng.uniform(0.08, 0.4))
    style = StrokeStyle(outcomes={"miss": 1.0}, hover_m=rng.uniform(0.05, 0.25))
    strokes = sample_strokes(rng, sample_rhythm(rng, world.duration_s), style)
    striker = add_striker(world, "arm", tool=tool)
    targets = sample_targets(
        rng, strokes, [prop], hand_direction=horizontal(azimuth), style=style, top_only=True
    )
    swings = drive_strokes(world, striker, strokes, targets, hover_m=style.hover_m)
    prop.plan_responses(rng)
    if rng.random() < 0.4:
        add_bystanders(world, distance_m=1.2, azimuth_rad=azimuth)
    return build_framed_scene(world, targets, swings, sample_camera_azimuths(rng, azimuth))


def _add_waving_arms(world: KinematicWorld, top: Vec, azimuth: float) -> None:
    """Add one or two arms, with or without tools, that wave and swing through the air."""
    rng = world.rng
    end_s = world.duration_s + LEAD_OUT_S
    for k in range(int(rng.integers(1, 3))):
        striker = add_striker(world, f"arm{k}", tool=str(rng.choice(TOOLS)))
        back = horizontal(azimuth + rng.uniform(-0.6, 0.6))
        center = add(top, scale((-back[1], back[0], 0.0), (k - 0.5) * 0.25))
        # Up and down
        lift = Lift(MOTION_START_S, 0.15)
        time_s, swing_s = MOTION_START_S, rng.uniform(0.15, 0.7)
        while time_s < end_s:
            time_s += swing_s * rng.uniform(0.7, 1.4)
            lift.reach(time_s, rng.uniform(0.08, 0.5))
            if rng.random() < 0.3:
                time_s += rng.uniform(0.1, 0.6)
                lift.hold(time_s)
        # From place to place
        path = FramePath()
        rotation = align_axes(back, Z_AXIS)
        time_s = MOTION_START_S
        while time_s < end_s:
            x, y, z = (float(v) for v in rng.normal(0.0, 0.08, 3))
            stay_s = rng.uniform(0.0, 0.5)
            path.stop(time_s, time_s + stay_s, (add(center, (x, y, 0.12 + abs(z))), rotation))
            time_s += stay_s + rng.uniform(0.25, 1.0)
        shoulder = add(center, (0.6 * back[0], 0.6 * back[1], 0.5))
        tremor = SmoothNoise(rng, rng.uniform(0.01, 0.05))
        world.drive(striker.body_names, arm_motion(striker, lift, path, tremor, shoulder))


def _add_pendulums(world: KinematicWorld, base: Vec, azimuth: float) -> None:
    """Add one to three things on strings that swing without touching anything."""
    rng = world.rng
    for k in range(int(rng.integers(1, 4))):
        name = f"pendulum{k}"
        body = world.add_driven_body(name)
        length_m = rng.uniform(0.25, 0.8)
        looks = ("wood", "metal", "plastic", "rubber", "glass", "leaf", "cloth")
        look = str(rng.choice(looks))
        shape = str(rng.choice(("sphere", "box", "ellipsoid")))
        size = rng.uniform(0.02, 0.07)
        half = [size, size, size * rng.uniform(0.5, 1.0)]
        world.add_geom(body, shape, look, size=half, position=(0, 0, -length_m))
        world.add_rod(body, "cloth", 0.002, ORIGIN, (0, 0, -length_m))
        offset = (k - 1) * 0.3
        across = (-offset * math.sin(azimuth), offset * math.cos(azimuth), 0.75 + length_m)
        pivot = add(base, across)
        axis = horizontal(rng.uniform(0, 2 * math.pi))
        amplitude_rad, phase = rng.uniform(0.05, 0.5), rng.uniform(0, 2 * math.pi)
        world.drive((name,), _swinging(pivot, axis, amplitude_rad, length_m, phase))


def _swinging(pivot: Vec, axis: Vec, amplitude_rad: float, length_m: float, phase: float) -> Motion:
    """Return the motion of a pendulum."""
    rate_rad_per_s = math.sqrt(GRAVITY_MPS2 / length_m)

    def motion(time_s: float) -> list[Pose]:
        angle_rad = amplitude_rad * math.sin(rate_rad_per_s * time_s + phase)
        return [(pivot, axis_angle(axis, angle_rad))]

    return motion


def _add_placing_hand(world: KinematicWorld, base: Vec, azimuth: float) -> None:
    """Add a hand that carries a thing and puts it down softly, again and again."""
    rng = world.rng
    end_s = world.duration_s + LEAD_OUT_S
    striker = add_striker(world, "arm", tool="palm")
    back = horizontal(azimuth)
    rotation = align_axes(back, Z_AXIS)
    # The carried thing
    half = rng.uniform(0.015, 0.04)
    body = world.add_driven_body("carried")
    looks = ("wood", "metal", "plastic", "rubber", "glass", "ceramic", "cardboard")
    look = str(rng.choice(looks))
    if rng.random() < 0.6:
        world.add_box(body, look, [half, half, half])
    else:
        world.add_cylinder(body, look, half, half)
    # Stops on the surface, and a lift between them
    lift = Lift(MOTION_START_S, 0.0)
    path = FramePath()
    time_s = MOTION_START_S
    side = (-back[1], back[0], 0.0)
    while time_s < end_s:
        offset = add(scale(side, rng.uniform(0.15, 0.4)), scale(back, rng.uniform(0, 0.2)))
        stay_s, move_s = rng.uniform(0.1, 0.8), rng.uniform(0.8, 1.8)
        top = add(add(base, offset), (0, 0, 2 * half))
        path.stop(time_s, time_s + stay_s, (top, rotation))
        lift.hold(time_s + stay_s)
        lift.reach(time_s + stay_s + 0.5 * move_s, rng.uniform(0.03, 0.2))
        lift.reach(time_s + stay_s + move_s, 0.0)
        time_s += stay_s + move_s
    shoulder = add(base, (0.6 * back[0], 0.6 * back[1], 0.5))
    arm = arm_motion(striker, lift, path, SmoothNoise(rng, 0.0), shoulder)

    def motion(time_s: float) -> list[Pose]:
        below_hand = (0.0, 0.0, lift.at(time_s) - half)
        return [*arm(time_s), (add(path.at(time_s)[0], below_hand), NO_ROTATION)]

    world.drive((*striker.body_names, "carried"), motion)
