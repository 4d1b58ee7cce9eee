"""The "strikes" family: a tool or bare hand hits and scrapes things.

It imitates the Greatest Hits recordings, smithies and kitchens: irregular hits, taps and scrapes on
one or several things, hammering, chopping, with near misses.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from foleyflow.simulation.materials import sample_material
from foleyflow.simulation.motion.background import (
    add_bystanders,
    add_crumbs,
    add_person,
    add_resting_hand,
)
from foleyflow.simulation.motion.held_tool import sample_held_tool
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.prop_catalogue import (
    add_ground,
    add_prop,
    add_table,
    add_wall,
    sample_main_or_other_material,
)
from foleyflow.simulation.motion.props import (
    Prop,
    SurfacePoint,
    sample_heading,
    top_surface,
)
from foleyflow.simulation.motion.rotations import (
    NO_ROTATION,
    ORIGIN,
    Y_AXIS,
    Z_AXIS,
    Pose,
    Quat,
    Vec,
    add,
    axis_angle,
    horizontal,
    multiply,
    rotate,
    scale,
)
from foleyflow.simulation.motion.strikers import add_striker
from foleyflow.simulation.motion.striking_motion import (
    StrokeStyle,
    Target,
    build_framed_scene,
    drive_strokes,
    sample_camera_azimuths,
    sample_silent_outcomes,
    sample_strokes,
    sample_targets,
)
from foleyflow.simulation.motion.trajectories import Swing, sample_rhythm
from foleyflow.simulation.scene import Scene


def sample_strikes(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a strike scene: free play, hammering or chopping."""
    kind = rng.random()
    world = KinematicWorld("strike", duration_s, rng)
    ground = add_ground(world)
    if kind < 0.72:
        return _free_play(world, ground)
    return _hammering(world) if kind < 0.86 else _chopping(world)


def _free_play(world: KinematicWorld, ground: Prop) -> Scene:
    """A tool or hand on one to four things, on the ground, a table or a wall."""
    rng = world.rng
    tool = str(
        rng.choice(("stick", "palm", "hammer", "spoon", "fist"), p=(0.62, 0.12, 0.1, 0.1, 0.06))
    )
    azimuth = rng.uniform(0, 2 * math.pi)
    hand_direction = horizontal(azimuth)
    camera_deg = sample_camera_azimuths(rng, azimuth)
    max_size = 0.06 * 10.0 ** rng.uniform(0.15, 1.1)
    main = sample_material(rng)
    # A wall, a table with things on it, or things on the ground
    support = rng.random()
    is_wall = support < 0.09
    if is_wall:
        props = [add_wall(world, "wall", sample_main_or_other_material(rng, main))]
        hand_direction = (math.cos(azimuth), 0.3, abs(math.sin(azimuth)) + 0.2)
        camera_deg = (-150.0, -30.0)
    elif support < 0.5:
        height_m = rng.uniform(0.3, 0.9)
        table = add_table(world, "table", height_m, sample_main_or_other_material(rng, main))
        base = (0.0, 0.0, table.height_m)
        props = _add_things(world, base, min(max_size, 0.35), main, azimuth)
        if rng.random() < 0.25:
            props.insert(0, table)
    else:
        props = _add_things(world, ORIGIN, max_size, main, azimuth)
        if rng.random() < 0.15:
            props.insert(0, ground)
    # The strokes, then everything that only moves
    style = _sample_style(rng, tool)
    strokes = sample_strokes(rng, sample_rhythm(rng, world.duration_s), style)
    has_arm = tool in ("palm", "fist") or bool(rng.random() < 0.9)
    striker = add_striker(world, "arm", tool=tool, has_arm=has_arm)
    targets = sample_targets(rng, strokes, props, hand_direction=hand_direction, style=style)
    held = sample_held_tool(rng, restitution=style.rebound)
    swings = drive_strokes(world, striker, strokes, targets, hover_m=style.hover_m, held=held)
    for prop in props:
        prop.plan_responses(rng)
    if rng.random() < 0.15 and not is_wall:
        add_crumbs(world, _touches(targets, swings))
    _add_background(world, -0.5 * math.pi if is_wall else azimuth)
    return build_framed_scene(world, targets, swings, camera_deg)


def _sample_style(rng: np.random.Generator, tool: str) -> StrokeStyle:
    """Sample how a tool is swung."""
    outcomes = {"bounce": 0.62, "rest": 0.16, "double": 0.08, "scrape": 0.14}
    if rng.random() < 0.5:
        outcomes["scrape"] = 0.0
    if rng.random() < 0.15:
        outcomes = {"bounce": 0.15, "rest": 0.15, "double": 0.0, "scrape": 0.7}
    if rng.random() < 0.5:
        outcomes["settle"] = rng.uniform(0.1, 0.8)
    outcomes |= sample_silent_outcomes(rng, probability=0.45, max_weight=0.6)
    is_hand = tool in ("palm", "fist")
    speed_mps = (1.5, 8.0) if tool == "hammer" else (0.8, 4.0) if is_hand else (0.8, 6.0)
    return StrokeStyle(
        speed_mps=speed_mps,
        outcomes=outcomes,
        rebound=(0.05, 0.4) if is_hand else (0.1, 0.7),
        hover_m=rng.uniform(0.03, 0.2),
        move_probability=float(rng.choice((0.05, 0.3, 0.7))),
        jitter_m=rng.uniform(0.0, 0.03),
        soft_fraction=rng.uniform(0.1, 0.6) if rng.random() < 0.5 else 0.0,
    )


def _touches(targets: list[Target], swings: list[Swing]) -> list[tuple[float, Vec]]:
    """Return the (time, world position) of every contact, in the order of time."""
    return [
        (time_s, target.frame()[0])
        for target, swing in zip(targets, swings, strict=True)
        for time_s, _ in swing.touches
    ]


def _hammering(world: KinematicWorld) -> Scene:
    """A smith at the anvil, a nail or chisel that is driven in, or a stone that is broken."""
    rng = world.rng
    azimuth = rng.uniform(0, 2 * math.pi)
    job = str(rng.choice(("anvil", "nail", "chisel", "stone"), p=(0.4, 0.25, 0.2, 0.15)))
    top_m = rng.uniform(0.35, 0.8) if job == "anvil" else rng.uniform(0.02, 0.6)
    _add_block(world, top_m, is_anvil=job == "anvil")
    position: Vec = (0.0, 0.0, top_m)
    side_azimuth = azimuth + rng.uniform(1.2, 2.2) * (1.0 if rng.random() < 0.5 else -1.0)
    sideways = horizontal(side_azimuth)
    # The workpiece, how a hit moves it, and the hand that holds it
    slide = ORIGIN
    if job == "anvil":
        prop = _add_workpiece(world, position, side_azimuth)
        holder = add(position, add(scale(sideways, rng.uniform(0.18, 0.3)), (0, 0, 0.02)))
    elif job in ("nail", "chisel"):
        tall = rng.uniform(0.04, 0.09) if job == "nail" else rng.uniform(0.12, 0.2)
        prop = _add_pin(world, position, tall, radius_m=0.003 if job == "nail" else 0.009)
        slide = (0.0, 0.0, -rng.uniform(0.001, 0.004))
        holder = add(position, (0.03 * sideways[0], 0.03 * sideways[1], 0.6 * tall))
    else:
        max_size = rng.uniform(0.08, 0.3)
        prop = add_prop(
            world, "thing0", position=position, max_size_m=max_size, material="stone", kind="stone"
        )
        holder = add(position, scale(sideways, 0.2))
    if job != "stone" and rng.random() < 0.8:
        add_resting_hand(world, "helper", holder, sideways, sway_m=0.004)
    # The strokes
    silent = sample_silent_outcomes(rng, probability=0.35, max_weight=0.25)
    style = StrokeStyle(
        speed_mps=(2.0, 8.0) if job in ("anvil", "stone") else (1.2, 5.0),
        down_s=(0.1, 0.25),
        outcomes={"bounce": 0.8, "rest": 0.1, "double": 0.15 if job == "anvil" else 0.0, **silent},
        rebound=(0.1, 0.45),
        hover_m=rng.uniform(0.08, 0.25),
        move_probability=0.1,
        jitter_m=0.008,
    )
    pulse_hz = (1.0, 3.2) if rng.random() < 0.7 else None
    rhythm = sample_rhythm(rng, world.duration_s, pulse_hz=pulse_hz)
    strokes = sample_strokes(rng, rhythm, style)
    has_arm = bool(rng.random() < 0.95)
    material = "metal" if rng.random() < 0.85 else None
    striker = add_striker(world, "arm", tool="hammer", has_arm=has_arm, material=material)
    targets = [
        replace(target, slide=slide)
        for target in sample_targets(
            rng, strokes, [prop], hand_direction=horizontal(azimuth), style=style, top_only=True
        )
    ]
    held = sample_held_tool(rng, restitution=style.rebound)
    swings = drive_strokes(world, striker, strokes, targets, hover_m=style.hover_m, held=held)
    prop.plan_responses(rng)
    if rng.random() < 0.4:
        add_crumbs(world, _touches(targets, swings))
    _add_background(world, azimuth)
    return build_framed_scene(world, targets, swings, sample_camera_azimuths(rng, azimuth))


def _add_block(world: KinematicWorld, top_m: float, *, is_anvil: bool) -> None:
    """Add an anvil on its stump, or a work block; silent."""
    rng = world.rng
    body = world.add_fixed_body("block", (ORIGIN, sample_heading(rng)))
    look = str(rng.choice(("wood", "stone", "metal"), p=(0.6, 0.3, 0.1)))
    half = rng.uniform(0.08, 0.3)
    if not is_anvil:
        size = [half, half * rng.uniform(0.6, 1.4), 0.5 * top_m]
        world.add_box(body, look, size, (0, 0, 0.5 * top_m))
        return
    world.add_cylinder(body, "wood", 0.18, 0.5 * top_m - 0.1, (0, 0, 0.5 * top_m - 0.1))
    world.add_box(body, "metal", [0.1, 0.07, 0.02], (0, 0, top_m - 0.18))
    world.add_box(body, "metal", [0.06, 0.035, 0.05], (0, 0, top_m - 0.11))
    world.add_box(body, "metal", [0.14, 0.05, 0.035], (0, 0, top_m - 0.035))
    world.add_ellipsoid(body, "metal", [0.14, 0.04, 0.03], (0.16, 0, top_m - 0.035))


def _add_workpiece(world: KinematicWorld, position: Vec, azimuth_rad: float) -> Prop:
    """Add a metal bar on the anvil, one end in a hand."""
    rng = world.rng
    half = (0.22, rng.uniform(0.008, 0.025), rng.uniform(0.004, 0.012))
    prop = Prop(
        world,
        "thing0",
        material="metal",
        shape="bar",
        half_m=half,
        damping=rng.uniform(1.0, 1.4),
        base=(position, axis_angle(Z_AXIS, azimuth_rad)),
        lightness=rng.uniform(0.05, 0.3),
    )
    world.add_box(prop.body, "metal", half, (0.12, 0, half[2]))
    prop.add_surface(1.0, top_surface(prop, 2 * half[2], 0.04, 0.3 * half[1]))
    return prop


def _add_pin(world: KinematicWorld, position: Vec, tall_m: float, radius_m: float) -> Prop:
    """Add a nail, chisel or peg that stands upright and is driven in."""
    rng = world.rng
    material = "metal" if rng.random() < 0.8 else "wood"
    head = radius_m * rng.uniform(1.5, 3.0)
    prop = Prop(
        world,
        "thing0",
        material=material,
        shape="bar",
        half_m=(head, head, 0.5 * tall_m),
        size_m=(tall_m, 2 * radius_m, 2 * radius_m),
        damping=rng.uniform(1.0, 1.5),
        base=(position, NO_ROTATION),
        lightness=0.02,
    )
    ends = ((0, 0, -0.03), (0, 0, tall_m - 0.002))
    world.add_rod(prop.body, material, radius_m, *ends, shape="cylinder")
    world.add_cylinder(prop.body, material, head, 0.001, (0, 0, tall_m - 0.001))
    top = SurfacePoint(point=(0.0, 0.0, tall_m), normal=Z_AXIS, position=Z_AXIS)
    prop.add_surface(1.0, lambda rng: top)
    return prop


def _chopping(world: KinematicWorld) -> Scene:
    """A knife that chops a long vegetable on a board, slice by slice."""
    rng = world.rng
    top_m = rng.uniform(0.3, 0.9)
    add_table(world, "table", top_m)
    azimuth = rng.uniform(0, 2 * math.pi)
    hand_direction = horizontal(azimuth)
    side = 1.0 if rng.random() < 0.5 else -1.0
    across = scale((-hand_direction[1], hand_direction[0], 0.0), side)
    # The board, and strokes that advance along it with every cut
    board = _add_chopping_board(world, top_m, axis_angle(Z_AXIS, math.atan2(across[1], across[0])))
    half = board.half_m
    silent = sample_silent_outcomes(rng, probability=0.35, max_weight=0.3)
    style = StrokeStyle(
        speed_mps=(0.8, 3.0),
        down_s=(0.07, 0.16),
        outcomes={"rest": 0.6, "bounce": 0.4, **silent},
        rebound=(0.03, 0.2),
        hover_m=rng.uniform(0.03, 0.09),
        move_probability=0.0,
        jitter_m=0.0,
    )
    pulse_hz = (1.6, 6.0) if rng.random() < 0.75 else None
    rhythm = sample_rhythm(rng, world.duration_s, pulse_hz=pulse_hz)
    strokes = sample_strokes(rng, rhythm, style)
    cuts = sum(not stroke.is_silent for stroke in strokes)
    step = min(rng.uniform(0.003, 0.02), 1.4 * half[0] / max(1, cuts))
    start = -0.8 * half[0] + 0.2 * rng.random() * half[0]
    striker = add_striker(world, "arm", tool="knife", has_arm=bool(rng.random() < 0.95))
    targets, done = [], 0
    for stroke in strokes:
        x = start + step * done
        point = SurfacePoint(
            point=(x, 0.0, 2 * half[2]), normal=Z_AXIS, position=(x / half[0], 0, 1)
        )
        targets.append(Target(prop=board, point=point, hand_direction=hand_direction, slide=ORIGIN))
        done += not stroke.is_silent
    swings = drive_strokes(
        world, striker, strokes, targets, hover_m=style.hover_m, max_height_m=0.25
    )
    board.plan_responses(rng)
    # The vegetable, and the hand that holds it
    cut_times_s = [swing.touches[0][0] for swing in swings if swing.touches]
    radius = rng.uniform(0.012, 0.035)
    board_top = (add(board.base[0], (0, 0, 2 * half[2])), board.base[1])
    _add_vegetable(world, board_top, start, step, cut_times_s, radius)
    outward = add(scale(across, 0.7), scale(hand_direction, 0.6))
    if rng.random() < 0.85:
        end = start + step * (cuts + 1) + 0.05
        holder = add(add(board.base[0], scale(across, end)), (0, 0, 2 * half[2] + radius))
        add_resting_hand(world, "helper", holder, outward, sway_m=0.004)
    _add_background(world, azimuth)
    view = add(outward, hand_direction)
    center_deg = math.degrees(math.atan2(view[1], view[0]))
    return build_framed_scene(world, targets, swings, (center_deg - 110.0, center_deg + 110.0))


def _add_chopping_board(world: KinematicWorld, top_m: float, rotation: Quat) -> Prop:
    """Add a chopping board at a height."""
    rng = world.rng
    material = sample_material(rng, "chopping board")
    half = (rng.uniform(0.12, 0.2), rng.uniform(0.1, 0.15), rng.uniform(0.006, 0.02))
    board = Prop(
        world,
        "board",
        material=material,
        shape="plate",
        half_m=half,
        damping=rng.uniform(1.0, 1.4),
        base=((0, 0, top_m), rotation),
    )
    world.add_box(board.body, material, half, (0, 0, half[2]))
    return board


def _add_vegetable(
    world: KinematicWorld,
    top: Pose,
    start: float,
    step: float,
    cut_times_s: list[float],
    radius: float,
) -> None:
    """Add slices between the cuts; each moves aside when the knife has cut it off."""
    rng = world.rng
    look = str(rng.choice(("leaf", "plastic", "wood", "rubber", "ceramic")))
    shape = "box" if rng.random() < 0.15 else "cylinder"
    count = min(len(cut_times_s), 24)
    rest_m = step * (len(cut_times_s) - count) + 0.09  # length of the part that is not cut
    names = []
    for index in range(count + 1):
        body = world.add_driven_body(f"slice{index}")
        thick = step if index < count else rest_m
        slice_radius, half_length = radius * rng.uniform(0.93, 1.0), 0.48 * thick
        if shape == "box":
            world.add_box(body, look, [slice_radius, slice_radius, half_length])
        else:
            world.add_cylinder(body, look, slice_radius, half_length)
        names.append(body.name)
    # Where a slice moves and how far it leans
    distance = -rng.uniform(0.3, 1.2) * radius
    leans = [float(lean) for lean in rng.uniform(0.1, 1.0, count)]
    sideways = [float(y) for y in rng.normal(0.0, 0.4 * radius, count)]
    position, rotation = top
    along = multiply(rotation, axis_angle(Y_AXIS, 0.5 * math.pi))

    def motion(time_s: float) -> list[Pose]:
        poses: list[Pose] = []
        for index in range(count):
            x, y, z, turn = start + step * (index - 0.5), 0.0, radius, along
            if time_s > cut_times_s[index]:
                fraction = 1.0 - math.exp(-(time_s - cut_times_s[index]) / 0.06)
                lean = leans[index] * fraction
                x += distance * fraction - 0.3 * radius * fraction * (count - index) / count
                y = sideways[index] * fraction
                z = radius * (1.0 - 0.25 * leans[index] * fraction)
                turn = multiply(rotation, axis_angle(Y_AXIS, 0.5 * math.pi - lean))
            poses.append((add(position, rotate(rotation, (x, y, z))), turn))
        rest_x = start + step * (count - 1) + 0.5 * rest_m
        poses.append((add(position, rotate(rotation, (rest_x, 0.0, radius))), along))
        return poses

    world.drive(tuple(names), motion)


def _add_things(
    world: KinematicWorld, base: Vec, max_size_m: float, main: str, azimuth: float
) -> list[Prop]:
    """Add one to four things around the centre, none where the arm comes from."""
    rng = world.rng
    props: list[Prop] = []
    for index in range(int(rng.choice((1, 2, 3, 4), p=(0.45, 0.25, 0.18, 0.12)))):
        position = base
        size = max_size_m * (1.0 if index == 0 else rng.uniform(0.3, 1.0))
        if index:
            angle = azimuth + math.pi + rng.uniform(-2.0, 2.0)
            distance = 0.75 * (max_size_m + size) * rng.uniform(0.9, 1.3)
            position = add(base, horizontal(angle, distance))
            if any(
                math.dist(position, prop.base[0]) < 0.6 * (size + 2 * prop.radius_m)
                for prop in props
            ):
                continue
        material = sample_main_or_other_material(rng, main)
        props.append(
            add_prop(world, f"thing{index}", position=position, max_size_m=size, material=material)
        )
    return props


def _add_background(world: KinematicWorld, azimuth_rad: float) -> None:
    """Sometimes add the striking person's body, and bystanders; silent."""
    rng = world.rng
    if rng.random() < 0.25 and azimuth_rad >= 0.0:
        position = horizontal(azimuth_rad, rng.uniform(0.75, 1.0))
        add_person(world, "striker", position, sway_m=rng.uniform(0.005, 0.03))
    if rng.random() < 0.3:
        add_bystanders(world, distance_m=1.2, azimuth_rad=azimuth_rad)
