"""How a striker moves: lift over the surface, place over time, rhythm of the hits.

No geometry of hands or tools here (`figure.py`). The lift is the gap of the tip over the surface it
will touch, as a C1 function of time made of pieces that breaks only where a hit breaks it:
at a contact the lift is exactly 0 and its rate is exactly minus the closing speed.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.motion.rotations import Pose, Vec, add, blend, lerp

BEFORE_S = -1.6
AFTER_S = 1.2


class Lift:
    """A gap in metres as a function of time, drawn piece by piece from left to right."""

    def __init__(self, start_s: float, lift_m: float) -> None:
        self.time_s = start_s
        self.lift_m = lift_m
        self.rate_mps = 0.0
        self._starts: list[float] = []
        self._pieces: list[Callable[[float], float]] = []

    def reach(self, time_s: float, lift_m: float, rate_mps: float = 0.0) -> None:
        """Go to a lift and a rate (cubic Hermite); never below 0 from a non-negative rate."""
        span = max(time_s - self.time_s, 1e-6)
        p, v, q, w = self.lift_m, self.rate_mps * span, lift_m, rate_mps * span
        c2, c3 = 3.0 * (q - p) - 2.0 * v - w, 2.0 * (p - q) + v + w

        def piece(since_s: float) -> float:
            x = since_s / span
            return p + x * (v + x * (c2 + x * c3))

        self._append(piece, time_s, lift_m, rate_mps)

    def hold(self, until_s: float) -> None:
        """Stay where it is, at once at rest."""
        lift = self.lift_m
        self._append(lambda since_s: lift, until_s, lift, 0.0)

    def strike(self, hit_s: float, power: float) -> None:
        """Fall from rest to 0 as h (1 - x^power): closing speed power * h / duration."""
        height, span = self.lift_m, hit_s - self.time_s

        def piece(since_s: float) -> float:
            return height * (1.0 - (since_s / span) ** power)

        self._append(piece, hit_s, 0.0, -power * height / span)

    def bounce(self, speed_mps: float, span_s: float) -> None:
        """Leave 0 upward and come back to 0 at the same speed (a parabola)."""

        def piece(since_s: float) -> float:
            return speed_mps * since_s * (1.0 - since_s / span_s)

        self._append(piece, self.time_s + span_s, 0.0, -speed_mps)

    def leave(self, rate_mps: float) -> None:
        """Change the rate at once (the moment of a contact)."""
        self.rate_mps = rate_mps

    def at(self, time_s: float) -> float:
        """The lift at any time; constant before the first and after the last piece."""
        index = bisect.bisect_right(self._starts, time_s) - 1
        if index < 0:
            return self._pieces[0](0.0)
        end_s = self._starts[index + 1] if index + 1 < len(self._starts) else self.time_s
        return self._pieces[index](min(time_s, end_s) - self._starts[index])

    def _append(
        self, piece: Callable[[float], float], end_s: float, lift_m: float, rate_mps: float
    ) -> None:
        if end_s <= self.time_s:
            return
        self._starts.append(self.time_s)
        self._pieces.append(piece)
        self.time_s, self.lift_m, self.rate_mps = end_s, lift_m, rate_mps


class Way:
    """A frame as a function of time: stays at stations, blends between them."""

    def __init__(self) -> None:
        self._arrivals: list[float] = []
        self._stays: list[tuple[float, Pose, Callable[[float], Vec] | None, float]] = []

    def stay(
        self,
        from_s: float,
        until_s: float,
        station: Pose,
        *,
        path: Callable[[float], Vec] | None = None,
        hop_m: float = 0.0,
    ) -> None:
        """Be at a station; `path(time_s)` is added to its place; `hop_m` lifts the way to it."""
        if self._stays and from_s <= self._stays[-1][0]:
            from_s = self._stays[-1][0] + 1e-6
        self._arrivals.append(from_s)
        self._stays.append((max(until_s, from_s), station, path, hop_m))

    def at(self, time_s: float) -> Pose:
        """The frame at any time."""
        index = bisect.bisect_right(self._arrivals, time_s) - 1
        if index < 0:
            return self._standing(0, self._arrivals[0])
        until_s = self._stays[index][0]
        if time_s <= until_s or index + 1 == len(self._stays):
            return self._standing(index, min(time_s, until_s))
        here = self._standing(index, until_s)
        there = self._standing(index + 1, self._arrivals[index + 1])
        x = (time_s - until_s) / (self._arrivals[index + 1] - until_s)
        share = x * x * x * (10.0 + x * (6.0 * x - 15.0))
        place = lerp(here[0], there[0], share)
        hop_m = self._stays[index + 1][3] * 16.0 * (x * (1.0 - x)) ** 2
        return ((place[0], place[1], place[2] + hop_m), blend(here[1], there[1], share))

    def _standing(self, index: int, time_s: float) -> Pose:
        _, station, path, _ = self._stays[index]
        if path is None:
            return station
        return (add(station[0], path(time_s)), station[1])


class Wander:
    """Slow, smooth, aimless motion: three sums of sines (a hand's tremor, a body's sway)."""

    def __init__(
        self,
        rng: np.random.Generator,
        amplitude_m: float,
        *,
        low_hz: float = 0.15,
        high_hz: float = 1.5,
    ) -> None:
        rates = low_hz * (high_hz / low_hz) ** rng.random((3, 4))
        sizes = amplitude_m * rng.uniform(0.3, 1.0, (3, 4)) * (low_hz / rates) ** 0.6
        phases = rng.uniform(0.0, 2.0 * math.pi, (3, 4))
        self._axes = [
            [
                (float(a), float(2.0 * math.pi * r), float(p))
                for a, r, p in zip(sizes[axis], rates[axis], phases[axis], strict=True)
            ]
            for axis in range(3)
        ]

    def at(self, time_s: float) -> Vec:
        """The offset at a time, metres."""
        x, y, z = (
            sum(size * math.sin(rate * time_s + phase) for size, rate, phase in axis)
            for axis in self._axes
        )
        return (x, y, z)


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """One intended hit of one arm.

    Attributes:
        hit_s: moment of the touch (of the turning point, for a miss).
        speed_mps: wished closing speed; the plan may lower it where time is short.
        outcome: "bounce", "settle" (it bounces once and is laid down), "rest", "double", "scrape",
            "touch" or "miss".
        rebound: speed after the touch by speed before it, 0..1.
        dwell_s: how long the tip stays on the surface (rest, scrape, touch).
        power: exponent of the downswing, 1.8 (even) .. 4 (late).
        down_s: wished duration of the downswing.
        miss_m: gap at the turning point of a miss; the height that a landing comes from.
        landing_s: a touch or scrape begins with a landing that takes so long: the tip comes to rest
            on the surface without a sound. 0 for a hit.
    """

    hit_s: float
    speed_mps: float
    outcome: str = "bounce"
    rebound: float = 0.4
    dwell_s: float = 0.0
    power: float = 2.2
    down_s: float = 0.15
    miss_m: float = 0.08
    landing_s: float = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether nothing is hit: it stops short, or lands too gently to be heard."""
        return self.outcome == "miss" or self.landing_s > 0.0


@dataclass(frozen=True, kw_only=True)
class Swing:
    """What the plan made of a stroke.

    Attributes:
        top_s: start of the downswing.
        height_m: lift at that moment.
        end_s: the last moment on (or, for a miss, closest to) the surface.
        touches: (time, closing speed) of every touch that sounds, the main one first; empty for a
            miss and a landing.
    """

    top_s: float
    height_m: float
    end_s: float
    touches: tuple[tuple[float, float], ...]


def plan_swings(
    rng: np.random.Generator,
    strokes: list[Stroke],
    *,
    start_s: float,
    end_s: float,
    hover_m: float,
    highest_m: float = 0.6,
) -> tuple[Lift, list[Swing]]:
    """Turn intended strokes into one continuous lift.

    Args:
        rng: source of chance.
        strokes: in order of time, each at least 0.1 s after the end of the one before.
        start_s: beginning of the motion.
        end_s: end of the motion.
        hover_m: lift between hits that are far apart.
        highest_m: no wind-up goes higher.

    Returns:
        The lift, and one swing per stroke.

    Source: ours.
    """
    lift = Lift(start_s, hover_m * rng.uniform(0.8, 1.3))
    restless = rng.random() if rng.random() < 0.7 else 0.0
    swings: list[Swing] = []
    for index, stroke in enumerate(strokes):
        after_s = strokes[index + 1].hit_s if index + 1 < len(strokes) else end_s + 9.0
        swings.append(_swing(rng, lift, stroke, after_s, hover_m, highest_m, restless))
    if lift.time_s < end_s:
        lift.reach(lift.time_s + rng.uniform(0.2, 0.5), hover_m)
        if rng.random() < restless:
            _idle(rng, lift, end_s, hover_m)
        lift.hold(end_s)
    return lift, swings


def _swing(
    rng: np.random.Generator,
    lift: Lift,
    stroke: Stroke,
    after_s: float,
    hover_m: float,
    highest_m: float,
    restless: float,
) -> Swing:
    """Append wind-up, downswing and outcome of one stroke to the lift."""
    room_s = stroke.hit_s - lift.time_s
    if stroke.landing_s:
        top_s = stroke.hit_s - min(stroke.landing_s, 0.7 * room_s)
        _wind_up(rng, lift, top_s, stroke.miss_m, hover_m, restless)
        lift.reach(stroke.hit_s, 0.0)
        lift.hold(min(stroke.hit_s + stroke.dwell_s, after_s - 0.1))
        return Swing(top_s=top_s, height_m=stroke.miss_m, end_s=lift.time_s, touches=())
    down_s = min(stroke.down_s, 0.55 * room_s)
    speed = stroke.speed_mps
    height = speed * down_s / stroke.power
    if height > highest_m:
        height = highest_m
        down_s = stroke.power * height / speed
    if height < 0.012:
        height = 0.012
        speed = stroke.power * height / down_s
    if stroke.outcome == "miss":
        height += stroke.miss_m
        down_s = min(1.5 * down_s + 0.05, 0.6 * room_s)
    top_s = stroke.hit_s - down_s
    _wind_up(rng, lift, top_s, height, hover_m, restless)
    if stroke.outcome == "miss":
        lift.reach(stroke.hit_s, stroke.miss_m)
        if rng.random() < 0.3:
            lift.hold(min(stroke.hit_s + rng.uniform(0.05, 0.4), after_s - 0.3))
        return Swing(top_s=top_s, height_m=height, end_s=lift.time_s, touches=())
    lift.strike(stroke.hit_s, stroke.power)
    touches = [(stroke.hit_s, speed)]
    if stroke.outcome == "double":
        speed = stroke.rebound * speed
        span_s = rng.uniform(0.05, 0.12)
        for _ in range(int(rng.integers(1, 4))):
            if lift.time_s + span_s + 0.12 > after_s or speed < 0.08:
                break
            lift.bounce(speed, span_s)
            touches.append((lift.time_s, speed))
            speed *= rng.uniform(0.4, 0.75)
            span_s *= rng.uniform(0.6, 0.85)
        lift.leave(0.3 * speed)
    elif stroke.outcome in ("bounce", "settle"):
        lift.leave(stroke.rebound * speed)
        if stroke.outcome == "settle" and after_s - stroke.hit_s > 0.5:
            _settle(rng, lift, after_s)
    else:
        lift.leave(0.0)
        lift.hold(min(stroke.hit_s + stroke.dwell_s, after_s - 0.1))
    return Swing(top_s=top_s, height_m=height, end_s=lift.time_s, touches=tuple(touches))


def _settle(rng: np.random.Generator, lift: Lift, after_s: float) -> None:
    """After a bounce come down once more, too gently to be heard, and lie there for a while."""
    room_s = after_s - lift.time_s - 0.25
    rise_s, fall_s = rng.uniform(0.06, 0.16), rng.uniform(0.14, 0.4)
    slower = min(1.0, room_s / (rise_s + fall_s))
    height = float(np.clip(0.4 * lift.rate_mps * rise_s, 0.006, 0.08))
    lift.reach(lift.time_s + slower * rise_s, height)
    lift.reach(lift.time_s + slower * fall_s, 0.0)
    lift.hold(min(lift.time_s + rng.uniform(0.0, 0.5), after_s - 0.25))


def _wind_up(
    rng: np.random.Generator,
    lift: Lift,
    top_s: float,
    height_m: float,
    hover_m: float,
    restless: float,
) -> None:
    """Bring the lift to rest at the top of the swing, by way of a hover where there is time."""
    room_s = top_s - lift.time_s
    if room_s > 0.4 and rng.random() < restless:
        raise_s = min(rng.uniform(0.12, 0.4), 0.4 * room_s)
        _idle(rng, lift, top_s - raise_s, hover_m)
    elif room_s > 0.55:
        rise_s = rng.uniform(0.15, 0.3) if room_s < 0.9 else rng.uniform(0.2, 0.5)
        raise_s = min(rng.uniform(0.12, 0.4), 0.9 * (room_s - rise_s))
        lift.reach(lift.time_s + rise_s, hover_m * rng.uniform(0.7, 1.3))
        lift.hold(top_s - raise_s)
    elif room_s > 0.25 and rng.random() < 0.3:
        lift.reach(top_s - rng.uniform(0.02, 0.08), height_m)
        lift.hold(top_s)
        return
    lift.reach(top_s, height_m)


def _idle(rng: np.random.Generator, lift: Lift, until_s: float, hover_m: float) -> None:
    """Rise and dip without aim until a moment: every turn is smooth, and nothing is touched.

    What people do between hits: recordings of stick hits are full of it. Where all that turns back
    near a thing is a hit, a network takes every such turn for one.
    """
    if until_s - lift.time_s < 0.1:
        return
    rise_s = min(rng.uniform(0.08, 0.25), until_s - lift.time_s)
    lift.reach(lift.time_s + rise_s, max(0.01, lift.lift_m) + hover_m * rng.uniform(0.1, 0.8))
    while (room_s := until_s - lift.time_s) > 0.15:
        if rng.random() < 0.25:
            lift.hold(lift.time_s + min(rng.uniform(0.03, 0.4), room_s))
            continue
        wanted_m = hover_m * rng.uniform(0.3, 1.8)
        if rng.random() < 0.5:
            wanted_m = max(0.01, lift.lift_m * rng.uniform(0.03, 0.8))
        calm_s = 0.1 + abs(wanted_m - lift.lift_m) / 0.7
        span_s = calm_s * rng.uniform(1.0, 2.0)
        if span_s > room_s:
            break
        lift.reach(lift.time_s + span_s, wanted_m)


def draw_rhythm(
    rng: np.random.Generator,
    start_s: float,
    end_s: float,
    *,
    pace_hz: tuple[float, float] | None = None,
) -> list[tuple[float, float]]:
    """A rhythm: moments of hits and their accents (0.4..1.3, 1 is usual).

    Args:
        rng: source of chance.
        start_s: no hit before.
        end_s: no hit after.
        pace_hz: if given, a steady pulse in this range, with rests; otherwise any style.

    Source: ours; the irregular style follows the rates of Greatest Hits (0.7 to 2.8 per second).
    """
    styles = ("single", "irregular", "pulse", "burst", "double")
    style = "pulse" if pace_hz else str(rng.choice(styles, p=(0.10, 0.42, 0.24, 0.14, 0.10)))
    low_hz, high_hz = pace_hz or (0.7, 5.5)
    period_s = 1.0 / (low_hz * (high_hz / low_hz) ** rng.random())
    swing = rng.uniform(0.01, 0.05)
    time_s = start_s + rng.uniform(0.0, 0.8)
    hits: list[tuple[float, float]] = []
    loudness = 1.0
    while time_s < end_s:
        hits.append((time_s, loudness * float(rng.choice((0.6, 1.0, 1.25), p=(0.25, 0.55, 0.2)))))
        if style == "single":
            time_s += rng.uniform(0.8, 2.5)
        elif style == "irregular":
            time_s += float(np.clip(np.exp(rng.normal(math.log(0.5), 0.5)), 0.22, 2.0))
        elif style == "pulse":
            rest = 1 + int(rng.random() < 0.07) * int(rng.integers(1, 4))
            time_s += period_s * rest * (1.0 + swing * rng.standard_normal())
        else:
            count = int(rng.integers(1, 6)) if style == "burst" else 1
            gap_s = rng.uniform(0.14, 0.34)
            for _ in range(count):
                time_s += gap_s * (1.0 + swing * rng.standard_normal())
                if time_s < end_s:
                    hits.append((time_s, rng.uniform(0.5, 1.1)))
            time_s += rng.uniform(0.5, 1.5)
        if rng.random() < 0.04:
            time_s += rng.uniform(0.5, 1.5)
    return hits
