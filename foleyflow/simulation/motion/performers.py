"""Hands, arms, tools and people: what strikes, and how its joints turn when its tip is lifted.

No timing here (`trajectories.py`). Everything is laid out in the frame of a contact: origin where
tip and surface touch, z along the surface's normal, x from the tip back to the hand. At lift 0 the
tip touches the origin exactly; a lift u turns wrist and elbow about y and shifts the whole arm so
that the tip's gap grows at rate 1 with u at u = 0, whatever the shares of the joints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from foleyflow.simulation.contacts import Body
from foleyflow.simulation.motion.kinematic_world import Motion, Puppetry
from foleyflow.simulation.motion.rotations import (
    Pose,
    Vec,
    about,
    add,
    aim,
    apply,
    compose,
    from_axes,
    multiply,
    scale,
    subtract,
    turn_about,
    unit,
)
from foleyflow.simulation.motion.trajectories import Lift, Wander, Way

Y_AXIS: Vec = (0.0, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One striker: its joints in the contact frame and what it sounds like.

    Attributes:
        name: prefix of its bodies.
        tool: what it is ("stick", "hammer", "knife", ...).
        sound: the striker as a sounding body.
        mass_kg: effective mass at the tip.
        wrist: joint between tool and forearm, contact frame, metres.
        elbow: joint between forearm and upper arm.
        shoulder: where the upper arm points.
        wrist_share: share of the lift made by the wrist.
        elbow_share: share of the lift made by the elbow; the rest shifts the whole arm.
        slant: sideways shift of the arm per metre of lift (oblique approach).
        length_m: from tip to hand.
        armed: whether forearm and upper arm are there.
    """

    name: str
    tool: str
    sound: Body
    mass_kg: float
    wrist: Vec
    elbow: Vec
    shoulder: Vec
    wrist_share: float
    elbow_share: float
    slant: tuple[float, float]
    length_m: float
    armed: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the driven bodies, in the order of `arm_motion`."""
        tool = f"{self.name}_tool"
        return (tool, f"{self.name}_forearm", f"{self.name}_upper") if self.armed else (tool,)

    @property
    def tip(self) -> str:
        """Name of the geom that touches."""
        return f"{self.name}_tool_0"


def arm_motion(
    rig: Rig, lift: Lift, way: Way, wander: Wander, shoulder: Vec, flex: Wander | None = None
) -> Motion:
    """World poses of a rig's bodies as a function of time.

    Args:
        rig: the striker.
        lift: gap of its tip over the surface.
        way: the contact frame.
        wander: tremor, faded out where the tip nears the surface.
        shoulder: fixed point of the world that the upper arm comes from.
        flex: how the wrist bends of itself, first axis in radians; fades sooner than the tremor.

    Source: ours.
    """
    wrist_rad_per_m = rig.wrist_share / rig.wrist[0]
    elbow_rad_per_m = rig.elbow_share / rig.elbow[0]
    rise = 1.0 - rig.wrist_share - rig.elbow_share

    def motion(time_s: float) -> list[Pose]:
        height = lift.at(time_s)
        place, turn = way.at(time_s)
        fade = height * height / (height * height + 2.5e-3)
        frame = (add(place, scale(wander.at(time_s), fade)), turn)
        at_elbow = turn_about(rig.elbow, about(Y_AXIS, height * elbow_rad_per_m))
        shift = (rig.slant[0] * height, rig.slant[1] * height, rise * height)
        forearm = compose(frame, (add(at_elbow[0], shift), at_elbow[1]))
        bent_rad = height * wrist_rad_per_m
        if flex is not None:
            bent_rad += fade * fade * flex.at(time_s)[0]
        at_wrist = turn_about(rig.wrist, about(Y_AXIS, bent_rad))
        hand = compose(forearm, at_wrist)
        if not rig.armed:
            return [hand]
        elbow = apply(forearm, rig.elbow)
        return [hand, forearm, (elbow, aim(unit(subtract(shoulder, elbow))))]

    return motion


def make_rig(
    bench: Puppetry,
    rng: np.random.Generator,
    name: str,
    *,
    tool: str,
    armed: bool = True,
    material: str | None = None,
) -> Rig:
    """Build a striker: its geoms, joints and sound.

    Args:
        bench: the world it is added to; its bodies still need a motion.
        rng: source of chance.
        name: prefix of its bodies.
        tool: a key of `TOOLS`.
        armed: with hand, forearm and upper arm.
        material: of the tool, where it is not a hand.

    Source: ours.
    """
    rig = TOOLS[tool](bench, rng, name, material)
    rig = replace(rig, armed=armed)
    bench.bodies[rig.sound.name] = rig.sound
    if armed:
        _add_arm(bench, rng, rig)
    return rig


def _stick(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A stick, rod, wand or drumstick; it touches with a round end."""
    body = bench.driven(f"{name}_tool")
    made_of = material or str(rng.choice(("wood", "metal", "plastic"), p=(0.7, 0.15, 0.15)))
    size_m, radius = rng.uniform(0.24, 0.5), rng.uniform(0.005, 0.013)
    tip = radius * rng.uniform(1.0, 2.0) if rng.random() < 0.6 else radius
    pitch = math.radians(rng.uniform(9, 55))
    along = (math.cos(pitch), 0.0, math.sin(pitch))
    start = (0.0, 0.0, tip)
    bench.geom(body, "sphere", size=[tip], look=made_of, position=start)
    end = add(start, scale(along, size_m))
    bench.geom(body, "capsule", size=[radius], look=made_of, span=(start, end))
    grip = add(start, scale(along, size_m * rng.uniform(0.7, 0.9)))
    return _held(
        rng,
        name,
        tool="stick",
        sound=Body(
            name=f"{name}_tool",
            material=made_of,
            shape="bar",
            size_m=(size_m, 2 * radius, 2 * radius),
            damping=rng.uniform(2.0, 5.0),
        ),
        mass_kg=rng.uniform(0.03, 0.09),
        grip=grip,
        along=along,
    )


def _hammer(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A hammer or mallet; its face is flat on the surface at the touch."""
    body = bench.driven(f"{name}_tool")
    made_of = material or str(
        rng.choice(("metal", "wood", "rubber", "plastic"), p=(0.68, 0.16, 0.1, 0.06))
    )
    heavy = rng.uniform(0.6, 1.6)
    head_m, radius = 0.09 * heavy ** (1 / 3) * rng.uniform(0.8, 1.3), 0.02 * heavy ** (1 / 3)
    radius *= rng.uniform(0.8, 1.3) if made_of == "metal" else rng.uniform(1.2, 1.9)
    middle = (0.0, 0.0, 0.5 * head_m)
    if rng.random() < 0.55:
        bench.geom(body, "cylinder", size=[radius, 0.5 * head_m], look=made_of, position=middle)
    else:
        half = [radius, radius * rng.uniform(0.8, 1.2), 0.5 * head_m]
        bench.geom(body, "box", size=half, look=made_of, position=middle)
    pitch = math.radians(rng.uniform(-4, 18))
    along = (math.cos(pitch), 0.0, math.sin(pitch))
    size_m = rng.uniform(0.24, 0.42) * heavy**0.2
    end = add(middle, scale(along, size_m))
    handle = str(rng.choice(("wood", "rubber", "metal"), p=(0.7, 0.2, 0.1)))
    bench.geom(body, "capsule", size=[rng.uniform(0.01, 0.016)], look=handle, span=(middle, end))
    return _held(
        rng,
        name,
        tool="hammer",
        sound=Body(
            name=f"{name}_tool",
            material=made_of,
            shape="cylinder",
            size_m=(2 * radius, 2 * radius, head_m),
            damping=rng.uniform(2.0, 6.0),
        ),
        mass_kg=(0.4 if made_of == "metal" else 0.2) * heavy,
        grip=add(middle, scale(along, size_m * rng.uniform(0.75, 0.92))),
        along=along,
    )


def _knife(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A kitchen knife or cleaver; it touches with the whole edge."""
    body = bench.driven(f"{name}_tool")
    # As deep as the knuckles that hold it need, or they would reach into the board.
    size_m, depth = rng.uniform(0.14, 0.24), rng.uniform(0.042, 0.09)
    ahead = 0.35 * size_m
    bench.geom(
        body,
        "box",
        size=[0.5 * size_m, rng.uniform(0.0012, 0.003), 0.5 * depth],
        look=material or "metal",
        position=(0.5 * size_m - ahead, 0.0, 0.5 * depth),
    )
    handle = (size_m - ahead, 0.0, depth * 0.75)
    along = unit((1.0, 0.0, rng.uniform(0.0, 0.25)))
    end = add(handle, scale(along, 0.12))
    look = str(rng.choice(("wood", "plastic", "metal")))
    bench.geom(body, "capsule", size=[rng.uniform(0.009, 0.013)], look=look, span=(handle, end))
    return _held(
        rng,
        name,
        tool="knife",
        sound=Body(
            name=f"{name}_tool",
            material=material or "metal",
            shape="plate",
            size_m=(size_m, depth, 0.003),
            damping=rng.uniform(5.0, 10.0),
        ),
        mass_kg=rng.uniform(0.1, 0.3),
        grip=add(handle, scale(along, 0.06)),
        along=along,
    )


def _spoon(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A spoon, ladle, beater or club: a thin handle with an egg-shaped end."""
    body = bench.driven(f"{name}_tool")
    made_of = material or str(rng.choice(("metal", "wood", "plastic", "rubber")))
    thick = rng.uniform(0.005, 0.03)
    wide = max(thick, rng.uniform(0.012, 0.03))
    middle = (0.0, 0.0, thick)
    bench.geom(body, "ellipsoid", size=[wide * 1.4, wide, thick], look=made_of, position=middle)
    pitch = math.radians(rng.uniform(10, 45))
    along = (math.cos(pitch), 0.0, math.sin(pitch))
    size_m = rng.uniform(0.15, 0.38)
    end = add(middle, scale(along, size_m))
    bench.geom(body, "capsule", size=[rng.uniform(0.003, 0.008)], look=made_of, span=(middle, end))
    return _held(
        rng,
        name,
        tool="spoon",
        sound=Body(
            name=f"{name}_tool",
            material=made_of,
            shape="bar",
            size_m=(size_m, 2 * wide, 2 * thick),
            damping=rng.uniform(2.0, 5.0),
        ),
        mass_kg=rng.uniform(0.03, 0.12),
        grip=add(middle, scale(along, size_m * 0.85)),
        along=along,
    )


def _hand_sound(name: str, rng: np.random.Generator, size_m: Vec, damping: float) -> Body:
    """Flesh: the softest thing the synthesiser knows, damped further."""
    return Body(
        name=f"{name}_tool",
        material="rubber",
        shape="box",
        size_m=size_m,
        damping=damping * rng.uniform(0.8, 1.3),
    )


def _palm(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A flat hand; it touches with the palm."""
    body = bench.driven(f"{name}_tool")
    look = "skin"
    bench.geom(body, "ellipsoid", size=[0.052, 0.042, 0.017], look=look, position=(0.0, 0.0, 0.017))
    spread = rng.uniform(0.0, 0.12)
    for k in range(4):
        y = (k - 1.5) * 0.021
        reach = 0.075 - 0.008 * abs(k - 1.2)
        start, end = (-0.035, y, 0.017), (-0.04 - reach, y * (1 + 6 * spread), 0.014)
        bench.geom(body, "capsule", size=[0.0085], look=look, span=(start, end))
    side = 1.0 if rng.random() < 0.5 else -1.0
    thumb = ((0.015, side * 0.035, 0.018), (-0.03, side * 0.075, 0.014))
    bench.geom(body, "capsule", size=[0.0105], look=look, span=thumb)
    rise = math.radians(rng.uniform(5, 45))
    wrist = (0.07, 0.0, 0.022)
    return Rig(
        name=name,
        tool="palm",
        sound=_hand_sound(name, rng, (0.17, 0.09, 0.03), 5.0),
        mass_kg=rng.uniform(0.2, 0.4),
        wrist=wrist,
        elbow=add(wrist, _towards(rng, rise, 0.25)),
        shoulder=(0.45, 0.0, 0.45),
        wrist_share=rng.uniform(0.05, 0.25),
        elbow_share=rng.uniform(0.3, 0.7),
        slant=_slant(rng),
        length_m=0.1,
        armed=True,
    )


def _fist(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A fist; it touches with a knuckle."""
    body = bench.driven(f"{name}_tool")
    look = "skin"
    bench.geom(body, "sphere", size=[0.012], look=look, position=(0.0, 0.0, 0.012))
    bench.geom(
        body, "ellipsoid", size=[0.042, 0.04, 0.034], look=look, position=(0.022, 0.0, 0.046)
    )
    for k in range(4):
        y = (k - 1.5) * 0.019
        ends = ((-0.004, y, 0.022), (-0.012, y, 0.06))
        bench.geom(body, "capsule", size=[0.0095], look=look, span=ends)
    bench.geom(
        body, "capsule", size=[0.011], look=look, span=((0.0, 0.036, 0.03), (0.03, 0.04, 0.06))
    )
    rise = math.radians(rng.uniform(5, 50))
    wrist = (0.07, 0.0, 0.06)
    return Rig(
        name=name,
        tool="fist",
        sound=_hand_sound(name, rng, (0.09, 0.08, 0.07), 3.0),
        mass_kg=rng.uniform(0.25, 0.5),
        wrist=wrist,
        elbow=add(wrist, _towards(rng, rise, 0.25)),
        shoulder=(0.45, 0.0, 0.4),
        wrist_share=rng.uniform(0.05, 0.3),
        elbow_share=rng.uniform(0.3, 0.7),
        slant=_slant(rng),
        length_m=0.08,
        armed=True,
    )


def _foot(bench: Puppetry, rng: np.random.Generator, name: str, material: str | None) -> Rig:
    """A shoe on a leg; it touches with the sole."""
    body = bench.driven(f"{name}_tool")
    look = str(rng.choice(("rubber", "cloth", "plastic")))
    bench.geom(body, "box", size=[0.125, 0.042, 0.011], look=look, position=(0.0, 0.0, 0.011))
    bench.geom(
        body, "ellipsoid", size=[0.125, 0.045, 0.05], look="cloth", position=(0.005, 0.0, 0.051)
    )
    wrist = (0.09, 0.0, 0.09)
    return Rig(
        name=name,
        tool="foot",
        sound=Body(
            name=f"{name}_tool",
            material="rubber",
            shape="box",
            size_m=(0.27, 0.09, 0.08),
            damping=4.0,
        ),
        mass_kg=rng.uniform(0.5, 1.2),
        wrist=wrist,
        elbow=add(wrist, (rng.uniform(-0.02, 0.12), 0.0, 0.4)),
        shoulder=(0.15, 0.0, 1.0),
        wrist_share=rng.uniform(0.0, 0.08),
        elbow_share=rng.uniform(0.0, 0.1),
        slant=_slant(rng),
        length_m=0.15,
        armed=True,
    )


TOOLS: dict[str, Callable[[Puppetry, np.random.Generator, str, str | None], Rig]] = {
    "stick": _stick,
    "hammer": _hammer,
    "knife": _knife,
    "spoon": _spoon,
    "palm": _palm,
    "fist": _fist,
    "foot": _foot,
}


def _held(
    rng: np.random.Generator,
    name: str,
    *,
    tool: str,
    sound: Body,
    mass_kg: float,
    grip: Vec,
    along: Vec,
) -> Rig:
    """The joints of an arm whose hand holds a tool at `grip`."""
    wrist = add(grip, (0.05, 0.0, rng.uniform(0.0, 0.03)))
    rise = math.atan2(along[2], along[0]) * 0.5 + math.radians(rng.uniform(-8, 40))
    elbow = add(wrist, _towards(rng, rise, 0.26))
    wrist_share = rng.uniform(0.2, 0.75)
    return Rig(
        name=name,
        tool=tool,
        sound=sound,
        mass_kg=mass_kg,
        wrist=wrist,
        elbow=elbow,
        shoulder=add(elbow, (rng.uniform(0.0, 0.2), rng.uniform(-0.15, 0.15), 0.3)),
        wrist_share=wrist_share,
        elbow_share=(1.0 - wrist_share) * rng.uniform(0.3, 1.0),
        slant=_slant(rng),
        length_m=grip[0],
        armed=True,
    )


def _towards(rng: np.random.Generator, rise_rad: float, size_m: float) -> Vec:
    """A forearm's way from wrist to elbow: back, up, a bit to a side."""
    side = math.radians(rng.uniform(-30, 30))
    return (
        size_m * math.cos(rise_rad) * math.cos(side),
        size_m * math.cos(rise_rad) * math.sin(side),
        size_m * math.sin(rise_rad),
    )


def _slant(rng: np.random.Generator) -> tuple[float, float]:
    """Metres back (never forward) and sideways per metre of lift: mostly little."""
    return (abs(float(rng.normal(0.0, 0.25))), float(rng.normal(0.0, 0.25)))


def _add_arm(bench: Puppetry, rng: np.random.Generator, rig: Rig) -> None:
    """Add the hand that holds (where the tool is not the hand), the forearm and the upper arm."""
    skin = "cloth" if rng.random() < 0.1 else "skin"
    sleeve = str(rng.choice(("skin", "cloth"), p=(0.5, 0.5)))
    leg = rig.tool == "foot"
    thick = rng.uniform(0.032, 0.042) * (1.5 if leg else 1.0)
    if rig.tool in ("stick", "hammer", "knife", "spoon"):
        _add_grip(bench, rig, skin)
    forearm = bench.driven(f"{rig.name}_forearm")
    near = add(scale(rig.wrist, 0.85), scale(rig.elbow, 0.15))
    if leg:
        sleeve = "cloth"
    bench.geom(forearm, "capsule", size=[0.75 * thick], look=skin, span=(rig.wrist, near))
    bench.geom(forearm, "capsule", size=[thick], look=sleeve, span=(near, rig.elbow))
    upper = bench.driven(f"{rig.name}_upper")
    ends = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.45))
    look = "cloth" if sleeve == "cloth" or rng.random() < 0.6 else "skin"
    bench.geom(upper, "capsule", size=[1.25 * thick], look=look, span=ends)


def _add_grip(bench: Puppetry, rig: Rig, look: str) -> None:
    """Fingers around a handle: palm, four fingers across it, a thumb along it."""
    body = bench.spec.body(f"{rig.name}_tool")
    grip = subtract(rig.wrist, (0.05, 0.0, 0.015))
    back = unit(subtract(rig.elbow, rig.wrist))
    turn = from_axes(back, (0.0, 0.0, 1.0))
    middle = add(grip, scale(back, 0.012))
    bench.geom(
        body, "ellipsoid", size=[0.046, 0.03, 0.032], look=look, position=middle, rotation=turn
    )
    for k in range(4):
        base = add(grip, ((k - 1.7) * 0.018, 0.0, -0.004))
        ends = (add(base, (0.0, -0.024, 0.012)), add(base, (0.004, 0.02, -0.012)))
        bench.geom(body, "capsule", size=[0.0095], look=look, span=ends)
    ends = (add(grip, (0.0, 0.026, 0.012)), add(grip, (-0.045, 0.014, 0.012)))
    bench.geom(body, "capsule", size=[0.0105], look=look, span=ends)


def add_person(
    bench: Puppetry, rng: np.random.Generator, name: str, place: Vec, *, sway_m: float
) -> None:
    """A person-like blob (torso, head, perhaps arms) that sways, at a place on the ground."""
    body = bench.driven(name)
    tall = rng.uniform(0.8, 1.1)
    wide = rng.uniform(0.13, 0.2)
    torso = ((0.0, 0.0, 0.35 * tall), (0.0, 0.0, tall))
    bench.geom(body, "capsule", size=[wide], look="cloth", span=torso)
    bench.geom(
        body, "ellipsoid", size=[0.08, 0.09, 0.115], look="skin", position=(0, 0, tall + wide + 0.1)
    )
    for side in (-1.0, 1.0):
        leg = ((0.0, side * 0.09, 0.0), (0.0, side * 0.09, 0.4 * tall))
        bench.geom(body, "capsule", size=[0.07], look="cloth", span=leg)
    wander = Wander(rng, sway_m, low_hz=0.08, high_hz=0.8)
    facing = about((0.0, 0.0, 1.0), rng.uniform(0, 2 * math.pi))

    def motion(time_s: float) -> list[Pose]:
        x, y, _ = wander.at(time_s)
        tilt = about((1.0, 0.0, 0.0), 0.6 * y)
        return [(add(place, (x, y, 0.0)), multiply(facing, tilt))]

    bench.drive((name,), motion)


def add_resting_hand(
    bench: Puppetry, rng: np.random.Generator, name: str, place: Vec, out: Vec, *, sway_m: float
) -> None:
    """A hand that holds or rests at a place, its forearm reaching out of the picture, silent.

    Args:
        bench: the world.
        rng: source of chance.
        name: of its body.
        place: where the fingers are, world, metres.
        out: direction to the body it belongs to.
        sway_m: how far it wanders.

    Source: ours.
    """
    body = bench.driven(name)
    bench.geom(body, "ellipsoid", size=[0.05, 0.04, 0.03], look="skin", position=(0.05, 0.0, 0.015))
    for k in range(4):
        y = (k - 1.5) * 0.018
        ends = ((0.03, y, 0.025), (-0.012, 0.8 * y, rng.uniform(0.0, 0.012)))
        bench.geom(body, "capsule", size=[0.009], look="skin", span=ends)
    bench.geom(
        body, "capsule", size=[0.0105], look="skin", span=((0.03, 0.035, 0.01), (-0.01, 0.02, 0.0))
    )
    rise = math.radians(rng.uniform(10, 40))
    near = (0.09, 0.0, 0.02)
    far = add(near, (0.5 * math.cos(rise), 0.0, 0.5 * math.sin(rise)))
    look = str(rng.choice(("skin", "cloth")))
    bench.geom(body, "capsule", size=[rng.uniform(0.03, 0.042)], look=look, span=(near, far))
    wander = Wander(rng, sway_m)
    turn = from_axes(out, (0.0, 0.0, 1.0))
    bench.drive((name,), lambda time_s: [(add(place, wander.at(time_s)), turn)])
