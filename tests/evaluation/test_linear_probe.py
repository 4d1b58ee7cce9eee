"""Linear probes find planted events and classes, and none in noise."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.evaluation.linear_probe import (
    REACH_STEPS,
    WINDOW_S,
    fit_class_probe,
    fit_event_probe,
    pool_windows,
    predict_classes,
    with_neighbours,
)
from foleyflow.evaluation.metrics.synchrony import onset_f1
from foleyflow.event_peaks import event_track

RATE_HZ, STEPS, WIDTH = 50.0, 100, 6
DIRECTION = np.array([1.0, -2.0, 0.5, 0.0, 1.0, 3.0])


def windows(count: int, seed: int, *, planted: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Noise in which events show as a bump along one direction."""
    rng = np.random.default_rng(seed)
    events = [np.sort(rng.uniform(0.1, 1.9, size=int(rng.integers(0, 4)))) for _ in range(count)]
    events = [times[np.diff(times, prepend=-1.0) > 0.15] for times in events]
    track = np.stack([event_track(times, STEPS, RATE_HZ) for times in events])
    noise = rng.normal(size=(count, STEPS, WIDTH))
    return noise + planted * track[..., None] * DIRECTION, events


def mean_f1(planted: float) -> float:
    probe = fit_event_probe(
        *windows(60, 0, planted=planted), *windows(30, 1, planted=planted), rate_hz=RATE_HZ
    )
    features, events = windows(40, 2, planted=planted)
    pairs = zip(events, features, strict=True)
    return float(np.mean([onset_f1(t, probe.find(f), WINDOW_S) for t, f in pairs if len(t)]))


def test_planted_events_are_detected_and_absent_ones_are_not():
    scores = [mean_f1(planted) for planted in (0.0, 0.5, 3.0)]
    assert scores[2] > 0.97
    assert scores[0] < 0.4 < scores[1] < scores[2]


def test_an_event_probe_needs_events():
    features, events = windows(4, 0, planted=1.0)
    with pytest.raises(ValueError, match="no window has an event"):
        fit_event_probe(features, [np.zeros(0)] * 4, features, events, rate_hz=RATE_HZ)


def test_neighbours_are_concatenated_and_ends_are_repeated():
    features = np.arange(10.0)[:, None]
    got = with_neighbours(features)
    assert got.shape == (10, 3)
    np.testing.assert_array_equal(got[:, 1], features[:, 0])
    np.testing.assert_array_equal(got[REACH_STEPS:, 0], features[:-REACH_STEPS, 0])
    np.testing.assert_array_equal(got[-1], [9 - REACH_STEPS, 9, 9])


def test_pooling_gives_mean_and_maximum():
    features = np.random.default_rng(0).normal(size=(3, 7, 2))
    got = pool_windows(features)
    np.testing.assert_allclose(got[:, :2], features.mean(1), rtol=1e-5)
    np.testing.assert_allclose(got[:, 2:], features.max(1), rtol=1e-5)


@pytest.mark.parametrize("kinds", [2, 5])
def test_planted_classes_are_found_for_any_class_numbers(kinds):
    rng = np.random.default_rng(0)
    centres = 5.0 * np.eye(8)[:kinds]
    numbers = np.array([7, 2, 4, 0, 8])[:kinds]

    def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
        which = rng.integers(kinds, size=count)
        return centres[which] + rng.normal(size=(count, 8)), numbers[which]

    linear, known = fit_class_probe(*sample(200), *sample(50))
    inputs, classes = sample(200)
    assert (predict_classes(linear, known, inputs) == classes).mean() > 0.95
    assert set(known) == set(numbers)
    shuffled = rng.permutation(classes)
    linear, known = fit_class_probe(inputs, shuffled, *sample(50))
    inputs, classes = sample(200)
    assert (predict_classes(linear, known, inputs) == classes).mean() < 0.5 + 0.5 / kinds


def test_a_single_class_is_refused():
    inputs = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match="at least two"):
        fit_class_probe(inputs, np.zeros(6, int), inputs, np.zeros(6, int))
