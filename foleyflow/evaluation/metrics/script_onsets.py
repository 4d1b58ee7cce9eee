"""Onset accuracy, AP and F1 exactly as the script that MMAudio published computes them.

Bug for bug, so that published figures can be compared with; `window_onsets.py` is the same idea
set right, `synchrony.onset_f1` the strict standard. What the script (`eval_onsets.py`, after
CondFoleyGen's `predict_onset.py`) does that a reader would not expect, all of it kept here:

a. Walking through the true onsets it stops when no predicted one is left: later misses are in
   neither AP nor F1 (only in the accuracy's denominator). Few predictions are favoured.
b. Misses are positives of confidence 0. So a file in which nothing is predicted has AP 1.
c. Among candidates it compares single samples of the waveform, looked up by the positions of the
   remaining list in the full one: after the first hit those are other onsets' samples.
d. The window of a confidence begins at a negative index for an onset in the first 50 ms, which
   is an empty slice: the script stops there. So does `script_score`, with a message.
e. Non-maximum suppression removes from the list that it walks through, and so skips neighbours.

The same 0.3 is the threshold of the peaks and, in seconds, the window. Confidence is the largest
sample of the waveform scaled from its minimum..maximum to 0..1, so that rest lies near 0.5.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.metric import Metric, extra_package

RATE_HZ = 22050
DURATION_S = 8.0
DELTA = 0.3  # threshold of a peak, and seconds
CONFIDENCE_SAMPLES = 1102  # 50 ms, on either side
SUPPRESSION_SAMPLES = 1102.5  # 50 ms

_REFERENCE = (
    "MMAudio eval_onsets.py after Du et al., CVPR 2023 (CondFoleyGen), bug-compatible: librosa "
    "delta 0.3, 22050 Hz by soxr HQ, first 8 s, within 0.3 s; mean over files"
)
ACCURACY = Metric(
    name="onset_accuracy_mmaudio_script",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference=_REFERENCE,
)
AVERAGE_PRECISION = Metric(
    name="onset_ap_mmaudio_script",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference=f"{_REFERENCE}; 1 where nothing is predicted",
)
F1 = Metric(
    name="onset_f1_mmaudio_script",
    unit="1",
    direction="higher",
    range=(0.0, 1.0),
    reference=f"{_REFERENCE}; misses after the last prediction are not counted",
)


@dataclass(frozen=True, kw_only=True)
class DetectedOnsets:
    """What the script's detector finds in a sound.

    Attributes:
        positions: (K,) float64, samples at 22050 Hz from the start, ascending.
        waveform: (N,) float32 at 22050 Hz, at most 8 s; empty where the onsets come from a file.
    """

    positions: NDArray[np.float64]
    waveform: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class WindowedScore:
    """Three figures of one file, each 0..1."""

    accuracy: float
    average_precision: float
    f1: float


def detected_onsets(samples: NDArray[np.float32], rate_hz: int) -> DetectedOnsets:
    """Onsets of the first 8 s by librosa's defaults and delta 0.3.

    Args:
        samples: (N,) float32 mono, finite.
        rate_hz: its rate; brought to 22050 Hz by soxr HQ, as librosa.load does.

    Raises:
        ValueError: not mono, or a rate that is not positive.
        MissingExtra: librosa is not installed.

    Source: librosa.onset.onset_detect, parameters of MMAudio's eval_onsets.py.
    """
    if samples.ndim != 1 or rate_hz <= 0:
        raise ValueError(f"got {samples.shape} at {rate_hz} Hz, expected (N,) and a rate > 0")
    import soxr

    librosa = extra_package("librosa")
    waveform = soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ")
    waveform = waveform[: round(DURATION_S * RATE_HZ)]
    if not waveform.any():
        return DetectedOnsets(positions=np.zeros(0), waveform=waveform)
    with warnings.catch_warnings():
        # Less than a window of sound is filled with zeros; that is all.
        warnings.filterwarnings("ignore", message="n_fft=.* is too large")
        positions = librosa.onset.onset_detect(y=waveform, sr=RATE_HZ, units="samples", delta=DELTA)
    return DetectedOnsets(positions=np.asarray(positions, dtype=np.float64), waveform=waveform)


def known_onsets(times_s: ArrayLike) -> DetectedOnsets:
    """True onsets that come from a file, not from a sound: those of the first 8 s.

    Args:
        times_s: (K,) ascending seconds.

    Source: MMAudio's eval_onsets.py.
    """
    times = np.asarray(times_s, dtype=np.float64)
    return DetectedOnsets(
        positions=times[times < DURATION_S] * RATE_HZ, waveform=np.zeros(0, np.float32)
    )


def script_score(reference: DetectedOnsets, estimated: DetectedOnsets) -> WindowedScore:
    """Accuracy, AP and F1 of one file as the published script prints them before averaging.

    Args:
        reference: true onsets; no suppression is applied to them.
        estimated: of the generated sound.

    Returns:
        accuracy 0 without true onsets; AP 1 and F1 0 if there are some and none is predicted.

    Raises:
        ValueError: where the script itself stops: an onset in the first 50 ms, or no onsets
            on either side.

    Source: MMAudio eval_onsets.py.
    """
    scaled = _scaled(estimated.waveform)
    onsets = _suppressed(estimated.positions.astype(np.int64).tolist(), scaled)
    left = list(onsets)
    labels: list[int] = []
    confidences: list[float] = []
    hits = 0
    for true in reference.positions:
        near = [i for i, onset in enumerate(left) if abs(onset - true) < DELTA * RATE_HZ]
        labels.append(1)
        if not near:
            confidences.append(0.0)
            continue
        # (c): `i` counts in what is left, but is looked up among all.
        match = near[int(np.argsort([scaled[onsets[i]] for i in near])[-1])]
        confidences.append(_confidence(scaled, left[match]))
        hits += 1
        left.remove(left[match])
        if not left:
            break  # (a)
    labels += [0] * len(left)
    confidences += [_confidence(scaled, onset) for onset in left]
    if not labels:
        raise ValueError("no onset is true and none predicted: the published script stops here")
    true_count = len(reference.positions)
    predicted = np.array(confidences) > 0
    both = int((predicted & (np.array(labels) == 1)).sum())
    return WindowedScore(
        accuracy=hits / true_count if true_count else 0.0,
        average_precision=average_precision(labels, confidences, positive_count=sum(labels)),
        f1=2 * both / max(1, int(predicted.sum()) + sum(labels)),
    )


def average_precision(
    labels: Sequence[int], confidences: Sequence[float], *, positive_count: int
) -> float:
    """The area under precision over recall, in steps, equal confidences taken together.

    Args:
        labels: 1 for what is right, 0 for what is not, one per prediction.
        confidences: of the same predictions.
        positive_count: how many are right in truth, found or not.

    Returns:
        0..1; 0 if nothing is right in truth.

    Source: sklearn.metrics.average_precision_score, where positive_count is sum(labels).
    """
    if not positive_count or not len(labels):
        return 0.0
    order = np.argsort(-np.asarray(confidences), kind="stable")
    sorted_confidences = np.asarray(confidences)[order]
    right = np.cumsum(np.asarray(labels, dtype=np.float64)[order])
    last_of_equals = np.append(np.diff(sorted_confidences) != 0, True)
    precision = (right / np.arange(1, len(right) + 1))[last_of_equals]
    recall = right[last_of_equals] / positive_count
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _scaled(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    if not len(waveform):
        raise ValueError("an empty sound: the published script stops here")
    lowest, highest = waveform.min(), waveform.max()
    return np.asarray((waveform - lowest) / (highest - lowest + np.float32(1e-6)))


def _confidence(scaled: NDArray[np.float32], onset: int) -> float:
    window = scaled[onset - CONFIDENCE_SAMPLES : onset + CONFIDENCE_SAMPLES]  # (d)
    if not len(window):
        raise ValueError(
            f"an onset at {onset / RATE_HZ:.3f} s, in the first 50 ms: the published script stops "
            "here"
        )
    return float(window.max())


def _suppressed(onsets: list[int], scaled: NDArray[np.float32]) -> list[int]:
    """Onsets less weaker neighbours within 50 ms, but for those that the script skips."""
    confidences = [_confidence(scaled, onset) for onset in onsets]
    left = list(onsets)
    kept: list[int] = []
    for index in np.argsort(confidences)[::-1]:
        current = onsets[index]
        if current not in left:
            continue
        kept.append(current)
        left.remove(current)
        position = 0
        while position < len(left):
            if abs(current - left[position]) < SUPPRESSION_SAMPLES:
                left.remove(left[position])
            position += 1  # (e): what has moved up is not looked at
    return sorted(kept)
