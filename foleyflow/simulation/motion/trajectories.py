"""Trajectories of a striker: its lift over the surface, its frame over time and its rhythm.

The lift is the gap between the tip and the surface that it will touch: a piecewise C1 function of
time that breaks only at contacts, where it is exactly 0 and its rate is minus the closing speed.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.motion.rotations import Pose, Vec, add, lerp, nlerp, smooth_step

# Planned motion starts before the clip and continues this long after it.
MOTION_START_S = -1.6
LEAD_OUT_S = 1.2


class Lift:
    """A gap in metres as a function of time, appended piece by piece in the order of time."""

    def __init__(self, start_s: float, lift_m: float) -> None:
        self.time_s = start_s
        self.lift_m = lift_m
        self.rate_mps = 0.0
        self._starts: list[float] = []
        self._pieces: list[Callable[[float], float]] = []

    def reach(self, time_s: float, lift_m: float, rate_mps: float = 0.0) -> None:
        """Move to a lift and a rate (cubic Hermite); never below 0 from a non-negative rate."""
        span = max(time_s - self.time_s, 1e-6)
        p, v, q, w = self.lift_m, self.rate_mps * span, lift_m, rate_mps * span
        c2, c3 = 3.0 * (q - p) - 2.0 * v - w, 2.0 * (p - q) + v + w

        def piece(elapsed_s: float) -> float:
            x = elapsed_s / span
            return p + x * (v + x * (c2 + x * c3))

        self._append(piece, time_s, lift_m, rate_mps)

    def hold(self, until_s: float) -> None:
        """Stop immediately and keep the lift."""
        lift = self.lift_m
        self._append(lambda elapsed_s: lift, until_s, lift, 0.0)

    def strike(self, hit_s: float, power: float) -> None:
        """Fall from rest to 0 as h (1 - x^power): closing speed power * h / duration."""
        height, span = self.lift_m, hit_s - self.time_s

        def piece(elapsed_s: float) -> float:
            return height * (1.0 - (elapsed_s / span) ** power)

        self._append(piece, hit_s, 0.0, -power * height / span)

    def bounce(self, speed_mps: float, span_s: float) -> None:
        """Leave 0 upwards and come back to 0 at the same speed (a parabola)."""

        def piece(elapsed_s: float) -> float:
            return speed_mps * elapsed_s * (1.0 - elapsed_s / span_s)

        self._append(piece, self.time_s + span_s, 0.0, -speed_mps)

    def at(self, time_s: float) -> float:
        """Return the lift at any time; constant before the first and after the last piece."""
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


@dataclass(frozen=True, kw_only=True)
class _Stop:
    """A stretch of a `FramePath` at one frame, with an optional offset path and a hop before it."""

    start_s: float
    end_s: float
    frame: Pose
    offset: Callable[[float], Vec] | None
    hop_m: float

    def at(self, time_s: float) -> Pose:
        if self.offset is None:
            return self.frame
        return (add(self.frame[0], self.offset(time_s)), self.frame[1])


class FramePath:
    """A frame as a function of time that rests at stops and moves smoothly between them."""

    def __init__(self) -> None:
        self._stops: list[_Stop] = []

    def stop(
        self,
        start_s: float,
        end_s: float,
        frame: Pose,
        *,
        offset: Callable[[float], Vec] | None = None,
        hop_m: float = 0.0,
    ) -> None:
        """Append a stop; `offset(time_s)` is added to its position.

        `hop_m` is the extra height halfway on the path from the previous stop.
        """
        if self._stops and start_s <= self._stops[-1].start_s:
            start_s = self._stops[-1].start_s + 1e-6
        self._stops.append(
            _Stop(
                start_s=start_s, end_s=max(end_s, start_s), frame=frame, offset=offset, hop_m=hop_m
            )
        )

    def at(self, time_s: float) -> Pose:
        """Return the frame at any time."""
        index = bisect.bisect_right(self._stops, time_s, key=lambda stop: stop.start_s) - 1
        if index < 0:
            return self._stops[0].at(self._stops[0].start_s)
        stop = self._stops[index]
        if time_s <= stop.end_s or index + 1 == len(self._stops):
            return stop.at(min(time_s, stop.end_s))
        following = self._stops[index + 1]
        here, there = stop.at(stop.end_s), following.at(following.start_s)
        x = (time_s - stop.end_s) / (following.start_s - stop.end_s)
        fraction = smooth_step(x)
        position = lerp(here[0], there[0], fraction)
        hop_m = following.hop_m * 16.0 * (x * (1.0 - x)) ** 2
        return (
            (position[0], position[1], position[2] + hop_m),
            nlerp(here[1], there[1], fraction),
        )


class SmoothNoise:
    """Slow, smooth, random motion along three axes: sums of sines (tremor of a hand, sway)."""

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
        """Return the offset at a time, metres."""
        x, y, z = (
            sum(size * math.sin(rate * time_s + phase) for size, rate, phase in axis)
            for axis in self._axes
        )
        return (x, y, z)


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """One intended hit of one arm.

    Attributes:
        hit_s: time of the contact (of the turning point, for a miss).
        speed_mps: intended closing speed; the plan may lower it where time is short.
        outcome: "bounce", "settle" (bounces once, then comes to rest), "rest", "double", "scrape",
            "touch" or "miss".
        rebound: speed after the contact divided by the speed before it, 0..1.
        dwell_s: how long the tip stays on the surface (rest, scrape, touch).
        power: exponent of the downswing, 1.8 (even) .. 4 (late).
        down_s: intended duration of the downswing.
        miss_m: gap at the turning point of a miss; height at which a landing starts.
        landing_s: duration of a silent landing that begins a touch or scrape; 0 for a hit.
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
        """Whether it makes no impact: it stops short or lands too gently to be audible."""
        return self.outcome == "miss" or self.landing_s > 0.0


@dataclass(frozen=True, kw_only=True)
class Swing:
    """The planned motion of a stroke.

    Attributes:
        top_s: start of the downswing.
        height_m: lift at that time.
        end_s: the last time on (or, for a miss, closest to) the surface.
        touches: (time, closing speed) of every audible contact, the main one first; empty for a
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
    max_height_m: float = 0.6,
) -> tuple[Lift, list[Swing]]:
    """Turn intended strokes into one continuous lift.

    Args:
        strokes: in the order of time, each at least 0.1 s after the end of the previous one.
        start_s: start of the motion.
        end_s: end of the motion.
        hover_m: lift between hits that are far apart.
        max_height_m: upper limit of a wind-up.

    Returns:
        The lift, and one swing per stroke.
    """
    planner = _SwingPlanner(rng, start_s, hover_m, max_height_m)
    lift = planner.lift
    swings = []
    for index, stroke in enumerate(strokes):
        next_hit_s = strokes[index + 1].hit_s if index + 1 < len(strokes) else end_s + 9.0
        swings.append(planner.add_swing(stroke, next_hit_s))
    if lift.time_s < end_s:
        lift.reach(lift.time_s + rng.uniform(0.2, 0.5), hover_m)
        if rng.random() < planner.restlessness:
            planner.idle(end_s)
        lift.hold(end_s)
    return lift, swings


class _SwingPlanner:
    """Appends swings to a lift."""

    def __init__(
        self, rng: np.random.Generator, start_s: float, hover_m: float, max_height_m: float
    ) -> None:
        self.rng = rng
        self.hover_m = hover_m
        self.max_height_m = max_height_m
        self.lift = Lift(start_s, hover_m * rng.uniform(0.8, 1.3))
        self.restlessness = rng.random() if rng.random() < 0.7 else 0.0

    def add_swing(self, stroke: Stroke, next_hit_s: float) -> Swing:
        """Append the wind-up, downswing and outcome of one stroke."""
        rng, lift = self.rng, self.lift
        room_s = stroke.hit_s - lift.time_s
        # A silent landing
        if stroke.landing_s:
            top_s = stroke.hit_s - min(stroke.landing_s, 0.7 * room_s)
            self._wind_up(top_s, stroke.miss_m)
            lift.reach(stroke.hit_s, 0.0)
            lift.hold(min(stroke.hit_s + stroke.dwell_s, next_hit_s - 0.1))
            return Swing(top_s=top_s, height_m=stroke.miss_m, end_s=lift.time_s, touches=())
        # Height and duration of the downswing
        down_s = min(stroke.down_s, 0.55 * room_s)
        speed = stroke.speed_mps
        height = speed * down_s / stroke.power
        if height > self.max_height_m:
            height = self.max_height_m
            down_s = stroke.power * height / speed
        if height < 0.012:
            height = 0.012
            speed = stroke.power * height / down_s
        if stroke.outcome == "miss":
            height += stroke.miss_m
            down_s = min(1.5 * down_s + 0.05, 0.6 * room_s)
        top_s = stroke.hit_s - down_s
        self._wind_up(top_s, height)
        # Contact and what follows it
        touches: list[tuple[float, float]] = []
        if stroke.outcome == "miss":
            lift.reach(stroke.hit_s, stroke.miss_m)
            if rng.random() < 0.3:
                lift.hold(min(stroke.hit_s + rng.uniform(0.05, 0.4), next_hit_s - 0.3))
        else:
            lift.strike(stroke.hit_s, stroke.power)
            touches = [(stroke.hit_s, speed), *self._follow_up(stroke, speed, next_hit_s)]
        return Swing(top_s=top_s, height_m=height, end_s=lift.time_s, touches=tuple(touches))

    def _follow_up(
        self, stroke: Stroke, speed_mps: float, next_hit_s: float
    ) -> list[tuple[float, float]]:
        """Append the motion after a contact and return the further contacts of a double hit."""
        rng, lift = self.rng, self.lift
        bounces = []
        if stroke.outcome == "double":
            speed_mps = stroke.rebound * speed_mps
            span_s = rng.uniform(0.05, 0.12)
            for _ in range(int(rng.integers(1, 4))):
                if lift.time_s + span_s + 0.12 > next_hit_s or speed_mps < 0.08:
                    break
                lift.bounce(speed_mps, span_s)
                bounces.append((lift.time_s, speed_mps))
                speed_mps *= rng.uniform(0.4, 0.75)
                span_s *= rng.uniform(0.6, 0.85)
            lift.rate_mps = 0.3 * speed_mps
        elif stroke.outcome in ("bounce", "settle"):
            lift.rate_mps = stroke.rebound * speed_mps
            if stroke.outcome == "settle" and next_hit_s - stroke.hit_s > 0.5:
                self._settle(next_hit_s)
        else:
            lift.rate_mps = 0.0
            lift.hold(min(stroke.hit_s + stroke.dwell_s, next_hit_s - 0.1))
        return bounces

    def _settle(self, next_hit_s: float) -> None:
        """After a bounce, come down again too gently to be audible and rest for a while."""
        rng, lift = self.rng, self.lift
        room_s = next_hit_s - lift.time_s - 0.25
        rise_s, fall_s = rng.uniform(0.06, 0.16), rng.uniform(0.14, 0.4)
        time_scale = min(1.0, room_s / (rise_s + fall_s))
        height = float(np.clip(0.4 * lift.rate_mps * rise_s, 0.006, 0.08))
        lift.reach(lift.time_s + time_scale * rise_s, height)
        lift.reach(lift.time_s + time_scale * fall_s, 0.0)
        lift.hold(min(lift.time_s + rng.uniform(0.0, 0.5), next_hit_s - 0.25))

    def _wind_up(self, top_s: float, height_m: float) -> None:
        """Bring the lift to rest at the top of the swing, with a hover if there is time."""
        rng, lift = self.rng, self.lift
        room_s = top_s - lift.time_s
        if room_s > 0.4 and rng.random() < self.restlessness:
            raise_s = min(rng.uniform(0.12, 0.4), 0.4 * room_s)
            self.idle(top_s - raise_s)
        elif room_s > 0.55:
            rise_s = rng.uniform(0.15, 0.3) if room_s < 0.9 else rng.uniform(0.2, 0.5)
            raise_s = min(rng.uniform(0.12, 0.4), 0.9 * (room_s - rise_s))
            lift.reach(lift.time_s + rise_s, self.hover_m * rng.uniform(0.7, 1.3))
            lift.hold(top_s - raise_s)
        elif room_s > 0.25 and rng.random() < 0.3:
            lift.reach(top_s - rng.uniform(0.02, 0.08), height_m)
            lift.hold(top_s)
            return
        lift.reach(top_s, height_m)

    def idle(self, until_s: float) -> None:
        """Rise and dip at random until a time, with smooth turns and without contact.

        Recordings of stick hits are full of such motion. If every turning point near a surface in
        the training data were a hit, a network would take each of them for a hit.
        """
        rng, lift, hover_m = self.rng, self.lift, self.hover_m
        if until_s - lift.time_s < 0.1:
            return
        rise_s = min(rng.uniform(0.08, 0.25), until_s - lift.time_s)
        lift.reach(lift.time_s + rise_s, max(0.01, lift.lift_m) + hover_m * rng.uniform(0.1, 0.8))
        while (room_s := until_s - lift.time_s) > 0.15:
            if rng.random() < 0.25:
                lift.hold(lift.time_s + min(rng.uniform(0.03, 0.4), room_s))
                continue
            target_m = hover_m * rng.uniform(0.3, 1.8)
            if rng.random() < 0.5:
                target_m = max(0.01, lift.lift_m * rng.uniform(0.03, 0.8))
            least_s = 0.1 + abs(target_m - lift.lift_m) / 0.7
            span_s = least_s * rng.uniform(1.0, 2.0)
            if span_s > room_s:
                break
            lift.reach(lift.time_s + span_s, target_m)


def sample_rhythm(
    rng: np.random.Generator, duration_s: float, *, pulse_hz: tuple[float, float] | None = None
) -> list[tuple[float, float]]:
    """Sample the times of hits and their accents (0.4..1.3, 1 is usual) around a clip.

    Args:
        duration_s: of the clip; hits also fall in the lead-in and lead-out.
        pulse_hz: range of the rate of a steady pulse with rests; None samples any style. The
            irregular style has the rates of Greatest Hits (0.7 to 2.8 per second).
    """
    end_s = duration_s + LEAD_OUT_S
    styles = ("single", "irregular", "pulse", "burst", "double", "tremolo")
    probabilities = (0.10, 0.40, 0.22, 0.12, 0.08, 0.08)
    style = "pulse" if pulse_hz else str(rng.choice(styles, p=probabilities))
    low_hz, high_hz = pulse_hz or (0.7, 5.5)
    period_s = 1.0 / (low_hz * (high_hz / low_hz) ** rng.random())
    timing_noise = rng.uniform(0.01, 0.05)
    time_s = MOTION_START_S + 0.6 + rng.uniform(0.0, 0.8)
    hits: list[tuple[float, float]] = []
    while time_s < end_s:
        hits.append((time_s, float(rng.choice((0.6, 1.0, 1.25), p=(0.25, 0.55, 0.2)))))
        if style == "single":
            time_s += rng.uniform(0.8, 2.5)
        elif style == "irregular":
            time_s += float(np.clip(np.exp(rng.normal(math.log(0.5), 0.5)), 0.22, 2.0))
        elif style == "pulse":
            periods = 1 + int(rng.random() < 0.07) * int(rng.integers(1, 4))
            time_s += period_s * periods * (1.0 + timing_noise * rng.standard_normal())
        else:
            count, gap_s = 1, rng.uniform(0.14, 0.34)
            if style == "burst":
                count = int(rng.integers(1, 6))
            elif style == "tremolo":  # about as fast as a wrist can
                count, gap_s = int(rng.integers(4, 16)), rng.uniform(0.125, 0.17)
            for _ in range(count):
                time_s += gap_s * (1.0 + timing_noise * rng.standard_normal())
                if time_s < end_s:
                    hits.append((time_s, rng.uniform(0.5, 1.1)))
            time_s += rng.uniform(0.5, 1.5)
        if rng.random() < 0.04:
            time_s += rng.uniform(0.5, 1.5)
    return hits
