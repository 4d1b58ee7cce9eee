"""How well confidences agree with the fraction of correct predictions, and how to correct them.

References: Platt 1999 for the logistic fit; Naeini et al. 2015 for the expected calibration error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

BINS = 10
RIDGE = 1.0  # of slope - 1 and of offset, against the summed log loss: that of about one prediction
SMALLEST_SLOPE = 0.05  # a calibration keeps the order of predictions


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Predictions of about the same confidence.

    Attributes:
        confidence: mean, 0..1.
        fraction: of correct ones, 0..1.
        count: their number.
    """

    confidence: float
    fraction: float
    count: int

    def rounded(self) -> list[float]:
        """Confidence and fraction to three decimals, and the count, for a report."""
        return [round(self.confidence, 3), round(self.fraction, 3), self.count]


def fit_logistic(logits: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Slope and offset of the logistic regression of labels on logits.

    A weak ridge towards slope 1 and offset 0 gives the fit a finite, unique solution for any data;
    without data it is (1, 0).

    Args:
        logits: (N,) of predicted probabilities.
        labels: (N,) of 0 for wrong and 1 for correct predictions, or probabilities.
    """
    x, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    count = max(len(x), 1)

    def loss_and_gradient(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        excess = values - (1.0, 0.0)
        score = values[0] * x + values[1]
        loss = (np.logaddexp(0.0, score) - y * score).sum() + 0.5 * RIDGE * (excess @ excess)
        error = expit(score) - y
        gradient = np.array([error @ x, error.sum()]) + RIDGE * excess
        return float(loss) / count, gradient / count

    found = minimize(
        loss_and_gradient,
        np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(SMALLEST_SLOPE, None), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-9},
    )
    return float(found.x[0]), float(found.x[1])


def reliability_table(confidences: ArrayLike, labels: ArrayLike) -> dict[int, ReliabilityBin]:
    """The bins of equal width that contain predictions, by their number from 0.

    Args:
        confidences: (N,) 0..1.
        labels: (N,) whether each prediction is correct.
    """
    given, correct = np.asarray(confidences, np.float64), np.asarray(labels, np.float64)
    numbers = np.minimum((given * BINS).astype(np.int64), BINS - 1)
    members = {int(number): numbers == number for number in np.unique(numbers)}
    return {
        number: ReliabilityBin(
            confidence=float(given[inside].mean()),
            fraction=float(correct[inside].mean()),
            count=int(inside.sum()),
        )
        for number, inside in members.items()
    }


def calibration_error(table: Mapping[int, ReliabilityBin]) -> float:
    """The expected calibration error: |confidence - fraction|, mean over all predictions."""
    total = sum(each.count for each in table.values())
    weighted = sum(each.count * abs(each.confidence - each.fraction) for each in table.values())
    return weighted / max(total, 1)


def brier_score(confidences: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared difference between confidences and labels, both (N,)."""
    difference = np.asarray(confidences, np.float64) - np.asarray(labels, np.float64)
    return float(np.mean(difference**2))
