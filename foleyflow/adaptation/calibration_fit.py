"""Fits a calibration to candidates of hits that are known to be right or wrong.

Reference: Platt 1999 for the logistic fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

from foleyflow.errors import DataError
from foleyflow.evaluation.metrics.synchrony import WINDOWS_S, onset_f1
from foleyflow.inference.analysis import LOWEST_PROBABILITY
from foleyflow.inference.calibration import Calibration, logit
from foleyflow.inference.sensitivity import DEFAULT_SENSITIVITY

THRESHOLDS = tuple(round(0.02 * k, 2) for k in range(1, 50))
RIDGE = 1.0  # of slope - 1 and of offset, against the summed log loss: that of about one prediction
SMALLEST_SLOPE = 0.05  # a calibration keeps the order of predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedCandidates:
    """The candidates of hits of a clip.

    Attributes:
        times_s: (C,) ascending.
        probabilities: (C,) of an onset.
        correct: (C,) which are impacts.
        impacts_s: (K,) times of the impacts of the clip.
        weight: of the clip's F1 in the choice of the threshold.
    """

    times_s: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    correct: NDArray[np.bool_]
    impacts_s: NDArray[np.float64]
    weight: float = 1.0


def fit_to_candidates(clips: Sequence[JudgedCandidates]) -> Calibration:
    """The calibration that fits the candidates of clips, with the threshold of the highest F1.

    The threshold is that of `THRESHOLDS` at which the candidates that it enables have the highest
    F1 at 50 ms, weighted mean over clips with impacts; of equal ones, the one in the middle.
    Candidates that `spot_cues` enables only because they stand out do not count here.

    Raises:
        DataError: the clips have no candidates, or no impacts.
    """
    probabilities = np.concatenate([np.zeros(0), *(clip.probabilities for clip in clips)])
    correct = np.concatenate([np.zeros(0, bool), *(clip.correct for clip in clips)])
    struck = [clip for clip in clips if len(clip.impacts_s)]
    if not len(probabilities) or not struck:
        raise DataError(
            f"{len(clips)} clips, of which {len(struck)} have impacts, with {len(probabilities)} "
            f"candidates of hits: expected impacts, and onset probabilities of at least "
            f"{LOWEST_PROBABILITY}",
            hint="give more --clips, or train the aligner for longer",
        )
    slope, offset = fit_logistic([logit(p) for p in probabilities], correct)
    calibrations = [
        Calibration(slope=slope, offset=offset, threshold=threshold) for threshold in THRESHOLDS
    ]
    weights = np.array([clip.weight for clip in struck])
    f1 = np.array(
        [np.average([_f1(clip, each) for clip in struck], weights=weights) for each in calibrations]
    )
    best = np.flatnonzero(f1 >= f1.max() - 1e-9)
    return calibrations[int(best[len(best) // 2])]


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


def _f1(clip: JudgedCandidates, calibration: Calibration) -> float:
    """F1 at 50 ms of the candidates that a calibration enables."""
    enabled = [
        calibration.enables(calibration.confidence(p), DEFAULT_SENSITIVITY)
        for p in clip.probabilities.tolist()
    ]
    return onset_f1(clip.impacts_s, clip.times_s[np.array(enabled, bool)], WINDOWS_S[0])
