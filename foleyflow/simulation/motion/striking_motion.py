"""Striking, for every family that strikes: from a rhythm to an arm's motion and its contacts.

Which tools and things meet is decided by the families (`strikes.py`, `drums.py`, `knocks.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from foleyflow.simulation.contacts import Friction, Impact
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.performers import Rig, arm_motion
from foleyflow.simulation.motion.props import Prop, Spot, station
from foleyflow.simulation.motion.rotations import Pose, Vec, add, apply, rotate, scale
from foleyflow.simulation.motion.trajectories import (
    AFTER_S,
    BEFORE_S,
    Stroke,
    Swing,
    Wander,
    Way,
    plan_swings,
)
from foleyflow.simulation.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How somebody strikes in one clip; all drawn once per clip and varied per hit.

    Attributes:
        speed_mps: (low, high) closing speed.
        down_s: (low, high) duration of the downswing.
        outcomes: shares of "bounce", "settle" (it bounces once and is laid down), "rest",
            "double", "scrape", "touch" (it lands without a sound), "miss".
        rebound: (low, high) speed after by speed before.
        hover_m: lift between hits.
        roam: chance to go to another spot or thing after a pause.
        jitter_m: spread of hits at one spot.
        soft: share of strokes that are slow and faint.
    """

    speed_mps: tuple[float, float] = (0.8, 5.0)
    down_s: tuple[float, float] = (0.08, 0.3)
    outcomes: dict[str, float] = field(
        default_factory=lambda: {"bounce": 0.62, "rest": 0.16, "double": 0.08, "scrape": 0.14}
    )
    rebound: tuple[float, float] = (0.1, 0.7)
    hover_m: float = 0.1
    roam: float = 0.3
    jitter_m: float = 0.01
    soft: float = 0.0


def draw_strokes(
    rng: np.random.Generator,
    rhythm: list[tuple[float, float]],
    manner: Manner,
) -> list[Stroke]:
    """Strokes for the moments of a rhythm, in one manner.

    Args:
        rng: source of chance.
        rhythm: (moment, accent) of every hit, increasing.
        manner: how they are struck.

    Returns:
        The strokes that fit: hits too close to the end of the one before are left out.

    Source: ours.
    """
    low, high = manner.speed_mps
    usual = low * (0.8 * high / low) ** rng.random()
    power, down_s = rng.uniform(1.8, 3.4), rng.uniform(*manner.down_s)
    rebound = rng.uniform(*manner.rebound)
    names = list(manner.outcomes)
    shares = np.array([manner.outcomes[name] for name in names])
    strokes: list[Stroke] = []
    free_s = -math.inf
    for index, (time_s, accent) in enumerate(rhythm):
        if time_s < free_s:
            continue
        next_s = rhythm[index + 1][0] if index + 1 < len(rhythm) else time_s + 2.0
        outcome = str(rng.choice(names, p=shares / shares.sum()))
        dwell_s = landing_s = 0.0
        if outcome == "touch" or (outcome == "scrape" and rng.random() < 0.5):
            landing_s = rng.uniform(0.25, 1.0)
        if outcome == "scrape":
            dwell_s = rng.uniform(0.2, 1.5) if rng.random() < 0.5 else rng.uniform(0.15, 0.5)
        elif outcome in ("rest", "touch"):
            longest = max(0.06, min(next_s - time_s - 0.25, 1.5))
            dwell_s = rng.uniform(0.03, longest) if rng.random() < 0.5 else 0.04
        elif outcome == "double" and next_s - time_s < 0.4:
            outcome = "bounce"
        speed = float(np.clip(usual * accent * rng.uniform(0.75, 1.3), low * 0.7, high))
        slower = 1.0
        if rng.random() < manner.soft:
            slower = 10.0 ** rng.uniform(0.2, 1.0)
        strokes.append(
            Stroke(
                hit_s=time_s,
                speed_mps=speed / slower,
                outcome=outcome,
                rebound=float(np.clip(rebound * rng.uniform(0.7, 1.3), 0.05, 0.8)),
                dwell_s=dwell_s,
                power=float(np.clip(power * rng.uniform(0.9, 1.1), 1.8, 4.0)),
                down_s=down_s * rng.uniform(0.8, 1.25) * math.sqrt(slower),
                miss_m=rng.uniform(0.03, 0.15),
                landing_s=landing_s,
            )
        )
        free_s = time_s + dwell_s + 0.12
    return strokes


def draw_silent(rng: np.random.Generator, *, chance: float, most: float) -> dict[str, float]:
    """Shares of strokes that are not heard: those that stop short and those that land gently.

    Args:
        rng: source of chance.
        chance: that there are any of one kind; of the other, likewise.
        most: largest share of either.

    Source: ours.
    """
    return {
        outcome: rng.uniform(0.1, most) for outcome in ("miss", "touch") if rng.random() < chance
    }


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Where one stroke goes.

    Attributes:
        prop: what is struck.
        spot: where on it.
        back: the side that the hand is on, world.
        slide: if given, how far the hit moves the prop (world); else chance decides.
    """

    prop: Prop
    spot: Spot
    back: Vec
    slide: Vec | None = None


def perform(
    bench: Puppetry,
    rng: np.random.Generator,
    rig: Rig,
    strokes: list[Stroke],
    aims: list[Aim],
    *,
    hover_m: float,
    slides: bool = True,
    highest_m: float = 0.6,
) -> list[Swing]:
    """Drive a rig through strokes at aims and write down the contacts.

    Args:
        bench: the world; gets the motion, impacts and frictions.
        rng: source of chance.
        rig: the striker.
        strokes: in order of time.
        aims: one per stroke.
        hover_m: lift between hits.
        slides: whether light things may be pushed a little by a hit.
        highest_m: no wind-up goes higher.

    Returns:
        The swings. The caller settles the props when all arms are planned.

    Source: ours.
    """
    end_s = bench.duration_s + AFTER_S
    lift, swings = plan_swings(
        rng, strokes, start_s=BEFORE_S, end_s=end_s, hover_m=hover_m, highest_m=highest_m
    )
    way = Way()
    shoulder: Vec | None = None
    before: Pose | None = None
    for stroke, swing, aim in zip(strokes, swings, aims, strict=True):
        frame = station(aim.prop, aim.spot, aim.back)
        if shoulder is None:
            shoulder = apply(frame, rig.shoulder)
        path = None
        if stroke.outcome == "scrape":
            path = _scrape(bench, rng, rig, aim, stroke.hit_s, swing.end_s, frame)
        rise = abs(frame[0][2] - before[0][2]) if before else 0.0
        way.stay(
            swing.top_s + 0.3 * (stroke.hit_s - swing.top_s),
            swing.end_s,
            frame,
            path=path,
            hop_m=0.5 * rise,
        )
        _note_touches(bench, rng, rig, stroke, swing, aim, slides)
        before = frame
    wander = Wander(rng, 0.002 * 12.0 ** rng.random())
    flex = Wander(rng, 0.01 * 20.0 ** rng.random(), low_hz=0.3, high_hz=2.5)
    if shoulder is None:
        raise ValueError("perform: expected at least one stroke")
    bench.drive(rig.parts, arm_motion(rig, lift, way, wander, shoulder, flex))
    return swings


def _note_touches(
    bench: Puppetry,
    rng: np.random.Generator,
    rig: Rig,
    stroke: Stroke,
    swing: Swing,
    aim: Aim,
    slides: bool,
) -> None:
    """Write down the impacts of one swing and tell the prop."""
    firm = stroke.outcome in ("bounce", "settle", "double")
    for order, (time_s, speed) in enumerate(swing.touches):
        slide: Vec = (0.0, 0.0, 0.0)
        if aim.slide is not None:
            slide = aim.slide if order == len(swing.touches) - 1 else slide
        elif slides and stroke.outcome == "bounce" and aim.prop.light > 0.3 and rng.random() < 0.3:
            push = scale(rotate(aim.prop.base[1], aim.spot.normal), -1.0)
            far = aim.prop.light * min(speed, 3.0) * rng.uniform(0.0, 0.012)
            aside = rng.normal(0.0, 0.4, 2) * far
            slide = (push[0] * far + float(aside[0]), push[1] * far + float(aside[1]), 0.0)
        strength = min(1.5, speed * rig.mass_kg / 0.15) if firm else 0.0
        aim.prop.touch(time_s, aim.spot, strength if order == 0 else 0.4 * strength, slide)
        bench.impacts.append(
            Impact(
                time_s=time_s,
                body=aim.prop.name,
                other=rig.sound.name,
                impulse_ns=speed * rig.mass_kg * (1.0 + (stroke.rebound if firm else 0.0)),
                speed_mps=speed,
                position=aim.spot.position,
            )
        )


def _scrape(
    bench: Puppetry,
    rng: np.random.Generator,
    rig: Rig,
    aim: Aim,
    from_s: float,
    until_s: float,
    frame: Pose,
) -> Callable[[float], Vec] | None:
    """A path along the surface while the tip rests on it, and its friction."""
    room_m, span_s = min(aim.spot.room_m, 0.3), until_s - from_s
    if room_m < 0.02 or span_s < 0.08:
        return None
    along = rotate(aim.prop.resting()[1], aim.spot.along)
    far = room_m * rng.uniform(0.5, 1.0) * (1.0 if rng.random() < 0.5 else -1.0)
    turns = 1 if rng.random() < 0.5 else 2 * max(1, round(span_s * rng.uniform(0.8, 3.0)))

    def offset(time_s: float) -> float:
        x = min(1.0, max(0.0, (time_s - from_s) / span_s))
        if turns == 1:
            return far * x * x * x * (10.0 + x * (6.0 * x - 15.0))
        return far * 0.5 * (1.0 - math.cos(math.pi * turns * x)) * min(1.0, 6 * x, 6 * (1 - x)) ** 2

    times = np.arange(from_s, until_s, 0.005)
    if len(times) >= 3:
        places = np.array([offset(float(t)) for t in times])
        press = rng.uniform(0.5, 6.0)
        bench.frictions.append(
            Friction(
                body=aim.prop.name,
                other=rig.sound.name,
                kind="scrape",
                times_s=times,
                speed_mps=np.abs(np.gradient(places, times)),
                force_n=np.full(len(times), press),
            )
        )
    return lambda time_s: scale(along, offset(time_s))


def draw_aims(
    rng: np.random.Generator,
    strokes: list[Stroke],
    props: list[Prop],
    *,
    back: Vec,
    manner: Manner,
    upright: bool = False,
) -> list[Aim]:
    """Where strokes go: mostly the same spot of the first prop, sometimes on to another.

    Source: ours.
    """
    prop, side = props[0], back
    spot = _reachable(rng, prop, back, upright)
    aims: list[Aim] = []
    before_s = -math.inf
    for stroke in strokes:
        if stroke.hit_s - before_s > 0.35 and rng.random() < manner.roam and aims:
            if rng.random() < 0.4:
                prop = props[int(rng.integers(len(props)))]
            spot = _reachable(rng, prop, back, upright)
        if abs(spot.normal[2]) < 0.5:
            turned = rotate(prop.base[1], spot.normal)
            side = add((0.25 * turned[0], 0.25 * turned[1], 1.0), scale(back, 0.6))
        else:
            side = back
        aims.append(Aim(prop=prop, spot=_near(rng, spot, manner.jitter_m), back=side))
        before_s = stroke.hit_s
    return aims


def _reachable(rng: np.random.Generator, prop: Prop, back: Vec, upright: bool) -> Spot:
    """A spot that faces up, or to the side that the arm comes from."""
    for _ in range(12):
        spot = prop.draw_spot(rng)
        facing = rotate(prop.base[1], spot.normal)
        if facing[2] > 0.4 or (not upright and facing[0] * back[0] + facing[1] * back[1] > -0.2):
            return spot
    return prop.surfaces[0][1](rng)


def _near(rng: np.random.Generator, spot: Spot, spread_m: float) -> Spot:
    """A spot close to another on the same flat or straight surface."""
    reach = min(spread_m, 0.5 * spot.room_m)
    if reach <= 0.0:
        return spot
    step = float(np.clip(rng.normal(0.0, reach), -2 * reach, 2 * reach))
    return Spot(
        point=add(spot.point, scale(spot.along, step)),
        normal=spot.normal,
        along=spot.along,
        room_m=spot.room_m - abs(step),
        position=spot.position,
    )


def draw_views(rng: np.random.Generator, azimuth_rad: float) -> tuple[float, float]:
    """Camera azimuths that don't look through the person whose arm comes from an azimuth."""
    if rng.random() < 0.15:
        return (0.0, 360.0)
    middle = math.degrees(azimuth_rad)
    return (middle - 125.0, middle + 125.0)


def framed_scene(
    bench: Puppetry,
    rng: np.random.Generator,
    aims: list[Aim],
    swings: list[Swing],
    azimuth_deg: tuple[float, float],
    *,
    zoom: float = 1.0,
) -> Scene:
    """The scene, framed so that contacts and swings are in the picture."""
    places = np.array([apply(aim.prop.base, aim.spot.point) for aim in aims])
    middle = np.median(places, axis=0)
    spread = float(np.quantile(np.linalg.norm(places - middle, axis=1), 0.9))
    heights = float(np.mean([swing.height_m for swing in swings]))
    size = min(0.3, aims[0].prop.radius_m)
    extent = max(
        0.16, 1.1 * (spread + 0.6 * heights + 0.5 * size) * rng.uniform(0.85, 1.4) / zoom + 0.06
    )
    return bench.scene(
        focus_m=(float(middle[0]), float(middle[1]), float(middle[2]) + 0.25 * heights),
        extent_m=float(min(extent, 0.85)),
        azimuth_deg=azimuth_deg,
        elevation_deg=(-55.0, -6.0),
    )
