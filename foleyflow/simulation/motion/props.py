"""Struck objects ("props"): their surfaces, and their motion after a hit.

The frame of a prop has its origin at the centre of its base and z upwards. The points that can be
hit are exact points of its surface. After a hit a light prop rocks, hops or slides a little and
comes to rest before the next hit, so that the contact points stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.contacts import Body, Shape
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.rotations import (
    IDENTITY,
    ORIGIN,
    X_AXIS,
    Y_AXIS,
    Z_AXIS,
    Pose,
    Quat,
    Vec,
    add,
    align_axes,
    axis_angle,
    compose,
    cross,
    horizontal,
    rotate,
    rotation_about,
    scale,
    subtract,
    transform,
    unit,
)


@dataclass(frozen=True, kw_only=True)
class SurfacePoint:
    """A point on the surface of a prop, in the prop's frame.

    Attributes:
        point: metres.
        normal: unit vector out of the surface.
        along: a unit vector along which the surface continues.
        room_m: how far it continues in that direction and in the opposite one.
        position: the point in -1..1 along the prop's axes.
    """

    point: Vec
    normal: Vec
    along: Vec = X_AXIS
    room_m: float = 0.0
    position: Vec = ORIGIN


PointSampler = Callable[[np.random.Generator], SurfacePoint]


@dataclass(frozen=True, kw_only=True)
class _HitResponse:
    """The response to one hit: damped rocking and hopping, and a slide that remains."""

    start_s: float
    end_s: float
    axis: Vec
    angle_rad: float
    shift: Vec
    rate_hz: float
    decay_s: float
    slide: Vec

    def at(self, time_s: float) -> tuple[float, float, float]:
        """Return (oscillation, hop, fraction of the slide); the first two end at exactly 0."""
        elapsed_s = time_s - self.start_s
        fraction = min(1.0, elapsed_s / (self.end_s - self.start_s))
        window = (1.0 - fraction * fraction) ** 2 * math.exp(-elapsed_s / self.decay_s)
        wave = math.sin(2.0 * math.pi * self.rate_hz * elapsed_s)
        return wave * window, abs(wave) * window, 1.0 - (1.0 - fraction) ** 3


class Prop:
    """An object that can be struck: a body of the world, its surfaces and its response to hits.

    Args:
        name: unique within the scene.
        material: a key of `materials.MATERIALS`.
        shape: of the sounding body.
        half_m: half of its outer size, metres.
        size_m: size of the sounding body; None for twice `half_m`.
        hollow: whether it sounds as a shell.
        damping: of the sounding body.
        base: pose of its base at rest, world.
        lightness: how strongly it responds to hits; 0 for a fixed prop.
        pivot: the point that it rocks about, own frame; above the base for a hanging prop.
        swing_hz: range of the rocking frequency.
    """

    def __init__(
        self,
        world: KinematicWorld,
        name: str,
        *,
        material: str,
        shape: Shape,
        half_m: Vec,
        size_m: Vec | None = None,
        hollow: bool = False,
        damping: float,
        base: Pose,
        lightness: float = 0.0,
        pivot: Vec = ORIGIN,
        swing_hz: tuple[float, float] = (3.0, 14.0),
    ) -> None:
        self.name = name
        self.base = base
        self.half_m = half_m
        self.lightness = lightness
        self.pivot = pivot
        self.swing_hz = swing_hz
        self.surfaces: list[tuple[float, PointSampler]] = []
        self._total_slide: Vec = ORIGIN
        self._hits: list[tuple[float, SurfacePoint, float, Vec]] = []
        self._responses: list[_HitResponse] = []
        world.bodies[name] = Body(
            name=name,
            material=material,
            shape=shape,
            size_m=size_m or (2 * half_m[0], 2 * half_m[1], 2 * half_m[2]),
            hollow=hollow,
            damping=damping,
        )
        if lightness > 0.0:
            self.body = world.add_driven_body(name)
            world.drive((name,), lambda time_s: [self.pose(time_s)])
        else:
            self.body = world.add_fixed_body(name, base)

    @property
    def height_m(self) -> float:
        """Height of its highest point above its base."""
        return 2.0 * self.half_m[2]

    @property
    def radius_m(self) -> float:
        """Radius of its footprint."""
        return math.hypot(self.half_m[0], self.half_m[1])

    def add_surface(self, weight: float, sampler: PointSampler) -> None:
        """Add a surface that can be hit; `weight` is relative to its other surfaces."""
        self.surfaces.append((weight, sampler))

    def sample_point(self, rng: np.random.Generator) -> SurfacePoint:
        """Sample a point of one of its surfaces."""
        weights = np.array([weight for weight, _ in self.surfaces])
        index = int(rng.choice(len(weights), p=weights / weights.sum()))
        return self.surfaces[index][1](rng)

    def rest_pose(self) -> Pose:
        """Return its pose at rest after the slides planned so far."""
        return (add(self.base[0], self._total_slide), self.base[1])

    def add_hit(self, time_s: float, point: SurfacePoint, strength: float, slide: Vec) -> None:
        """Record a hit; strength 0 gives no motion. Call in the order of time for each arm."""
        self._hits.append((time_s, point, strength, slide))
        self._total_slide = add(self._total_slide, slide)

    def plan_responses(self, rng: np.random.Generator) -> None:
        """Turn the recorded hits into motion. Call once, when all hits are known."""
        if self.lightness <= 0.0:
            return
        self._hits.sort(key=lambda hit: hit[0])
        rate_hz = rng.uniform(*self.swing_hz)
        decay_s = (0.3, 0.9) if self.swing_hz[1] < 5.0 else (0.05, 0.3)
        for index, (time_s, point, strength, slide) in enumerate(self._hits):
            # The motion ends before the next hit
            following = self._hits[index + 1 :]
            end_s = following[0][0] - 0.01 if following else time_s + 2.0
            end_s = min(end_s, time_s + 1.2)
            if end_s <= time_s + 0.015 and slide == ORIGIN:
                continue
            end_s = max(end_s, time_s + 0.004)
            # Axis and size of the rocking, the shift and the hop
            size = strength * self.lightness
            push = scale(point.normal, -1.0)
            lever = subtract(point.point, self.pivot)
            if self.pivot[2] == 0.0:  # the weight of a standing prop keeps it from turning flat
                lever = (lever[0], lever[1], max(lever[2], 0.3 * self.height_m))
            hop = size * 0.012 * max(0.0, -push[2]) * rng.uniform(0.2, 1.0)
            angle_rad = min(0.35, size * rng.uniform(0.02, 0.09))
            sideways = scale((push[0], push[1], 0.0), size * rng.uniform(0.0, 0.015))
            self._responses.append(
                _HitResponse(
                    start_s=time_s,
                    end_s=end_s,
                    axis=unit(cross(lever, push)),
                    angle_rad=angle_rad,
                    shift=add(sideways, (0.0, 0.0, hop)),
                    rate_hz=rate_hz * rng.uniform(0.9, 1.1),
                    decay_s=rng.uniform(*decay_s),
                    slide=slide,
                )
            )

    def pose(self, time_s: float) -> Pose:
        """Return its world pose at a time."""
        position, rotation = self.base
        local = IDENTITY
        for response in self._responses:
            if time_s <= response.start_s:
                break
            wave, hop, slide_fraction = response.at(time_s)
            position = add(position, scale(response.slide, slide_fraction))
            if time_s < response.end_s:
                shift = response.shift
                rocking = rotation_about(
                    self.pivot, axis_angle(response.axis, response.angle_rad * wave)
                )
                shifted = add((shift[0] * wave, shift[1] * wave, shift[2] * hop), rocking[0])
                local = (shifted, rocking[1])
        return compose((position, rotation), local)


def contact_frame(prop: Prop, point: SurfacePoint, hand_direction: Vec) -> Pose:
    """Return the frame of a contact on a prop at rest: z along the normal, x towards the hand."""
    rest = prop.rest_pose()
    return (transform(rest, point.point), align_axes(hand_direction, rotate(rest[1], point.normal)))


def flat_surface(
    center: Vec, normal: Vec, first: Vec, half_first_m: float, half_second_m: float, half_m: Vec
) -> PointSampler:
    """Sample points of a flat rectangle (or, if one half is 0, of a straight line)."""
    second = cross(normal, first)

    def sampler(rng: np.random.Generator) -> SurfacePoint:
        a = float(np.clip(rng.normal(0.0, 0.4), -0.85, 0.85)) * half_first_m
        b = float(np.clip(rng.normal(0.0, 0.4), -0.85, 0.85)) * half_second_m
        point = add(center, add(scale(first, a), scale(second, b)))
        if half_first_m >= half_second_m:
            along, room_m = first, half_first_m * 0.9 - abs(a)
        else:
            along, room_m = second, half_second_m * 0.9 - abs(b)
        return SurfacePoint(
            point=point,
            normal=normal,
            along=along,
            room_m=max(0.0, room_m),
            position=_normalised(point, half_m),
        )

    return sampler


def top_surface(prop: Prop, height_m: float, half_x_m: float, half_y_m: float) -> PointSampler:
    """Sample points of a horizontal rectangle centred above the prop's origin."""
    return flat_surface((0.0, 0.0, height_m), Z_AXIS, X_AXIS, half_x_m, half_y_m, prop.half_m)


def ellipsoid_surface(half_m: Vec, min_z: float = 0.35) -> PointSampler:
    """Sample points of the upper part of an ellipsoid that stands on its lowest point."""

    def sampler(rng: np.random.Generator) -> SurfacePoint:
        while True:
            x, y = rng.normal(0.0, 0.45, 2)
            direction = unit((float(x), float(y), 1.0))
            if direction[2] >= min_z:
                break
        on = (direction[0] * half_m[0], direction[1] * half_m[1], direction[2] * half_m[2])
        normal = unit((on[0] / half_m[0] ** 2, on[1] / half_m[1] ** 2, on[2] / half_m[2] ** 2))
        point = add(on, (0.0, 0.0, half_m[2]))
        return SurfacePoint(point=point, normal=normal, position=direction)

    return sampler


def cylinder_side(radius_m: float, height_m: float, half_m: Vec) -> PointSampler:
    """Sample points of the side of an upright cylinder that stands on the prop's origin."""

    def sampler(rng: np.random.Generator) -> SurfacePoint:
        normal = horizontal(rng.uniform(0, 2 * math.pi))
        height = rng.uniform(0.15 * height_m, height_m - 0.05 * height_m)
        point = (radius_m * normal[0], radius_m * normal[1], height)
        return SurfacePoint(
            point=point,
            normal=normal,
            along=Z_AXIS,
            room_m=0.9 * min(height, height_m - height),
            position=_normalised(point, half_m),
        )

    return sampler


def add_box_surfaces(prop: Prop, *, side_weight: float = 0.3) -> None:
    """Add the top and, unless their weight is 0, the four sides of a box that is the prop."""
    a, b, c = prop.half_m
    prop.add_surface(1.0, top_surface(prop, c + c, a, b))
    if side_weight > 0.0:
        for sign in (-1.0, 1.0):
            for center, normal, first, half_first_m in (
                ((sign * a, 0.0, c), (sign, 0.0, 0.0), Y_AXIS, b),
                ((0.0, sign * b, c), (0.0, sign, 0.0), X_AXIS, a),
            ):
                surface = flat_surface(center, normal, first, half_first_m, c, prop.half_m)
                prop.add_surface(side_weight / 4, surface)


def sample_heading(rng: np.random.Generator) -> Quat:
    """Sample a rotation about the vertical."""
    return axis_angle(Z_AXIS, rng.uniform(0, 2 * math.pi))


def _normalised(point: Vec, half_m: Vec) -> Vec:
    """Return a point of a prop in -1..1 along its axes (z relative to its centre)."""
    return (
        max(-1.0, min(1.0, point[0] / half_m[0])),
        max(-1.0, min(1.0, point[1] / half_m[1])),
        max(-1.0, min(1.0, (point[2] - half_m[2]) / half_m[2])),
    )
