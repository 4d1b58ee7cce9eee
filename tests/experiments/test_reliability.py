"""The logistic fit and the figures of reliability, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.adaptation.calibration_fit import SMALLEST_SLOPE, fit_logistic
from foleyflow.experiments.reliability import (
    ReliabilityBin,
    brier_score,
    calibration_error,
    reliability_table,
)


def sigmoid(scores):
    return 1 / (1 + np.exp(-np.asarray(scores)))


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.6, -1.2), (2.5, 0.8)])
def test_the_fit_recovers_slope_and_offset(slope, offset):
    # Expected labels instead of random ones leave only the bias of the ridge
    logits = np.linspace(-4, 4, 50_001)
    found = fit_logistic(logits, sigmoid(slope * logits + offset))
    assert found == pytest.approx((slope, offset), abs=2e-3)
    # Random labels add the error of an estimate
    random = np.random.default_rng(0)
    labels = random.random(len(logits)) < sigmoid(slope * logits + offset)
    assert fit_logistic(logits, labels) == pytest.approx((slope, offset), abs=0.08)


def test_the_fit_solves_its_equations():
    # At the minimum the ridge balances the errors: sum of error x = 1 - slope, of error = -offset
    random = np.random.default_rng(1)
    logits = random.normal(size=40)
    labels = random.random(40) < sigmoid(logits)
    slope, offset = fit_logistic(logits, labels)
    error = sigmoid(slope * logits + offset) - labels
    assert error @ logits == pytest.approx(1 - slope, abs=1e-5)
    assert error.sum() == pytest.approx(-offset, abs=1e-5)


def test_any_data_has_a_finite_fit():
    assert fit_logistic([], []) == (1.0, 0.0)
    logits = np.linspace(-3, 3, 100)
    slope, offset = fit_logistic(logits, logits > 0)  # separable
    assert 1 < slope < 50 and abs(offset) < 1
    slope, _ = fit_logistic(logits, logits < 0)  # the order is wrong everywhere
    assert slope == SMALLEST_SLOPE
    _, offset = fit_logistic(logits, np.ones(100))
    assert np.isfinite(offset) and offset > 0


def test_figures_of_reliability():
    confidences = [0.05, 0.05, 0.15, 0.95, 0.95, 1.0]
    labels = [False, True, False, True, True, False]
    table = reliability_table(confidences, labels)
    assert list(table) == [0, 1, 9]
    assert table[0] == ReliabilityBin(confidence=0.05, fraction=0.5, count=2)
    assert table[9].rounded() == [0.967, 0.667, 3]
    # (2 * 0.45 + 1 * 0.15 + 3 * 0.3) / 6
    assert calibration_error(table) == pytest.approx(0.325)
    squares = (0.05**2, 0.95**2, 0.15**2, 0.05**2, 0.05**2, 1.0)
    assert brier_score(confidences, labels) == pytest.approx(sum(squares) / 6)


def test_a_perfect_calibration_has_no_error():
    table = reliability_table([0.25] * 4, [True, False, False, False])
    assert calibration_error(table) == 0.0 == calibration_error(reliability_table([], []))
