"""Things that roll, slide and are pushed: balls on slopes and tables, boxes under a hand.

Rolling is simulated; pushing is driven. Falls without rolling are in `drops.py`.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.contacts import Body, Friction
from foleyflow.simulation.motion.background import add_bystanders
from foleyflow.simulation.motion.drops import add_free_body, add_solid, finish
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.performers import arm_motion, make_rig
from foleyflow.simulation.motion.prop_catalogue import (
    draw_material,
    main_or_other,
    make_ground,
    make_table,
)
from foleyflow.simulation.motion.props import UP
from foleyflow.simulation.motion.rigid_bodies import Release, listen, prepare, simulate
from foleyflow.simulation.motion.rotations import (
    UPRIGHT,
    Pose,
    Quat,
    Vec,
    about,
    add,
    from_axes,
    multiply,
    rotate,
    scale,
)
from foleyflow.simulation.motion.striking_motion import draw_views
from foleyflow.simulation.motion.trajectories import AFTER_S, BEFORE_S, Lift, Wander, Way
from foleyflow.simulation.scene import Scene

START_S = -0.8


def draw_rolls(rng: np.random.Generator, duration_s: float) -> Scene:
    """A rolling or pushing scene.

    Args:
        rng: source of chance.
        duration_s: of the clip.

    Source: ours.
    """
    if rng.random() < 0.25:
        return _pushing(rng, duration_s)
    return _rolling(rng, duration_s)


def _rolling(rng: np.random.Generator, duration_s: float) -> Scene:
    """Balls and cylinders on a slope or a table, against walls, blocks and each other."""
    bench = Puppetry("roll", duration_s)
    prepare(bench.spec)
    main = draw_material(rng)
    floor = str(rng.choice(("stone", "wood", "ceramic", "plastic"), p=(0.3, 0.5, 0.1, 0.1)))
    add_solid(
        bench,
        "ground",
        material=floor,
        half_m=(6.0, 6.0, 0.05),
        pose=((0, 0, -0.05), UPRIGHT),
        look="ground",
        damping=rng.uniform(2.0, 6.0),
    )
    turn = about(UP, rng.uniform(0, 2 * math.pi))
    long, wide = rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.35)
    board = main if rng.random() < 0.5 else draw_material(rng)
    sloped = rng.random() < 0.55
    tilt = math.radians(rng.uniform(4, 22)) if sloped else 0.0
    high = long * math.sin(tilt) + (0.02 if sloped else rng.uniform(0.0, 0.5))
    lean = multiply(turn, about((0.0, 1.0, 0.0), tilt))
    flat_on_ground = not sloped and high < 0.1
    if not flat_on_ground:
        add_solid(
            bench,
            "board",
            material=board,
            half_m=(long, wide, 0.012),
            pose=((0.0, 0.0, high), lean),
        )
    top = (0.0, 0.0, 0.0 if flat_on_ground else high)
    if flat_on_ground:
        lean = turn
    surface: Pose = (add(top, rotate(lean, (0, 0, 0.0 if flat_on_ground else 0.012))), lean)
    _add_stops(bench, rng, surface, long, wide, main)
    if not flat_on_ground:
        _add_legs(bench, rng, turn, tilt, long, wide, high)
    releases = []
    usual = 0.018 * 3.5 ** rng.random()
    for index in range(int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1)))):
        name = f"object{index}"
        shape = str(rng.choice(("sphere", "cylinder", "box"), p=(0.72, 0.18, 0.10)))
        size = usual * rng.uniform(0.8, 1.3)
        radius = add_free_body(
            bench,
            rng,
            name,
            material=main_or_other(rng, main),
            shape=shape,
            size_m=size,
        )
        geom = bench.spec.geom(f"{name}_0")
        face = UPRIGHT
        if shape == "cylinder":
            geom.size = [size, size * rng.uniform(0.5, 1.5), 0.0]
            face, radius = about((1.0, 0.0, 0.0), 0.5 * math.pi), size
        elif shape == "box":
            geom.size = [size, size, 0.6 * size]
            radius = 0.6 * size
        y = float(np.clip(rng.normal(0.0, 0.4), -0.8, 0.8)) * wide
        x = -long * rng.uniform(0.7, 0.95)
        if index and rng.random() < 0.4:
            x = long * rng.uniform(-0.2, 0.6)  # waits to be hit
        place = add(surface[0], rotate(lean, (x, y, radius + 0.0005)))
        away = rotate(lean, (1.0, rng.normal(0.0, 0.15), 0.0))
        speed = rng.uniform(0.0, 0.6) if sloped else rng.uniform(0.4, 1.8)
        if x > -0.5 * long and not sloped:
            speed = 0.0
        axis_spin = rotate((face[0], -face[1], -face[2], -face[3]), (0.0, speed / radius, 0.0))
        releases.append(
            Release(
                name=name,
                time_s=rng.uniform(-0.5, 0.45 * duration_s),
                place=place,
                turn=multiply(lean, face),
                speed=scale(away, speed),
                spin=axis_spin if shape != "box" else (0.0, 0.0, 0.0),
            )
        )
    if rng.random() < 0.3:
        add_bystanders(bench, rng, away_m=1.4)
    model = bench.spec.compile()
    recording = simulate(model, releases, start_s=START_S, end_s=duration_s)
    return finish(
        bench,
        recording,
        listen(model, recording),
        middle_m=top,
        extent_m=long * rng.uniform(0.8, 1.2),
        elevation_deg=(-60.0, -12.0),
    )


def _add_stops(
    bench: Puppetry, rng: np.random.Generator, surface: Pose, long: float, wide: float, main: str
) -> None:
    """A wall at the end of the way, rails along it, a block on it, or none."""
    place, turn = surface
    if rng.random() < 0.55:
        half = (0.015, wide, rng.uniform(0.02, 0.08))
        at = add(place, rotate(turn, (long - 0.015, 0.0, half[2])))
        add_solid(
            bench,
            "stop",
            material=main if rng.random() < 0.5 else draw_material(rng),
            half_m=half,
            pose=(at, turn),
        )
    if rng.random() < 0.35:
        look = draw_material(rng)
        for index, side in enumerate((-1.0, 1.0)):
            at = add(place, rotate(turn, (0.0, side * wide, 0.015)))
            add_solid(
                bench, f"rail{index}", material=look, half_m=(long, 0.008, 0.018), pose=(at, turn)
            )


def _add_legs(
    bench: Puppetry,
    rng: np.random.Generator,
    turn: Quat,
    tilt: float,
    long: float,
    wide: float,
    high: float,
) -> None:
    """What holds the board up."""
    body = bench.fixed("legs", ((0.0, 0.0, 0.0), turn))
    look = draw_material(rng)
    for x in (-0.8, 0.8):
        top = high - x * long * math.tan(tilt) * math.cos(tilt) - 0.02
        if top > 0.02:
            bench.geom(
                body,
                "box",
                size=[0.015, 0.8 * wide, 0.5 * top],
                look=look,
                position=(x * long * math.cos(tilt), 0.0, 0.5 * top),
            )


def _pushing(rng: np.random.Generator, duration_s: float) -> Scene:
    """A hand that pushes a thing to and fro over a table or the floor."""
    bench = Puppetry("roll", duration_s)
    ground = make_ground(bench, rng)
    azimuth = rng.uniform(0, 2 * math.pi)
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    floor, top_m = ground, 0.0
    if rng.random() < 0.65:
        floor = make_table(bench, rng, "table", rng.uniform(0.3, 0.9))
        top_m = floor.top_m
    material = draw_material(rng)
    half = (rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.08), rng.uniform(0.012, 0.05))
    bench.bodies["pushed"] = Body(
        name="pushed",
        material=material,
        shape="box",
        size_m=(2 * half[0], 2 * half[1], 2 * half[2]),
        damping=rng.uniform(1.0, 1.4),
    )
    thing = bench.driven("pushed")
    if rng.random() < 0.6:
        bench.geom(thing, "box", size=half, look=material)
    else:
        bench.geom(thing, "cylinder", size=[half[0], half[2]], look=material)
    course = rng.uniform(0, 2 * math.pi)
    along: Vec = (math.cos(course), math.sin(course), 0.0)
    moves = _draw_moves(rng, duration_s, room_m=rng.uniform(0.08, 0.25))
    for move in moves:
        times = np.arange(move[0], move[1], 0.005)
        if len(times) < 8:
            continue
        places = np.array([_moved([move], float(t)) for t in times])
        bench.frictions.append(
            Friction(
                body="pushed",
                other=floor.name,
                kind="scrape",
                times_s=times,
                speed_mps=np.abs(np.gradient(places, times)),
                force_n=np.full(len(times), rng.uniform(1.0, 8.0)),
            )
        )
    rig = make_rig(bench, rng, "arm", tool="palm" if rng.random() < 0.7 else "fist")
    lift, way = Lift(BEFORE_S, 0.0), Way()
    lift.hold(duration_s + AFTER_S)
    top = (0.0, 0.0, top_m + 2.0 * half[2])
    way.stay(
        BEFORE_S,
        duration_s + AFTER_S,
        (top, from_axes(back, UP)),
        path=lambda time_s: scale(along, _moved(moves, time_s)),
    )
    arm = arm_motion(rig, lift, way, Wander(rng, 0.0), add(top, scale(add(back, UP), 0.5)))
    turn = about(UP, rng.uniform(0, 2 * math.pi))

    def motion(time_s: float) -> list[Pose]:
        place = add(scale(along, _moved(moves, time_s)), (0.0, 0.0, top_m + half[2]))
        return [*arm(time_s), (place, turn)]

    bench.drive((*rig.parts, "pushed"), motion)
    if rng.random() < 0.3:
        add_bystanders(bench, rng, away_m=1.2, beyond_rad=azimuth)
    return bench.scene(
        focus_m=(0.0, 0.0, top_m + 0.08),
        extent_m=rng.uniform(0.25, 0.5),
        azimuth_deg=draw_views(rng, azimuth),
        elevation_deg=(-55.0, -8.0),
    )


def _draw_moves(
    rng: np.random.Generator, duration_s: float, *, room_m: float
) -> list[tuple[float, float, float, float]]:
    """(start, end, from, to) of every push, with pauses between."""
    time_s, at = BEFORE_S, 0.0
    moves = []
    while time_s < duration_s:
        time_s += rng.uniform(0.0, 0.3) if rng.random() < 0.6 else rng.uniform(0.3, 1.2)
        goal = -math.copysign(rng.uniform(0.3, 1.0) * room_m, at or rng.normal())
        span_s = max(0.2, abs(goal - at) / rng.uniform(0.15, 0.7))
        moves.append((time_s, time_s + span_s, at, goal))
        time_s, at = time_s + span_s, goal
    return moves


def _moved(moves: list[tuple[float, float, float, float]], time_s: float) -> float:
    """Where the pushed thing is along its course."""
    at = moves[0][2]
    for start_s, end_s, origin, goal in moves:
        if time_s <= start_s:
            break
        x = min(1.0, (time_s - start_s) / (end_s - start_s))
        at = origin + (goal - origin) * x * x * x * (10.0 + x * (6.0 * x - 15.0))
    return at
