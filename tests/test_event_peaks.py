"""Event times from probability curves, and event tracks: each inverts the other."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.event_peaks import (
    BUMP_S,
    SHORTEST_GAP_S,
    SMALLEST_LEVEL,
    event_track,
    find_event_peaks,
)

RATE_HZ = 50.0


def curve(count: int, peaks: dict[int, float]) -> np.ndarray:
    values = np.full(count, 0.1, np.float32)
    for at, height in peaks.items():
        values[at] = height
    return values


def find(probability: np.ndarray, threshold: float = 0.5) -> list[float]:
    return find_event_peaks(probability, rate_hz=RATE_HZ, threshold=threshold).tolist()


def test_events_are_peaks_above_the_threshold():
    probability = curve(100, {10: 0.9, 40: 0.6, 70: 0.4})
    assert find(probability) == pytest.approx([10.5 / 50, 40.5 / 50])
    assert len(find(probability, 0.3)) == 3
    assert len(find(probability, 0.7)) == 1


def test_peaks_are_interpolated_between_frames():
    # The parabola 0.9 - 0.05 (n - 20.3)^2 has its peak at 20.3 frames
    frames = np.arange(40)
    probability = np.clip(0.9 - 0.05 * (frames - 20.3) ** 2, 0, 1).astype(np.float32)
    assert find(probability) == pytest.approx([(20.3 + 0.5) / 50], abs=1e-5)


def test_a_plateau_is_one_event():
    assert len(find(curve(20, {5: 0.8, 6: 0.8, 7: 0.8}))) == 1


def test_the_higher_one_of_two_close_peaks_is_found():
    # The parabola shifts the peaks at 9 and 11; their distance stays close to 40 ms
    near = curve(60, {9: 0.7, 10: 0.69, 11: 0.9})
    found = find(near)
    assert len(found) == 2 or found == pytest.approx([11.5 / 50], abs=0.01)
    tight = find_event_peaks(near, rate_hz=100.0, threshold=0.5)
    assert tight == pytest.approx([11.5 / 100], abs=0.005)
    assert np.diff(find(curve(60, {9: 0.7, 20: 0.9}))) > SHORTEST_GAP_S


def test_peaks_at_the_ends_are_found_and_silence_has_none():
    assert find(curve(50, {0: 0.9, 49: 0.9})) == pytest.approx([0.01, 0.99], abs=0.01)
    assert find(curve(50, {})) == []
    assert find(np.zeros(0, np.float32)) == []


def test_a_track_has_a_bump_at_each_event():
    track = event_track(np.array([0.41]), 40, RATE_HZ)
    assert track.dtype == np.float32 and track.shape == (40,)
    assert np.flatnonzero(track == 1.0).tolist() == [20]
    neighbour = np.exp(-0.5 * (0.02 / BUMP_S) ** 2)
    assert track[[19, 21]] == pytest.approx([neighbour, neighbour], rel=1e-4)
    assert track[:19].max() == track[22:].max() == 0.0
    assert track[track > 0].min() >= SMALLEST_LEVEL


def test_only_the_edge_of_events_outside_the_grid_is_visible():
    assert event_track(np.array([-0.1, 5.0]), 40, RATE_HZ).max() == 0.0
    edge = event_track(np.array([-0.01]), 40, RATE_HZ)
    assert 0 < edge[0] < 1 and edge[1:].max() == 0.0
    assert event_track(np.zeros(0), 4, RATE_HZ).tolist() == [0.0] * 4


def test_events_of_a_track_are_found():
    random = np.random.default_rng(0)
    for _ in range(20):
        times_s = np.cumsum(random.uniform(0.07, 0.3, 8))
        times_s = times_s[times_s < 1.98]
        track = event_track(times_s, 100, RATE_HZ)
        found = find_event_peaks(track, rate_hz=RATE_HZ, threshold=0.9)
        # A frame is 20 ms long: the largest error is half of it, plus a plateau of two frames
        np.testing.assert_allclose(found, times_s, atol=0.0151)
