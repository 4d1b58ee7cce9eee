"""Drumming: kits, congas, buckets and mallet instruments, played by two arms in patterns.

Single taps on everyday things are in `strikes.py`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from foleyflow.simulation.contacts import Body
from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.performers import add_person, make_rig
from foleyflow.simulation.motion.prop_catalogue import (
    draw_material,
    main_or_other,
    make_ground,
    make_prop,
)
from foleyflow.simulation.motion.props import UP, Prop, Spot, patch
from foleyflow.simulation.motion.rotations import (
    UPRIGHT,
    Pose,
    Vec,
    about,
    add,
    from_axes,
    multiply,
    scale,
)
from foleyflow.simulation.motion.striking_motion import Aim, draw_views, framed_scene, perform
from foleyflow.simulation.motion.trajectories import AFTER_S, BEFORE_S, Stroke, Swing
from foleyflow.simulation.scene import Scene

Note = tuple[float, int, float]
X: Vec = (1.0, 0.0, 0.0)


def draw_drums(rng: np.random.Generator, duration_s: float) -> Scene:
    """A drumming scene: one to six instruments, two arms, 1.5 to 8 hits a second.

    Args:
        rng: source of chance.
        duration_s: of the clip.

    Source: ours.
    """
    bench = Puppetry("drum", duration_s)
    make_ground(bench, rng)
    azimuth = rng.uniform(0, 2 * math.pi)
    kind = str(rng.choice(("kit", "hand drums", "things", "mallets"), p=(0.45, 0.25, 0.16, 0.14)))
    if kind == "kit":
        props = _kit(bench, rng, azimuth)
    elif kind == "hand drums":
        props = _hand_drums(bench, rng, azimuth)
    elif kind == "things":
        props = _things(bench, rng, azimuth)
    else:
        props = _mallet_bars(bench, rng, azimuth)
    bare = kind == "hand drums" and rng.random() < 0.85
    tool = "palm" if bare else ("spoon" if kind == "mallets" and rng.random() < 0.6 else "stick")
    notes = _pattern(rng, len(props), duration_s)
    aims, swings = _play(bench, rng, props, notes, azimuth, tool)
    for prop in props:
        prop.settle(rng)
    if rng.random() < 0.4:
        far = rng.uniform(0.75, 0.95)
        place = (far * math.cos(azimuth), far * math.sin(azimuth), 0.0)
        add_person(bench, rng, "drummer", place, sway_m=rng.uniform(0.005, 0.05))
    if rng.random() < 0.3:
        add_bystanders(bench, rng, away_m=1.4, beyond_rad=azimuth)
    return framed_scene(bench, rng, aims, swings, draw_views(rng, azimuth), zoom=1.4)


def _play(
    bench: Puppetry,
    rng: np.random.Generator,
    props: list[Prop],
    notes: list[Note],
    azimuth: float,
    tool: str,
) -> tuple[list[Aim], list[Swing]]:
    """Share the notes between two arms (one, at times) and perform them."""
    count = 1 if rng.random() < 0.15 else 2
    hands: list[list[Note]] = [[] for _ in range(count)]
    for note in notes:
        order = sorted(range(count), key=lambda k: hands[k][-1][0] if hands[k] else -99.0)
        if count == 2 and rng.random() < 0.25:
            order.reverse()
        for k in order:
            gap_s = note[0] - hands[k][-1][0] if hands[k] else 9.0
            if gap_s > (0.13 if hands[k] and hands[k][-1][1] == note[1] else 0.17):
                hands[k].append(note)
                break
    loud = 1.0 * 4.0 ** rng.random()
    power, down_s = rng.uniform(1.8, 3.0), rng.uniform(0.07, 0.2)
    rebound = rng.uniform(0.25, 0.75) if tool != "palm" else rng.uniform(0.1, 0.5)
    hover_m = rng.uniform(0.03, 0.15)
    armed = tool == "palm" or bool(rng.random() < 0.92)
    homes = [[prop.draw_spot(rng) for prop in props] for _ in range(count)]
    material = "wood" if tool == "stick" and rng.random() < 0.85 else None
    every: list[tuple[Aim, Swing]] = []
    planned = []
    misses = rng.uniform(0.05, 0.25) if rng.random() < 0.3 else 0.0
    for k in range(count):
        if not hands[k]:
            continue
        turn = azimuth + (k - 0.5) * rng.uniform(0.3, 0.9) * (1 if count == 2 else 0)
        back: Vec = (math.cos(turn), math.sin(turn), 0.0)
        rig = make_rig(bench, rng, f"arm{k}", tool=tool, armed=armed, material=material)
        strokes = [
            Stroke(
                hit_s=time_s,
                speed_mps=float(np.clip(loud * accent * rng.uniform(0.8, 1.2), 0.5, 7.0)),
                outcome="miss"
                if rng.random() < misses
                else ("rest" if rng.random() < 0.06 else "bounce"),
                rebound=float(np.clip(rebound * rng.uniform(0.8, 1.2), 0.05, 0.85)),
                dwell_s=0.03,
                power=power,
                down_s=down_s * rng.uniform(0.85, 1.2),
                miss_m=rng.uniform(0.03, 0.1),
            )
            for time_s, _, accent in hands[k]
        ]
        aims = [
            Aim(
                prop=props[index],
                spot=_beside(rng, homes[k][index]),
                back=back,
                slide=(0.0, 0.0, 0.0),
            )
            for _, index, _ in hands[k]
        ]
        planned.append((rig, strokes, aims))
    for rig, strokes, aims in planned:
        swings = perform(bench, rng, rig, strokes, aims, hover_m=hover_m, highest_m=0.45)
        every += list(zip(aims, swings, strict=True))
    return [aim for aim, _ in every], [swing for _, swing in every]


def _beside(rng: np.random.Generator, spot: Spot) -> Spot:
    """A little off a spot, along its surface."""
    step = float(np.clip(rng.normal(0.0, 0.012), -0.03, 0.03))
    if abs(step) > 0.8 * spot.room_m:
        return spot
    return replace(
        spot, point=add(spot.point, scale(spot.along, step)), room_m=spot.room_m - abs(step)
    )


def _pattern(rng: np.random.Generator, count: int, duration_s: float) -> list[Note]:
    """A looped pattern on a grid with accents, rests, small timing errors and fills."""
    step_s = 0.105 * (3.2 ** rng.random())
    beats = int(rng.choice((4, 6, 8, 8, 12, 16)))
    density = rng.uniform(0.5, 1.0)
    sloppy = rng.uniform(0.0, 0.012)
    loop: list[list[tuple[int, float]]] = []
    for beat in range(beats):
        notes = []
        if rng.random() < density or beat == 0:
            main = 0 if rng.random() < 0.55 else int(rng.integers(count))
            notes.append((main, 1.25 if beat % 4 == 0 else rng.uniform(0.5, 1.0)))
            if count > 1 and rng.random() < 0.15:
                notes.append((int(rng.integers(count)), rng.uniform(0.5, 1.0)))
        loop.append(notes)
    every: list[Note] = []
    time_s, beat = BEFORE_S + 0.5 + rng.uniform(0.0, step_s), int(rng.integers(beats))
    rest_until = -9.0
    while time_s < duration_s + AFTER_S:
        fill = rng.random() < 0.03
        for index, accent in loop[beat % beats]:
            if time_s >= rest_until:
                late = sloppy * rng.standard_normal()
                every.append((time_s + late, int(rng.integers(count)) if fill else index, accent))
        if rng.random() < 0.015:
            rest_until = time_s + rng.uniform(0.3, 1.2)
        beat += 1
        time_s += step_s
    return sorted(every)


def _drum(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    place: Vec,
    radius: float,
    depth: float,
    *,
    tilt: Pose | None = None,
    standing: bool = False,
) -> Prop:
    """A drum whose membrane is at the top of its own frame."""
    half = (radius, radius, 0.5 * depth)
    sound = Body(
        name=name,
        material="membrane",
        shape="membrane",
        size_m=(2 * radius, 2 * radius, depth),
        hollow=True,
        damping=rng.uniform(1.0, 2.5),
    )
    base = tilt or (place, UPRIGHT)
    prop = Prop(bench, name, sound, base=base, half_m=half)
    shell = str(rng.choice(("wood", "metal", "plastic"), p=(0.5, 0.2, 0.3)))
    bench.geom(
        prop.body,
        "cylinder",
        size=[radius * 1.02, 0.5 * depth - 0.003],
        look=shell,
        position=(0, 0, 0.5 * depth - 0.003),
    )
    bench.geom(
        prop.body, "cylinder", size=[radius, 0.004], look="membrane", position=(0, 0, depth - 0.004)
    )
    if rng.random() < 0.7:
        bench.geom(
            prop.body,
            "cylinder",
            size=[radius * 1.05, 0.012],
            look="metal",
            position=(0, 0, depth - 0.02),
        )
    if standing:
        foot = bench.fixed(f"{name}_stand", ((place[0], place[1], 0.0), UPRIGHT))
        bench.geom(foot, "capsule", size=[0.012], look="metal", span=((0, 0, 0), (0, 0, place[2])))
    prop.offer(1.0, patch((0, 0, depth), UP, X, 0.6 * radius, 0.6 * radius, half))
    return prop


def _cymbal(bench: Puppetry, rng: np.random.Generator, name: str, place: Vec, tilt: Pose) -> Prop:
    """A thin tilted disc that swings on its stand after a hit."""
    radius = rng.uniform(0.12, 0.25)
    half = (radius, radius, 0.004)
    sound = Body(
        name=name,
        material="metal",
        shape="plate",
        size_m=(2 * radius, 2 * radius, 0.0015),
        damping=rng.uniform(0.6, 1.5),
    )
    prop = Prop(
        bench,
        name,
        sound,
        base=tilt,
        half_m=half,
        light=rng.uniform(1.0, 2.5),
        pivot=(0.0, 0.0, 0.006),
        swing_hz=(1.5, 4.5),
    )
    bench.geom(prop.body, "cylinder", size=[radius, 0.002], look="metal", position=(0, 0, 0.006))
    bench.geom(
        prop.body, "ellipsoid", size=[0.035, 0.035, 0.018], look="metal", position=(0, 0, 0.006)
    )
    stand = bench.fixed(f"{name}_stand", ((place[0], place[1], 0.0), UPRIGHT))
    bench.geom(stand, "capsule", size=[0.009], look="metal", span=((0, 0, 0), (0, 0, place[2])))
    prop.offer(1.0, patch((0.65 * radius, 0, 0.008), UP, (0.0, 1.0, 0.0), 0.3 * radius, 0.05, half))
    return prop


def _facing(place: Vec, azimuth: float, lean: float) -> Pose:
    """A frame at a place whose x points to an azimuth and whose top leans that way."""
    towards: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    top = add(UP, scale(towards, math.tan(lean)))
    return (place, from_axes(towards, top))


def _kit(bench: Puppetry, rng: np.random.Generator, azimuth: float) -> list[Prop]:
    """A snare or pad, toms, cymbals, a block, in an arc around the drummer."""
    high = rng.uniform(0.45, 0.7)
    radius = rng.uniform(0.12, 0.2)
    depth = rng.uniform(0.08, 0.2)
    props = [_drum(bench, rng, "drum0", (0, 0, high - depth), radius, depth, standing=True)]
    for index in range(1, int(rng.choice((1, 2, 3, 4, 5, 6), p=(0.2, 0.2, 0.2, 0.2, 0.1, 0.1)))):
        turn = azimuth + math.pi + (index - 2.5) * 0.75 + rng.uniform(-0.2, 0.2)
        far = radius + rng.uniform(0.2, 0.3)
        place = (far * math.cos(turn), far * math.sin(turn), high + rng.uniform(-0.05, 0.12))
        name = f"drum{index}"
        kind = rng.random()
        if kind < 0.45:
            up = (1.25 * place[0], 1.25 * place[1], place[2] + rng.uniform(0.05, 0.25))
            tilt = _facing(up, azimuth, rng.uniform(0.0, 0.5))
            props.append(_cymbal(bench, rng, name, up, tilt))
        elif kind < 0.9:
            deep = rng.uniform(0.12, 0.25)
            down = (place[0], place[1], place[2] - deep)
            size = rng.uniform(0.09, 0.16)
            tilt = _facing(down, azimuth, rng.uniform(0.0, 0.4))
            props.append(_drum(bench, rng, name, down, size, deep, tilt=tilt, standing=True))
        else:
            block = make_prop(
                bench,
                rng,
                name,
                place=place,
                most_m=rng.uniform(0.1, 0.2),
                material=str(rng.choice(("wood", "plastic", "metal"))),
                kind="box",
            )
            stand = bench.fixed(f"{name}_stand", ((place[0], place[1], 0.0), UPRIGHT))
            bench.geom(
                stand, "capsule", size=[0.01], look="metal", span=((0, 0, 0), (0, 0, place[2]))
            )
            props.append(_top_only(block))
    return props


def _top_only(prop: Prop) -> Prop:
    """The same prop, to be hit on its first surface (the top) alone."""
    del prop.surfaces[1:]
    return prop


def _hand_drums(bench: Puppetry, rng: np.random.Generator, azimuth: float) -> list[Prop]:
    """One to three tall drums side by side."""
    props = []
    tall = rng.uniform(0.25, 0.75)
    for index in range(int(rng.choice((1, 2, 3), p=(0.4, 0.45, 0.15)))):
        radius = rng.uniform(0.09, 0.16)
        aside = (index % 2 * 2 - 1) * ((index + 1) // 2) * 0.34
        place = (-aside * math.sin(azimuth), aside * math.cos(azimuth), 0.0)
        tilt = _facing(place, azimuth, rng.uniform(0.0, 0.12))
        props.append(_drum(bench, rng, f"drum{index}", place, radius, tall, tilt=tilt))
    return props


def _things(bench: Puppetry, rng: np.random.Generator, azimuth: float) -> list[Prop]:
    """Buckets, pots and boxes as drums, on the ground."""
    props = []
    material = draw_material(rng)
    size = rng.uniform(0.15, 0.35)
    for index in range(int(rng.integers(1, 5))):
        aside = (index % 2 * 2 - 1) * ((index + 1) // 2) * 1.15 * size
        place = (-aside * math.sin(azimuth), aside * math.cos(azimuth), 0.0)
        made_of = main_or_other(rng, material)
        kind = str(rng.choice(("can", "box", "vessel"), p=(0.5, 0.3, 0.2)))
        prop = make_prop(
            bench, rng, f"drum{index}", place=place, most_m=size, material=made_of, kind=kind
        )
        if rng.random() < 0.8:
            _top_only(prop)
        props.append(prop)
    return props


def _mallet_bars(bench: Puppetry, rng: np.random.Generator, azimuth: float) -> list[Prop]:
    """A row of tuned bars, wood or metal, on two rails."""
    material = str(rng.choice(("wood", "metal", "glass", "plastic"), p=(0.4, 0.3, 0.2, 0.1)))
    count, high = int(rng.integers(4, 11)), rng.uniform(0.1, 0.7)
    wide = rng.uniform(0.025, 0.05)
    long, turn = rng.uniform(0.15, 0.3), about(UP, azimuth)
    frame = bench.fixed("frame", ((0, 0, 0), turn))
    span = 0.5 * count * 1.15 * wide
    for x in (-0.3 * long, 0.3 * long):
        bench.geom(
            frame, "box", size=[0.012, span, 0.012], look="wood", position=(x, 0.0, high - 0.012)
        )
    bench.geom(
        frame,
        "box",
        size=[0.4 * long, 0.9 * span, 0.5 * high - 0.015],
        look="wood",
        position=(0.0, 0.0, 0.5 * high - 0.012),
    )
    props = []
    for index in range(count):
        half = (0.5 * long * (1.0 - 0.04 * index), 0.5 * wide, rng.uniform(0.004, 0.009))
        offset = (index - 0.5 * (count - 1)) * 1.15 * wide
        place = (-offset * math.sin(azimuth), offset * math.cos(azimuth), high)
        sound = Body(
            name=f"drum{index}",
            material=material,
            shape="bar",
            size_m=(2 * half[0], 2 * half[1], 2 * half[2]),
            damping=rng.uniform(0.8, 1.5),
        )
        prop = Prop(
            bench,
            f"drum{index}",
            sound,
            base=(place, multiply(turn, UPRIGHT)),
            half_m=half,
            light=rng.uniform(0.0, 0.15),
        )
        bench.geom(prop.body, "box", size=half, look=material, position=(0, 0, half[2]))
        prop.offer(1.0, patch((0, 0, 2 * half[2]), UP, X, 0.5 * half[0], 0.3 * half[1], half))
        props.append(prop)
    order = rng.permutation(count)
    return [props[int(index)] for index in order]
