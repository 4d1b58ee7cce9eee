"""What moves without sounding: people who sway behind, things that pass, crumbs that hop.

Nothing here touches anything that is heard; these motions teach a net what is not an impact.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.motion.kinematic_world import Motion, Puppetry
from foleyflow.simulation.motion.performers import add_person
from foleyflow.simulation.motion.prop_catalogue import draw_material
from foleyflow.simulation.motion.rotations import UPRIGHT, Pose, Vec, about, add
from foleyflow.simulation.motion.trajectories import Wander

GRAVITY_MPS2 = 9.81


def add_bystanders(
    bench: Puppetry,
    rng: np.random.Generator,
    *,
    away_m: float,
    beyond_rad: float | None = None,
) -> None:
    """Add one or two silent movers at a distance from the origin: a person, a passer, a thing.

    Args:
        bench: the world.
        rng: source of chance.
        away_m: their least distance.
        beyond_rad: the azimuth in which the camera mostly looks, so that they stand behind the
            action and not before the lens; any, if not given.

    Source: ours.
    """
    for index in range(1 + int(rng.random() < 0.3)):
        spread = math.pi if beyond_rad is None else 1.5
        turn = (beyond_rad or 0.0) + rng.uniform(-spread, spread)
        far = away_m * rng.uniform(1.0, 2.0)
        place = (far * math.cos(turn), far * math.sin(turn), 0.0)
        if rng.random() < 0.5:
            add_person(bench, rng, f"bystander{index}", place, sway_m=rng.uniform(0.01, 0.12))
        else:
            _add_floater(bench, rng, f"floater{index}", add(place, (0, 0, rng.uniform(0.1, 0.9))))


def _add_floater(bench: Puppetry, rng: np.random.Generator, name: str, place: Vec) -> None:
    """A thing that drifts, swings or passes by in the background."""
    body = bench.driven(name)
    look = str(rng.choice((draw_material(rng), "cloth", "leaf", "skin")))
    shape = str(rng.choice(("box", "sphere", "ellipsoid", "capsule")))
    bench.geom(body, shape, size=list(rng.uniform(0.03, 0.15, 3)), look=look)
    wander = Wander(rng, rng.uniform(0.02, 0.15), low_hz=0.1, high_hz=1.2)
    course = rng.uniform(-0.4, 0.4, 2) if rng.random() < 0.5 else (0.0, 0.0)
    rate = rng.uniform(-1.5, 1.5)
    middle_s = 0.5 * bench.duration_s

    def motion(time_s: float) -> list[Pose]:
        gone = time_s - middle_s
        drift = (float(course[0]) * gone, float(course[1]) * gone, 0.0)
        at = add(add(place, drift), wander.at(time_s))
        return [((at[0], at[1], max(0.05, at[2])), about((0.0, 0.0, 1.0), rate * time_s))]

    bench.drive((name,), motion)


def add_crumbs(
    bench: Puppetry, rng: np.random.Generator, touches: list[tuple[float, Vec, str]]
) -> None:
    """Small loose things near the hits that hop at each touch and fall back, unheard.

    Args:
        bench: the world.
        rng: source of chance.
        touches: (moment, world place, name of the struck prop), in order of time.

    Source: ours; ballistic arcs.
    """
    if not touches:
        return
    look = draw_material(rng)
    size = rng.uniform(0.003, 0.012)
    for index in range(int(rng.integers(2, 9))):
        near = touches[0][1]
        turn, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.09)
        home = add(near, (far * math.cos(turn), far * math.sin(turn), size))
        hops: list[tuple[float, float, Vec, Vec]] = []
        at, free_s = home, -math.inf
        for time_s, place, _ in touches:
            if time_s < free_s or math.dist(place, at) > 0.2 or rng.random() < 0.25:
                continue
            rise = rng.uniform(0.2, 1.0)
            span_s = 2.0 * rise / GRAVITY_MPS2
            step = rng.normal(0.0, 0.06, 2) * span_s
            onward = (float(step[0]) / span_s, float(step[1]) / span_s, rise)
            hops.append((time_s, span_s, at, onward))
            at, free_s = add(at, (float(step[0]), float(step[1]), 0.0)), time_s + span_s
        body = bench.driven(f"crumb{index}")
        shape = "sphere" if rng.random() < 0.5 else "box"
        bench.geom(body, shape, size=[size, size, size], look=look)
        bench.drive((f"crumb{index}",), _hopping(home, hops))


def _hopping(home: Vec, hops: list[tuple[float, float, Vec, Vec]]) -> Motion:
    """A motion of ballistic arcs, at rest between them."""

    def motion(time_s: float) -> list[Pose]:
        at = home
        for start_s, span_s, origin, speed in hops:
            if time_s <= start_s:
                break
            since = min(time_s - start_s, span_s)
            fall = 0.5 * GRAVITY_MPS2 * since * since
            at = add(origin, (speed[0] * since, speed[1] * since, speed[2] * since - fall))
        return [(at, UPRIGHT)]

    return motion
