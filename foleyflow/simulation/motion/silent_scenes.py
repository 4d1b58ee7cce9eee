"""Motion that makes no sound: near misses, waving, swaying, things put down softly, or nothing.

Every scene of this family has an empty contact log; it teaches that motion alone is no impact.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.performers import add_person, arm_motion, make_rig
from foleyflow.simulation.motion.prop_catalogue import make_ground, make_prop, make_table
from foleyflow.simulation.motion.rotations import UPRIGHT, Pose, Vec, about, add, from_axes, scale
from foleyflow.simulation.motion.striking_motion import (
    Manner,
    draw_aims,
    draw_strokes,
    draw_views,
    framed_scene,
    perform,
)
from foleyflow.simulation.motion.trajectories import (
    AFTER_S,
    BEFORE_S,
    Lift,
    Wander,
    Way,
    draw_rhythm,
)
from foleyflow.simulation.scene import Scene


def draw_still(rng: np.random.Generator, duration_s: float) -> Scene:
    """A silent scene.

    Args:
        rng: source of chance.
        duration_s: of the clip.

    Source: ours.
    """
    kind = str(
        rng.choice(
            ("misses", "waving", "pendulums", "placing", "sway", "nothing"),
            p=(0.36, 0.24, 0.1, 0.12, 0.12, 0.06),
        )
    )
    bench = Puppetry("still", duration_s)
    make_ground(bench, rng)
    if kind == "misses":
        return _misses(bench, rng)
    azimuth = rng.uniform(0, 2 * math.pi)
    base: Vec = (0.0, 0.0, 0.0)
    if rng.random() < 0.4:
        base = (0.0, 0.0, make_table(bench, rng, "table", rng.uniform(0.3, 0.9)).top_m)
    most = rng.uniform(0.08, 0.4)
    make_prop(bench, rng, "thing0", place=base, most_m=most)
    height, extent = base[2] + 0.25, rng.uniform(0.3, 0.6)
    if kind == "waving":
        _waving(bench, rng, add(base, (0.0, 0.0, most)), azimuth)
    elif kind == "pendulums":
        _pendulums(bench, rng, base, azimuth)
    elif kind == "placing":
        _placing(bench, rng, base, azimuth)
    elif kind == "sway":
        turn = azimuth + math.pi
        place = (0.5 * math.cos(turn), 0.5 * math.sin(turn), 0.0)
        add_person(bench, rng, "person", place, sway_m=rng.uniform(0.02, 0.15))
        add_bystanders(bench, rng, away_m=0.8, beyond_rad=azimuth)
        height, extent = 0.7, rng.uniform(0.6, 1.0)
    return bench.scene(
        focus_m=(0.0, 0.0, height),
        extent_m=extent,
        azimuth_deg=draw_views(rng, azimuth),
        elevation_deg=(-50.0, -6.0),
    )


def _misses(bench: Puppetry, rng: np.random.Generator) -> Scene:
    """Strokes at a thing that all stop short of it."""
    azimuth = rng.uniform(0, 2 * math.pi)
    tool = str(rng.choice(("stick", "palm", "hammer", "knife", "spoon", "fist")))
    base: Vec = (0.0, 0.0, 0.0)
    if rng.random() < 0.5:
        base = (0.0, 0.0, make_table(bench, rng, "table", rng.uniform(0.3, 0.9)).top_m)
    prop = make_prop(bench, rng, "thing0", place=base, most_m=rng.uniform(0.08, 0.4))
    manner = Manner(outcomes={"miss": 1.0}, hover_m=rng.uniform(0.05, 0.25), roam=0.3)
    rhythm = draw_rhythm(rng, BEFORE_S + 0.6, bench.duration_s + AFTER_S)
    strokes = draw_strokes(rng, rhythm, manner)
    rig = make_rig(bench, rng, "arm", tool=tool)
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    aims = draw_aims(rng, strokes, [prop], back=back, manner=manner, upright=True)
    swings = perform(bench, rng, rig, strokes, aims, hover_m=manner.hover_m)
    prop.settle(rng)
    if rng.random() < 0.4:
        add_bystanders(bench, rng, away_m=1.2, beyond_rad=azimuth)
    return framed_scene(bench, rng, aims, swings, draw_views(rng, azimuth))


def _waving(bench: Puppetry, rng: np.random.Generator, top: Vec, azimuth: float) -> None:
    """One or two arms, with or without tools, that wave and swing through the air."""
    for k in range(int(rng.integers(1, 3))):
        tool = str(rng.choice(("stick", "palm", "hammer", "knife", "spoon", "fist")))
        rig = make_rig(bench, rng, f"arm{k}", tool=tool)
        turn = azimuth + rng.uniform(-0.6, 0.6)
        back: Vec = (math.cos(turn), math.sin(turn), 0.0)
        place = add(top, scale((-back[1], back[0], 0.0), (k - 0.5) * 0.25))
        lift = Lift(BEFORE_S, 0.15)
        way = Way()
        time_s, swing_s = BEFORE_S, rng.uniform(0.15, 0.7)
        while time_s < bench.duration_s + AFTER_S:
            time_s += swing_s * rng.uniform(0.7, 1.4)
            lift.reach(time_s, rng.uniform(0.08, 0.5))
            if rng.random() < 0.3:
                time_s += rng.uniform(0.1, 0.6)
                lift.hold(time_s)
        at_s = BEFORE_S
        while at_s < bench.duration_s + AFTER_S:
            aside = rng.normal(0.0, 0.08, 3)
            up = 0.12 + abs(float(aside[2]))
            at = add(place, (float(aside[0]), float(aside[1]), up))
            stay_s = rng.uniform(0.0, 0.5)
            way.stay(at_s, at_s + stay_s, (at, from_axes(back, (0.0, 0.0, 1.0))))
            at_s += stay_s + rng.uniform(0.25, 1.0)
        shoulder = add(place, (0.6 * back[0], 0.6 * back[1], 0.5))
        wander = Wander(rng, rng.uniform(0.01, 0.05))
        bench.drive(rig.parts, arm_motion(rig, lift, way, wander, shoulder))


def _pendulums(bench: Puppetry, rng: np.random.Generator, base: Vec, azimuth: float) -> None:
    """One to three things on strings that swing free of everything."""
    for k in range(int(rng.integers(1, 4))):
        name = f"pendulum{k}"
        body = bench.driven(name)
        long = rng.uniform(0.25, 0.8)
        look = str(rng.choice(("wood", "metal", "plastic", "rubber", "glass", "leaf", "cloth")))
        shape = str(rng.choice(("sphere", "box", "ellipsoid")))
        size = rng.uniform(0.02, 0.07)
        bench.geom(
            body,
            shape,
            size=[size, size, size * rng.uniform(0.5, 1.0)],
            look=look,
            position=(0, 0, -long),
        )
        bench.geom(body, "capsule", size=[0.002], look="cloth", span=((0, 0, 0), (0, 0, -long)))
        aside = (k - 1) * 0.3
        pivot = add(base, (-aside * math.sin(azimuth), aside * math.cos(azimuth), 0.75 + long))
        direction = rng.uniform(0, 2 * math.pi)
        axis: Vec = (math.cos(direction), math.sin(direction), 0.0)
        wide, phase = rng.uniform(0.05, 0.5), rng.uniform(0, 2 * math.pi)
        rate = math.sqrt(9.81 / long)

        def motion(
            time_s: float,
            pivot: Vec = pivot,
            axis: Vec = axis,
            wide: float = wide,
            rate: float = rate,
            phase: float = phase,
        ) -> list[Pose]:
            return [(pivot, about(axis, wide * math.sin(rate * time_s + phase)))]

        bench.drive((name,), motion)


def _placing(bench: Puppetry, rng: np.random.Generator, base: Vec, azimuth: float) -> None:
    """A hand that carries a thing about and puts it down softly, again and again."""
    rig = make_rig(bench, rng, "arm", tool="palm")
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    turn = from_axes(back, (0.0, 0.0, 1.0))
    half = rng.uniform(0.015, 0.04)
    thing = bench.driven("carried")
    look = str(rng.choice(("wood", "metal", "plastic", "rubber", "glass", "ceramic", "cardboard")))
    shape = "box" if rng.random() < 0.6 else "cylinder"
    size = [half, half, half] if shape == "box" else [half, half]
    bench.geom(thing, shape, size=size, look=look)
    lift = Lift(BEFORE_S, 0.0)
    way = Way()
    time_s = BEFORE_S
    side = scale((-back[1], back[0], 0.0), 1.0)
    while time_s < bench.duration_s + AFTER_S:
        where = add(
            base, add(scale(side, rng.uniform(0.15, 0.4)), scale(back, rng.uniform(0, 0.2)))
        )
        stay_s, move_s = rng.uniform(0.1, 0.8), rng.uniform(0.8, 1.8)
        way.stay(time_s, time_s + stay_s, (add(where, (0, 0, 2 * half)), turn))
        lift.hold(time_s + stay_s)
        lift.reach(time_s + stay_s + 0.5 * move_s, rng.uniform(0.03, 0.2))
        lift.reach(time_s + stay_s + move_s, 0.0)
        time_s += stay_s + move_s
    shoulder = add(base, (0.6 * back[0], 0.6 * back[1], 0.5))
    still = Wander(rng, 0.0)
    arm = arm_motion(rig, lift, way, still, shoulder)

    def motion(at_s: float) -> list[Pose]:
        place, _ = way.at(at_s)
        height = lift.at(at_s)
        return [*arm(at_s), (add(place, (0.0, 0.0, height - half)), UPRIGHT)]

    bench.drive((*rig.parts, "carried"), motion)
