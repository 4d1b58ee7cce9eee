"""A hand with a tool (or bare) that hits and scrapes things: the largest family.

Modelled on what people do in Greatest Hits, smithies and kitchens: irregular hits, taps and scrapes
on one or several things, hammering, chopping, with near misses. Drums are in `drums.py`, doors in
`knocks.py`; how a stroke becomes motion and contacts is in `striking.py`.
"""

from __future__ import annotations

import math

import numpy as np

from foleyflow.simulation.contacts import Body
from foleyflow.simulation.motion.background import add_bystanders, add_crumbs
from foleyflow.simulation.motion.kinematic_world import Puppetry
from foleyflow.simulation.motion.performers import add_person, add_resting_hand, make_rig
from foleyflow.simulation.motion.prop_catalogue import (
    draw_material,
    main_or_other,
    make_ground,
    make_prop,
    make_table,
    make_wall,
)
from foleyflow.simulation.motion.props import UP, Prop, Spot, patch, station
from foleyflow.simulation.motion.rotations import Pose, Vec, about, add, multiply, rotate, scale
from foleyflow.simulation.motion.striking_motion import (
    Aim,
    Manner,
    draw_aims,
    draw_silent,
    draw_strokes,
    draw_views,
    framed_scene,
    perform,
)
from foleyflow.simulation.motion.trajectories import AFTER_S, BEFORE_S, Swing, draw_rhythm
from foleyflow.simulation.scene import Scene


def draw_strikes(rng: np.random.Generator, duration_s: float) -> Scene:
    """A strike scene: free play on all sorts of things, hammering, or chopping.

    Args:
        rng: source of chance.
        duration_s: of the clip.

    Source: ours.
    """
    kind = rng.random()
    if kind < 0.72:
        return _free_play(rng, duration_s)
    return _hammering(rng, duration_s) if kind < 0.86 else _chopping(rng, duration_s)


def _free_play(rng: np.random.Generator, duration_s: float) -> Scene:
    """A stick, hand or other tool on one to four things, on the ground, a table or a wall."""
    bench = Puppetry("strike", duration_s)
    ground = make_ground(bench, rng)
    tool = str(
        rng.choice(("stick", "palm", "hammer", "spoon", "fist"), p=(0.62, 0.12, 0.1, 0.1, 0.06))
    )
    azimuth = rng.uniform(0, 2 * math.pi)
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    views = draw_views(rng, azimuth)
    most = 0.06 * 10.0 ** rng.uniform(0.15, 1.1)
    main = draw_material(rng)
    where = rng.random()
    if where < 0.09:
        wall = make_wall(bench, rng, "wall", (0.0, 0.0, 0.0), material=main_or_other(rng, main))
        props = [wall]
        back = (math.cos(azimuth), 0.3, abs(math.sin(azimuth)) + 0.2)
        views = (-150.0, -30.0)
    elif where < 0.5:
        table = make_table(bench, rng, "table", rng.uniform(0.3, 0.9), main_or_other(rng, main))
        base = (0.0, 0.0, table.top_m)
        props = _arrange(bench, rng, base, min(most, 0.35), main, azimuth)
        if rng.random() < 0.25:
            props.insert(0, table)
    else:
        props = _arrange(bench, rng, (0.0, 0.0, 0.0), most, main, azimuth)
        if rng.random() < 0.15:
            props.insert(0, ground)
    manner = draw_manner(rng, tool)
    rhythm = draw_rhythm(rng, BEFORE_S + 0.6, duration_s + AFTER_S)
    strokes = draw_strokes(rng, rhythm, manner)
    armed = tool in ("palm", "fist") or bool(rng.random() < 0.9)
    rig = make_rig(bench, rng, "arm", tool=tool, armed=armed)
    aims = draw_aims(rng, strokes, props, back=back, manner=manner)
    swings = perform(bench, rng, rig, strokes, aims, hover_m=manner.hover_m)
    for prop in props:
        prop.settle(rng)
    if rng.random() < 0.15 and where >= 0.09:
        add_crumbs(bench, rng, touch_places(aims, swings))
    _surround(bench, rng, -0.5 * math.pi if where < 0.09 else azimuth)
    return framed_scene(bench, rng, aims, swings, views)


def draw_manner(rng: np.random.Generator, tool: str) -> Manner:
    """How a tool is usually swung.

    Args:
        rng: source of chance.
        tool: a key of `figure.TOOLS`.

    Source: ours.
    """
    outcomes = {"bounce": 0.62, "rest": 0.16, "double": 0.08, "scrape": 0.14}
    if rng.random() < 0.5:
        outcomes["scrape"] = 0.0
    if rng.random() < 0.15:
        outcomes = {"bounce": 0.15, "rest": 0.15, "double": 0.0, "scrape": 0.7}
    if rng.random() < 0.5:
        outcomes["settle"] = rng.uniform(0.1, 0.8)
    outcomes |= draw_silent(rng, chance=0.45, most=0.6)
    speeds = {"hammer": (1.5, 8.0), "palm": (0.8, 4.0), "fist": (0.8, 4.0), "foot": (0.8, 3.0)}
    return Manner(
        speed_mps=speeds.get(tool, (0.8, 6.0)),
        outcomes=outcomes,
        rebound=(0.05, 0.4) if tool in ("palm", "fist", "foot") else (0.1, 0.7),
        hover_m=rng.uniform(0.03, 0.2),
        roam=float(rng.choice((0.05, 0.3, 0.7))),
        jitter_m=rng.uniform(0.0, 0.03),
        soft=rng.uniform(0.1, 0.6) if rng.random() < 0.5 else 0.0,
    )


def touch_places(aims: list[Aim], swings: list[Swing]) -> list[tuple[float, Vec, str]]:
    """(moment, world place, prop name) of every touch, in order of time."""
    return [
        (time_s, station(aim.prop, aim.spot, aim.back)[0], aim.prop.name)
        for aim, swing in zip(aims, swings, strict=True)
        for time_s, _ in swing.touches
    ]


def _hammering(rng: np.random.Generator, duration_s: float) -> Scene:
    """A smith at the anvil, a nail or a chisel being driven, a stone being broken."""
    bench = Puppetry("strike", duration_s)
    make_ground(bench, rng)
    azimuth = rng.uniform(0, 2 * math.pi)
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    job = str(rng.choice(("anvil", "nail", "chisel", "stone"), p=(0.4, 0.25, 0.2, 0.15)))
    top_m = rng.uniform(0.35, 0.8) if job == "anvil" else rng.uniform(0.02, 0.6)
    _add_block(bench, rng, top_m, anvil=job == "anvil")
    place: Vec = (0.0, 0.0, top_m)
    aside = azimuth + rng.uniform(1.2, 2.2) * (1.0 if rng.random() < 0.5 else -1.0)
    sideways: Vec = (math.cos(aside), math.sin(aside), 0.0)
    sink: Vec | None = None
    if job == "anvil":
        prop = _workpiece(bench, rng, place, aside)
        holder = add(place, add(scale(sideways, rng.uniform(0.18, 0.3)), (0, 0, 0.02)))
    elif job in ("nail", "chisel"):
        tall = rng.uniform(0.04, 0.09) if job == "nail" else rng.uniform(0.12, 0.2)
        prop = _pin(bench, rng, place, tall, thick=0.003 if job == "nail" else 0.009)
        sink = (0.0, 0.0, -rng.uniform(0.001, 0.004))
        holder = add(place, (0.03 * sideways[0], 0.03 * sideways[1], 0.6 * tall))
    else:
        prop = make_prop(
            bench,
            rng,
            "thing0",
            place=place,
            most_m=rng.uniform(0.08, 0.3),
            material="stone",
            kind="stone",
        )
        holder = add(place, scale(sideways, 0.2))
    if job != "stone" and rng.random() < 0.8:
        add_resting_hand(bench, rng, "helper", holder, sideways, sway_m=0.004)
    silent = draw_silent(rng, chance=0.35, most=0.25)
    manner = Manner(
        speed_mps=(2.0, 8.0) if job in ("anvil", "stone") else (1.2, 5.0),
        down_s=(0.1, 0.25),
        outcomes={"bounce": 0.8, "rest": 0.1, "double": 0.15 if job == "anvil" else 0.0, **silent},
        rebound=(0.1, 0.45),
        hover_m=rng.uniform(0.08, 0.25),
        roam=0.1,
        jitter_m=0.008,
    )
    pace = (1.0, 3.2) if rng.random() < 0.7 else None
    strokes = draw_strokes(
        rng, draw_rhythm(rng, BEFORE_S + 0.6, duration_s + AFTER_S, pace_hz=pace), manner
    )
    rig = make_rig(
        bench,
        rng,
        "arm",
        tool="hammer",
        armed=bool(rng.random() < 0.95),
        material="metal" if rng.random() < 0.85 else None,
    )
    aims = [
        Aim(prop=aim.prop, spot=aim.spot, back=aim.back, slide=sink if sink else (0.0, 0.0, 0.0))
        for aim in draw_aims(rng, strokes, [prop], back=back, manner=manner, upright=True)
    ]
    swings = perform(bench, rng, rig, strokes, aims, hover_m=manner.hover_m)
    prop.settle(rng)
    if rng.random() < 0.4:
        add_crumbs(bench, rng, touch_places(aims, swings))
    _surround(bench, rng, azimuth)
    return framed_scene(bench, rng, aims, swings, draw_views(rng, azimuth))


def _add_block(bench: Puppetry, rng: np.random.Generator, top_m: float, *, anvil: bool) -> None:
    """An anvil on its stump, or a work block; silent itself."""
    body = bench.fixed("block", ((0, 0, 0), about(UP, rng.uniform(0, 2 * math.pi))))
    look = str(rng.choice(("wood", "stone", "metal"), p=(0.6, 0.3, 0.1)))
    half = rng.uniform(0.08, 0.3)
    if not anvil:
        bench.geom(
            body,
            "box",
            size=[half, half * rng.uniform(0.6, 1.4), 0.5 * top_m],
            look=look,
            position=(0, 0, 0.5 * top_m),
        )
        return
    bench.geom(
        body,
        "cylinder",
        size=[0.18, 0.5 * top_m - 0.1],
        look="wood",
        position=(0, 0, 0.5 * top_m - 0.1),
    )
    bench.geom(body, "box", size=[0.1, 0.07, 0.02], look="metal", position=(0, 0, top_m - 0.18))
    bench.geom(body, "box", size=[0.06, 0.035, 0.05], look="metal", position=(0, 0, top_m - 0.11))
    bench.geom(body, "box", size=[0.14, 0.05, 0.035], look="metal", position=(0, 0, top_m - 0.035))
    bench.geom(
        body, "ellipsoid", size=[0.14, 0.04, 0.03], look="metal", position=(0.16, 0, top_m - 0.035)
    )


def _workpiece(bench: Puppetry, rng: np.random.Generator, place: Vec, turn_rad: float) -> Prop:
    """A metal bar on the anvil, its end in somebody's hand."""
    half = (0.22, rng.uniform(0.008, 0.025), rng.uniform(0.004, 0.012))
    sound = Body(
        name="thing0",
        material="metal",
        shape="bar",
        size_m=(2 * half[0], 2 * half[1], 2 * half[2]),
        damping=rng.uniform(1.0, 1.4),
    )
    base: Pose = (place, about(UP, turn_rad))
    prop = Prop(bench, "thing0", sound, base=base, half_m=half, light=rng.uniform(0.05, 0.3))
    bench.geom(prop.body, "box", size=half, look="metal", position=(0.12, 0, half[2]))
    prop.offer(1.0, patch((0, 0, 2 * half[2]), UP, (1.0, 0.0, 0.0), 0.04, 0.3 * half[1], half))
    return prop


def _pin(
    bench: Puppetry, rng: np.random.Generator, place: Vec, tall_m: float, thick: float
) -> Prop:
    """A nail, chisel or peg that stands upright and is driven in."""
    material = "metal" if rng.random() < 0.8 else "wood"
    head = thick * rng.uniform(1.5, 3.0)
    half = (head, head, 0.5 * tall_m)
    sound = Body(
        name="thing0",
        material=material,
        shape="bar",
        size_m=(tall_m, 2 * thick, 2 * thick),
        damping=rng.uniform(1.0, 1.5),
    )
    prop = Prop(bench, "thing0", sound, base=(place, (1, 0, 0, 0)), half_m=half, light=0.02)
    bench.geom(
        prop.body,
        "cylinder",
        size=[thick],
        look=material,
        span=((0, 0, -0.03), (0, 0, tall_m - 0.002)),
    )
    bench.geom(
        prop.body, "cylinder", size=[head, 0.001], look=material, position=(0, 0, tall_m - 0.001)
    )
    prop.offer(1.0, lambda rng: Spot(point=(0.0, 0.0, tall_m), normal=UP, position=(0, 0, 1)))
    return prop


def _chopping(rng: np.random.Generator, duration_s: float) -> Scene:
    """A knife that chops a long vegetable on a board, slice by slice."""
    bench = Puppetry("strike", duration_s)
    make_ground(bench, rng)
    top_m = rng.uniform(0.3, 0.9)
    make_table(bench, rng, "table", top_m)
    azimuth = rng.uniform(0, 2 * math.pi)
    back: Vec = (math.cos(azimuth), math.sin(azimuth), 0.0)
    across: Vec = (-back[1], back[0], 0.0)
    side = 1.0 if rng.random() < 0.5 else -1.0
    across = scale(across, side)
    material = str(rng.choice(("wood", "plastic", "stone"), p=(0.6, 0.25, 0.15)))
    half = (rng.uniform(0.12, 0.2), rng.uniform(0.1, 0.15), rng.uniform(0.006, 0.02))
    sound = Body(
        name="board",
        material=material,
        shape="plate",
        size_m=(2 * half[0], 2 * half[1], 2 * half[2]),
        damping=rng.uniform(1.0, 1.4),
    )
    turn = about(UP, math.atan2(across[1], across[0]))
    board = Prop(bench, "board", sound, base=((0, 0, top_m), turn), half_m=half)
    bench.geom(board.body, "box", size=half, look=material, position=(0, 0, half[2]))
    silent = draw_silent(rng, chance=0.35, most=0.3)
    manner = Manner(
        speed_mps=(0.8, 3.0),
        down_s=(0.07, 0.16),
        outcomes={"rest": 0.6, "bounce": 0.4, **silent},
        rebound=(0.03, 0.2),
        hover_m=rng.uniform(0.03, 0.09),
        roam=0.0,
        jitter_m=0.0,
    )
    pace = (1.6, 6.0) if rng.random() < 0.75 else None
    rhythm = draw_rhythm(rng, BEFORE_S + 0.6, duration_s + AFTER_S, pace_hz=pace)
    strokes = draw_strokes(rng, rhythm, manner)
    cuts = sum(not stroke.is_silent for stroke in strokes)
    step = min(rng.uniform(0.003, 0.02), 1.4 * half[0] / max(1, cuts))
    start = -0.8 * half[0] + 0.2 * rng.random() * half[0]
    rig = make_rig(bench, rng, "arm", tool="knife", armed=bool(rng.random() < 0.95))
    aims, done = [], 0
    for stroke in strokes:
        where = start + step * done
        spot = Spot(point=(where, 0.0, 2 * half[2]), normal=UP, position=(where / half[0], 0, 1))
        aims.append(Aim(prop=board, spot=spot, back=back, slide=(0.0, 0.0, 0.0)))
        done += not stroke.is_silent
    swings = perform(bench, rng, rig, strokes, aims, hover_m=manner.hover_m, highest_m=0.25)
    board.settle(rng)
    moments = [swing.touches[0][0] for swing in swings if swing.touches]
    radius = rng.uniform(0.012, 0.035)
    rest = board.base
    _add_vegetable(
        bench, rng, (add(rest[0], (0, 0, 2 * half[2])), rest[1]), start, step, moments, radius
    )
    outward = add(scale(across, 0.7), scale(back, 0.6))
    if rng.random() < 0.85:
        end = start + step * (cuts + 1) + 0.05
        holder = add(add(rest[0], scale(across, end)), (0, 0, 2 * half[2] + radius))
        add_resting_hand(bench, rng, "helper", holder, outward, sway_m=0.004)
    _surround(bench, rng, azimuth)
    middle = math.degrees(math.atan2(outward[1] + back[1], outward[0] + back[0]))
    return framed_scene(bench, rng, aims, swings, (middle - 110.0, middle + 110.0))


def _add_vegetable(
    bench: Puppetry,
    rng: np.random.Generator,
    top: Pose,
    start: float,
    step: float,
    moments: list[float],
    radius: float,
) -> None:
    """Slices between the cuts; each moves aside when the knife has cut it off."""
    look = str(rng.choice(("leaf", "plastic", "wood", "rubber", "ceramic")))
    shape = "box" if rng.random() < 0.15 else "cylinder"
    count = min(len(moments), 24)
    whole = step * (len(moments) - count) + 0.09
    names = []
    for index in range(count + 1):
        name = f"slice{index}"
        body = bench.driven(name)
        thick = step if index < count else whole
        size = [radius * rng.uniform(0.93, 1.0), 0.48 * thick]
        if shape == "box":
            size = [size[0], size[0], size[1]]
        bench.geom(body, shape, size=size, look=look)
        names.append(name)
    along = multiply(top[1], about((0.0, 1.0, 0.0), 0.5 * math.pi))
    gone = -rng.uniform(0.3, 1.2) * radius
    leans = rng.uniform(0.1, 1.0, count)
    asides = rng.normal(0.0, 0.4 * radius, count)
    origin = top[0]

    def motion(time_s: float) -> list[Pose]:
        poses: list[Pose] = []
        for index in range(count + 1):
            middle = (
                start + step * (index - 0.5)
                if index < count
                else (start + step * (count - 1) + 0.5 * whole)
            )
            x, y, z, turn = middle, 0.0, radius, along
            if index < count and time_s > moments[index]:
                share = 1.0 - math.exp(-(time_s - moments[index]) / 0.06)
                lean = float(leans[index]) * share
                x += gone * share - 0.3 * radius * share * (count - index) / count
                y = float(asides[index]) * share
                z = radius * (1.0 - 0.25 * float(leans[index]) * share)
                turn = multiply(top[1], about((0.0, 1.0, 0.0), 0.5 * math.pi - lean))
            poses.append((add(origin, rotate(top[1], (x, y, z))), turn))
        return poses

    bench.drive(tuple(names), motion)


def _arrange(
    bench: Puppetry, rng: np.random.Generator, base: Vec, most: float, main: str, azimuth: float
) -> list[Prop]:
    """One to four things around the middle, none where the arm comes from."""
    props: list[Prop] = []
    for index in range(int(rng.choice((1, 2, 3, 4), p=(0.45, 0.25, 0.18, 0.12)))):
        place = base
        size = most * (1.0 if index == 0 else rng.uniform(0.3, 1.0))
        if index:
            turn = azimuth + math.pi + rng.uniform(-2.0, 2.0)
            far = 0.75 * (most + size) * rng.uniform(0.9, 1.3)
            place = add(base, (far * math.cos(turn), far * math.sin(turn), 0.0))
            if any(math.dist(place, p.base[0]) < 0.6 * (size + 2 * p.radius_m) for p in props):
                continue
        props.append(
            make_prop(
                bench,
                rng,
                f"thing{index}",
                place=place,
                most_m=size,
                material=main_or_other(rng, main),
            )
        )
    return props


def _surround(bench: Puppetry, rng: np.random.Generator, azimuth_rad: float) -> None:
    """Silent company: the striking person's body, bystanders."""
    if rng.random() < 0.25 and azimuth_rad >= 0.0:
        far = rng.uniform(0.75, 1.0)
        place = (far * math.cos(azimuth_rad), far * math.sin(azimuth_rad), 0.0)
        add_person(bench, rng, "striker", place, sway_m=rng.uniform(0.005, 0.03))
    if rng.random() < 0.3:
        add_bystanders(bench, rng, away_m=1.2, beyond_rad=azimuth_rad)
