"""A tool that follows the hand: the spring in closed form, contacts, and what strokes become."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from foleyflow.simulation.motion.held_tool import (
    STEP_S,
    HeldTool,
    SampledLift,
    _simulate,
    follow_hand,
)
from foleyflow.simulation.motion.trajectories import Stroke, plan_swings

FIRM = HeldTool(grip_hz=15.0, grip_damping=0.9, restitution=0.3, press_m=0.004, wander_m=0.0005)
LOOSE = HeldTool(grip_hz=4.0, grip_damping=0.3, restitution=0.7, press_m=0.004, wander_m=0.0005)
START_S, END_S = -1.6, 4.0


def follow(tool: HeldTool, strokes: list[Stroke], seed: int = 0):
    rng = np.random.default_rng(seed)
    plan, swings = plan_swings(rng, strokes, start_s=START_S, end_s=END_S, hover_m=0.1)
    return follow_hand(
        rng,
        tool,
        plan,
        strokes,
        swings,
        moves=[False] * len(strokes),
        start_s=START_S,
        end_s=END_S,
    )


def test_without_contact_the_tool_follows_as_the_transfer_function_of_its_spring_says():
    tool = HeldTool(grip_hz=5.0, grip_damping=0.2, restitution=0.5, press_m=0.0, wander_m=0.0)
    times_s = STEP_S * np.arange(8000)
    hand_rate, own_rate = 2 * math.pi * 4.0, 2 * math.pi * tool.grip_hz
    lifts, touches = _simulate(tool, 1.0 + 0.1 * np.sin(hand_rate * times_s), 0.0)
    drag = 2j * tool.grip_damping * own_rate * hand_rate
    response = (own_rate**2 + drag) / (own_rate**2 - hand_rate**2 + drag)
    expected = 1.0 + 0.1 * abs(response) * np.sin(hand_rate * times_s + np.angle(response))
    assert not touches
    assert abs(response) > 1.5  # it whips
    settled = times_s > 2.0
    np.testing.assert_allclose(lifts[settled], expected[settled], atol=0.004)


def test_contacts_reverse_the_rate_and_reduce_it_by_the_restitution():
    goals = np.concatenate([np.linspace(0.3, -0.3, 600), np.full(400, 0.2)])
    lifts, touches = _simulate(LOOSE, goals, 0.0)
    assert lifts.min() == 0.0
    time_s, closing_mps = touches[0]
    index = math.ceil(time_s / STEP_S)
    before = (lifts[index - 1] - lifts[index - 2]) / STEP_S
    after = (lifts[index + 1] - lifts[index]) / STEP_S
    assert -before == pytest.approx(closing_mps, rel=0.05)
    assert after == pytest.approx(LOOSE.restitution * closing_mps, rel=0.1)


def test_a_firm_hand_hits_where_it_intends_and_a_loose_one_bounces():
    strokes = [
        Stroke(hit_s=time_s, speed_mps=3.0, outcome="rest", dwell_s=0.4)
        for time_s in (0.0, 1.2, 2.4)
    ]
    _, firm = follow(FIRM, strokes)
    _, loose = follow(LOOSE, strokes)
    for stroke, swing in zip(strokes, firm, strict=True):
        time_s, closing_mps = swing.touches[0]
        assert time_s == pytest.approx(stroke.hit_s, abs=0.03)
        assert closing_mps == pytest.approx(3.0, rel=0.35)
    assert sum(len(swing.touches) for swing in loose) > sum(len(swing.touches) for swing in firm)
    for swing in loose:  # later touches are weaker
        speeds = [speed for _, speed in swing.touches]
        assert max(speeds) == speeds[0]


def test_misses_of_a_firm_hand_make_no_contact():
    strokes = [Stroke(hit_s=float(k), speed_mps=2.0, outcome="miss", miss_m=0.05) for k in range(3)]
    lift, swings = follow(FIRM, strokes)
    assert all(not swing.touches for swing in swings)
    assert min(lift.at(time_s) for time_s in np.arange(-0.2, 2.2, 0.002)) > 0.01


def test_the_tool_is_on_the_surface_at_every_touch_and_swings_own_theirs():
    strokes = [
        Stroke(hit_s=0.3 * k, speed_mps=2.0, outcome="double" if k % 2 else "bounce")
        for k in range(10)
    ]
    lift, swings = follow(LOOSE, strokes, seed=3)
    touches = [touch for swing in swings for touch in swing.touches]
    assert len(touches) >= 5
    assert [time_s for time_s, _ in touches] == sorted(time_s for time_s, _ in touches)
    for time_s, closing_mps in touches:
        assert lift.at(time_s) < closing_mps * STEP_S
    for swing, following in pairwise(swings):
        assert swing.end_s <= following.top_s


def test_a_sampled_lift_is_interpolated_and_constant_outside():
    lift = SampledLift(1.0, np.array([0.0, 1.0, 3.0]))
    assert lift.at(1.0 + 0.5 * STEP_S) == pytest.approx(0.5)
    assert lift.at(1.0 + 1.25 * STEP_S) == pytest.approx(1.5)
    assert lift.at(0.0) == 0.0
    assert lift.at(9.0) == 3.0
