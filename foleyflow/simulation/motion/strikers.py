"""Hands, arms and tools that strike, and the rotation of their joints while the tip is lifted.

All lengths are in the frame of a contact: its origin is the point where tip and surface touch, z is
the normal of the surface, x points from the tip back to the hand. At lift 0 the tip touches the
origin exactly. A lift u rotates wrist and elbow about y and shifts the arm, such that the gap of
the tip grows at rate 1 with u at u = 0, for any fractions of the joints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from foleyflow.simulation.contacts import Body, Shape
from foleyflow.simulation.materials import sample_material
from foleyflow.simulation.motion.held_tool import SampledLift
from foleyflow.simulation.motion.kinematic_world import KinematicWorld, Motion
from foleyflow.simulation.motion.rotations import (
    ORIGIN,
    Y_AXIS,
    Z_AXIS,
    Pose,
    Vec,
    add,
    align_axes,
    align_z,
    axis_angle,
    compose,
    rotation_about,
    scale,
    subtract,
    transform,
    unit,
)
from foleyflow.simulation.motion.trajectories import FramePath, Lift, SmoothNoise

HELD_TOOLS = ("stick", "hammer", "knife", "spoon")


@dataclass(frozen=True, kw_only=True)
class Striker:
    """A tool or bare hand with its arm: the joints in the contact frame and the sounding body.

    Attributes:
        body: the sounding body, `NAME_tool`.
        mass_kg: effective mass at the tip.
        wrist: joint between tool and forearm, metres.
        elbow: joint between forearm and upper arm.
        shoulder: the point that the upper arm points to.
        wrist_fraction: fraction of the lift that the wrist contributes.
        elbow_fraction: fraction that the elbow contributes; the rest shifts the arm.
        slant: (backward, sideways) shift of the arm per metre of lift (oblique approach).
        has_arm: whether forearm and upper arm exist.
    """

    body: Body
    mass_kg: float
    wrist: Vec
    elbow: Vec
    shoulder: Vec
    wrist_fraction: float
    elbow_fraction: float
    slant: tuple[float, float]
    has_arm: bool = True

    @property
    def body_names(self) -> tuple[str, ...]:
        """Names of the driven bodies, in the order of `arm_motion`."""
        tool, name = self.body.name, self.body.name.removesuffix("_tool")
        return (tool, f"{name}_forearm", f"{name}_upper") if self.has_arm else (tool,)


def arm_motion(
    striker: Striker,
    lift: Lift | SampledLift,
    path: FramePath,
    tremor: SmoothNoise,
    shoulder: Vec,
    wrist_flex: SmoothNoise | None = None,
) -> Motion:
    """Return the world poses of a striker's bodies as a function of time.

    Args:
        lift: gap of its tip over the surface.
        path: the contact frame.
        tremor: random motion, faded out where the tip approaches the surface.
        shoulder: fixed point of the world that the upper arm points to.
        wrist_flex: random flexion of the wrist (first axis, radians); it fades before the tremor.
    """
    wrist_rad_per_m = striker.wrist_fraction / striker.wrist[0]
    elbow_rad_per_m = striker.elbow_fraction / striker.elbow[0]
    rise = 1.0 - striker.wrist_fraction - striker.elbow_fraction
    slant = striker.slant

    def motion(time_s: float) -> list[Pose]:
        height = lift.at(time_s)
        position, rotation = path.at(time_s)
        fade = height * height / (height * height + 2.5e-3)
        frame = (add(position, scale(tremor.at(time_s), fade)), rotation)
        # Forearm: rotated about the elbow and shifted
        at_elbow = rotation_about(striker.elbow, axis_angle(Y_AXIS, height * elbow_rad_per_m))
        shift = (slant[0] * height, slant[1] * height, rise * height)
        forearm = compose(frame, (add(at_elbow[0], shift), at_elbow[1]))
        # Hand or tool: rotated about the wrist
        wrist_rad = height * wrist_rad_per_m
        if wrist_flex is not None:
            wrist_rad += fade * fade * wrist_flex.at(time_s)[0]
        hand = compose(forearm, rotation_about(striker.wrist, axis_angle(Y_AXIS, wrist_rad)))
        if not striker.has_arm:
            return [hand]
        elbow = transform(forearm, striker.elbow)
        return [hand, forearm, (elbow, align_z(unit(subtract(shoulder, elbow))))]

    return motion


def add_striker(
    world: KinematicWorld,
    name: str,
    *,
    tool: str,
    has_arm: bool = True,
    material: str | None = None,
) -> Striker:
    """Add the geoms and the sounding body of a striker; its bodies still need a motion.

    Args:
        name: prefix of its bodies.
        tool: a key of `TOOLS`.
        has_arm: whether to add the hand that holds a tool, forearm and upper arm.
        material: of a tool; None samples it.
    """
    body = world.add_driven_body(f"{name}_tool")
    striker = replace(TOOLS[tool](world, body, material), has_arm=has_arm)
    world.bodies[body.name] = striker.body
    if has_arm:
        _add_arm(world, striker, name, tool)
    return striker


def _add_stick(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a stick, rod or drumstick; it touches with a round end."""
    rng = world.rng
    material = material or sample_material(rng, "stick")
    length, radius = rng.uniform(0.24, 0.5), rng.uniform(0.005, 0.013)
    tip = radius * rng.uniform(1.0, 2.0) if rng.random() < 0.6 else radius
    along = _pitched(rng.uniform(9, 55))
    start = (0.0, 0.0, tip)
    world.add_sphere(body, material, tip, start)
    world.add_rod(body, material, radius, start, add(start, scale(along, length)))
    grip = add(start, scale(along, length * rng.uniform(0.7, 0.9)))
    size_m = (length, 2 * radius, 2 * radius)
    sound = _sounding_body(body, material, "bar", size_m, rng.uniform(2.0, 5.0))
    return _held_tool(rng, sound, rng.uniform(0.03, 0.09), grip, along)


def _add_hammer(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a hammer or mallet; its face lies flat on the surface at the contact."""
    rng = world.rng
    material = material or sample_material(rng, "hammer")
    weight = rng.uniform(0.6, 1.6)
    head_m = 0.09 * weight ** (1 / 3) * rng.uniform(0.8, 1.3)
    radius = 0.02 * weight ** (1 / 3)
    radius *= rng.uniform(0.8, 1.3) if material == "metal" else rng.uniform(1.2, 1.9)
    center = (0.0, 0.0, 0.5 * head_m)
    if rng.random() < 0.55:
        world.add_cylinder(body, material, radius, 0.5 * head_m, center)
    else:
        half = [radius, radius * rng.uniform(0.8, 1.2), 0.5 * head_m]
        world.add_box(body, material, half, center)
    along = _pitched(rng.uniform(-4, 18))
    length = rng.uniform(0.24, 0.42) * weight**0.2
    handle = str(rng.choice(("wood", "rubber", "metal"), p=(0.7, 0.2, 0.1)))
    end = add(center, scale(along, length))
    world.add_rod(body, handle, rng.uniform(0.01, 0.016), center, end)
    size_m = (2 * radius, 2 * radius, head_m)
    sound = _sounding_body(body, material, "cylinder", size_m, rng.uniform(2.0, 6.0))
    grip = add(center, scale(along, length * rng.uniform(0.75, 0.92)))
    return _held_tool(rng, sound, (0.4 if material == "metal" else 0.2) * weight, grip, along)


def _add_knife(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a kitchen knife or cleaver; it touches with its full edge."""
    rng = world.rng
    # Deep enough that the knuckles of the hand do not reach into the board.
    length, depth = rng.uniform(0.14, 0.24), rng.uniform(0.042, 0.09)
    ahead = 0.35 * length
    material = material or "metal"
    half = [0.5 * length, rng.uniform(0.0012, 0.003), 0.5 * depth]
    world.add_box(body, material, half, (0.5 * length - ahead, 0.0, 0.5 * depth))
    handle = (length - ahead, 0.0, depth * 0.75)
    along = unit((1.0, 0.0, rng.uniform(0.0, 0.25)))
    look = str(rng.choice(("wood", "plastic", "metal")))
    end = add(handle, scale(along, 0.12))
    world.add_rod(body, look, rng.uniform(0.009, 0.013), handle, end)
    grip = add(handle, scale(along, 0.06))
    size_m = (length, depth, 0.003)
    sound = _sounding_body(body, material, "plate", size_m, rng.uniform(5.0, 10.0))
    return _held_tool(rng, sound, rng.uniform(0.1, 0.3), grip, along)


def _add_spoon(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a spoon, ladle, beater or club: a thin handle with an ellipsoidal end."""
    rng = world.rng
    material = material or sample_material(rng, "spoon")
    thick = rng.uniform(0.005, 0.03)
    wide = max(thick, rng.uniform(0.012, 0.03))
    center = (0.0, 0.0, thick)
    world.add_ellipsoid(body, material, [wide * 1.4, wide, thick], center)
    along = _pitched(rng.uniform(10, 45))
    length = rng.uniform(0.15, 0.38)
    end = add(center, scale(along, length))
    world.add_rod(body, material, rng.uniform(0.003, 0.008), center, end)
    grip = add(center, scale(along, length * 0.85))
    size_m = (length, 2 * wide, 2 * thick)
    sound = _sounding_body(body, material, "bar", size_m, rng.uniform(2.0, 5.0))
    return _held_tool(rng, sound, rng.uniform(0.03, 0.12), grip, along)


def _add_palm(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a flat hand; it touches with the palm."""
    rng = world.rng
    world.add_ellipsoid(body, "skin", [0.052, 0.042, 0.017], (0.0, 0.0, 0.017))
    spread = rng.uniform(0.0, 0.12)
    for k in range(4):
        y = (k - 1.5) * 0.021
        reach = 0.075 - 0.008 * abs(k - 1.2)
        end = (-0.04 - reach, y * (1 + 6 * spread), 0.014)
        world.add_rod(body, "skin", 0.0085, (-0.035, y, 0.017), end)
    side = 1.0 if rng.random() < 0.5 else -1.0
    thumb = ((0.015, side * 0.035, 0.018), (-0.03, side * 0.075, 0.014))
    world.add_rod(body, "skin", 0.0105, *thumb)
    rise_deg = rng.uniform(5, 45)
    size_m, damping = (0.17, 0.09, 0.03), 5.0 * rng.uniform(0.8, 1.3)
    sound = _sounding_body(body, "rubber", "box", size_m, damping)
    mass_kg, wrist, shoulder = rng.uniform(0.2, 0.4), (0.07, 0.0, 0.022), (0.45, 0.0, 0.45)
    return _bare_hand(rng, sound, mass_kg, rise_deg, wrist, shoulder, max_wrist_fraction=0.25)


def _add_fist(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a fist; it touches with a knuckle."""
    rng = world.rng
    world.add_sphere(body, "skin", 0.012, (0.0, 0.0, 0.012))
    world.add_ellipsoid(body, "skin", [0.042, 0.04, 0.034], (0.022, 0.0, 0.046))
    for k in range(4):
        y = (k - 1.5) * 0.019
        world.add_rod(body, "skin", 0.0095, (-0.004, y, 0.022), (-0.012, y, 0.06))
    world.add_rod(body, "skin", 0.011, (0.0, 0.036, 0.03), (0.03, 0.04, 0.06))
    rise_deg = rng.uniform(5, 50)
    size_m, damping = (0.09, 0.08, 0.07), 3.0 * rng.uniform(0.8, 1.3)
    sound = _sounding_body(body, "rubber", "box", size_m, damping)
    mass_kg, wrist, shoulder = rng.uniform(0.25, 0.5), (0.07, 0.0, 0.06), (0.45, 0.0, 0.4)
    return _bare_hand(rng, sound, mass_kg, rise_deg, wrist, shoulder, max_wrist_fraction=0.3)


def _add_foot(world: KinematicWorld, body: mujoco.MjsBody, material: str | None) -> Striker:
    """Add a shoe on a leg; it touches with the sole."""
    rng = world.rng
    look = str(rng.choice(("rubber", "cloth", "plastic")))
    world.add_box(body, look, [0.125, 0.042, 0.011], (0.0, 0.0, 0.011))
    world.add_ellipsoid(body, "cloth", [0.125, 0.045, 0.05], (0.005, 0.0, 0.051))
    wrist = (0.09, 0.0, 0.09)
    return Striker(
        body=_sounding_body(body, "rubber", "box", (0.27, 0.09, 0.08), 4.0),
        mass_kg=rng.uniform(0.5, 1.2),
        wrist=wrist,
        elbow=add(wrist, (rng.uniform(-0.02, 0.12), 0.0, 0.4)),
        shoulder=(0.15, 0.0, 1.0),
        wrist_fraction=rng.uniform(0.0, 0.08),
        elbow_fraction=rng.uniform(0.0, 0.1),
        slant=_sample_slant(rng),
    )


TOOLS: dict[str, Callable[[KinematicWorld, mujoco.MjsBody, str | None], Striker]] = {
    "stick": _add_stick,
    "hammer": _add_hammer,
    "knife": _add_knife,
    "spoon": _add_spoon,
    "palm": _add_palm,
    "fist": _add_fist,
    "foot": _add_foot,
}


def _sounding_body(
    body: mujoco.MjsBody, material: str, shape: Shape, size_m: Vec, damping: float
) -> Body:
    """Return the sounding body of a tool; hands and feet are rubber, the softest material."""
    return Body(name=body.name, material=material, shape=shape, size_m=size_m, damping=damping)


def _held_tool(
    rng: np.random.Generator, sound: Body, mass_kg: float, grip: Vec, along: Vec
) -> Striker:
    """Return a striker whose hand holds a tool at `grip`, with the handle along a direction."""
    wrist = add(grip, (0.05, 0.0, rng.uniform(0.0, 0.03)))
    rise = math.atan2(along[2], along[0]) * 0.5 + math.radians(rng.uniform(-8, 40))
    elbow = add(wrist, _sample_forearm(rng, rise, 0.26))
    wrist_fraction = rng.uniform(0.2, 0.75)
    return Striker(
        body=sound,
        mass_kg=mass_kg,
        wrist=wrist,
        elbow=elbow,
        shoulder=add(elbow, (rng.uniform(0.0, 0.2), rng.uniform(-0.15, 0.15), 0.3)),
        wrist_fraction=wrist_fraction,
        elbow_fraction=(1.0 - wrist_fraction) * rng.uniform(0.3, 1.0),
        slant=_sample_slant(rng),
    )


def _bare_hand(
    rng: np.random.Generator,
    sound: Body,
    mass_kg: float,
    rise_deg: float,
    wrist: Vec,
    shoulder: Vec,
    *,
    max_wrist_fraction: float,
) -> Striker:
    """Return a striker that touches with the hand."""
    return Striker(
        body=sound,
        mass_kg=mass_kg,
        wrist=wrist,
        elbow=add(wrist, _sample_forearm(rng, math.radians(rise_deg), 0.25)),
        shoulder=shoulder,
        wrist_fraction=rng.uniform(0.05, max_wrist_fraction),
        elbow_fraction=rng.uniform(0.3, 0.7),
        slant=_sample_slant(rng),
    )


def _pitched(pitch_deg: float) -> Vec:
    """Return the direction of a handle: towards the hand, pitched up."""
    pitch = math.radians(pitch_deg)
    return (math.cos(pitch), 0.0, math.sin(pitch))


def _sample_forearm(rng: np.random.Generator, rise_rad: float, length_m: float) -> Vec:
    """Sample the vector from wrist to elbow: back, up and a little to one side."""
    side = math.radians(rng.uniform(-30, 30))
    return (
        length_m * math.cos(rise_rad) * math.cos(side),
        length_m * math.cos(rise_rad) * math.sin(side),
        length_m * math.sin(rise_rad),
    )


def _sample_slant(rng: np.random.Generator) -> tuple[float, float]:
    """Sample the shift back (never forward) and sideways, metres per metre of lift."""
    return (abs(float(rng.normal(0.0, 0.25))), float(rng.normal(0.0, 0.25)))


def _add_arm(world: KinematicWorld, striker: Striker, name: str, tool: str) -> None:
    """Add the hand that holds a tool, the forearm and the upper arm."""
    rng = world.rng
    skin = "cloth" if rng.random() < 0.1 else "skin"
    sleeve = str(rng.choice(("skin", "cloth"), p=(0.5, 0.5)))
    is_leg = tool == "foot"
    radius = rng.uniform(0.032, 0.042) * (1.5 if is_leg else 1.0)
    if tool in HELD_TOOLS:
        _add_grip(world, striker, skin)
    forearm = world.add_driven_body(f"{name}_forearm")
    near = add(scale(striker.wrist, 0.85), scale(striker.elbow, 0.15))
    if is_leg:
        sleeve = "cloth"
    world.add_rod(forearm, skin, 0.75 * radius, striker.wrist, near)
    world.add_rod(forearm, sleeve, radius, near, striker.elbow)
    upper = world.add_driven_body(f"{name}_upper")
    look = "cloth" if sleeve == "cloth" or rng.random() < 0.6 else "skin"
    world.add_rod(upper, look, 1.25 * radius, ORIGIN, (0.0, 0.0, 0.45))


def _add_grip(world: KinematicWorld, striker: Striker, look: str) -> None:
    """Add the palm, four fingers across the handle and a thumb along it."""
    body = world.spec.body(striker.body.name)
    grip = subtract(striker.wrist, (0.05, 0.0, 0.015))
    back = unit(subtract(striker.elbow, striker.wrist))
    palm = world.add_ellipsoid(body, look, [0.046, 0.03, 0.032], add(grip, scale(back, 0.012)))
    palm.quat = align_axes(back, Z_AXIS)
    for k in range(4):
        base = add(grip, ((k - 1.7) * 0.018, 0.0, -0.004))
        finger = (add(base, (0.0, -0.024, 0.012)), add(base, (0.004, 0.02, -0.012)))
        world.add_rod(body, look, 0.0095, *finger)
    thumb = (add(grip, (0.0, 0.026, 0.012)), add(grip, (-0.045, 0.014, 0.012)))
    world.add_rod(body, look, 0.0105, *thumb)
