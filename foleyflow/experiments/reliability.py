"""How well confidences agree with the fraction of correct predictions.

Reference: Naeini et al. 2015 for the expected calibration error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BINS = 10


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
