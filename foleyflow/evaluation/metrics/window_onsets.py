"""Onset accuracy, AP and F1 within 0.3 s: a corrected version of the published script.

It has the detector, the 8 s and the window of `script_onsets.py`, without the bugs described
there. Every miss counts, a file without predictions scores 0, confidences belong to their own
onsets and are 0 in silence, windows are cut at the ends of a clip, and of onsets closer than 50
ms only the strongest is kept. Matches are one to one, as many as possible, and among these the
most confident. Two clips without any onset agree (all three are 1). True onsets after the end of
a shorter sound count as missed, as in the script. 0.3 s is a wide window in which random onsets
score high, so compare with the controls.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.computations import PairwiseGroup
from foleyflow.evaluation.metrics import levels, script_onsets
from foleyflow.evaluation.metrics.script_onsets import (
    CONFIDENCE_SAMPLES,
    DELTA,
    DURATION_S,
    RATE_HZ,
    SUPPRESSION_SAMPLES,
    DetectedOnsets,
    WindowedScore,
    average_precision,
    script_detector,
    windowed_metrics,
)


@dataclass(frozen=True, kw_only=True)
class ConfidentOnsets:
    """Times, (K,) ascending seconds below 8, at least 50 ms apart; confidences, (K,) 0..1."""

    times_s: NDArray[np.float64]
    confidences: NDArray[np.float64]


def strongest_onsets(detected: DetectedOnsets) -> ConfidentOnsets:
    """Suppress weaker onsets within 50 ms of a stronger one; of equal ones the earlier is kept.

    The confidence of an onset is the largest magnitude within 50 ms relative to that of the sound.

    Reference: Du et al., CVPR 2023, with windows that are cut at the sound's ends.
    """
    positions = detected.positions.astype(np.int64)
    magnitude = np.abs(detected.waveform)
    spans = [magnitude[max(0, p - CONFIDENCE_SAMPLES) : p + CONFIDENCE_SAMPLES] for p in positions]
    confidences = np.array([span.max() / magnitude.max() for span in spans], dtype=np.float64)
    kept: list[int] = []
    for index in np.argsort(-confidences, kind="stable"):
        if all(abs(positions[index] - positions[other]) >= SUPPRESSION_SAMPLES for other in kept):
            kept.append(int(index))
    kept.sort()
    return ConfidentOnsets(times_s=positions[kept] / RATE_HZ, confidences=confidences[kept])


def annotated_onsets(times_s: ArrayLike) -> ConfidentOnsets:
    """Annotated onsets of the first 8 s, given in ascending seconds."""
    times = np.asarray(times_s, dtype=np.float64)
    times = times[times < DURATION_S]
    return ConfidentOnsets(times_s=times, confidences=np.ones(len(times)))


def window_score(reference: ConfidentOnsets, estimated: ConfidentOnsets) -> WindowedScore:
    """Accuracy, AP and F1 of one clip; the confidences of the true onsets are not used.

    All are 1 if there are no onsets at all, and 0 if only one side has some.
    """
    true_count, estimated_count = len(reference.times_s), len(estimated.times_s)
    if not true_count or not estimated_count:
        both = float(true_count == estimated_count)
        return WindowedScore(accuracy=both, average_precision=both, f1=both)
    from scipy.optimize import linear_sum_assignment

    distance_s = np.abs(reference.times_s[:, None] - estimated.times_s[None, :])
    # All confidences together weigh less than one more match.
    weight = (distance_s < DELTA) * (1 + estimated.confidences / (estimated_count + 1))
    matched_true, matched_estimated = linear_sum_assignment(weight, maximize=True)
    found = matched_estimated[weight[matched_true, matched_estimated] > 0]
    labels = np.isin(np.arange(estimated_count), found).astype(int).tolist()
    return WindowedScore(
        accuracy=len(found) / true_count,
        average_precision=average_precision(
            labels, estimated.confidences.tolist(), positive_count=true_count
        ),
        f1=2 * len(found) / (true_count + estimated_count),
    )


_REFERENCE = (
    "ours, after MMAudio eval_onsets.py: librosa delta 0.3, soxr HQ, first 8 s, within 0.3 s"
)
METRICS = windowed_metrics(
    PairwiseGroup(
        name="window_onsets",
        modules=(sys.modules[__name__], script_onsets, levels),
        basis=script_detector,
        analyse=strongest_onsets,
        analyse_events=lambda events: annotated_onsets(events.times_s),
        compare=window_score,
    ),
    ("onset_accuracy", "onset_ap", "onset_f1_300ms"),
    (
        f"{_REFERENCE}; fraction of true onsets found, extra ones have no effect",
        f"{_REFERENCE}; ranked by the peak of the waveform within 50 ms",
        f"{_REFERENCE}; both misses and extra onsets lower it",
    ),
)
