"""Things that are struck: their geoms, where they can be hit, how they answer a hit.

Strikers are in `figure.py`. A prop lives in its own frame (origin at the middle of its base, z up);
its spots are exact points of its surface with normals. After a hit a light prop rocks, hops or
slides a little, and is back at rest before the next touch, so that touches stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.contacts import Body
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.rotations import (
    IDENTITY,
    UPRIGHT,
    Pose,
    Vec,
    about,
    add,
    apply,
    compose,
    cross,
    from_axes,
    rotate,
    scale,
    subtract,
    unit,
)

UP: Vec = (0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A place on a prop's surface, in the prop's frame.

    Attributes:
        point: on the surface, metres.
        normal: out of the surface, unit.
        along: a unit direction in which the surface goes on.
        room_m: how far it goes on in that direction (and back).
        position: the point in -1..1 along the prop's axes.
    """

    point: Vec
    normal: Vec
    along: Vec = (1.0, 0.0, 0.0)
    room_m: float = 0.0
    position: Vec = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Jolt:
    """The answer to one touch: a damped rocking and hop, and a slide that stays."""

    start_s: float
    until_s: float
    axis: Vec
    turn_rad: float
    shift: Vec
    rate_hz: float
    decay_s: float
    slide: Vec

    def at(self, time_s: float) -> tuple[float, float, float]:
        """(oscillation, hop, share of the slide) at a time after the start; exact 0 at the end."""
        since_s, span_s = time_s - self.start_s, self.until_s - self.start_s
        share = min(1.0, since_s / span_s)
        window = (1.0 - share * share) ** 2 * math.exp(-since_s / self.decay_s)
        wave = math.sin(2.0 * math.pi * self.rate_hz * since_s)
        slid = 1.0 - (1.0 - share) ** 3
        return wave * window, abs(wave) * window, slid


class Prop:
    """One struck thing: a body of the world, its spots, and its answer to hits."""

    def __init__(
        self,
        bench: Puppetry,
        name: str,
        sound: Body,
        *,
        base: Pose,
        half_m: Vec,
        light: float = 0.0,
        pivot: Vec = (0.0, 0.0, 0.0),
        swing_hz: tuple[float, float] = (3.0, 14.0),
    ) -> None:
        self.name = name
        self.sound = sound
        self.base = base
        self.half_m = half_m
        self.light = light
        self.pivot = pivot
        self.swing_hz = swing_hz
        self.slid: Vec = (0.0, 0.0, 0.0)
        self.surfaces: list[tuple[float, Callable[[np.random.Generator], Spot]]] = []
        self._touches: list[tuple[float, Spot, float, Vec]] = []
        self._jolts: list[Jolt] = []
        bench.bodies[name] = sound
        if light > 0.0:
            self.body = bench.driven(name)
            bench.drive((name,), lambda time_s: [self.pose(time_s)])
        else:
            self.body = bench.fixed(name, base)

    @property
    def top_m(self) -> float:
        """Height of its highest point above its base."""
        return 2.0 * self.half_m[2]

    @property
    def radius_m(self) -> float:
        """Radius of its footprint."""
        return math.hypot(self.half_m[0], self.half_m[1])

    def offer(self, weight: float, sampler: Callable[[np.random.Generator], Spot]) -> None:
        """Add a surface that can be hit."""
        self.surfaces.append((weight, sampler))

    def draw_spot(self, rng: np.random.Generator) -> Spot:
        """A random spot of a random surface."""
        weights = np.array([weight for weight, _ in self.surfaces])
        index = int(rng.choice(len(weights), p=weights / weights.sum()))
        return self.surfaces[index][1](rng)

    def resting(self) -> Pose:
        """Where it rests after the slides planned so far."""
        return (add(self.base[0], self.slid), self.base[1])

    def touch(self, time_s: float, spot: Spot, strength: float, slide: Vec = (0, 0, 0)) -> None:
        """Note a touch; strength 0 gives no answer. Call in the order of time."""
        self._touches.append((time_s, spot, strength, slide))
        self.slid = add(self.slid, slide)

    def settle(self, rng: np.random.Generator) -> None:
        """Turn the noted touches into motion. Call once, when all touches are known."""
        if self.light <= 0.0:
            return
        self._touches.sort(key=lambda touch: touch[0])
        rate_hz = rng.uniform(*self.swing_hz)
        decay_s = (0.3, 0.9) if self.swing_hz[1] < 5.0 else (0.05, 0.3)
        for index, (time_s, spot, strength, slide) in enumerate(self._touches):
            following = self._touches[index + 1 :]
            until_s = following[0][0] - 0.01 if following else time_s + 2.0
            until_s = min(until_s, time_s + 1.2)
            if until_s <= time_s + 0.015 and slide == (0, 0, 0):
                continue
            until_s = max(until_s, time_s + 0.004)
            size = strength * self.light
            push = scale(spot.normal, -1.0)
            lever = subtract(spot.point, self.pivot)
            if self.pivot[2] == 0.0:  # a thing that stands: its weight keeps it from turning flat
                lever = (lever[0], lever[1], max(lever[2], 0.3 * self.top_m))
            axis = unit(cross(lever, push))
            sideways = (push[0], push[1], 0.0)
            hop = size * 0.012 * max(0.0, -push[2]) * rng.uniform(0.2, 1.0)
            self._jolts.append(
                Jolt(
                    start_s=time_s,
                    until_s=until_s,
                    axis=axis,
                    turn_rad=min(0.35, size * rng.uniform(0.02, 0.09)),
                    shift=add(scale(sideways, size * rng.uniform(0.0, 0.015)), (0.0, 0.0, hop)),
                    rate_hz=rate_hz * rng.uniform(0.9, 1.1),
                    decay_s=rng.uniform(*decay_s),
                    slide=slide,
                )
            )

    def pose(self, time_s: float) -> Pose:
        """World pose at a time."""
        place, turn = self.base
        local = IDENTITY
        for jolt in self._jolts:
            if time_s <= jolt.start_s:
                break
            wave, hop, slid = jolt.at(time_s)
            place = add(place, scale(jolt.slide, slid))
            if time_s < jolt.until_s:
                rotation = about(jolt.axis, jolt.turn_rad * wave)
                shift = (jolt.shift[0] * wave, jolt.shift[1] * wave, jolt.shift[2] * hop)
                back = rotate(rotation, self.pivot)
                local = (
                    add(
                        shift,
                        (self.pivot[0] - back[0], self.pivot[1] - back[1], self.pivot[2] - back[2]),
                    ),
                    rotation,
                )
        return compose((place, turn), local)


def station(prop: Prop, spot: Spot, back: Vec) -> Pose:
    """The contact frame at a spot of a prop at rest, with the hand towards `back` (world)."""
    rest = prop.resting()
    return (apply(rest, spot.point), from_axes(back, rotate(rest[1], spot.normal)))


def patch(
    middle: Vec, normal: Vec, first: Vec, half_first_m: float, half_second_m: float, half_m: Vec
) -> Callable[[np.random.Generator], Spot]:
    """Spots of a flat rectangle (or, with one half 0, of a straight line)."""
    second = cross(normal, first)

    def sampler(rng: np.random.Generator) -> Spot:
        a = float(np.clip(rng.normal(0.0, 0.4), -0.85, 0.85)) * half_first_m
        b = float(np.clip(rng.normal(0.0, 0.4), -0.85, 0.85)) * half_second_m
        point = add(middle, add(scale(first, a), scale(second, b)))
        if half_first_m >= half_second_m:
            along, room_m = first, half_first_m * 0.9 - abs(a)
        else:
            along, room_m = second, half_second_m * 0.9 - abs(b)
        return Spot(
            point=point,
            normal=normal,
            along=along,
            room_m=max(0.0, room_m),
            position=_normalised(point, half_m),
        )

    return sampler


def egg(half_m: Vec, lowest: float = 0.35) -> Callable[[np.random.Generator], Spot]:
    """Spots of the upper part of an ellipsoid that stands on its lowest point."""

    def sampler(rng: np.random.Generator) -> Spot:
        while True:
            aside = rng.normal(0.0, 0.45, 2)
            direction = unit((float(aside[0]), float(aside[1]), 1.0))
            if direction[2] >= lowest:
                break
        on = (direction[0] * half_m[0], direction[1] * half_m[1], direction[2] * half_m[2])
        normal = unit((on[0] / half_m[0] ** 2, on[1] / half_m[1] ** 2, on[2] / half_m[2] ** 2))
        point = add(on, (0.0, 0.0, half_m[2]))
        return Spot(point=point, normal=normal, position=direction)

    return sampler


def round_side(
    radius_m: float, bottom_m: float, top_m: float, half_m: Vec
) -> Callable[[np.random.Generator], Spot]:
    """Spots of the side of an upright cylinder."""

    def sampler(rng: np.random.Generator) -> Spot:
        turn = rng.uniform(0, 2 * math.pi)
        normal = (math.cos(turn), math.sin(turn), 0.0)
        height = rng.uniform(
            bottom_m + 0.15 * (top_m - bottom_m), top_m - 0.05 * (top_m - bottom_m)
        )
        point = (radius_m * normal[0], radius_m * normal[1], height)
        return Spot(
            point=point,
            normal=normal,
            along=UP,
            room_m=0.9 * min(height - bottom_m, top_m - height),
            position=_normalised(point, half_m),
        )

    return sampler


def _normalised(point: Vec, half_m: Vec) -> Vec:
    """A point of a prop in -1..1 along its axes (z counted from its middle)."""
    return (
        max(-1.0, min(1.0, point[0] / half_m[0])),
        max(-1.0, min(1.0, point[1] / half_m[1])),
        max(-1.0, min(1.0, (point[2] - half_m[2]) / half_m[2])),
    )


def add_box_surfaces(prop: Prop, *, middle: Vec, half_m: Vec, sides: float = 0.3) -> None:
    """Offer the top and the four sides of a box."""
    a, b, c = half_m
    x, y = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    top = add(middle, (0.0, 0.0, c))
    prop.offer(1.0, patch(top, UP, x, a, b, prop.half_m))
    if sides > 0.0:
        for sign in (-1.0, 1.0):
            face = add(middle, (sign * a, 0.0, 0.0))
            prop.offer(sides / 4, patch(face, (sign, 0.0, 0.0), y, b, c, prop.half_m))
            face = add(middle, (0.0, sign * b, 0.0))
            prop.offer(sides / 4, patch(face, (0.0, sign, 0.0), x, a, c, prop.half_m))


def spin(rng: np.random.Generator, place: Vec) -> Pose:
    """A place on the ground with a random turn about the vertical."""
    return (place, about(UP, rng.uniform(0, 2 * math.pi)))


__all__ = [
    "UP",
    "UPRIGHT",
    "Jolt",
    "Prop",
    "Spot",
    "add_box_surfaces",
    "egg",
    "patch",
    "round_side",
    "spin",
    "station",
]
