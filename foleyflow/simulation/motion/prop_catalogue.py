"""Catalogue of props: boxes, boards, stones, bottles, bowls, bars, bushes, furniture, walls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.contacts import Shape
from foleyflow.simulation.materials import MATERIALS, sample_material
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.props import (
    Prop,
    SurfacePoint,
    add_box_surfaces,
    cylinder_side,
    ellipsoid_surface,
    flat_surface,
    sample_heading,
    top_surface,
)
from foleyflow.simulation.motion.rotations import (
    IDENTITY,
    NO_ROTATION,
    ORIGIN,
    X_AXIS,
    Y_AXIS,
    Z_AXIS,
    Vec,
    add,
    align_axes,
    as_vec,
    horizontal,
    scale,
)

# How often a body has the main material of its clip: a clip is labelled with one material.
MAIN_MATERIAL_PROBABILITY = 0.92


def sample_main_or_other_material(rng: np.random.Generator, main: str) -> str:
    """Return the main material of a clip in most cases, otherwise any solid material."""
    return main if rng.random() < MAIN_MATERIAL_PROBABILITY else sample_material(rng)


def add_ground(world: KinematicWorld) -> Prop:
    """Add the ground, a slab with its top at z = 0 that can be struck."""
    half = (6.0, 6.0, 0.05)
    prop = Prop(
        world,
        "ground",
        material="stone",
        shape="plate",
        half_m=half,
        size_m=(2.0, 2.0, 0.15),
        damping=world.rng.uniform(1.0, 1.4),
        base=((0.0, 0.0, -0.1), NO_ROTATION),
    )
    world.add_box(prop.body, "ground", half, (0.0, 0.0, 0.05))
    prop.add_surface(1.0, top_surface(prop, 0.1, 0.35, 0.35))
    return prop


@dataclass(frozen=True, kw_only=True)
class _Request:
    """The arguments of `add_prop`, passed to the function that builds one kind of prop."""

    world: KinematicWorld
    name: str
    position: Vec
    max_size_m: float
    material: str | None

    def sample_material(self, prop: str = "any solid") -> str:
        """Return the requested material, otherwise one of the materials of a prop."""
        return self.material or sample_material(self.world.rng, prop)

    def sample_lightness(self, size_m: float | None = None) -> float:
        """Sample how strongly a prop of a size responds to a hit: 0 (fixed) .. 1.5."""
        rng = self.world.rng
        if rng.random() < 0.25:
            return 0.0
        return float(np.clip(0.12 / (size_m or self.max_size_m), 0.05, 1.5)) * rng.uniform(0.3, 1.2)

    def add(
        self,
        material: str,
        shape: Shape,
        half_m: Vec,
        *,
        size_m: Vec | None = None,
        hollow: bool = False,
        lightness: float = 0.0,
        damping: tuple[float, float] = (1.0, 1.4),
    ) -> Prop:
        """Add the prop, without geoms and surfaces, with a random heading."""
        rng = self.world.rng
        return Prop(
            self.world,
            self.name,
            material=material,
            shape=shape,
            half_m=half_m,
            size_m=size_m,
            hollow=hollow,
            damping=rng.uniform(*damping),
            base=(self.position, sample_heading(rng)),
            lightness=lightness,
        )


def _add_box(request: _Request) -> Prop:
    world, rng = request.world, request.world.rng
    a, b = rng.uniform(0.3, 1.0, 2) * 0.5 * request.max_size_m
    half = (float(a), float(b), float(rng.uniform(0.15, 0.8) * min(a, b) * 1.5))
    material = request.sample_material()
    hollow = bool(rng.random() < MATERIALS[material].hollow_box_probability)
    lightness = request.sample_lightness()
    prop = request.add(material, "box", half, hollow=hollow, lightness=lightness)
    world.add_box(prop.body, material, half, (0, 0, half[2]))
    add_box_surfaces(prop)
    return prop


def _add_board(request: _Request) -> Prop:
    world, rng, size = request.world, request.world.rng, request.max_size_m
    half = (0.5 * size, 0.5 * size * rng.uniform(0.3, 0.8), rng.uniform(0.004, 0.025))
    material = request.sample_material()
    prop = request.add(material, "plate", half, lightness=request.sample_lightness())
    world.add_box(prop.body, material, half, (0, 0, half[2]))
    add_box_surfaces(prop, side_weight=0.0)
    return prop


def _add_can(request: _Request) -> Prop:
    world, rng, size = request.world, request.world.rng, request.max_size_m
    radius, height = 0.5 * size * rng.uniform(0.3, 0.8), size * rng.uniform(0.3, 1.0)
    half = (radius, radius, 0.5 * height)
    material = request.sample_material()
    hollow = bool(rng.random() < 0.5)
    lightness = request.sample_lightness()
    prop = request.add(material, "cylinder", half, hollow=hollow, lightness=lightness)
    world.add_cylinder(prop.body, material, radius, 0.5 * height, (0, 0, 0.5 * height))
    prop.add_surface(1.0, top_surface(prop, height, 0.7 * radius, 0.7 * radius))
    prop.add_surface(0.4, cylinder_side(radius, height, half))
    return prop


def _add_bar(request: _Request) -> Prop:
    """Add a bar, pipe or log, on the ground or on two supports."""
    world, rng, size = request.world, request.world.rng, request.max_size_m
    thick = size * rng.uniform(0.03, 0.15)
    raised = rng.uniform(0.05, 0.4) * size if rng.random() < 0.4 else 0.0
    half = (0.5 * size, thick, 0.5 * (raised + 2 * thick))
    material = request.sample_material("bar")
    lightness = request.sample_lightness() if raised == 0 else 0.0
    size_m = (size, 2 * thick, 2 * thick)
    prop = request.add(material, "bar", half, size_m=size_m, lightness=lightness)
    center = (0.0, 0.0, raised + thick)
    if rng.random() < 0.5:
        world.add_box(prop.body, material, [half[0], thick, thick], center)
    else:
        ends = (add(center, (-half[0], 0, 0)), add(center, (half[0], 0, 0)))
        world.add_rod(prop.body, material, thick, *ends, shape="cylinder")
    if raised:
        look = sample_material(rng)
        for side in (-1.0, 1.0):
            position = (side * 0.7 * half[0], 0.0, 0.5 * raised)
            world.add_box(prop.body, look, [0.02, max(0.02, thick), 0.5 * raised], position)
    prop.add_surface(1.0, top_surface(prop, raised + 2 * thick, half[0], 0.0))
    face = (0, thick, raised + thick)
    prop.add_surface(0.25, flat_surface(face, Y_AXIS, X_AXIS, half[0], 0.0, half))
    return prop


def _add_stone(request: _Request) -> Prop:
    world, rng = request.world, request.world.rng
    half = as_vec(0.5 * request.max_size_m * rng.uniform((0.5, 0.4, 0.2), (0.9, 0.8, 0.6)))
    material = request.sample_material("stone")
    prop = request.add(material, "sphere", half, lightness=request.sample_lightness())
    world.add_ellipsoid(prop.body, material, half, (0, 0, half[2]))
    prop.add_surface(1.0, ellipsoid_surface(half))
    return prop


def _add_ball(request: _Request) -> Prop:
    world, rng = request.world, request.world.rng
    radius = 0.5 * request.max_size_m * rng.uniform(0.3, 0.7)
    half = (radius, radius, radius)
    material = request.sample_material()
    hollow = bool(rng.random() < 0.5)
    lightness = request.sample_lightness()
    prop = request.add(material, "sphere", half, hollow=hollow, lightness=lightness)
    world.add_sphere(prop.body, material, radius, (0, 0, radius))
    prop.add_surface(1.0, ellipsoid_surface(half, 0.2))
    return prop


def _add_vessel(request: _Request) -> Prop:
    """Add a bowl, cup, plate, pot or bin: hit on its rim or, upside down, on its bottom."""
    world, rng = request.world, request.world.rng
    material = request.sample_material("vessel")
    radius = 0.5 * min(request.max_size_m, 0.45) * rng.uniform(0.5, 1.0)
    height = radius * float(rng.choice((0.25, 0.7, 1.2, 2.2))) * rng.uniform(0.8, 1.2)
    foot, wall = radius * rng.uniform(0.4, 1.0), radius * rng.uniform(0.04, 0.1)
    prop = request.add(
        material,
        "bowl",
        (radius, radius, 0.5 * height),
        size_m=(2 * radius, height, wall),
        hollow=True,
        lightness=request.sample_lightness(2 * radius),
    )
    if rng.random() < 0.3:  # upside down
        bulge = (0.5 * (radius + foot) + 0.08 * radius, 0.6 * height)
        profile = ((radius, 0.0), bulge, (foot, height), (0.0, height))
        world.add_revolved(prop.body, material, profile)
        prop.add_surface(1.0, top_surface(prop, height, 0.6 * foot, 0.6 * foot))
        return prop
    bulge_radius = min(0.5 * (radius + foot) + 0.1 * radius * rng.uniform(0.0, 1.0), radius)
    outside = ((0.0, 0.0), (foot, 0.0), (bulge_radius, 0.5 * height), (radius, height))
    inside = (
        (radius - wall, height),
        (bulge_radius - wall, 0.5 * height),
        (foot - wall, 2 * wall),
        (0.0, 2 * wall),
    )
    world.add_revolved(prop.body, material, outside + inside)

    def sample_rim_point(rng: np.random.Generator) -> SurfacePoint:
        angle = (rng.integers(18) + 0.5) * 2 * math.pi / 18
        rim_radius = (radius - 0.5 * wall) * math.cos(math.pi / 18)
        x, y, _ = horizontal(angle, rim_radius)
        position = (math.cos(angle), math.sin(angle), 1.0)
        return SurfacePoint(point=(x, y, height), normal=Z_AXIS, position=position)

    prop.add_surface(1.0, sample_rim_point)
    return prop


def _add_bottle(request: _Request) -> Prop:
    world, rng = request.world, request.world.rng
    material = request.sample_material("bottle")
    height = min(request.max_size_m, 0.4) * rng.uniform(0.6, 1.0)
    radius = height * rng.uniform(0.12, 0.22)
    neck, shoulder = radius * rng.uniform(0.25, 0.5), height * rng.uniform(0.5, 0.75)
    half = (radius, radius, 0.5 * height)
    lightness = request.sample_lightness(height)
    prop = request.add(material, "cylinder", half, hollow=True, lightness=lightness)
    world.add_cylinder(prop.body, material, radius, 0.5 * shoulder, (0, 0, 0.5 * shoulder))
    slope_end = (neck, 0.5 * (shoulder + height))
    profile = ((radius, shoulder), slope_end, (neck, height), (0.0, height))
    world.add_revolved(prop.body, material, profile)
    prop.add_surface(1.0, cylinder_side(radius, shoulder, half))
    return prop


def _add_bush(request: _Request) -> Prop:
    """Add leaves, grass or twigs: soft, swaying widely, nearly silent."""
    world, rng, size = request.world, request.world.rng, request.max_size_m
    height = size * rng.uniform(0.5, 1.0)
    prop = request.add(
        "cardboard",
        "plate",
        (0.4 * size, 0.4 * size, 0.5 * height),
        size_m=(0.2, 0.1, 0.002),
        lightness=rng.uniform(1.0, 3.0),
        damping=(6.0, 12.0),
    )
    thick = size * rng.uniform(0.012, 0.03)
    world.add_rod(prop.body, "leaf", thick, ORIGIN, (0.0, 0.0, height - thick))
    for _ in range(int(rng.integers(7, 14))):
        azimuth, lean = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 1.1)
        length = height * rng.uniform(0.5, 0.95)
        x, y, _ = horizontal(azimuth, length * math.sin(lean))
        end = (x, y, min(length * math.cos(lean), height - 2.5 * thick))
        if rng.random() < 0.6:
            world.add_rod(prop.body, "leaf", thick, (0.05 * x, 0.05 * y, 0.0), end)
        else:
            half = [0.2 * length, 0.08 * length, 0.01 * length]
            leaf = world.add_ellipsoid(prop.body, "leaf", half, scale(end, 0.7))
            leaf.quat = align_axes(end, (rng.normal(), rng.normal(), 1.0))
    tip = SurfacePoint(point=(0.0, 0.0, height), normal=Z_AXIS, position=Z_AXIS)
    prop.add_surface(1.0, lambda rng: tip)
    return prop


def _add_pile(request: _Request) -> Prop:
    """Add a heap of blocks or stones around a central one with a flat top."""
    world, rng = request.world, request.world.rng
    material = request.sample_material("pile")
    half = as_vec(0.3 * request.max_size_m * rng.uniform(0.5, 1.0, 3))
    prop = request.add(material, "box", half)
    world.add_box(prop.body, material, half, (0, 0, half[2]))
    for _ in range(int(rng.integers(3, 8))):
        size = as_vec(half[2] * rng.uniform(0.3, 0.8, 3))
        azimuth, distance = rng.uniform(0, 2 * math.pi), rng.uniform(0.9, 1.6)
        x, y = distance * half[0] * math.cos(azimuth), distance * half[1] * math.sin(azimuth)
        shape = "ellipsoid" if material == "stone" else "box"
        block = world.add_geom(
            prop.body, shape, material, size=size, position=(x, y, 0.7 * size[2])
        )
        block.quat = align_axes(as_vec(rng.normal(size=3)), (0.2, 0.1, 1.0))
    prop.add_surface(1.0, top_surface(prop, 2 * half[2], half[0], half[1]))
    return prop


def _add_chair(request: _Request) -> Prop:
    """Add a chair or stool: a seat, four legs and sometimes a back."""
    world, rng = request.world, request.world.rng
    material = request.sample_material("chair")
    wide, tall = 0.5 * max(0.25, min(request.max_size_m, 0.5)), rng.uniform(0.25, 0.5)
    half = (wide, wide, 0.5 * tall)
    lightness = request.sample_lightness(1.0)
    size_m = (2 * wide, 2 * wide, 0.03)
    prop = request.add(material, "plate", half, size_m=size_m, lightness=lightness)
    world.add_box(prop.body, material, [wide, wide, 0.015], (0.0, 0.0, tall - 0.015))
    world.add_legs(prop.body, material, 0.015, (0.85 * wide, 0.85 * wide, tall - 0.02))
    if rng.random() < 0.6:
        world.add_box(prop.body, material, [0.012, wide, 0.15], (-wide, 0.0, tall + 0.17))
    seat = (0.4 * wide, 0, tall)
    prop.add_surface(1.0, flat_surface(seat, Z_AXIS, Y_AXIS, 0.7 * wide, 0.35 * wide, half))
    return prop


def _add_railing(request: _Request) -> Prop:
    """Add a rail on posts."""
    world, rng = request.world, request.world.rng
    material = request.sample_material("railing")
    half_length = 0.5 * max(0.4, request.max_size_m)
    tall, thick = rng.uniform(0.2, 0.8), rng.uniform(0.012, 0.04)
    half = (half_length, thick, 0.5 * tall)
    size_m = (2 * half_length, 2 * thick, 2 * thick)
    prop = request.add(material, "bar", half, size_m=size_m, hollow=material == "metal")
    top = tall - thick
    ends = ((-half_length, 0, top), (half_length, 0, top))
    world.add_rod(prop.body, material, thick, *ends, shape="cylinder")
    for k in range(int(rng.integers(2, 6))):
        x = -0.9 * half_length + 1.8 * half_length * (k / 4.0)
        world.add_rod(prop.body, material, 0.7 * thick, (x, 0, 0), (x, 0, top), shape="cylinder")
    prop.add_surface(1.0, top_surface(prop, tall, half_length, 0.0))
    face = (0, thick, top)
    prop.add_surface(0.3, flat_surface(face, Y_AXIS, X_AXIS, half_length, 0.0, half))
    return prop


def _add_hanging(request: _Request) -> Prop:
    """Add a plate, pan or bar that hangs from a frame by two strings and swings when hit."""
    world, rng, size = request.world, request.world.rng, request.max_size_m
    material = request.sample_material("hanging")
    wide, tall = 0.5 * size * rng.uniform(0.15, 0.6), 0.5 * size * rng.uniform(0.3, 0.8)
    half = (wide, rng.uniform(0.003, 0.012), tall)
    low, string = rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.2)
    heading = sample_heading(rng)
    top = 2 * tall
    prop = Prop(
        world,
        request.name,
        material=material,
        shape="plate",
        half_m=half,
        size_m=(2 * wide, top, 2 * half[1]),
        damping=rng.uniform(0.5, 1.2),
        base=(add(request.position, (0.0, 0.0, low)), heading),
        lightness=rng.uniform(0.8, 2.5),
        pivot=(0.0, 0.0, top + string),
        swing_hz=(1.0, 2.5),
    )
    world.add_box(prop.body, material, half, (0, 0, tall))
    for x in (-0.8 * wide, 0.8 * wide):
        world.add_rod(prop.body, "cloth", 0.0015, (x, 0.0, top), (x, 0.0, top + string))
    frame = world.add_fixed_body(f"{request.name}_frame", (request.position, heading))
    look = str(rng.choice(("wood", "metal")))
    high = low + top + string
    corners = ((-wide - 0.06, 0.0, high), (wide + 0.06, 0.0, high))
    for x, _, _ in corners:
        world.add_rod(frame, look, 0.009, (x, 0.0, 0.0), (x, 0.0, high))
    world.add_rod(frame, look, 0.009, *corners)
    for sign in (-1.0, 1.0):
        face, normal = (0.0, sign * half[1], tall), (0.0, sign, 0.0)
        prop.add_surface(0.5, flat_surface(face, normal, X_AXIS, wide, 0.6 * tall, half))
    prop.add_surface(0.12, flat_surface(ORIGIN, (0.0, 0.0, -1.0), X_AXIS, wide, 0.0, half))
    return prop


def add_table(
    world: KinematicWorld, name: str, height_m: float, material: str | None = None
) -> Prop:
    """Add a table, counter or block with a flat top at a height, centred on the origin."""
    rng = world.rng
    material = material or sample_material(rng, "table")
    half = (rng.uniform(0.3, 0.8), rng.uniform(0.25, 0.5), 0.5 * height_m)
    thick = rng.uniform(0.01, 0.03)
    prop = Prop(
        world,
        name,
        material=material,
        shape="plate",
        half_m=half,
        size_m=(2 * half[0], 2 * half[1], 2 * thick),
        damping=rng.uniform(1.0, 1.4),
        base=(ORIGIN, sample_heading(rng)) if rng.random() < 0.7 else IDENTITY,
    )
    if rng.random() < 0.65:
        world.add_box(prop.body, material, [half[0], half[1], thick], (0, 0, height_m - thick))
        corner = (0.9 * half[0], 0.9 * half[1], height_m - 2 * thick)
        world.add_legs(prop.body, material, 0.025, corner)
    else:
        world.add_box(prop.body, material, half, (0, 0, half[2]))
    prop.add_surface(1.0, top_surface(prop, height_m, half[0] * 0.6, half[1] * 0.6))
    return prop


def add_wall(world: KinematicWorld, name: str, material: str | None = None) -> Prop:
    """Add a wall, door, panel or board that stands at the origin and faces +y (world)."""
    rng = world.rng
    material = material or sample_material(rng, "wall")
    half = (rng.uniform(0.25, 1.2), rng.uniform(0.008, 0.05), rng.uniform(0.4, 1.1))
    prop = Prop(
        world,
        name,
        material=material,
        shape="plate",
        half_m=half,
        size_m=(2 * half[0], 2 * half[2], 2 * half[1]),
        hollow=bool(rng.random() < 0.5),
        damping=rng.uniform(1.0, 1.4),
        base=IDENTITY,
    )
    look = "wall" if material == "stone" and rng.random() < 0.5 else material
    world.add_box(prop.body, look, half, (0, 0, half[2]))
    center = (0, half[1], min(1.2, 1.2 * half[2]))
    prop.add_surface(1.0, flat_surface(center, Y_AXIS, X_AXIS, 0.5 * half[0], 0.25, half))
    return prop


# Kind of prop -> how often it is sampled, and the function that adds it.
PROPS: dict[str, tuple[float, Callable[[_Request], Prop]]] = {
    "box": (0.20, _add_box),
    "board": (0.08, _add_board),
    "can": (0.12, _add_can),
    "bar": (0.10, _add_bar),
    "stone": (0.09, _add_stone),
    "ball": (0.05, _add_ball),
    "vessel": (0.12, _add_vessel),
    "bottle": (0.06, _add_bottle),
    "bush": (0.05, _add_bush),
    "pile": (0.05, _add_pile),
    "chair": (0.04, _add_chair),
    "railing": (0.04, _add_railing),
    "hanging": (0.05, _add_hanging),
}


def add_prop(
    world: KinematicWorld,
    name: str,
    *,
    position: Vec,
    max_size_m: float,
    material: str | None = None,
    kind: str | None = None,
) -> Prop:
    """Add a prop of the catalogue.

    Args:
        name: unique within the scene.
        position: the centre of its base, world, metres.
        max_size_m: upper limit of its size.
        material: None samples it; bushes are always leaves.
        kind: a key of `PROPS`; None samples it.
    """
    if kind is None:
        weights = np.array([weight for weight, _ in PROPS.values()])
        kind = str(world.rng.choice(list(PROPS), p=weights / weights.sum()))
    return PROPS[kind][1](
        _Request(
            world=world, name=name, position=position, max_size_m=max_size_m, material=material
        )
    )
