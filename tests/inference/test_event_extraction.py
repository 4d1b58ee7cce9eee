"""Events are found once over all windows, and measured in the generated sound."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.event_peaks import event_track
from foleyflow.inference.event_extraction import EVENT_THRESHOLD, EventTracker, audible_events
from foleyflow.inference.windows import WindowPlan

PLAN = WindowPlan(length=12, context=3, ahead=2)


def over_windows(times_s: np.ndarray, *, segments: int, plan: WindowPlan = PLAN):
    """Settled events, if the onset probability of each window shows the given events."""
    events, settled, tracks = EventTracker(50.0), [], []
    end_s = 0.0
    for start, length, kept in plan.cut(segments):
        start_s = start * 0.08
        probability = event_track(times_s - start_s, length * 4, 50.0)
        tracks.append(events.track(probability, start_s=start_s, context_end_s=end_s))
        end_s = (start + kept) * 0.08
        settled += events.settle(end_s)
    return settled, tracks


def test_each_event_is_found_in_exactly_one_window():
    random = np.random.default_rng(0)
    for _ in range(20):
        times_s = np.cumsum(random.uniform(0.08, 0.4, 12))
        settled, _ = over_windows(times_s[times_s < 3.9], segments=50)
        np.testing.assert_allclose(settled, times_s[times_s < 3.9], atol=0.0151)


def test_settled_events_are_in_the_next_track_and_not_found_again():
    events = EventTracker(50.0)
    first = event_track(np.array([0.51, 0.75]), 48, 50.0)
    np.testing.assert_array_equal(
        events.track(first, start_s=0.0, context_end_s=0.0) == 1.0, first == 1
    )
    assert events.settle(0.8) == pytest.approx((0.51, 0.75), abs=0.011)
    # The next window contains a new hit, and the onset probability of the settled ones is 0.
    track = events.track(
        event_track(np.array([0.81 - 0.4]), 48, 50.0), start_s=0.4, context_end_s=0.8
    )
    assert events.settle(1.2) == pytest.approx((0.81,), abs=0.011)
    expected = event_track(np.array([0.11, 0.35, 0.41]), 48, 50.0)
    np.testing.assert_array_equal(track == 1.0, expected == 1.0)
    events = EventTracker(50.0)
    events.track(first, start_s=0.0, context_end_s=0.0)
    events.settle(0.76)
    events.track(event_track(np.array([0.77 - 0.4]), 48, 50.0), start_s=0.4, context_end_s=0.76)
    assert events.settle(1.2) == ()  # 20 ms after a settled event


def test_peaks_below_the_threshold_are_no_events():
    events = EventTracker(50.0)
    below = 0.99 * EVENT_THRESHOLD * event_track(np.array([0.5]), 48, 50.0)
    assert events.track(below, start_s=0.0, context_end_s=0.0).max() == 0.0
    assert events.settle(9.0) == ()


def events_of(times_s, levels, duration_s=2.0):
    return audible_events(times_s, levels, rate_hz=50.0, duration_s=duration_s)


def test_strength_is_the_peak_level_just_after_the_event():
    levels = np.full(60, 1e-3, np.float32)
    levels[7], levels[27], levels[49] = 0.8, 0.4, 5.0  # the last one is too late to count
    found = events_of([0.11, 0.51, 0.91], levels)
    assert [event.time_s for event in found] == [0.11, 0.51]
    assert [event.strength for event in found] == pytest.approx([1.0, 0.5])


def test_events_after_the_clip_are_left_out():
    levels = np.ones(50, np.float32)
    assert len(events_of([0.0, 0.99], levels, duration_s=1.0)) == 2
    assert len(events_of([0.0, 0.99], levels, duration_s=0.9)) == 1


def test_silent_sound_has_no_audible_events():
    assert events_of([0.2], np.zeros(50, np.float32)) == ()
    assert events_of([], np.ones(50, np.float32)) == ()
