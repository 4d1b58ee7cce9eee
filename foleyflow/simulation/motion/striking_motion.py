"""Striking, shared by the families that strike: from a rhythm to an arm's motion and contacts.

The families (`strikes`, `drums`, `knocks`) choose the tools and the props.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from foleyflow.simulation.contacts import Friction, Impact
from foleyflow.simulation.motion.held_tool import HeldTool, SampledLift, follow_hand
from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.props import Prop, SurfacePoint, contact_frame
from foleyflow.simulation.motion.rotations import (
    ORIGIN,
    Pose,
    Vec,
    add,
    as_vec,
    rotate,
    scale,
    smooth_step,
    transform,
)
from foleyflow.simulation.motion.strikers import Striker, arm_motion
from foleyflow.simulation.motion.trajectories import (
    LEAD_OUT_S,
    MOTION_START_S,
    FramePath,
    Lift,
    SmoothNoise,
    Stroke,
    Swing,
    plan_swings,
)
from foleyflow.simulation.scene import Scene

SAME_PLACE_M = 0.05
CLOSE_FRACTION = 0.12  # of the other scenes, seen from so near that the tool leaves the picture
DISTANT_FRACTION = 0.2  # of the scenes, seen from up to three times as far


@dataclass(frozen=True, kw_only=True)
class StrokeStyle:
    """How an arm strikes in one clip; sampled once per clip and varied per hit.

    Attributes:
        speed_mps: (low, high) closing speed.
        down_s: (low, high) duration of the downswing.
        outcomes: relative weights of the outcomes of `Stroke`.
        rebound: (low, high) speed after the contact divided by the speed before it.
        hover_m: lift between hits.
        move_probability: probability to move to another point or prop after a pause.
        jitter_m: standard deviation of the hits around one point.
        soft_fraction: fraction of the strokes that are slow and quiet.
    """

    speed_mps: tuple[float, float] = (0.8, 5.0)
    down_s: tuple[float, float] = (0.08, 0.3)
    outcomes: dict[str, float] = field(
        default_factory=lambda: {"bounce": 0.62, "rest": 0.16, "double": 0.08, "scrape": 0.14}
    )
    rebound: tuple[float, float] = (0.1, 0.7)
    hover_m: float = 0.1
    move_probability: float = 0.3
    jitter_m: float = 0.01
    soft_fraction: float = 0.0


def sample_strokes(
    rng: np.random.Generator, rhythm: list[tuple[float, float]], style: StrokeStyle
) -> list[Stroke]:
    """Sample strokes for the (time, accent) pairs of a rhythm.

    Hits too close to the end of the previous stroke are left out.
    """
    low, high = style.speed_mps
    usual_mps = low * (0.8 * high / low) ** rng.random()
    power, down_s = rng.uniform(1.8, 3.4), rng.uniform(*style.down_s)
    rebound = rng.uniform(*style.rebound)
    weights = np.array(list(style.outcomes.values()))
    strokes: list[Stroke] = []
    free_s = -math.inf
    for index, (time_s, accent) in enumerate(rhythm):
        if time_s < free_s:
            continue
        next_s = rhythm[index + 1][0] if index + 1 < len(rhythm) else time_s + 2.0
        # Outcome, and the time that it keeps the tip on the surface
        outcome = str(rng.choice(list(style.outcomes), p=weights / weights.sum()))
        dwell_s = landing_s = 0.0
        if outcome == "touch" or (outcome == "scrape" and rng.random() < 0.5):
            landing_s = rng.uniform(0.25, 1.0)
        if outcome == "scrape":
            dwell_s = rng.uniform(0.2, 1.5) if rng.random() < 0.5 else rng.uniform(0.15, 0.5)
        elif outcome in ("rest", "touch"):
            max_dwell_s = max(0.06, min(next_s - time_s - 0.25, 1.5))
            dwell_s = rng.uniform(0.03, max_dwell_s) if rng.random() < 0.5 else 0.04
        elif outcome == "double" and next_s - time_s < 0.4:
            outcome = "bounce"
        # Speed; soft strokes are slower and take longer
        speed = float(np.clip(usual_mps * accent * rng.uniform(0.75, 1.3), low * 0.7, high))
        slowdown = 1.0
        if rng.random() < style.soft_fraction:
            slowdown = 10.0 ** rng.uniform(0.2, 1.0)
        strokes.append(
            Stroke(
                hit_s=time_s,
                speed_mps=speed / slowdown,
                outcome=outcome,
                rebound=float(np.clip(rebound * rng.uniform(0.7, 1.3), 0.05, 0.8)),
                dwell_s=dwell_s,
                power=float(np.clip(power * rng.uniform(0.9, 1.1), 1.8, 4.0)),
                down_s=down_s * rng.uniform(0.8, 1.25) * math.sqrt(slowdown),
                miss_m=0.006 * 25.0 ** rng.random(),
                landing_s=landing_s,
            )
        )
        free_s = time_s + dwell_s + 0.12
    return strokes


def sample_silent_outcomes(
    rng: np.random.Generator, *, probability: float, max_weight: float
) -> dict[str, float]:
    """Sample weights of the silent outcomes: strokes that stop short, strokes that land gently.

    Args:
        probability: that each of the two kinds occurs.
        max_weight: upper limit of each weight.
    """
    return {
        outcome: rng.uniform(0.1, max_weight)
        for outcome in ("miss", "touch")
        if rng.random() < probability
    }


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where one stroke goes.

    Attributes:
        prop: the struck prop.
        point: a point of its surface.
        hand_direction: from the point towards the hand, world.
        slide: how far the hit moves the prop (world); None samples it.
    """

    prop: Prop
    point: SurfacePoint
    hand_direction: Vec
    slide: Vec | None = None

    def frame(self) -> Pose:
        """Return the frame of the contact while the prop is at rest."""
        return contact_frame(self.prop, self.point, self.hand_direction)


def drive_strokes(
    world: KinematicWorld,
    striker: Striker,
    strokes: list[Stroke],
    targets: list[Target],
    *,
    hover_m: float,
    can_slide: bool = True,
    max_height_m: float = 0.6,
    held: HeldTool | None = None,
) -> list[Swing]:
    """Drive a striker through strokes at targets and record the contacts.

    Args:
        world: receives the motion, impacts and frictions.
        strokes: at least one, in the order of time.
        targets: one per stroke.
        hover_m: lift between hits.
        can_slide: whether a hit may push a light prop a little.
        max_height_m: upper limit of a wind-up.
        held: how the hand holds the tool, which then follows the plan by mechanics; None for
            motion exactly as planned.

    Returns:
        The swings. The caller plans the responses of the props when all arms are driven.
    """
    if not strokes:
        raise ValueError("drive_strokes: got no strokes, expected at least one")
    rng, end_s = world.rng, world.duration_s + LEAD_OUT_S
    intended, swings = plan_swings(
        rng,
        strokes,
        start_s=MOTION_START_S,
        end_s=end_s,
        hover_m=hover_m,
        max_height_m=max_height_m,
    )
    lift: Lift | SampledLift = intended
    if held is not None:
        lift, swings = follow_hand(
            rng,
            held,
            intended,
            strokes,
            swings,
            moves=_moves(targets),
            start_s=MOTION_START_S,
            end_s=end_s,
        )
    # The path of the contact frame from target to target, and the contacts on it
    path = FramePath()
    shoulder = transform(targets[0].frame(), striker.shoulder)
    previous_z: float | None = None
    for stroke, swing, target in zip(strokes, swings, targets, strict=True):
        frame = target.frame()
        offset = None
        if stroke.outcome == "scrape":
            offset = _add_scrape(world, striker, target, stroke.hit_s, swing.end_s)
        z = frame[0][2]
        rise_m = abs(z - previous_z) if previous_z is not None else 0.0
        arrival_s = swing.top_s + 0.3 * (stroke.hit_s - swing.top_s)
        path.stop(arrival_s, swing.end_s, frame, offset=offset, hop_m=0.5 * rise_m)
        is_firm = held is not None or stroke.outcome in ("bounce", "settle", "double")
        _add_touches(world, striker, stroke, swing, target, can_slide, is_firm)
        previous_z = z
    # The motion of the arm
    tremor = SmoothNoise(rng, 0.002 * 12.0 ** rng.random())
    wrist_flex = SmoothNoise(rng, 0.01 * 20.0 ** rng.random(), low_hz=0.3, high_hz=2.5)
    motion = arm_motion(striker, lift, path, tremor, shoulder, wrist_flex)
    world.drive(striker.body_names, motion)
    return swings


def _moves(targets: list[Target]) -> list[bool]:
    """Whether each target is at another place than the one before it."""
    places = [target.frame()[0] for target in targets]
    return [False, *(math.dist(a, b) > SAME_PLACE_M for a, b in pairwise(places))]


def _add_touches(
    world: KinematicWorld,
    striker: Striker,
    stroke: Stroke,
    swing: Swing,
    target: Target,
    can_slide: bool,
    is_firm: bool,
) -> None:
    """Add the impacts of one swing to the world and to the prop; firm ones move the prop."""
    rng, prop, point = world.rng, target.prop, target.point
    for order, (time_s, speed) in enumerate(swing.touches):
        # How far the prop slides
        slide: Vec = ORIGIN
        if target.slide is not None:
            slide = target.slide if order == len(swing.touches) - 1 else slide
        elif (
            can_slide and stroke.outcome == "bounce" and prop.lightness > 0.3 and rng.random() < 0.3
        ):
            push = scale(rotate(prop.base[1], point.normal), -1.0)
            distance_m = prop.lightness * min(speed, 3.0) * rng.uniform(0.0, 0.012)
            x, y = rng.normal(0.0, 0.4, 2) * distance_m
            slide = (push[0] * distance_m + float(x), push[1] * distance_m + float(y), 0.0)
        # Response of the prop, and the impact
        strength = min(1.5, speed * striker.mass_kg / 0.15) if is_firm else 0.0
        prop.add_hit(time_s, point, strength if order == 0 else 0.4 * strength, slide)
        world.impacts.append(
            Impact(
                time_s=time_s,
                body=prop.name,
                other=striker.body.name,
                impulse_ns=speed * striker.mass_kg * (1.0 + (stroke.rebound if is_firm else 0.0)),
                speed_mps=speed,
                position=point.position,
            )
        )


def _add_scrape(
    world: KinematicWorld, striker: Striker, target: Target, start_s: float, end_s: float
) -> Callable[[float], Vec] | None:
    """Add the friction of a tip that moves along the surface and return its offset over time."""
    rng = world.rng
    room_m, span_s = min(target.point.room_m, 0.3), end_s - start_s
    if room_m < 0.02 or span_s < 0.08:
        return None
    along = rotate(target.prop.base[1], target.point.along)
    distance_m = room_m * rng.uniform(0.5, 1.0) * (1.0 if rng.random() < 0.5 else -1.0)
    strokes = 1 if rng.random() < 0.5 else 2 * max(1, round(span_s * rng.uniform(0.8, 3.0)))

    def offset_m(time_s: float) -> float:
        x = min(1.0, max(0.0, (time_s - start_s) / span_s))
        if strokes == 1:
            return smooth_step(x, distance_m)
        fade = min(1.0, 6 * x, 6 * (1 - x)) ** 2
        return distance_m * 0.5 * (1.0 - math.cos(math.pi * strokes * x)) * fade

    times_s = np.arange(start_s, end_s, 0.005)
    if len(times_s) >= 3:
        add_scrape_friction(
            world, target.prop.name, striker.body.name, times_s, offset_m, rng.uniform(0.5, 6.0)
        )
    return lambda time_s: scale(along, offset_m(time_s))


def add_scrape_friction(
    world: KinematicWorld,
    body: str,
    other: str,
    times_s: np.ndarray,
    offset_m: Callable[[float], float],
    force_n: float,
) -> None:
    """Add the friction of a scrape along a path at a constant force."""
    offsets = np.array([offset_m(float(time_s)) for time_s in times_s])
    world.frictions.append(
        Friction(
            body=body,
            other=other,
            kind="scrape",
            times_s=times_s,
            speed_mps=np.abs(np.gradient(offsets, times_s)),
            force_n=np.full(len(times_s), force_n),
        )
    )


def sample_targets(
    rng: np.random.Generator,
    strokes: list[Stroke],
    props: list[Prop],
    *,
    hand_direction: Vec,
    style: StrokeStyle,
    top_only: bool = False,
) -> list[Target]:
    """Sample the targets of strokes: mostly one point of the first prop, sometimes another one."""
    prop = props[0]
    point = _sample_reachable_point(rng, prop, hand_direction, top_only)
    targets: list[Target] = []
    previous_s = -math.inf
    for stroke in strokes:
        is_pause = stroke.hit_s - previous_s > 0.35
        if is_pause and rng.random() < style.move_probability and targets:
            if rng.random() < 0.4:
                prop = props[int(rng.integers(len(props)))]
            point = _sample_reachable_point(rng, prop, hand_direction, top_only)
        direction = hand_direction
        if abs(point.normal[2]) < 0.5:
            normal = rotate(prop.base[1], point.normal)
            outwards = (0.25 * normal[0], 0.25 * normal[1], 1.0)
            direction = add(outwards, scale(hand_direction, 0.6))
        nearby = _sample_nearby_point(rng, point, style.jitter_m)
        targets.append(Target(prop=prop, point=nearby, hand_direction=direction))
        previous_s = stroke.hit_s
    return targets


def _sample_reachable_point(
    rng: np.random.Generator, prop: Prop, hand_direction: Vec, top_only: bool
) -> SurfacePoint:
    """Sample a point that faces up, or to the side that the arm comes from."""
    for _ in range(12):
        point = prop.sample_point(rng)
        x, y, z = rotate(prop.base[1], point.normal)
        if z > 0.4 or (not top_only and x * hand_direction[0] + y * hand_direction[1] > -0.2):
            return point
    return prop.surfaces[0][1](rng)


def _sample_nearby_point(
    rng: np.random.Generator, point: SurfacePoint, spread_m: float
) -> SurfacePoint:
    """Sample a point close to another one on the same flat or straight surface."""
    reach_m = min(spread_m, 0.5 * point.room_m)
    if reach_m <= 0.0:
        return point
    step_m = float(np.clip(rng.normal(0.0, reach_m), -2 * reach_m, 2 * reach_m))
    return shifted_along(point, step_m)


def shifted_along(point: SurfacePoint, step_m: float) -> SurfacePoint:
    """Return the point at a distance along the surface."""
    return replace(
        point,
        point=add(point.point, scale(point.along, step_m)),
        room_m=point.room_m - abs(step_m),
    )


def sample_camera_azimuths(rng: np.random.Generator, azimuth_rad: float) -> tuple[float, float]:
    """Sample camera azimuths (low, high) that do not look through the arm's owner."""
    if rng.random() < 0.15:
        return (0.0, 360.0)
    center = math.degrees(azimuth_rad)
    return (center - 125.0, center + 125.0)


def build_framed_scene(
    world: KinematicWorld,
    targets: list[Target],
    swings: list[Swing],
    azimuth_deg: tuple[float, float],
    *,
    zoom: float = 1.0,
) -> Scene:
    """Build the scene with a frame that contains the contacts and swings."""
    points = np.array([transform(t.prop.base, t.point.point) for t in targets])
    center = np.median(points, axis=0)
    spread = float(np.quantile(np.linalg.norm(points - center, axis=1), 0.9))
    height = float(np.mean([swing.height_m for swing in swings]))
    size = min(0.3, targets[0].prop.radius_m)
    margin = world.rng.uniform(0.85, 1.4)
    largest_m = 0.85
    if world.rng.random() < DISTANT_FRACTION:
        margin *= 3.0 ** world.rng.random()
        largest_m = 2.0
    elif world.rng.random() < CLOSE_FRACTION:
        margin *= world.rng.uniform(0.45, 0.8)
    extent = max(0.12, 1.1 * (spread + 0.6 * height + 0.5 * size) * margin / zoom + 0.06)
    return world.build_scene(
        focus_m=add(as_vec(center), (0.0, 0.0, 0.25 * height)),
        extent_m=float(min(extent, largest_m)),
        azimuth_deg=azimuth_deg,
        elevation_deg=(-55.0, -6.0),
    )
