"""Moments from curves of probability, and the track that shows them: each undoes the other."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.event_peaks import BUMP_S, FAINTEST, SHORTEST_GAP_S, event_track, find_event_peaks

RATE_HZ = 50.0


def curve(count: int, peaks: dict[int, float]) -> np.ndarray:
    values = np.full(count, 0.1, np.float32)
    for at, height in peaks.items():
        values[at] = height
    return values


def moments(probability: np.ndarray, threshold: float = 0.5) -> list[float]:
    return find_event_peaks(probability, rate_hz=RATE_HZ, threshold=threshold).tolist()


def test_moments_are_peaks_that_are_high_enough():
    probability = curve(100, {10: 0.9, 40: 0.6, 70: 0.4})
    assert moments(probability) == pytest.approx([10.5 / 50, 40.5 / 50])
    assert len(moments(probability, 0.3)) == 3
    assert len(moments(probability, 0.7)) == 1


def test_times_are_between_frames_where_the_peak_is():
    # A parabola 0.9 - 0.05 (n - 20.3)^2 has its peak at 20.3 frames.
    frames = np.arange(40)
    probability = np.clip(0.9 - 0.05 * (frames - 20.3) ** 2, 0, 1).astype(np.float32)
    assert moments(probability) == pytest.approx([(20.3 + 0.5) / 50], abs=1e-5)


def test_a_plateau_is_one_moment():
    assert len(moments(curve(20, {5: 0.8, 6: 0.8, 7: 0.8}))) == 1


def test_of_two_peaks_too_near_the_higher_one_counts():
    # The parabola moves the peaks of 9 and 11 apart or together; their distance stays near 40 ms.
    near = curve(60, {9: 0.7, 10: 0.69, 11: 0.9})
    found = moments(near)
    assert len(found) == 2 or found == pytest.approx([11.5 / 50], abs=0.01)
    tight = find_event_peaks(near, rate_hz=100.0, threshold=0.5)
    assert tight == pytest.approx([11.5 / 100], abs=0.005)
    assert np.diff(moments(curve(60, {9: 0.7, 20: 0.9}))) > SHORTEST_GAP_S


def test_the_ends_count_and_silence_has_none():
    assert moments(curve(50, {0: 0.9, 49: 0.9})) == pytest.approx([0.01, 0.99], abs=0.01)
    assert moments(curve(50, {})) == []
    assert moments(np.zeros(0, np.float32)) == []


def test_a_track_has_its_bump_where_the_event_is():
    track = event_track(np.array([0.41]), 40, RATE_HZ)
    assert track.dtype == np.float32 and track.shape == (40,)
    assert np.flatnonzero(track == 1.0).tolist() == [20]
    beside = np.exp(-0.5 * (0.02 / BUMP_S) ** 2)
    assert track[[19, 21]] == pytest.approx([beside, beside], rel=1e-4)
    assert track[:19].max() == track[22:].max() == 0.0
    assert track[track > 0].min() >= FAINTEST


def test_events_before_and_after_show_at_most_their_edge():
    assert event_track(np.array([-0.1, 5.0]), 40, RATE_HZ).max() == 0.0
    edge = event_track(np.array([-0.01]), 40, RATE_HZ)
    assert 0 < edge[0] < 1 and edge[1:].max() == 0.0
    assert event_track(np.zeros(0), 4, RATE_HZ).tolist() == [0.0] * 4


def test_what_a_track_shows_is_found_again():
    random = np.random.default_rng(0)
    for _ in range(20):
        times_s = np.cumsum(random.uniform(0.07, 0.3, 8))
        times_s = times_s[times_s < 1.98]
        track = event_track(times_s, 100, RATE_HZ)
        found = find_event_peaks(track, rate_hz=RATE_HZ, threshold=0.9)
        # A frame holds 20 ms: half of it, and a plateau of two frames, is the most it can be off.
        np.testing.assert_allclose(found, times_s, atol=0.0151)
