"""Windows cover a clip exactly once."""

from __future__ import annotations

import pytest

from foleyflow.inference.windows import WindowPlan

PLAN = WindowPlan(length=12, context=3, ahead=2)


@pytest.mark.parametrize("plan", [WindowPlan(), PLAN, WindowPlan(length=7, context=1, ahead=0)])
def test_kept_segments_cover_every_clip_exactly_once(plan):
    for segments in range(1, 200):
        covered, kept_before = 0, None
        for start, length, kept in plan.cut(segments):
            assert 0 < kept <= length <= plan.length
            assert start + length <= segments
            if kept_before is not None:
                # The window begins with the last segments that the previous one kept.
                assert start + plan.context == covered
            assert start + kept > covered
            covered = kept_before = start + kept
        assert covered == segments


def test_only_the_last_window_keeps_its_end():
    cuts = list(WindowPlan().cut(100))
    assert cuts == [(0, 40, 35), (32, 40, 35), (64, 36, 36)]
    assert list(WindowPlan().cut(40)) == [(0, 40, 40)]


def test_at_least_half_of_a_short_window_is_new():
    assert WindowPlan.of_length(40) == WindowPlan()
    for length in range(1, 64):
        plan = WindowPlan.of_length(length)
        assert plan.length == length and 2 * plan.hop >= length
        assert plan.context <= 3 and plan.ahead <= 5
