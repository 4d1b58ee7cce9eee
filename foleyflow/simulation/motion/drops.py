"""The "drops" family: simulated bodies that fall, bounce, tumble and come to rest.

They are dropped by a hand that opens, or thrown in from outside the picture. The builders of
simulated bodies and scenes here are also used by `rolls`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import mujoco
import numpy as np

from foleyflow.simulation.constants import GRAVITY_MPS2
from foleyflow.simulation.contacts import Body, Shape
from foleyflow.simulation.materials import MATERIALS, sample_material
from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.prop_catalogue import sample_main_or_other_material
from foleyflow.simulation.motion.props import sample_heading
from foleyflow.simulation.motion.rigid_bodies import (
    Release,
    enable_collisions,
    extract_events,
    set_simulation_options,
    simulate,
)
from foleyflow.simulation.motion.rotations import (
    NO_ROTATION,
    ORIGIN,
    Pose,
    Quat,
    Vec,
    add,
    align_z,
    as_vec,
    axis_angle,
    horizontal,
    lerp,
    scale,
    unit,
)
from foleyflow.simulation.scene import Scene, SceneMotion

SIMULATION_START_S = -0.9


def add_free_body(
    world: KinematicWorld,
    name: str,
    *,
    material: str,
    shape: str | None = None,
    radius_m: float,
) -> float:
    """Add a free body to a simulated world.

    Args:
        name: of the body; its joint is `NAME_free`.
        material: a key of `materials.MATERIALS`.
        shape: a key of `kinematic_world.GEOM_TYPES`; None samples it.
        radius_m: radius of the sphere that contains it.

    Returns:
        The radius of the sphere that contains its geom, metres.
    """
    rng = world.rng
    if shape is None:
        shapes = ("box", "sphere", "capsule", "cylinder", "ellipsoid")
        shape = str(rng.choice(shapes, p=(0.32, 0.28, 0.1, 0.2, 0.1)))
    half, size_m, sound_shape = _sample_size(rng, shape, radius_m)
    body = world.spec.worldbody.add_body(name=name)
    body.add_joint(name=f"{name}_free", type=mujoco.mjtJoint.mjJNT_FREE)
    geom = world.add_geom(body, shape, material, size=half)
    enable_collisions(geom, material)
    # Mass: hollow or at most an upper limit
    density = MATERIALS[material].rigid_density_kg_per_m3
    solid_kg = density * size_m[0] * size_m[1] * size_m[2] * 0.6
    max_kg = 0.05 * 30.0 ** rng.random()
    hollow = bool(rng.random() < 0.3) or solid_kg > 3.0 * max_kg
    geom.density = max(20.0, density * min(0.3 if hollow else 1.0, max_kg / solid_kg))
    world.bodies[name] = Body(
        name=name, material=material, shape=sound_shape, size_m=size_m, hollow=hollow
    )
    return radius_m if shape in ("sphere", "capsule") else float(np.linalg.norm(half))


def _sample_size(
    rng: np.random.Generator, shape: str, radius_m: float
) -> tuple[list[float], Vec, Shape]:
    """Sample MuJoCo's half sizes, the outer size and the shape of the sounding body."""
    if shape == "sphere":
        return [radius_m], (2 * radius_m, 2 * radius_m, 2 * radius_m), "sphere"
    if shape == "capsule":
        thick = radius_m * rng.uniform(0.25, 0.5)
        return [thick, radius_m - thick], (2 * radius_m, 2 * thick, 2 * thick), "capsule"
    if shape == "cylinder":
        angle = rng.uniform(0.12, 1.45)
        radius, half_height = radius_m * math.cos(angle), radius_m * math.sin(angle)
        size_m = (2 * radius, 2 * radius, 2 * half_height)
        return [radius, half_height], size_m, "plate" if half_height < 0.3 * radius else "cylinder"
    a, b, c = (radius_m * value for value in unit(as_vec(rng.uniform(0.25, 1.0, 3))))
    return [a, b, c], (2 * a, 2 * b, 2 * c), "box" if shape == "box" else "sphere"


def add_solid(
    world: KinematicWorld,
    name: str,
    *,
    material: str,
    half_m: Vec,
    pose: Pose,
    look: str | None = None,
    damping: float = 2.0,
) -> mujoco.MjsBody:
    """Add a fixed box that makes sound and that free bodies hit; its centre is at the pose."""
    body = world.add_fixed_body(name, pose)
    enable_collisions(world.add_box(body, look or material, half_m), material)
    world.bodies[name] = Body(
        name=name,
        material=material,
        shape="plate",
        size_m=(2 * half_m[0], 2 * half_m[1], 2 * half_m[2]),
        damping=damping,
    )
    return body


def add_solid_ground(world: KinematicWorld, prop: str) -> None:
    """Add the ground of a simulated world, of a material of a prop (see `PROP_MATERIALS`)."""
    add_solid(
        world,
        "ground",
        material=sample_material(world.rng, prop),
        half_m=(6.0, 6.0, 0.05),
        pose=((0, 0, -0.05), NO_ROTATION),
        look="ground",
        damping=world.rng.uniform(2.0, 6.0),
    )


def simulate_scene(
    world: KinematicWorld,
    releases: list[Release],
    *,
    start_s: float,
    center_m: Vec,
    extent_m: float,
    elevation_deg: tuple[float, float] = (-55.0, -6.0),
) -> Scene:
    """Simulate a world and build its scene, framed so that most sources of sound are visible.

    Args:
        world: with the free bodies, and driven bodies in addition to them.
        releases: one per free body.
        start_s: start of the simulation.
        center_m: where the action is meant to be.
        extent_m: how much the picture should contain, at least.
        elevation_deg: of the camera.
    """
    model = world.spec.compile()
    recording = simulate(model, releases, start_s=start_s, end_s=world.duration_s)
    events = extract_events(model, recording)
    # Move the frame towards the impacts near the centre
    focus = center_m
    near = events.within(center_m, 2.5 * extent_m + 0.3)
    if near.impacts:
        weight = np.sqrt([impact.impulse_ns for impact, _ in near.impacts])
        positions = np.array([position for _, position in near.impacts])
        mean = (weight[:, None] * positions).sum(0) / weight.sum()
        focus = lerp(center_m, as_vec(mean), 0.6)
        distance = np.linalg.norm(positions - focus, axis=1)
        extent_m = max(extent_m, 0.9 * float(np.quantile(distance, 0.7)))
    # What happens far outside the picture makes no sound
    visible = events.within(focus, 1.3 * extent_m)
    world.impacts.extend(impact for impact, _ in visible.impacts)
    world.frictions.extend(friction for friction, _ in visible.frictions)
    scene = world.build_scene(
        focus_m=add(focus, (0.0, 0.0, 0.3 * extent_m)),
        extent_m=extent_m,
        elevation_deg=elevation_deg,
    )

    def compute_motion(model: mujoco.MjModel) -> SceneMotion:
        driven = scene.compute_motion(model)
        simulated = recording.pose_function(model)

        def pose(data: mujoco.MjData, time_s: float) -> None:
            driven.pose(data, time_s)
            simulated(data, time_s)

        return SceneMotion(log=driven.log, pose=pose)

    return replace(scene, compute_motion=compute_motion)


def sample_drops(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a scene of one to six bodies that fall onto a floor, table, slope or each other."""
    world = KinematicWorld("drop", duration_s, rng)
    set_simulation_options(world.spec)
    main = sample_material(rng)
    usual_m = 0.02 * 5.0 ** rng.random()
    top_m = _add_supports(world, main, usual_m)
    count = int(rng.choice((1, 2, 3, 4, 5, 6), p=(0.34, 0.28, 0.18, 0.1, 0.06, 0.04)))
    times_s = np.sort(rng.uniform(-0.5, duration_s - 0.4, count))
    times_s[0] = min(times_s[0], rng.uniform(-0.4, 1.2))
    spread_m = usual_m * rng.uniform(0.3, 2.0)
    releases = []
    for index, time_s in enumerate(times_s):
        name = f"object{index}"
        material = sample_main_or_other_material(rng, main)
        radius_m = usual_m * 0.8 * 2.0 ** rng.random()
        radius_m = add_free_body(world, name, material=material, radius_m=radius_m)
        x, y = rng.normal(0.0, spread_m, 2)
        target = (float(x), float(y), top_m)
        if rng.random() < (0.6 if index == 0 else 0.15):
            release = _drop_from_hand(world, index, float(time_s), target, radius_m)
        else:
            release = _throw(rng, name, float(time_s), target, radius_m, 6.0 * usual_m)
        releases.append(release)
    if rng.random() < 0.3:
        add_bystanders(world, distance_m=1.3)
    # The simulation draws no random numbers
    extent_m = min(usual_m * rng.uniform(3.5, 7.0) + 0.5 * spread_m, 0.9)
    return simulate_scene(
        world,
        releases,
        start_s=SIMULATION_START_S,
        center_m=(0.0, 0.0, top_m),
        extent_m=extent_m,
    )


def _add_supports(world: KinematicWorld, main: str, usual_m: float) -> float:
    """Add a floor and sometimes a table, a slope or blocks; return the height of their top."""
    rng = world.rng
    add_solid_ground(world, "drop floor")
    top_m = 0.0
    heading = sample_heading(rng)
    pose: Pose
    kind = rng.random()
    if kind < 0.4:
        half = (rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.5), rng.uniform(0.008, 0.03))
        top_m = rng.uniform(0.1, 0.8)
        material = main if rng.random() < 0.3 else sample_material(rng)
        pose = ((0, 0, top_m - half[2]), heading)
        table = add_solid(world, "table", material=material, half_m=half, pose=pose)
        world.add_legs(table, material, 0.02, (0.9 * half[0], 0.9 * half[1], 0.0), bottom_m=-top_m)
    elif kind < 0.55:
        tilt = math.radians(rng.uniform(8, 30))
        axis = (math.cos(rng.uniform(0, 6.28)), math.sin(rng.uniform(0, 6.28)), 0.0)
        half = (rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.5), 0.015)
        top_m = 0.25
        pose = ((0, 0, top_m - 0.015), axis_angle(unit(axis), tilt))
        add_solid(world, "slope", material=sample_material(rng), half_m=half, pose=pose)
    for index in range(int(rng.choice((0, 1, 2), p=(0.65, 0.2, 0.15)))):
        half = as_vec(usual_m * rng.uniform(0.5, 2.2, 3))
        x, y = rng.normal(0.0, 3.0 * usual_m, 2)
        pose = ((float(x), float(y), top_m + half[2]), heading)
        add_solid(world, f"block{index}", material=sample_material(rng), half_m=half, pose=pose)
    return top_m


def _random_rotation(rng: np.random.Generator) -> Quat:
    """Sample a uniformly random rotation."""
    w, x, y, z = (float(v) for v in rng.standard_normal(4))
    size = math.sqrt(w * w + x * x + y * y + z * z)
    return (w / size, x / size, y / size, z / size)


def _throw(
    rng: np.random.Generator, name: str, time_s: float, target: Vec, radius_m: float, size_m: float
) -> Release:
    """Sample a throw from outside a picture of a size that comes down near a target."""
    azimuth = rng.uniform(0, 2 * math.pi)
    from_side = rng.random() < 0.6
    distance_m = size_m * rng.uniform(1.2, 2.2) if from_side else 0.1 * rng.random()
    height_m = rng.uniform(0.25, 1.0) if from_side else rng.uniform(0.7, 1.5)
    x, y, _ = horizontal(azimuth, distance_m)
    rise_mps = rng.uniform(-0.5, 2.0) if from_side else 0.0
    flight_s = (rise_mps + math.sqrt(rise_mps * rise_mps + 2.0 * GRAVITY_MPS2 * height_m)) / (
        GRAVITY_MPS2
    )
    return Release(
        name=name,
        time_s=time_s,
        position=add(target, (x, y, height_m + radius_m)),
        rotation=_random_rotation(rng),
        velocity=add(scale(horizontal(azimuth), -distance_m / flight_s), (0.0, 0.0, rise_mps)),
        spin=as_vec(rng.normal(0.0, 5.0, 3)),
    )


def _drop_from_hand(
    world: KinematicWorld, index: int, time_s: float, target: Vec, radius_m: float
) -> Release:
    """Add a hand that holds a body over the target, opens and moves away."""
    rng = world.rng
    height_m = 0.08 * 7.0 ** rng.random() + radius_m
    position = add(target, (0.0, 0.0, height_m))
    azimuth, rise = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.0)
    out = (math.cos(azimuth) * math.cos(rise), math.sin(azimuth) * math.cos(rise), math.sin(rise))
    # Palm, wrist and forearm
    name = f"hand{index}"
    body = world.add_driven_body(name)
    grip = scale(out, radius_m + 0.02)
    palm = world.add_ellipsoid(body, "skin", [0.03, 0.045, 0.055], add(grip, scale(out, 0.045)))
    palm.quat = align_z(out)
    wrist_start = add(grip, scale(out, 0.1))
    wrist_end = add(wrist_start, scale(out, 0.06))
    world.add_rod(body, "skin", 0.027, wrist_start, wrist_end)
    elbow = add(add(grip, scale(out, 0.38)), scale(out, 0.3))
    look = str(rng.choice(("skin", "cloth")))
    world.add_rod(body, look, 0.036, wrist_end, elbow)
    # Four fingers around the body
    side = unit((-math.sin(azimuth), math.cos(azimuth), 0.0))
    fingers = [f"{name}_finger{k}" for k in range(4)]
    directions = []
    for k, finger in enumerate(fingers):
        tip = (0.0, 0.0, 0.06 + 0.5 * radius_m)
        world.add_rod(world.add_driven_body(finger), "skin", 0.008, ORIGIN, tip)
        angle = k * 1.9 + 0.4
        directions.append(add(scale(side, math.cos(angle)), (0, 0, math.sin(angle))))
    open_s = rng.uniform(0.05, 0.12)
    leave_s = rng.uniform(0.15, 0.6)
    leave_by = add(scale(out, rng.uniform(0.0, 0.25)), scale(side, rng.normal(0.0, 0.08)))

    def motion(at_s: float) -> list[Pose]:
        elapsed_s = at_s - time_s
        x = min(1.0, max(0.0, (elapsed_s - 0.02) / leave_s))
        at = add(position, scale(leave_by, x * x * (3 - 2 * x)))
        opened = min(1.0, max(0.0, (elapsed_s + 0.3 * open_s) / open_s))
        lean = 0.05 + 0.75 * opened * opened * (3 - 2 * opened)
        poses: list[Pose] = [(at, NO_ROTATION)]
        for around in directions:
            spread = scale(around, 0.5 * radius_m + 0.022)
            root = add(at, add(scale(out, radius_m + 0.035), spread))
            poses.append((root, align_z(unit(add(scale(out, -1.0), scale(around, lean))))))
        return poses

    world.drive((name, *fingers), motion)
    return Release(
        name=f"object{index}", time_s=time_s, position=position, rotation=_random_rotation(rng)
    )
