"""Things that fall, bounce, tumble and come to rest, simulated by MuJoCo.

Rolling balls on slopes are in `rolls.py`. What falls comes out of a hand that opens, or is thrown
in from outside the picture.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

from foleyflow.simulation.contacts import Body, Shape
from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.prop_catalogue import draw_material, main_or_other
from foleyflow.simulation.motion.rigid_bodies import (
    DENSITY,
    GRAVITY_MPS2,
    Heard,
    Recording,
    Release,
    contact_settings,
    listen,
    prepare,
    simulate,
)
from foleyflow.simulation.motion.rotations import (
    UPRIGHT,
    Pose,
    Quat,
    Vec,
    about,
    add,
    aim,
    lerp,
    scale,
    unit,
)
from foleyflow.simulation.scene import Performance, Scene

BEFORE_S = -0.9


def add_free_body(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    *,
    material: str,
    shape: str | None = None,
    size_m: float | None = None,
) -> float:
    """Add one free body to a simulated world.

    Args:
        bench: the world.
        rng: source of chance.
        name: of the body; its joint is `NAME_free`.
        material: of `contacts.MATERIALS`.
        shape: a key of `puppet.GEOMS`, or any.
        size_m: radius of the sphere around it, or any from 1.5 to 12 cm.

    Returns:
        The radius of the sphere around it, metres.

    Source: ours.
    """
    shape = shape or str(
        rng.choice(
            ("box", "sphere", "capsule", "cylinder", "ellipsoid"), p=(0.32, 0.28, 0.1, 0.2, 0.1)
        )
    )
    size = size_m or 0.015 * 8.0 ** rng.random()
    half: list[float]
    full: Vec
    sound: Shape
    if shape == "sphere":
        half, full, sound = [size], (2 * size, 2 * size, 2 * size), "sphere"
    elif shape == "capsule":
        thick = size * rng.uniform(0.25, 0.5)
        half, full, sound = [thick, size - thick], (2 * size, 2 * thick, 2 * thick), "capsule"
    elif shape == "cylinder":
        angle = rng.uniform(0.12, 1.45)
        half = [size * math.cos(angle), size * math.sin(angle)]
        flat = half[1] < 0.3 * half[0]
        full, sound = (2 * half[0], 2 * half[0], 2 * half[1]), "plate" if flat else "cylinder"
    else:
        extents = unit(tuple(float(v) for v in rng.uniform(0.25, 1.0, 3)))  # type: ignore[arg-type]
        half = [size * value for value in extents]
        full, sound = (2 * half[0], 2 * half[1], 2 * half[2]), "box" if shape == "box" else "sphere"
    body = bench.spec.worldbody.add_body(name=name)
    body.add_joint(name=f"{name}_free", type=mujoco.mjtJoint.mjJNT_FREE)
    geom_name = bench.geom(body, shape, size=half, look=material)
    solidify(bench, geom_name, material)
    solid_kg = DENSITY[material] * full[0] * full[1] * full[2] * 0.6
    heaviest_kg = 0.05 * 30.0 ** rng.random()
    hollow = bool(rng.random() < 0.3) or solid_kg > 3.0 * heaviest_kg
    lighter = min(0.3 if hollow else 1.0, heaviest_kg / solid_kg)
    bench.spec.geom(geom_name).density = max(20.0, DENSITY[material] * lighter)
    bench.bodies[name] = Body(
        name=name, material=material, shape=sound, size_m=full, hollow=hollow, damping=1.0
    )
    return size if shape in ("sphere", "capsule") else float(np.linalg.norm(half))


def solidify(bench: Puppetry, geom_name: str, material: str) -> None:
    """Let a geom collide as its material does."""
    geom = bench.spec.geom(geom_name)
    geom.contype, geom.conaffinity = 1, 1
    for key, value in contact_settings(material).items():
        setattr(geom, key, value)


def add_solid(
    bench: Puppetry,
    name: str,
    *,
    material: str,
    half_m: Vec,
    pose: Pose,
    look: str | None = None,
    damping: float = 2.0,
) -> None:
    """Add a fixed box that sounds and that free bodies hit; its middle is at the pose.

    Source: ours.
    """
    body = bench.fixed(name, pose)
    geom_name = bench.geom(body, "box", size=half_m, look=look or material)
    solidify(bench, geom_name, material)
    bench.bodies[name] = Body(
        name=name,
        material=material,
        shape="plate",
        size_m=(2 * half_m[0], 2 * half_m[1], 2 * half_m[2]),
        damping=damping,
    )


def finish(
    bench: Puppetry,
    recording: Recording,
    heard: Heard,
    *,
    middle_m: Vec,
    extent_m: float,
    elevation_deg: tuple[float, float] = (-55.0, -6.0),
) -> Scene:
    """The scene of a simulated world, framed so that most of what is heard is seen.

    Args:
        bench: the world, with driven bodies beside the simulated ones.
        recording: of the simulated ones.
        heard: its contacts; those far outside the picture are left out.
        middle_m: where the action is meant to be.
        extent_m: how much the picture should hold, at least.
        elevation_deg: of the camera.

    Source: ours.
    """
    focus = middle_m
    seen = heard.within(middle_m, 2.5 * extent_m + 0.3)
    if seen.impacts:
        weight = np.sqrt([impact.impulse_ns for impact in seen.impacts])
        centre = (weight[:, None] * seen.impact_places_m).sum(0) / weight.sum()
        focus = lerp(middle_m, tuple(float(v) for v in centre), 0.6)  # type: ignore[arg-type]
        away = np.linalg.norm(seen.impact_places_m - focus, axis=1)
        extent_m = max(extent_m, 0.9 * float(np.quantile(away, 0.7)))
    seen = heard.within(focus, 1.3 * extent_m)
    bench.impacts.extend(seen.impacts)
    bench.frictions.extend(seen.frictions)
    focus_m = add(focus, (0.0, 0.0, 0.3 * extent_m))
    still = bench.scene(focus_m=focus_m, extent_m=extent_m, elevation_deg=elevation_deg)
    driven = still.play

    def play(model: mujoco.MjModel) -> Performance:
        performance = driven(model)
        simulated = recording.posing(model)

        def pose(data: mujoco.MjData, time_s: float) -> None:
            performance.pose(data, time_s)
            simulated(data, time_s)

        return Performance(log=performance.log, pose=pose)

    return Scene(
        spec=still.spec,
        kind=still.kind,
        duration_s=still.duration_s,
        looks=still.looks,
        focus_m=focus_m,
        extent_m=extent_m,
        azimuth_deg=still.azimuth_deg,
        elevation_deg=elevation_deg,
        play=play,
    )


def random_turn(rng: np.random.Generator) -> Quat:
    """A uniformly random orientation."""
    w, x, y, z = (float(v) for v in rng.standard_normal(4))
    size = math.sqrt(w * w + x * x + y * y + z * z)
    return (w / size, x / size, y / size, z / size)


def draw_drops(rng: np.random.Generator, duration_s: float) -> Scene:
    """A drop scene: one to six things fall onto floor, table, slope or onto each other.

    Args:
        rng: source of chance.
        duration_s: of the clip.

    Source: ours.
    """
    bench = Puppetry("drop", duration_s)
    prepare(bench.spec)
    main = draw_material(rng)
    usual = 0.02 * 5.0 ** rng.random()
    top_m = _add_landing(bench, rng, main, usual)
    count = int(rng.choice((1, 2, 3, 4, 5, 6), p=(0.34, 0.28, 0.18, 0.1, 0.06, 0.04)))
    moments = np.sort(rng.uniform(-0.5, duration_s - 0.4, count))
    moments[0] = min(moments[0], rng.uniform(-0.4, 1.2))
    spread = usual * rng.uniform(0.3, 2.0)
    releases = []
    for index in range(count):
        name = f"object{index}"
        made_of = main_or_other(rng, main)
        size = usual * 0.8 * 2.0 ** rng.random()
        radius = add_free_body(bench, rng, name, material=made_of, size_m=size)
        aside = rng.normal(0.0, spread, 2)
        target = (float(aside[0]), float(aside[1]), top_m)
        if rng.random() < (0.6 if index == 0 else 0.15):
            release = _from_hand(bench, rng, index, float(moments[index]), target, radius)
        else:
            release = _thrown(rng, name, float(moments[index]), target, radius, 6.0 * usual)
        releases.append(release)
    if rng.random() < 0.3:
        add_bystanders(bench, rng, away_m=1.3)
    model = bench.spec.compile()
    recording = simulate(model, releases, start_s=BEFORE_S, end_s=duration_s)
    extent = min(usual * rng.uniform(3.5, 7.0) + 0.5 * spread, 0.9)
    return finish(
        bench, recording, listen(model, recording), middle_m=(0.0, 0.0, top_m), extent_m=extent
    )


def _add_landing(bench: Puppetry, rng: np.random.Generator, main: str, usual_m: float) -> float:
    """Floor, and perhaps a table, a slope or blocks on it; returns the height things fall on."""
    floor = str(rng.choice(("stone", "wood", "ceramic", "plastic"), p=(0.4, 0.4, 0.12, 0.08)))
    add_solid(
        bench,
        "ground",
        material=floor,
        half_m=(6.0, 6.0, 0.05),
        pose=((0, 0, -0.05), UPRIGHT),
        look="ground",
        damping=rng.uniform(2.0, 6.0),
    )
    top_m = 0.0
    turn = about((0.0, 0.0, 1.0), rng.uniform(0, 2 * math.pi))
    where = rng.random()
    if where < 0.4:
        half = (rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.5), rng.uniform(0.008, 0.03))
        top_m = rng.uniform(0.1, 0.8)
        made_of = main if rng.random() < 0.3 else draw_material(rng)
        add_solid(
            bench, "table", material=made_of, half_m=half, pose=((0, 0, top_m - half[2]), turn)
        )
        leg = bench.spec.body("table")
        for sx in (-0.9, 0.9):
            for sy in (-0.9, 0.9):
                foot = (sx * half[0], sy * half[1], -top_m)
                bench.geom(
                    leg, "capsule", size=[0.02], look=made_of, span=(foot, (foot[0], foot[1], 0.0))
                )
    elif where < 0.55:
        tilt = math.radians(rng.uniform(8, 30))
        axis = (math.cos(rng.uniform(0, 6.28)), math.sin(rng.uniform(0, 6.28)), 0.0)
        half = (rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.5), 0.015)
        top_m = 0.25
        add_solid(
            bench,
            "slope",
            material=draw_material(rng),
            half_m=half,
            pose=((0, 0, top_m - 0.015), about(unit(axis), tilt)),
        )
    for index in range(int(rng.choice((0, 1, 2), p=(0.65, 0.2, 0.15)))):
        half = tuple(float(v) for v in usual_m * rng.uniform(0.5, 2.2, 3))  # type: ignore[assignment]
        aside = rng.normal(0.0, 3.0 * usual_m, 2)
        at = (float(aside[0]), float(aside[1]), top_m + half[2])
        add_solid(bench, f"block{index}", material=draw_material(rng), half_m=half, pose=(at, turn))
    return top_m


def _thrown(
    rng: np.random.Generator, name: str, time_s: float, target: Vec, radius: float, size_m: float
) -> Release:
    """A throw from outside a picture of a size that comes down near a target."""
    turn = rng.uniform(0, 2 * math.pi)
    aside = rng.random() < 0.6
    far = size_m * rng.uniform(1.2, 2.2) if aside else 0.1 * rng.random()
    high = rng.uniform(0.25, 1.0) if aside else rng.uniform(0.7, 1.5)
    start = add(target, (far * math.cos(turn), far * math.sin(turn), high + radius))
    rise = rng.uniform(-0.5, 2.0) if aside else 0.0
    flight_s = (rise + math.sqrt(rise * rise + 2.0 * GRAVITY_MPS2 * high)) / GRAVITY_MPS2
    onward = scale((math.cos(turn), math.sin(turn), 0.0), -far / flight_s)
    return Release(
        name=name,
        time_s=time_s,
        place=start,
        turn=random_turn(rng),
        speed=add(onward, (0.0, 0.0, rise)),
        spin=tuple(float(v) for v in rng.normal(0.0, 5.0, 3)),  # type: ignore[arg-type]
    )


def _from_hand(
    bench: Puppetry,
    rng: np.random.Generator,
    index: int,
    time_s: float,
    target: Vec,
    radius: float,
) -> Release:
    """A hand that holds a thing over the target, opens, and goes away."""
    high = 0.08 * 7.0 ** rng.random() + radius
    place = add(target, (0.0, 0.0, high))
    azimuth, rise = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.0)
    out = (math.cos(azimuth) * math.cos(rise), math.sin(azimuth) * math.cos(rise), math.sin(rise))
    name = f"hand{index}"
    body = bench.driven(name)
    grip = scale(out, radius + 0.02)
    bench.geom(
        body,
        "ellipsoid",
        size=[0.03, 0.045, 0.055],
        look="skin",
        position=add(grip, scale(out, 0.045)),
        rotation=aim(out),
    )
    far = add(grip, scale(out, 0.38))
    near = add(grip, scale(out, 0.1))
    bench.geom(body, "capsule", size=[0.027], look="skin", span=(near, add(near, scale(out, 0.06))))
    look = str(rng.choice(("skin", "cloth")))
    bench.geom(
        body,
        "capsule",
        size=[0.036],
        look=look,
        span=(add(near, scale(out, 0.06)), add(far, scale(out, 0.3))),
    )
    side = unit((-math.sin(azimuth), math.cos(azimuth), 0.0))
    fingers = []
    for k in range(4):
        finger = f"{name}_finger{k}"
        thing = bench.driven(finger)
        reach = 0.06 + 0.5 * radius
        bench.geom(thing, "capsule", size=[0.008], look="skin", span=((0, 0, 0), (0.0, 0.0, reach)))
        around = add(scale(side, math.cos(k * 1.9 + 0.4)), (0, 0, math.sin(k * 1.9 + 0.4)))
        fingers.append((finger, around))
    open_s = rng.uniform(0.05, 0.12)
    leave_s = rng.uniform(0.15, 0.6)
    away = add(scale(out, rng.uniform(0.0, 0.25)), scale(side, rng.normal(0.0, 0.08)))

    def motion(time_at_s: float) -> list[Pose]:
        since_s = time_at_s - time_s
        x = min(1.0, max(0.0, (since_s - 0.02) / leave_s))
        at = add(place, scale(away, x * x * (3 - 2 * x)))
        opened = min(1.0, max(0.0, (since_s + 0.3 * open_s) / open_s))
        poses: list[Pose] = [(at, UPRIGHT)]
        for _, around in fingers:
            lean = 0.05 + 0.75 * opened * opened * (3 - 2 * opened)
            root = add(at, add(scale(out, radius + 0.035), scale(around, 0.5 * radius + 0.022)))
            direction = unit(add(scale(out, -1.0), scale(around, lean)))
            poses.append((root, aim(direction)))
        return poses

    bench.drive((name, *(finger for finger, _ in fingers)), motion)
    return Release(name=f"object{index}", time_s=time_s, place=place, turn=random_turn(rng))
