"""The "knocks" family: groups of even hits of a hand or foot on doors, tables, boxes and floors."""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.held_tool import sample_held_tool
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.prop_catalogue import add_ground, add_prop, add_table, add_wall
from foleyflow.simulation.motion.props import Prop
from foleyflow.simulation.motion.rotations import ORIGIN, horizontal
from foleyflow.simulation.motion.strikers import add_striker
from foleyflow.simulation.motion.striking_motion import (
    StrokeStyle,
    build_framed_scene,
    drive_strokes,
    sample_camera_azimuths,
    sample_silent_outcomes,
    sample_strokes,
    sample_targets,
)
from foleyflow.simulation.motion.trajectories import LEAD_OUT_S, MOTION_START_S
from foleyflow.simulation.scene import Scene


def sample_knocks(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a scene of knuckles or a palm on a door, table or box, or of a foot on the floor."""
    world = KinematicWorld("knock", duration_s, rng)
    ground = add_ground(world)
    azimuth = rng.uniform(0, 2 * math.pi)
    hand_direction = horizontal(azimuth)
    camera_deg = sample_camera_azimuths(rng, azimuth)
    kind = str(rng.choice(("door", "table", "stomp", "box"), p=(0.5, 0.25, 0.15, 0.1)))
    tool = "foot" if kind == "stomp" else ("fist" if rng.random() < 0.7 else "palm")
    # What is struck
    if kind == "door":
        target = add_wall(world, "door")
        _add_fittings(world, target)
        side = rng.uniform(-0.9, 0.9)
        hand_direction = (side, 0.3, -1.0 if rng.random() < 0.7 else rng.uniform(-0.3, 0.6))
        camera_deg = (-160.0, -118.0) if rng.random() < 0.5 else (-62.0, -20.0)
    elif kind == "table":
        target = add_table(world, "table", rng.uniform(0.4, 0.9))
    elif kind == "box":
        max_size = rng.uniform(0.2, 0.6)
        target = add_prop(world, "thing0", position=ORIGIN, max_size_m=max_size, kind="box")
    elif rng.random() < 0.5:
        target = add_prop(world, "thing0", position=ORIGIN, max_size_m=0.7, kind="board")
    else:
        target = ground
    # The strokes
    silent = sample_silent_outcomes(rng, probability=0.3, max_weight=0.3)
    style = StrokeStyle(
        speed_mps=(0.7, 2.5) if tool == "fist" else (0.7, 3.5),
        down_s=(0.06, 0.15),
        outcomes={"bounce": 0.9, "rest": 0.1, **silent},
        rebound=(0.1, 0.6) if tool != "foot" else (0.0, 0.15),
        hover_m=rng.uniform(0.03, 0.12),
        move_probability=0.1,
        jitter_m=0.01,
    )
    rhythm = _sample_groups(rng, duration_s, rate_factor=0.5 if tool == "foot" else 1.0)
    strokes = sample_strokes(rng, rhythm, style)
    striker = add_striker(world, "arm", tool=tool)
    targets = sample_targets(
        rng, strokes, [target], hand_direction=hand_direction, style=style, top_only=kind != "door"
    )
    swings = drive_strokes(
        world,
        striker,
        strokes,
        targets,
        hover_m=style.hover_m,
        can_slide=False,
        max_height_m=0.3,
        held=sample_held_tool(rng, restitution=style.rebound),
    )
    target.plan_responses(rng)
    if rng.random() < 0.3:
        behind = -0.5 * math.pi if kind == "door" else azimuth
        add_bystanders(world, distance_m=1.5, azimuth_rad=behind)
    return build_framed_scene(world, targets, swings, camera_deg)


def _sample_groups(
    rng: np.random.Generator, duration_s: float, *, rate_factor: float
) -> list[tuple[float, float]]:
    """Sample (time, accent) of groups of two to five hits at 2.5 to 6 per second, with pauses."""
    end_s = duration_s + LEAD_OUT_S
    period_s = 1.0 / (rate_factor * rng.uniform(2.5, 6.0))
    usual_count = int(rng.integers(2, 6))
    time_s, hits = MOTION_START_S + 0.5 + rng.uniform(0.0, 1.2), []
    while time_s < end_s:
        for _ in range(usual_count if rng.random() < 0.6 else int(rng.integers(2, 6))):
            hits.append((time_s, rng.uniform(0.75, 1.2)))
            time_s += period_s * rng.uniform(0.93, 1.07)
        time_s += rng.uniform(0.35, 1.6)
    return [hit for hit in hits if hit[0] < end_s]


def _add_fittings(world: KinematicWorld, door: Prop) -> None:
    """Add the handle and the panels of a door."""
    rng = world.rng
    wide, thick, tall = door.half_m
    if rng.random() < 0.6:
        x = 0.85 * wide * (1.0 if rng.random() < 0.5 else -1.0)
        ends = ((x, thick + 0.04, 0.95), (x - math.copysign(0.1, x), thick + 0.04, 0.95))
        world.add_rod(door.body, "metal", 0.01, *ends)
        world.add_sphere(door.body, "metal", 0.025, (x, thick, 0.95))
    if rng.random() < 0.5:
        look = "cloth" if rng.random() < 0.2 else world.looks[f"{door.name}_0"]
        for z in (0.25 * tall, 1.85 * tall):
            world.add_box(door.body, look, [0.7 * wide, 0.006, 0.12 * tall], (0.0, thick, z))
