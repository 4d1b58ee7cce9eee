"""The catalogue of struck things: boxes, boards, stones, bottles, bowls, bars, bushes, furniture.

How a thing can be hit and answers is in `props.py`; this file only gives shapes, sizes, materials.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from foleyflow.simulation.contacts import Body, Shape
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.props import (
    UP,
    Prop,
    Spot,
    add_box_surfaces,
    egg,
    patch,
    round_side,
    spin,
)
from foleyflow.simulation.motion.rotations import IDENTITY, Vec, add, from_axes

SOLIDS = ("wood", "metal", "plastic", "stone", "ceramic", "glass", "cardboard", "rubber")
# How often a thing is of its clip's own material.
MAIN_SHARE = 0.92
X: Vec = (1.0, 0.0, 0.0)
Y: Vec = (0.0, 1.0, 0.0)


def draw_material(rng: np.random.Generator) -> str:
    """A material of a solid thing, all alike often."""
    return str(rng.choice(SOLIDS))


def main_or_other(rng: np.random.Generator, main: str) -> str:
    """The material of a clip in most cases, else any.

    Args:
        rng: source of chance.
        main: what most things of the clip are made of.

    Source: ours (`MAIN_SHARE`): a clip has one name for its material, which should be true.
    """
    return main if rng.random() < MAIN_SHARE else draw_material(rng)


def make_ground(bench: Puppetry, rng: np.random.Generator) -> Prop:
    """The ground slab, top at z = 0, which can be struck itself."""
    sound = Body(
        name="ground",
        material="stone",
        shape="plate",
        size_m=(2.0, 2.0, 0.15),
        damping=rng.uniform(1.0, 1.4),
    )
    half = (6.0, 6.0, 0.05)
    prop = Prop(bench, "ground", sound, base=((0.0, 0.0, -0.1), (1, 0, 0, 0)), half_m=half)
    bench.geom(prop.body, "box", size=half, look="ground", position=(0.0, 0.0, 0.05))
    prop.offer(1.0, patch((0.0, 0.0, 0.1), UP, X, 0.35, 0.35, half))
    return prop


def _prop(
    bench: Puppetry,
    name: str,
    rng: np.random.Generator,
    place: Vec,
    *,
    material: str,
    shape: Shape,
    half_m: Vec,
    size_m: Vec | None = None,
    hollow: bool = False,
    light: float = 0.0,
    damping: tuple[float, float] = (1.0, 1.4),
) -> Prop:
    sound = Body(
        name=name,
        material=material,
        shape=shape,
        size_m=size_m or (2 * half_m[0], 2 * half_m[1], 2 * half_m[2]),
        hollow=hollow,
        damping=rng.uniform(*damping),
    )
    return Prop(bench, name, sound, base=spin(rng, place), half_m=half_m, light=light)


def _lightness(rng: np.random.Generator, size_m: float) -> float:
    """How strongly a thing of a size answers a hit: 0 (fixed) .. 1.5."""
    if rng.random() < 0.25:
        return 0.0
    return float(np.clip(0.12 / size_m, 0.05, 1.5)) * rng.uniform(0.3, 1.2)


def _box(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    a, b = rng.uniform(0.3, 1.0, 2) * 0.5 * most
    half = (float(a), float(b), float(rng.uniform(0.15, 0.8) * min(a, b) * 1.5))
    made_of = material or draw_material(rng)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="box",
        half_m=half,
        hollow=bool(rng.random() < (0.8 if made_of == "cardboard" else 0.35)),
        light=_lightness(rng, most),
    )
    bench.geom(prop.body, "box", size=half, look=made_of, position=(0, 0, half[2]))
    add_box_surfaces(prop, middle=(0, 0, half[2]), half_m=half)
    return prop


def _board(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    half = (0.5 * most, 0.5 * most * rng.uniform(0.3, 0.8), rng.uniform(0.004, 0.025))
    made_of = material or draw_material(rng)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="plate",
        half_m=half,
        light=_lightness(rng, most),
    )
    bench.geom(prop.body, "box", size=half, look=made_of, position=(0, 0, half[2]))
    add_box_surfaces(prop, middle=(0, 0, half[2]), half_m=half, sides=0.0)
    return prop


def _drum_can(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    radius, height = 0.5 * most * rng.uniform(0.3, 0.8), most * rng.uniform(0.3, 1.0)
    half = (radius, radius, 0.5 * height)
    made_of = material or draw_material(rng)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="cylinder",
        half_m=half,
        hollow=bool(rng.random() < 0.5),
        light=_lightness(rng, most),
    )
    bench.geom(
        prop.body,
        "cylinder",
        size=[radius, 0.5 * height],
        look=made_of,
        position=(0, 0, 0.5 * height),
    )
    prop.offer(1.0, patch((0, 0, height), UP, X, 0.7 * radius, 0.7 * radius, half))
    prop.offer(0.4, round_side(radius, 0.0, height, half))
    return prop


def _bar(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """A bar, pipe or log, on the ground or on two supports."""
    thick = most * rng.uniform(0.03, 0.15)
    raised = rng.uniform(0.05, 0.4) * most if rng.random() < 0.4 else 0.0
    half = (0.5 * most, thick, 0.5 * (raised + 2 * thick))
    made_of = material or str(rng.choice(("metal", "wood", "plastic", "stone")))
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="bar",
        half_m=half,
        size_m=(most, 2 * thick, 2 * thick),
        light=_lightness(rng, most) if raised == 0 else 0.0,
    )
    middle = (0.0, 0.0, raised + thick)
    if rng.random() < 0.5:
        bench.geom(prop.body, "box", size=[half[0], thick, thick], look=made_of, position=middle)
    else:
        ends = (add(middle, (-half[0], 0, 0)), add(middle, (half[0], 0, 0)))
        bench.geom(prop.body, "cylinder", size=[thick], look=made_of, span=ends)
    if raised:
        look = draw_material(rng)
        for side in (-1.0, 1.0):
            bench.geom(
                prop.body,
                "box",
                size=[0.02, max(0.02, thick), 0.5 * raised],
                look=look,
                position=(side * 0.7 * half[0], 0.0, 0.5 * raised),
            )
    prop.offer(1.0, patch((0, 0, raised + 2 * thick), UP, X, half[0], 0.0, half))
    prop.offer(0.25, patch((0, thick, raised + thick), Y, X, half[0], 0.0, half))
    return prop


def _stone(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    half = tuple(float(v) for v in 0.5 * most * rng.uniform((0.5, 0.4, 0.2), (0.9, 0.8, 0.6)))
    made_of = material or str(
        rng.choice(("stone", "rubber", "wood", "plastic", "metal"), p=(0.6, 0.12, 0.1, 0.08, 0.1))
    )
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="sphere",
        half_m=(half[0], half[1], half[2]),
        light=_lightness(rng, most),
        damping=(1.0, 1.4),
    )
    bench.geom(prop.body, "ellipsoid", size=half, look=made_of, position=(0, 0, half[2]))
    prop.offer(1.0, egg((half[0], half[1], half[2])))
    return prop


def _ball(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    radius = 0.5 * most * rng.uniform(0.3, 0.7)
    made_of = material or draw_material(rng)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="sphere",
        half_m=(radius,) * 3,
        hollow=bool(rng.random() < 0.5),
        light=_lightness(rng, most),
    )
    bench.geom(prop.body, "sphere", size=[radius], look=made_of, position=(0, 0, radius))
    prop.offer(1.0, egg((radius,) * 3, 0.2))
    return prop


def _vessel(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """A bowl, cup, plate, pot or bin: open on top, hit on its rim, or upside down on its bottom."""
    made_of = material or str(
        rng.choice(
            ("ceramic", "metal", "glass", "plastic", "wood", "stone"),
            p=(0.25, 0.2, 0.25, 0.2, 0.05, 0.05),
        )
    )
    radius = 0.5 * min(most, 0.45) * rng.uniform(0.5, 1.0)
    height = radius * float(rng.choice((0.25, 0.7, 1.2, 2.2))) * rng.uniform(0.8, 1.2)
    foot, wall = radius * rng.uniform(0.4, 1.0), radius * rng.uniform(0.04, 0.1)
    half = (radius, radius, 0.5 * height)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="bowl",
        half_m=half,
        size_m=(2 * radius, height, wall),
        hollow=True,
        light=_lightness(rng, 2 * radius),
        damping=(1.0, 1.4),
    )
    if rng.random() < 0.3:  # upside down
        bench.revolved(
            prop.body,
            (
                (radius, 0.0),
                (0.5 * (radius + foot) + 0.08 * radius, 0.6 * height),
                (foot, height),
                (0.0, height),
            ),
            look=made_of,
        )
        prop.offer(1.0, patch((0, 0, height), UP, X, 0.6 * foot, 0.6 * foot, half))
        return prop
    bulge = 0.5 * (radius + foot) + 0.1 * radius * rng.uniform(0.0, 1.0)
    bench.revolved(
        prop.body,
        (
            (0.0, 0.0),
            (foot, 0.0),
            (min(bulge, radius), 0.5 * height),
            (radius, height),
            (radius - wall, height),
            (min(bulge, radius) - wall, 0.5 * height),
            (foot - wall, 2 * wall),
            (0.0, 2 * wall),
        ),
        look=made_of,
    )

    def rim(rng: np.random.Generator) -> Spot:
        turn = (rng.integers(18) + 0.5) * 2 * math.pi / 18
        on = (radius - 0.5 * wall) * math.cos(math.pi / 18)
        point = (on * math.cos(turn), on * math.sin(turn), height)
        return Spot(point=point, normal=UP, position=(math.cos(turn), math.sin(turn), 1.0))

    prop.offer(1.0, rim)
    return prop


def _bottle(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    made_of = material or str(
        rng.choice(("glass", "plastic", "metal", "ceramic"), p=(0.45, 0.3, 0.15, 0.1))
    )
    height = min(most, 0.4) * rng.uniform(0.6, 1.0)
    radius = height * rng.uniform(0.12, 0.22)
    neck, shoulder = radius * rng.uniform(0.25, 0.5), height * rng.uniform(0.5, 0.75)
    half = (radius, radius, 0.5 * height)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="cylinder",
        half_m=half,
        hollow=True,
        light=_lightness(rng, height),
        damping=(1.0, 1.4),
    )
    bench.geom(
        prop.body,
        "cylinder",
        size=[radius, 0.5 * shoulder],
        look=made_of,
        position=(0, 0, 0.5 * shoulder),
    )
    bench.revolved(
        prop.body,
        ((radius, shoulder), (neck, 0.5 * (shoulder + height)), (neck, height), (0.0, height)),
        look=made_of,
    )
    prop.offer(1.0, round_side(radius, 0.0, shoulder, half))
    return prop


def _bush(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """Leaves, grass or twigs: soft, wide-swaying, nearly mute."""
    height = most * rng.uniform(0.5, 1.0)
    half = (0.4 * most, 0.4 * most, 0.5 * height)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material="cardboard",
        shape="plate",
        half_m=half,
        size_m=(0.2, 0.1, 0.002),
        light=rng.uniform(1.0, 3.0),
        damping=(6.0, 12.0),
    )
    thick = most * rng.uniform(0.012, 0.03)
    top = (0.0, 0.0, height - thick)
    bench.geom(prop.body, "capsule", size=[thick], look="leaf", span=((0, 0, 0), top))
    for _ in range(int(rng.integers(7, 14))):
        turn, lean = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 1.1)
        size = height * rng.uniform(0.5, 0.95)
        aside = size * math.sin(lean)
        end = (aside * math.cos(turn), aside * math.sin(turn), size * math.cos(lean))
        end = (end[0], end[1], min(end[2], height - 2.5 * thick))
        if rng.random() < 0.6:
            bench.geom(
                prop.body,
                "capsule",
                size=[thick],
                look="leaf",
                span=((0.05 * end[0], 0.05 * end[1], 0.0), end),
            )
        else:
            bench.geom(
                prop.body,
                "ellipsoid",
                size=[0.2 * size, 0.08 * size, 0.01 * size],
                look="leaf",
                position=(end[0] * 0.7, end[1] * 0.7, end[2] * 0.7),
                rotation=from_axes(end, (rng.normal(), rng.normal(), 1.0)),
            )
    prop.offer(1.0, lambda rng: Spot(point=(0.0, 0.0, height), normal=UP, position=(0, 0, 1)))
    return prop


def _pile(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """A heap of blocks or stones around a flat-topped middle one."""
    made_of = material or str(rng.choice(("stone", "wood", "metal", "plastic")))
    half = tuple(float(v) for v in 0.3 * most * rng.uniform(0.5, 1.0, 3))
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="box",
        half_m=(half[0], half[1], half[2]),
        damping=(1.0, 1.4),
    )
    bench.geom(prop.body, "box", size=half, look=made_of, position=(0, 0, half[2]))
    for _ in range(int(rng.integers(3, 8))):
        size = [float(v) for v in half[2] * rng.uniform(0.3, 0.8, 3)]
        turn, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.9, 1.6)
        at = (away * half[0] * math.cos(turn), away * half[1] * math.sin(turn), 0.7 * size[2])
        kind = "ellipsoid" if made_of == "stone" else "box"
        bench.geom(
            prop.body,
            kind,
            size=size,
            look=made_of,
            position=at,
            rotation=from_axes(tuple(rng.normal(size=3)), (0.2, 0.1, 1.0)),
        )
    prop.offer(1.0, patch((0, 0, 2 * half[2]), UP, X, half[0], half[1], prop.half_m))
    return prop


def _chair(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """A chair or stool: seat, four legs, perhaps a back."""
    made_of = material or str(rng.choice(("wood", "metal", "plastic"), p=(0.6, 0.2, 0.2)))
    wide, tall = 0.5 * max(0.25, min(most, 0.5)), rng.uniform(0.25, 0.5)
    half = (wide, wide, 0.5 * tall)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="plate",
        half_m=half,
        size_m=(2 * wide, 2 * wide, 0.03),
        light=_lightness(rng, 1.0),
    )
    seat = (0.0, 0.0, tall - 0.015)
    bench.geom(prop.body, "box", size=[wide, wide, 0.015], look=made_of, position=seat)
    for sx in (-0.85, 0.85):
        for sy in (-0.85, 0.85):
            span = ((sx * wide, sy * wide, 0.0), (sx * wide, sy * wide, tall - 0.02))
            bench.geom(prop.body, "capsule", size=[0.015], look=made_of, span=span)
    if rng.random() < 0.6:
        bench.geom(
            prop.body,
            "box",
            size=[0.012, wide, 0.15],
            look=made_of,
            position=(-wide, 0.0, tall + 0.17),
        )
    prop.offer(1.0, patch((0.4 * wide, 0, tall), UP, Y, 0.7 * wide, 0.35 * wide, half))
    return prop


def _railing(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """A rail on posts."""
    made_of = material or str(rng.choice(("metal", "wood"), p=(0.7, 0.3)))
    long, tall, thick = max(0.4, most), rng.uniform(0.2, 0.8), rng.uniform(0.012, 0.04)
    half = (0.5 * long, thick, 0.5 * tall)
    prop = _prop(
        bench,
        name,
        rng,
        place,
        material=made_of,
        shape="bar",
        half_m=half,
        size_m=(long, 2 * thick, 2 * thick),
        hollow=made_of == "metal",
    )
    top = tall - thick
    bench.geom(
        prop.body,
        "cylinder",
        size=[thick],
        look=made_of,
        span=((-0.5 * long, 0, top), (0.5 * long, 0, top)),
    )
    for k in range(int(rng.integers(2, 6))):
        x = -0.45 * long + 0.9 * long * (k / 4.0)
        bench.geom(
            prop.body, "cylinder", size=[0.7 * thick], look=made_of, span=((x, 0, 0), (x, 0, top))
        )
    prop.offer(1.0, patch((0, 0, tall), UP, X, 0.5 * long, 0.0, half))
    prop.offer(0.3, patch((0, thick, top), Y, X, 0.5 * long, 0.0, half))
    return prop


def _hanging(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    most: float,
    material: str | None,
) -> Prop:
    """A plate, pan or bar that hangs from a frame by two strings, and swings when hit."""
    made_of = material or str(rng.choice(("metal", "wood", "glass", "ceramic", "plastic")))
    wide, tall = 0.5 * most * rng.uniform(0.15, 0.6), 0.5 * most * rng.uniform(0.3, 0.8)
    half = (wide, rng.uniform(0.003, 0.012), tall)
    low, string = rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.2)
    turn = spin(rng, place)
    top = 2 * tall
    sound = Body(
        name=name,
        material=made_of,
        shape="plate",
        size_m=(2 * wide, top, 2 * half[1]),
        damping=rng.uniform(0.5, 1.2),
    )
    prop = Prop(
        bench,
        name,
        sound,
        base=(add(place, (0.0, 0.0, low)), turn[1]),
        half_m=half,
        light=rng.uniform(0.8, 2.5),
        pivot=(0.0, 0.0, top + string),
        swing_hz=(1.0, 2.5),
    )
    bench.geom(prop.body, "box", size=half, look=made_of, position=(0, 0, tall))
    for side in (-0.8, 0.8):
        ends = ((side * wide, 0.0, top), (side * wide, 0.0, top + string))
        bench.geom(prop.body, "capsule", size=[0.0015], look="cloth", span=ends)
    frame = bench.fixed(f"{name}_frame", turn)
    look = str(rng.choice(("wood", "metal")))
    high = low + top + string
    for side in (-1.0, 1.0):
        span = ((side * (wide + 0.06), 0.0, 0.0), (side * (wide + 0.06), 0.0, high))
        bench.geom(frame, "capsule", size=[0.009], look=look, span=span)
    span = ((-wide - 0.06, 0.0, high), (wide + 0.06, 0.0, high))
    bench.geom(frame, "capsule", size=[0.009], look=look, span=span)
    for sign in (-1.0, 1.0):
        face = (0.0, sign * half[1], tall)
        prop.offer(0.5, patch(face, (0.0, sign, 0.0), X, wide, 0.6 * tall, half))
    prop.offer(0.12, patch((0, 0, 0), (0.0, 0.0, -1.0), X, wide, 0.0, half))
    return prop


def make_table(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    height_m: float,
    material: str | None = None,
) -> Prop:
    """A table, counter or block with a flat top at a height, centred on the origin."""
    made_of = material or str(
        rng.choice(("wood", "metal", "plastic", "glass", "stone"), p=(0.4, 0.15, 0.15, 0.15, 0.15))
    )
    half = (rng.uniform(0.3, 0.8), rng.uniform(0.25, 0.5), 0.5 * height_m)
    thick = rng.uniform(0.01, 0.03)
    sound = Body(
        name=name,
        material=made_of,
        shape="plate",
        size_m=(2 * half[0], 2 * half[1], 2 * thick),
        damping=rng.uniform(1.0, 1.4),
    )
    turn = spin(rng, (0.0, 0.0, 0.0)) if rng.random() < 0.7 else IDENTITY
    prop = Prop(bench, name, sound, base=turn, half_m=half)
    if rng.random() < 0.65:
        bench.geom(
            prop.body,
            "box",
            size=[half[0], half[1], thick],
            look=made_of,
            position=(0, 0, height_m - thick),
        )
        for sx in (-0.9, 0.9):
            for sy in (-0.9, 0.9):
                foot = (sx * half[0], sy * half[1], 0.0)
                bench.geom(
                    prop.body,
                    "capsule",
                    size=[0.025],
                    look=made_of,
                    span=(foot, add(foot, (0, 0, height_m - 2 * thick))),
                )
    else:
        bench.geom(prop.body, "box", size=half, look=made_of, position=(0, 0, half[2]))
    prop.offer(1.0, patch((0, 0, height_m), UP, X, half[0] * 0.6, half[1] * 0.6, half))
    return prop


def make_wall(
    bench: Puppetry, rng: np.random.Generator, name: str, place: Vec, *, material: str | None = None
) -> Prop:
    """A wall, door, panel or board that stands upright and faces +y (world)."""
    made_of = material or str(
        rng.choice(
            ("wood", "metal", "plastic", "glass", "stone", "cardboard"),
            p=(0.3, 0.14, 0.14, 0.14, 0.14, 0.14),
        )
    )
    half = (rng.uniform(0.25, 1.2), rng.uniform(0.008, 0.05), rng.uniform(0.4, 1.1))
    sound = Body(
        name=name,
        material=made_of,
        shape="plate",
        size_m=(2 * half[0], 2 * half[2], 2 * half[1]),
        hollow=bool(rng.random() < 0.5),
        damping=rng.uniform(1.0, 1.4),
    )
    prop = Prop(bench, name, sound, base=(place, (1, 0, 0, 0)), half_m=half)
    look = "wall" if made_of == "stone" and rng.random() < 0.5 else made_of
    bench.geom(prop.body, "box", size=half, look=look, position=(0, 0, half[2]))
    height = min(1.2, 1.2 * half[2])
    prop.offer(1.0, patch((0, half[1], height), Y, X, 0.5 * half[0], 0.25, half))
    return prop


Maker = Callable[[Puppetry, np.random.Generator, str, Vec, float, str | None], Prop]
PROPS: dict[str, tuple[float, Maker]] = {
    "box": (0.20, _box),
    "board": (0.08, _board),
    "can": (0.12, _drum_can),
    "bar": (0.10, _bar),
    "stone": (0.09, _stone),
    "ball": (0.05, _ball),
    "vessel": (0.12, _vessel),
    "bottle": (0.06, _bottle),
    "bush": (0.05, _bush),
    "pile": (0.05, _pile),
    "chair": (0.04, _chair),
    "railing": (0.04, _railing),
    "hanging": (0.05, _hanging),
}


def make_prop(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    *,
    place: Vec,
    most_m: float,
    material: str | None = None,
    kind: str | None = None,
) -> Prop:
    """Make a random thing of the catalogue.

    Args:
        bench: the world it is added to.
        rng: source of chance.
        name: unique within the scene.
        place: the middle of its base, world, metres.
        most_m: its largest size.
        material: if given, what it is made of (bushes stay leaves).
        kind: a key of `PROPS`, or any.

    Source: ours.
    """
    if kind is None:
        weights = np.array([weight for weight, _ in PROPS.values()])
        kind = str(rng.choice(list(PROPS), p=weights / weights.sum()))
    return PROPS[kind][1](bench, rng, name, place, most_m, material)
