"""The "drums" family: kits, hand drums, buckets and mallet instruments, played in patterns."""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.materials import sample_material
from foleyflow.simulation.motion.background import add_bystanders, add_person
from foleyflow.simulation.motion.held_tool import sample_held_tool
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.prop_catalogue import (
    add_ground,
    add_prop,
    sample_main_or_other_material,
)
from foleyflow.simulation.motion.props import Prop, SurfacePoint, flat_surface, top_surface
from foleyflow.simulation.motion.rotations import (
    NO_ROTATION,
    ORIGIN,
    Y_AXIS,
    Z_AXIS,
    Pose,
    Vec,
    add,
    align_axes,
    axis_angle,
    horizontal,
    scale,
)
from foleyflow.simulation.motion.strikers import add_striker
from foleyflow.simulation.motion.striking_motion import (
    Target,
    build_framed_scene,
    drive_strokes,
    sample_camera_azimuths,
    shifted_along,
)
from foleyflow.simulation.motion.trajectories import LEAD_OUT_S, MOTION_START_S, Stroke, Swing
from foleyflow.simulation.scene import Scene

Note = tuple[float, int, float]  # time in seconds, index of the instrument, accent


def sample_drums(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a drumming scene: one to ten instruments, one or two arms, 1.5 to 8 hits a second."""
    world = KinematicWorld("drum", duration_s, rng)
    add_ground(world)
    azimuth = rng.uniform(0, 2 * math.pi)
    names, weights = ("kit", "hand drums", "things", "mallets"), (0.45, 0.25, 0.16, 0.14)
    kind = str(rng.choice(names, p=weights))
    add_instruments = {
        "kit": _add_kit,
        "hand drums": _add_hand_drums,
        "things": _add_things,
        "mallets": _add_mallet_bars,
    }
    props = add_instruments[kind](world, azimuth)
    if kind == "hand drums" and rng.random() < 0.85:
        tool = "palm"
    else:
        tool = "spoon" if kind == "mallets" and rng.random() < 0.6 else "stick"
    notes = _sample_pattern(rng, len(props), duration_s)
    targets, swings = _play(world, props, notes, azimuth, tool)
    for prop in props:
        prop.plan_responses(rng)
    if rng.random() < 0.4:
        position = horizontal(azimuth, rng.uniform(0.75, 0.95))
        add_person(world, "drummer", position, sway_m=rng.uniform(0.005, 0.05))
    if rng.random() < 0.3:
        add_bystanders(world, distance_m=1.4, azimuth_rad=azimuth)
    camera_deg = sample_camera_azimuths(rng, azimuth)
    return build_framed_scene(world, targets, swings, camera_deg, zoom=1.4)


def _play(
    world: KinematicWorld, props: list[Prop], notes: list[Note], azimuth: float, tool: str
) -> tuple[list[Target], list[Swing]]:
    """Distribute the notes over one or two arms and drive them."""
    rng = world.rng
    count = 1 if rng.random() < 0.15 else 2
    arms = _distribute(rng, notes, count)
    # What all strokes have in common
    usual_mps = 1.0 * 4.0 ** rng.random()
    power, down_s = rng.uniform(1.8, 3.0), rng.uniform(0.07, 0.2)
    rebound = rng.uniform(0.25, 0.75) if tool != "palm" else rng.uniform(0.1, 0.5)
    hover_m = rng.uniform(0.03, 0.15)
    has_arm = tool == "palm" or bool(rng.random() < 0.92)
    points = [[prop.sample_point(rng) for prop in props] for _ in range(count)]
    material = "wood" if tool == "stick" and rng.random() < 0.85 else None
    miss_probability = rng.uniform(0.05, 0.25) if rng.random() < 0.3 else 0.0

    def sample_stroke(time_s: float, accent: float) -> Stroke:
        speed_mps = float(np.clip(usual_mps * accent * rng.uniform(0.8, 1.2), 0.5, 7.0))
        outcome = "miss"
        if rng.random() >= miss_probability:
            outcome = "rest" if rng.random() < 0.06 else "bounce"
        return Stroke(
            hit_s=time_s,
            speed_mps=speed_mps,
            outcome=outcome,
            rebound=float(np.clip(rebound * rng.uniform(0.8, 1.2), 0.05, 0.85)),
            dwell_s=0.03,
            power=power,
            down_s=down_s * rng.uniform(0.85, 1.2),
            miss_m=0.006 * 17.0 ** rng.random(),
        )

    # Strokes and targets of each arm
    planned = []
    for k, arm_notes in enumerate(arms):
        if not arm_notes:
            continue
        angle = azimuth + (k - 0.5) * rng.uniform(0.3, 0.9) * (1 if count == 2 else 0)
        striker = add_striker(world, f"arm{k}", tool=tool, has_arm=has_arm, material=material)
        strokes = [sample_stroke(time_s, accent) for time_s, _, accent in arm_notes]
        arm_targets = [
            Target(
                prop=props[index],
                point=_sample_nearby_point(rng, points[k][index]),
                hand_direction=horizontal(angle),
                slide=ORIGIN,
            )
            for _, index, _ in arm_notes
        ]
        planned.append((striker, strokes, arm_targets))
    # Drive the arms
    held = sample_held_tool(rng, restitution=(0.8 * rebound, rebound))
    targets, swings = [], []
    for striker, strokes, arm_targets in planned:
        swings += drive_strokes(
            world, striker, strokes, arm_targets, hover_m=hover_m, max_height_m=0.45, held=held
        )
        targets += arm_targets
    return targets, swings


def _distribute(rng: np.random.Generator, notes: list[Note], count: int) -> list[list[Note]]:
    """Give each note to an arm that has time for it, mostly the one that rested longer."""
    arms: list[list[Note]] = [[] for _ in range(count)]
    for note in notes:
        order = sorted(range(count), key=lambda k: arms[k][-1][0] if arms[k] else -99.0)
        if count == 2 and rng.random() < 0.25:
            order.reverse()
        for k in order:
            gap_s = note[0] - arms[k][-1][0] if arms[k] else 9.0
            if gap_s > (0.13 if arms[k] and arms[k][-1][1] == note[1] else 0.17):
                arms[k].append(note)
                break
    return arms


def _sample_nearby_point(rng: np.random.Generator, point: SurfacePoint) -> SurfacePoint:
    """Sample a point close to another one, along its surface."""
    step_m = float(np.clip(rng.normal(0.0, 0.012), -0.03, 0.03))
    return point if abs(step_m) > 0.8 * point.room_m else shifted_along(point, step_m)


def _sample_pattern(rng: np.random.Generator, count: int, duration_s: float) -> list[Note]:
    """Sample a looped pattern on a grid with accents, rests, small timing errors and fills."""
    step_s = 0.105 * (3.2 ** rng.random())
    beats = int(rng.choice((4, 6, 8, 8, 12, 16)))
    density = rng.uniform(0.5, 1.0)
    timing_error_s = rng.uniform(0.0, 0.012)
    # The loop
    loop: list[list[tuple[int, float]]] = []
    for beat in range(beats):
        notes = []
        if rng.random() < density or beat == 0:
            index = 0 if rng.random() < 0.55 else int(rng.integers(count))
            notes.append((index, 1.25 if beat % 4 == 0 else rng.uniform(0.5, 1.0)))
            if count > 1 and rng.random() < 0.15:
                notes.append((int(rng.integers(count)), rng.uniform(0.5, 1.0)))
        loop.append(notes)
    # Its repetitions
    pattern: list[Note] = []
    time_s, beat = MOTION_START_S + 0.5 + rng.uniform(0.0, step_s), int(rng.integers(beats))
    rest_until_s = -9.0
    while time_s < duration_s + LEAD_OUT_S:
        is_fill = rng.random() < 0.03
        for index, accent in loop[beat % beats]:
            if time_s >= rest_until_s:
                error_s = timing_error_s * rng.standard_normal()
                index = int(rng.integers(count)) if is_fill else index
                pattern.append((time_s + error_s, index, accent))
        if rng.random() < 0.015:
            rest_until_s = time_s + rng.uniform(0.3, 1.2)
        beat += 1
        time_s += step_s
    return sorted(pattern)


def _add_drum(world: KinematicWorld, name: str, base: Pose, radius: float, depth: float) -> Prop:
    """Add a drum whose membrane is at the top of its own frame."""
    rng = world.rng
    prop = Prop(
        world,
        name,
        material="membrane",
        shape="membrane",
        half_m=(radius, radius, 0.5 * depth),
        size_m=(2 * radius, 2 * radius, depth),
        hollow=True,
        damping=rng.uniform(1.0, 2.5),
        base=base,
    )
    shell = str(rng.choice(("wood", "metal", "plastic"), p=(0.5, 0.2, 0.3)))
    half_height = 0.5 * depth - 0.003
    world.add_cylinder(prop.body, shell, radius * 1.02, half_height, (0, 0, half_height))
    world.add_cylinder(prop.body, "membrane", radius, 0.004, (0, 0, depth - 0.004))
    if rng.random() < 0.7:
        world.add_cylinder(prop.body, "metal", radius * 1.05, 0.012, (0, 0, depth - 0.02))
    prop.add_surface(1.0, top_surface(prop, depth, 0.6 * radius, 0.6 * radius))
    return prop


def _add_cymbal(world: KinematicWorld, name: str, base: Pose) -> Prop:
    """Add a thin tilted disc that swings on its stand after a hit."""
    rng = world.rng
    radius = rng.uniform(0.12, 0.25)
    prop = Prop(
        world,
        name,
        material="metal",
        shape="plate",
        half_m=(radius, radius, 0.004),
        size_m=(2 * radius, 2 * radius, 0.0015),
        damping=rng.uniform(0.6, 1.5),
        base=base,
        lightness=rng.uniform(1.0, 2.5),
        pivot=(0.0, 0.0, 0.006),
        swing_hz=(1.5, 4.5),
    )
    world.add_cylinder(prop.body, "metal", radius, 0.002, (0, 0, 0.006))
    world.add_ellipsoid(prop.body, "metal", [0.035, 0.035, 0.018], (0, 0, 0.006))
    edge = (0.65 * radius, 0, 0.008)
    surface = flat_surface(edge, Z_AXIS, Y_AXIS, 0.3 * radius, 0.05, prop.half_m)
    prop.add_surface(1.0, surface)
    return prop


def _add_stand(world: KinematicWorld, name: str, position: Vec, radius_m: float) -> None:
    """Add a stand from the ground up to a position."""
    x, y, z = position
    stand = world.add_fixed_body(f"{name}_stand", ((x, y, 0.0), NO_ROTATION))
    world.add_rod(stand, "metal", radius_m, ORIGIN, (0, 0, z))


def _leaning(position: Vec, azimuth: float, lean_rad: float) -> Pose:
    """Return a frame whose x axis points to an azimuth and whose top leans that way."""
    towards = horizontal(azimuth)
    return (position, align_axes(towards, add(Z_AXIS, scale(towards, math.tan(lean_rad)))))


def _add_kit(world: KinematicWorld, azimuth: float) -> list[Prop]:
    """Add a snare or pad, toms, cymbals and blocks, in an arc around the drummer."""
    rng = world.rng
    # The drum in front
    high = rng.uniform(0.45, 0.7)
    radius = rng.uniform(0.12, 0.2)
    depth = rng.uniform(0.08, 0.2)
    position: Vec = (0.0, 0.0, high - depth)
    props = [_add_drum(world, "drum0", (position, NO_ROTATION), radius, depth)]
    _add_stand(world, "drum0", position, 0.012)
    # Cymbals, toms and blocks around it
    for index in range(1, int(rng.choice((1, 2, 3, 4, 5, 6), p=(0.2, 0.2, 0.2, 0.2, 0.1, 0.1)))):
        angle = azimuth + math.pi + (index - 2.5) * 0.75 + rng.uniform(-0.2, 0.2)
        x, y, _ = horizontal(angle, radius + rng.uniform(0.2, 0.3))
        z = high + rng.uniform(-0.05, 0.12)
        name = f"drum{index}"
        kind = rng.random()
        if kind < 0.45:
            position = (1.25 * x, 1.25 * y, z + rng.uniform(0.05, 0.25))
            props.append(
                _add_cymbal(world, name, _leaning(position, azimuth, rng.uniform(0.0, 0.5)))
            )
            _add_stand(world, name, position, 0.009)
        elif kind < 0.9:
            depth = rng.uniform(0.12, 0.25)
            position = (x, y, z - depth)
            tom_radius = rng.uniform(0.09, 0.16)
            base = _leaning(position, azimuth, rng.uniform(0.0, 0.4))
            props.append(_add_drum(world, name, base, tom_radius, depth))
            _add_stand(world, name, position, 0.012)
        else:
            position = (x, y, z)
            block = add_prop(
                world,
                name,
                position=position,
                max_size_m=rng.uniform(0.1, 0.2),
                material=sample_material(rng, "kit block"),
                kind="box",
            )
            _add_stand(world, name, position, 0.01)
            _keep_top_only(block)
            props.append(block)
    return props


def _keep_top_only(prop: Prop) -> None:
    """Remove all surfaces but the first one, the top."""
    del prop.surfaces[1:]


def _next_to_each_other(index: int, spacing: float, azimuth: float) -> Vec:
    """Return the position of an instrument next to the others: centre, right, left, ..."""
    offset = (index % 2 * 2 - 1) * ((index + 1) // 2) * spacing
    return _across(offset, azimuth, 0.0)


def _across(offset: float, azimuth: float, height: float) -> Vec:
    """Return a position at an offset perpendicular to an azimuth."""
    return (-offset * math.sin(azimuth), offset * math.cos(azimuth), height)


def _add_hand_drums(world: KinematicWorld, azimuth: float) -> list[Prop]:
    """Add one to three tall drums next to each other."""
    rng = world.rng
    props = []
    tall = rng.uniform(0.25, 0.75)
    for index in range(int(rng.choice((1, 2, 3), p=(0.4, 0.45, 0.15)))):
        radius = rng.uniform(0.09, 0.16)
        position = _next_to_each_other(index, 0.34, azimuth)
        base = _leaning(position, azimuth, rng.uniform(0.0, 0.12))
        props.append(_add_drum(world, f"drum{index}", base, radius, tall))
    return props


def _add_things(world: KinematicWorld, azimuth: float) -> list[Prop]:
    """Add buckets, pots and boxes on the ground as drums."""
    rng = world.rng
    props = []
    main = sample_material(rng)
    size = rng.uniform(0.15, 0.35)
    for index in range(int(rng.integers(1, 5))):
        material = sample_main_or_other_material(rng, main)
        kind = str(rng.choice(("can", "box", "vessel"), p=(0.5, 0.3, 0.2)))
        prop = add_prop(
            world,
            f"drum{index}",
            position=_next_to_each_other(index, 1.15 * size, azimuth),
            max_size_m=size,
            material=material,
            kind=kind,
        )
        if rng.random() < 0.8:
            _keep_top_only(prop)
        props.append(prop)
    return props


def _add_mallet_bars(world: KinematicWorld, azimuth: float) -> list[Prop]:
    """Add several tuned bars on two rails."""
    rng = world.rng
    material = sample_material(rng, "mallet bars")
    count, high = int(rng.integers(4, 11)), rng.uniform(0.1, 0.7)
    wide = rng.uniform(0.025, 0.05)
    long, rotation = rng.uniform(0.15, 0.3), axis_angle(Z_AXIS, azimuth)
    frame = world.add_fixed_body("frame", (ORIGIN, rotation))
    half_span = 0.5 * count * 1.15 * wide
    for x in (-0.3 * long, 0.3 * long):
        world.add_box(frame, "wood", [0.012, half_span, 0.012], (x, 0.0, high - 0.012))
    body_m = [0.4 * long, 0.9 * half_span, 0.5 * high - 0.015]
    world.add_box(frame, "wood", body_m, (0.0, 0.0, 0.5 * high - 0.012))
    props = []
    for index in range(count):
        half = (0.5 * long * (1.0 - 0.04 * index), 0.5 * wide, rng.uniform(0.004, 0.009))
        offset = (index - 0.5 * (count - 1)) * 1.15 * wide
        prop = Prop(
            world,
            f"drum{index}",
            material=material,
            shape="bar",
            half_m=half,
            damping=rng.uniform(0.8, 1.5),
            base=(_across(offset, azimuth, high), rotation),
            lightness=rng.uniform(0.0, 0.15),
        )
        world.add_box(prop.body, material, half, (0, 0, half[2]))
        prop.add_surface(1.0, top_surface(prop, 2 * half[2], 0.5 * half[0], 0.3 * half[1]))
        props.append(prop)
    return [props[int(index)] for index in rng.permutation(count)]
