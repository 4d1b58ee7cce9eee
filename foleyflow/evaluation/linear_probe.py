"""Linear probes of frozen features, for the times of events and for classes such as materials.

A linear probe has little capacity, so its score measures the features. scikit-learn fits it.

Dimension letters: R windows, L grid steps, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metric import extra_package
from foleyflow.evaluation.metrics.synchrony import onset_f1
from foleyflow.event_peaks import event_track, find_event_peaks

REACH_STEPS = 2  # an event probe also gets the features this far before and after a step
EVENT_WEIGHT = 4.0  # events are rare
EVENT_PENALTY, MAX_ITERATIONS = 0.1, 200
CLASS_PENALTIES = (0.001, 0.01, 0.1, 1.0)  # inverse strengths; the best one is selected
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 19))
WINDOW_S = 0.05


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """A logistic regression, weights (D, K) and bias (K,), which standardises its inputs (N, D)."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, inputs: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, D) to (N, K) logits."""
        standard = (inputs.astype(np.float32) - self.mean) / self.deviation
        return np.asarray(standard @ self.weights + self.bias, np.float32)


@dataclass(frozen=True, kw_only=True)
class EventProbe:
    """Detects events as peaks of their probability that reach the threshold."""

    linear: LinearMap
    rate_hz: float
    threshold: float

    def find(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(L, D) features of one clip to the times of its events, (E,) ascending seconds."""
        probability = event_probability(self.linear, features)
        return find_event_peaks(probability, rate_hz=self.rate_hz, threshold=self.threshold)


def fit_event_probe(
    features: NDArray[np.floating],
    events_s: Sequence[NDArray[np.float64]],
    held_features: NDArray[np.floating],
    held_events_s: Sequence[NDArray[np.float64]],
    *,
    rate_hz: float,
) -> EventProbe:
    """Fit an event probe, and select its threshold on held-out clips, at least one with events.

    Features are (R, L, D); events are, per window, ascending seconds from its start.

    Raises:
        ValueError: there are no events.
        MissingExtra: scikit-learn is not installed.
    """
    count = features.shape[1]
    targets = np.concatenate([event_track(times_s, count, rate_hz) == 1.0 for times_s in events_s])
    if not targets.any():
        raise ValueError("no window has an event, expected at least one to fit an event probe")
    inputs = np.concatenate([with_neighbours(window) for window in features])
    linear = _fit(inputs, targets, EVENT_PENALTY, np.where(targets, EVENT_WEIGHT, 1.0))
    curves = [event_probability(linear, window) for window in held_features]

    def score(threshold: float) -> float:
        found = [find_event_peaks(c, rate_hz=rate_hz, threshold=threshold) for c in curves]
        pairs = zip(held_events_s, found, strict=True)
        return float(np.mean([onset_f1(true, est, WINDOW_S) for true, est in pairs if len(true)]))

    return EventProbe(linear=linear, rate_hz=rate_hz, threshold=max(THRESHOLDS, key=score))


def event_probability(linear: LinearMap, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(L, D) features of one clip to the probability of an event in each grid step, (L,)."""
    logits = linear(with_neighbours(features))[:, 0]
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def with_neighbours(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(L, D) to (L, 3 D): each step's features with those REACH_STEPS before and after it."""
    padded = np.pad(features.astype(np.float32), ((REACH_STEPS, REACH_STEPS), (0, 0)), "edge")
    count = len(features)
    return np.concatenate([padded[k : k + count] for k in (0, REACH_STEPS, 2 * REACH_STEPS)], 1)


def pool_windows(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(R, L, D) to (R, 2 D): mean and maximum over each window."""
    values = features.astype(np.float32)
    return np.concatenate([values.mean(1), values.max(1)], 1)


def fit_class_probe(
    inputs: NDArray[np.floating],
    classes: NDArray[np.int64],
    held_inputs: NDArray[np.floating],
    held_classes: NDArray[np.int64],
) -> tuple[LinearMap, NDArray[np.int64]]:
    """Fit a class probe with the penalty that has the highest accuracy on held-out clips.

    Inputs are (N, D), classes (N,). The result is the map to one logit per class, and the classes
    in their order, (K,).

    Raises:
        ValueError: fewer than two classes.
        MissingExtra: scikit-learn is not installed.
    """
    known = np.unique(classes)
    if len(known) < 2:
        raise ValueError(f"got the classes {known.tolist()}, expected at least two")
    fits = [_fit(inputs, classes, penalty, None) for penalty in CLASS_PENALTIES]

    def accuracy(linear: LinearMap) -> float:
        return float((predict_classes(linear, known, held_inputs) == held_classes).mean())

    return max(fits, key=accuracy), known


def predict_classes(
    linear: LinearMap, known: NDArray[np.int64], inputs: NDArray[np.floating]
) -> NDArray[np.int64]:
    """(N, D) inputs to the most likely class of each, (N,)."""
    logits = linear(inputs)
    if logits.shape[1] == 1:  # two classes: one logit, of the second
        return known[(logits[:, 0] > 0).astype(int)]
    return known[logits.argmax(1)]


def _fit(
    inputs: NDArray[np.floating],
    targets: NDArray[Any],
    penalty: float,
    weights: NDArray[np.float64] | None,
) -> LinearMap:
    """Logistic regression with L2 penalty of inverse strength `penalty`."""
    linear_model = extra_package("sklearn.linear_model")
    values = inputs.astype(np.float32)
    mean, deviation = values.mean(0), np.maximum(values.std(0), 1e-6)
    model = linear_model.LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS, tol=1e-3)
    model.fit((values - mean) / deviation, targets, sample_weight=weights)
    return LinearMap(
        mean=mean,
        deviation=deviation,
        weights=model.coef_.T.astype(np.float32),
        bias=model.intercept_.astype(np.float32),
    )
