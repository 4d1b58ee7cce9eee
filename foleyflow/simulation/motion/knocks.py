"""Knocking, slapping and stomping: groups of even hits on doors, walls, tables and floors.

Hits with tools are in `strikes.py`.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.performers import make_rig
from foleyflow.simulation.motion.prop_catalogue import make_ground, make_prop, make_table, make_wall
from foleyflow.simulation.motion.props import Prop
from foleyflow.simulation.motion.rotations import Vec
from foleyflow.simulation.motion.striking_motion import (
    Manner,
    draw_aims,
    draw_silent,
    draw_strokes,
    draw_views,
    framed_scene,
    perform,
)
from foleyflow.simulation.motion.trajectories import AFTER_S, BEFORE_S
from foleyflow.simulation.scene import Scene


def draw_knocks(rng: np.random.Generator, duration_s: float) -> Scene:
    """A knocking scene: knuckles or palm on a door or table, or a foot on the floor.

    Args:
        rng: source of chance.
        duration_s: of the clip.

    Source: ours.
    """
    bench = Puppetry("knock", duration_s)
    ground = make_ground(bench, rng)
    azimuth = rng.uniform(0, 2 * math.pi)
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    views = draw_views(rng, azimuth)
    what = str(rng.choice(("door", "table", "stomp", "box"), p=(0.5, 0.25, 0.15, 0.1)))
    tool = "foot" if what == "stomp" else ("fist" if rng.random() < 0.7 else "palm")
    target: Prop
    if what == "door":
        target = make_wall(bench, rng, "door", (0.0, 0.0, 0.0))
        _add_fittings(bench, rng, target)
        side = rng.uniform(-0.9, 0.9)
        back = (side, 0.3, -1.0 if rng.random() < 0.7 else rng.uniform(-0.3, 0.6))
        views = (-160.0, -118.0) if rng.random() < 0.5 else (-62.0, -20.0)
    elif what == "table":
        target = make_table(bench, rng, "table", rng.uniform(0.4, 0.9))
    elif what == "stomp":
        target = ground
        if rng.random() < 0.5:
            target = make_prop(
                bench, rng, "thing0", place=(0.0, 0.0, 0.0), most_m=0.7, kind="board"
            )
    else:
        target = make_prop(
            bench, rng, "thing0", place=(0.0, 0.0, 0.0), most_m=rng.uniform(0.2, 0.6), kind="box"
        )
    silent = draw_silent(rng, chance=0.3, most=0.3)
    manner = Manner(
        speed_mps=(0.7, 2.5) if tool == "fist" else (0.7, 3.5),
        down_s=(0.06, 0.15),
        outcomes={"bounce": 0.9, "rest": 0.1, **silent},
        rebound=(0.1, 0.6) if tool != "foot" else (0.0, 0.15),
        hover_m=rng.uniform(0.03, 0.12),
        roam=0.1,
        jitter_m=0.01,
    )
    slow = 0.5 if tool == "foot" else 1.0
    rhythm = _groups(rng, BEFORE_S + 0.5, duration_s + AFTER_S, slow)
    strokes = draw_strokes(rng, rhythm, manner)
    rig = make_rig(bench, rng, "arm", tool=tool)
    aims = draw_aims(rng, strokes, [target], back=back, manner=manner, upright=what != "door")
    swings = perform(
        bench, rng, rig, strokes, aims, hover_m=manner.hover_m, slides=False, highest_m=0.3
    )
    target.settle(rng)
    if rng.random() < 0.3:
        beyond = -0.5 * math.pi if what == "door" else azimuth
        add_bystanders(bench, rng, away_m=1.5, beyond_rad=beyond)
    return framed_scene(bench, rng, aims, swings, views)


def _groups(
    rng: np.random.Generator, start_s: float, end_s: float, slow: float
) -> list[tuple[float, float]]:
    """Groups of two to five hits at 2.5 to 6 per second, with pauses."""
    period_s = 1.0 / (slow * rng.uniform(2.5, 6.0))
    usual = int(rng.integers(2, 6))
    time_s, hits = start_s + rng.uniform(0.0, 1.2), []
    while time_s < end_s:
        for _ in range(usual if rng.random() < 0.6 else int(rng.integers(2, 6))):
            hits.append((time_s, rng.uniform(0.75, 1.2)))
            time_s += period_s * rng.uniform(0.93, 1.07)
        time_s += rng.uniform(0.35, 1.6)
    return [hit for hit in hits if hit[0] < end_s]


def _add_fittings(bench: Puppetry, rng: np.random.Generator, door: Prop) -> None:
    """Handle and panels of a door."""
    wide, thick, tall = door.half_m
    if rng.random() < 0.6:
        side = 0.85 * wide * (1.0 if rng.random() < 0.5 else -1.0)
        ends = ((side, thick + 0.04, 0.95), (side - math.copysign(0.1, side), thick + 0.04, 0.95))
        bench.geom(door.body, "capsule", size=[0.01], look="metal", span=ends)
        bench.geom(door.body, "sphere", size=[0.025], look="metal", position=(side, thick, 0.95))
    if rng.random() < 0.5:
        look = "cloth" if rng.random() < 0.2 else bench.looks[f"{door.name}_0"]
        for height in (0.25 * tall, 1.85 * tall):
            bench.geom(
                door.body,
                "box",
                size=[0.7 * wide, 0.006, 0.12 * tall],
                look=look,
                position=(0.0, thick, height),
            )
