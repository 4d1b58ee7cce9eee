"""Onset accuracy, AP and F1 within 0.3 s: the idea of the published script, set right.

The same detector, the same 8 s and window as `script_onsets.py`, where the script's five faults
are described. Here every miss counts, a file in which nothing is predicted scores 0, confidences
belong to their own onsets and are 0 in rest, the edges of a clip are windows like any other, and
of onsets nearer than 50 ms only the strongest stays. Matches are one to one and as many as
possible, among those the most confident. Two clips without any onset agree (all three are 1).
What is true after the end of a shorter sound counts as missed, as in the script.
0.3 s is a generous window: chance scores high in it, so read the controls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics.script_onsets import (
    CONFIDENCE_SAMPLES,
    DELTA,
    DURATION_S,
    RATE_HZ,
    SUPPRESSION_SAMPLES,
    DetectedOnsets,
    WindowedScore,
    average_precision,
    detected_onsets,
)

_REFERENCE = (
    "ours, after MMAudio eval_onsets.py: librosa delta 0.3, soxr HQ, first 8 s, within 0.3 s"
)
ACCURACY = Metric(
    name="onset_accuracy",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference=f"{_REFERENCE}; true onsets found, extra ones cost nothing",
)
AVERAGE_PRECISION = Metric(
    name="onset_ap",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference=f"{_REFERENCE}; ranked by the peak of the waveform within 50 ms",
)
F1 = Metric(
    name="onset_f1_300ms",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference=f"{_REFERENCE}; misses and extra onsets both cost",
)


@dataclass(frozen=True, kw_only=True)
class ConfidentOnsets:
    """Onsets that are at least 50 ms apart, and how sure each is.

    Attributes:
        times_s: (K,) float64, ascending seconds below 8.
        confidences: (K,) float64, 0..1.
    """

    times_s: NDArray[np.float64]
    confidences: NDArray[np.float64]


def confident_onsets(samples: NDArray[np.float32], rate_hz: int) -> ConfidentOnsets:
    """Onsets of the first 8 s; of those nearer than 50 ms the strongest.

    Args:
        samples: (N,) float32 mono, finite.
        rate_hz: its rate.

    Returns:
        times, and the largest magnitude within 50 ms relative to the sound's largest.

    Raises:
        ValueError: not mono, or a rate that is not positive.
        MissingExtra: librosa is not installed.

    Source: librosa.onset.onset_detect; Du et al., CVPR 2023, for the confidence.
    """
    return strongest_onsets(detected_onsets(samples, rate_hz))


def strongest_onsets(heard: DetectedOnsets) -> ConfidentOnsets:
    """Of onsets nearer than 50 ms the strongest, with confidences.

    Args:
        heard: what the script's detector found.

    Returns:
        times, and the largest magnitude within 50 ms relative to the sound's largest; of equals
        the earlier one stays.

    Source: Du et al., CVPR 2023, with windows that end at the sound's ends.
    """
    positions = heard.positions.astype(np.int64)
    magnitude = np.abs(heard.waveform)
    spans = [magnitude[max(0, p - CONFIDENCE_SAMPLES) : p + CONFIDENCE_SAMPLES] for p in positions]
    confidences = np.array([span.max() / magnitude.max() for span in spans], dtype=np.float64)
    kept: list[int] = []
    for index in np.argsort(-confidences, kind="stable"):
        if all(abs(positions[index] - positions[other]) >= SUPPRESSION_SAMPLES for other in kept):
            kept.append(int(index))
    kept.sort()
    return ConfidentOnsets(times_s=positions[kept] / RATE_HZ, confidences=confidences[kept])


def certain_onsets(times_s: ArrayLike) -> ConfidentOnsets:
    """True onsets that come from a file: those of the first 8 s.

    Args:
        times_s: (K,) ascending seconds.

    Source: ours.
    """
    times = np.asarray(times_s, dtype=np.float64)
    times = times[times < DURATION_S]
    return ConfidentOnsets(times_s=times, confidences=np.ones(len(times)))


def window_score(reference: ConfidentOnsets, estimated: ConfidentOnsets) -> WindowedScore:
    """Accuracy, AP and F1 of one clip.

    Args:
        reference: true onsets; their confidences do not matter.
        estimated: of the generated sound.

    Returns:
        all 1 if there are no onsets at all, all 0 if only one side has some.

    Source: ours; the assignment by scipy.optimize.linear_sum_assignment.
    """
    true_count, made_count = len(reference.times_s), len(estimated.times_s)
    if not true_count or not made_count:
        both = float(true_count == made_count)
        return WindowedScore(accuracy=both, average_precision=both, f1=both)
    from scipy.optimize import linear_sum_assignment

    distance_s = np.abs(reference.times_s[:, None] - estimated.times_s[None, :])
    # All confidences together weigh less than one more match.
    worth = (distance_s < DELTA) * (1 + estimated.confidences / (made_count + 1))
    rows, columns = linear_sum_assignment(worth, maximize=True)
    found = columns[worth[rows, columns] > 0]
    labels = np.isin(np.arange(made_count), found).astype(int).tolist()
    return WindowedScore(
        accuracy=len(found) / true_count,
        average_precision=average_precision(
            labels, estimated.confidences.tolist(), positive_count=true_count
        ),
        f1=2 * len(found) / (true_count + made_count),
    )
