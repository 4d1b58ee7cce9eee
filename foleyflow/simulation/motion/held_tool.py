"""A tool in a hand as a mass on a spring: it follows the hand, whips, bounces and comes to rest.

A planned lift is only what the hand intends. The tool follows it through the grip, and what happens
at the surface follows from mechanics: rebounds that depend on the grip, second and third touches,
gentle landings, tools that rest on a surface and turns just above it. Recordings of people who
strike things are full of these, and most of them make no sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.motion.trajectories import Lift, SmoothNoise, Stroke, Swing

HELD_FRACTION = 0.65  # of the scenes with strokes whose tools follow the hand by mechanics
STEP_S = 0.0005
LEAST_TOUCH_MPS = 0.05  # slower contacts end the bouncing
LEAST_GAP_S = 0.008  # between two touches
TRANSIT_M = 0.03  # least intended lift while the hand moves to another place
CLEAR_M = 0.004  # lift at which a tool has left the surface


@dataclass(frozen=True, kw_only=True)
class HeldTool:
    """How a hand holds a tool in one clip.

    Attributes:
        grip_hz: natural frequency of the tool in the grip; loose grips are slow.
        grip_damping: damping ratio of the grip.
        restitution: speed after a contact divided by the speed before it, without the grip.
        press_m: how far below the surface the hand intends to go in a hit.
        wander_m: size of unintended slow motion along the lift.
    """

    grip_hz: float
    grip_damping: float
    restitution: float
    press_m: float
    wander_m: float


class SampledLift:
    """A lift given at equal steps, with linear interpolation; constant outside."""

    def __init__(self, start_s: float, lifts_m: NDArray[np.float64]) -> None:
        self._start_s = start_s
        self._lifts_m = lifts_m

    def at(self, time_s: float) -> float:
        """Return the lift at any time, metres."""
        place = (time_s - self._start_s) / STEP_S
        index = min(max(int(place), 0), len(self._lifts_m) - 2)
        fraction = min(max(place - index, 0.0), 1.0)
        before, after = self._lifts_m[index], self._lifts_m[index + 1]
        return float(before + fraction * (after - before))


def sample_held_tool(
    rng: np.random.Generator, *, restitution: tuple[float, float]
) -> HeldTool | None:
    """Sample a grip from loose (the tool bounces by itself) to firm, or None for no mechanics."""
    if rng.random() >= HELD_FRACTION:
        return None
    return HeldTool(
        grip_hz=3.0 * 6.0 ** rng.random(),
        grip_damping=rng.uniform(0.25, 0.9),
        restitution=rng.uniform(*restitution),
        press_m=0.002 * 10.0 ** rng.random(),
        wander_m=0.001 * 12.0 ** rng.random(),
    )


def follow_hand(
    rng: np.random.Generator,
    tool: HeldTool,
    intended: Lift,
    strokes: list[Stroke],
    swings: list[Swing],
    *,
    moves: list[bool],
    start_s: float,
    end_s: float,
) -> tuple[SampledLift, list[Swing]]:
    """Let a tool follow an intended lift.

    Args:
        intended: of `plan_swings`, with its `strokes` and `swings`.
        moves: whether the hand goes to another place before each stroke. Meanwhile it is lifted.
        start_s, end_s: of the motion.

    Returns:
        The tool's lift, and the swings with the touches and ends that the mechanics gave them.
    """
    count = math.ceil((end_s - start_s) / STEP_S) + 1
    times_s = start_s + STEP_S * np.arange(count, dtype=np.float64)
    goals = _goals(rng, tool, intended, strokes, swings, moves, times_s)
    lifts, touches = _simulate(tool, goals, start_s)
    return SampledLift(start_s, lifts), _swings(swings, touches, lifts, start_s)


def _goals(
    rng: np.random.Generator,
    tool: HeldTool,
    intended: Lift,
    strokes: list[Stroke],
    swings: list[Swing],
    moves: list[bool],
    times_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The lift that the hand intends at each time, below 0 where it presses."""
    goals = np.array([intended.at(float(time_s)) for time_s in times_s])
    # Unintended motion; smaller than the lift where a turn above the surface is intended
    wander = SmoothNoise(rng, tool.wander_m, low_hz=0.4, high_hz=4.0)
    offsets = np.array([wander.at(float(time_s))[2] for time_s in times_s[::20]])
    goals += np.interp(times_s, times_s[::20], offsets)
    for index, (stroke, swing) in enumerate(zip(strokes, swings, strict=True)):
        # Press during the contact: from shortly before it until the end of the dwell
        depth_m = tool.press_m * rng.uniform(0.3, 1.5)
        if stroke.outcome == "scrape":
            depth_m += 0.01
        if stroke.outcome != "miss":
            until_s = max(swing.end_s, stroke.hit_s + rng.uniform(0.01, 0.08))
            goals -= depth_m * _plateau(times_s, stroke.hit_s - 0.02, until_s, fade_s=0.02)
        # Lifted on the way to another place
        if moves[index] and index:
            begin_s, end_s = swings[index - 1].end_s + 0.12, swing.top_s
            on_the_way = (times_s > begin_s) & (times_s < end_s)
            goals[on_the_way] = np.maximum(goals[on_the_way], TRANSIT_M)
    return goals


def _plateau(
    times_s: NDArray[np.float64], begin_s: float, end_s: float, *, fade_s: float
) -> NDArray[np.float64]:
    """1 between two times, with linear slopes outside."""
    return np.clip(np.minimum(times_s - begin_s, end_s - times_s) / fade_s + 1.0, 0.0, 1.0)


def _simulate(
    tool: HeldTool, goals: NDArray[np.float64], start_s: float
) -> tuple[NDArray[np.float64], list[tuple[float, float]]]:
    """The tool's lifts, and the (time, closing speed) of its touches.

    A damped spring pulls the tool to the intended lift, integrated by the semi-implicit Euler
    method. At a lift of 0 the rate is reversed and multiplied by the restitution.
    """
    rate = 2.0 * math.pi * tool.grip_hz
    stiffness, damping = rate * rate, 2.0 * tool.grip_damping * rate
    goal_rates = np.gradient(goals, STEP_S)
    lift, speed = max(float(goals[0]), 0.0), 0.0
    lifts = np.empty(len(goals))
    touches: list[tuple[float, float]] = []
    last_s = -math.inf
    for index, (goal, goal_rate) in enumerate(
        zip(goals.tolist(), goal_rates.tolist(), strict=True)
    ):
        speed += STEP_S * (stiffness * (goal - lift) + damping * (goal_rate - speed))
        before = lift
        lift += STEP_S * speed
        if lift < 0.0:
            closing_mps = -speed
            lift = 0.0
            if closing_mps < LEAST_TOUCH_MPS:
                speed = 0.0
            else:
                time_s = start_s + STEP_S * (index - 1 + before / (STEP_S * closing_mps))
                if before > 0.0 and time_s - last_s > LEAST_GAP_S:
                    touches.append((time_s, closing_mps))
                    last_s = time_s
                speed = tool.restitution * closing_mps
        lifts[index] = lift
    return lifts, touches


def _swings(
    swings: list[Swing],
    touches: list[tuple[float, float]],
    lifts: NDArray[np.float64],
    start_s: float,
) -> list[Swing]:
    """The swings with the touches between the tops of their strokes and the next ones."""
    result = []
    for index, swing in enumerate(swings):
        begin_s = swing.top_s if index else -math.inf
        next_top_s = swings[index + 1].top_s if index + 1 < len(swings) else math.inf
        own = tuple(touch for touch in touches if begin_s <= touch[0] < next_top_s)
        # The end is the last time before the next stroke at which the tool is close to the surface
        first = max(0, round((swing.end_s - start_s) / STEP_S))
        last = len(lifts) if math.isinf(next_top_s) else round((next_top_s - start_s) / STEP_S)
        close = np.flatnonzero(lifts[first:last] < CLEAR_M)
        end_s = start_s + STEP_S * (first + int(close[-1])) if len(close) else swing.end_s
        result.append(Swing(top_s=swing.top_s, height_m=swing.height_m, end_s=end_s, touches=own))
    return result
