"""Onset accuracy, AP and F1 exactly as the script that MMAudio published computes them.

The values are comparable with published ones, bugs included. `window_onsets.py` has a corrected
version, `synchrony.onset_f1` is the strict standard. The script (`eval_onsets.py`, after
`predict_onset.py` of CondFoleyGen) has these bugs, all reproduced here:

a. The loop over the true onsets ends when no predicted onset is left: later misses enter neither
   AP nor F1 (only the denominator of the accuracy). Few predictions are favoured.
b. Misses are positives of confidence 0, so a file without any prediction has AP 1.
c. Candidates are compared by single samples of the waveform, with indices of the shortened list in
   the full one: after the first hit these are samples of other onsets.
d. The window of a confidence starts at a negative index for an onset in the first 50 ms, which
   gives an empty slice and stops the script. `script_score` raises an error there.
e. Non-maximum suppression removes items from the list it iterates over, and so skips neighbours.

The same 0.3 is the threshold of the peaks and, in seconds, the window. The confidence is the
largest sample of the waveform scaled from its minimum..maximum to 0..1, so silence is near 0.5.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.computations import Pairwise, PairwiseGroup
from foleyflow.evaluation.metric import Metric, extra_package
from foleyflow.evaluation.metrics import levels
from foleyflow.signals import Waveform

RATE_HZ = 22050
DURATION_S = 8.0
DELTA = 0.3  # threshold of a peak, and seconds
WINDOW_SAMPLES, HOP_SAMPLES, BAND_COUNT = 2048, 512, 128  # librosa's defaults
CONFIDENCE_SAMPLES = 1102  # 50 ms on either side
SUPPRESSION_SAMPLES = 1102.5  # 50 ms


@dataclass(frozen=True, kw_only=True)
class DetectedOnsets:
    """Onsets that the script's detector finds in a sound.

    Attributes:
        positions: (K,) float64, samples at 22050 Hz from the start, ascending.
        waveform: (N,) float32 at 22050 Hz, at most 8 s; empty for annotated onsets.
    """

    positions: NDArray[np.float64]
    waveform: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class WindowedScore:
    """Three values of one file, each 0..1."""

    accuracy: float
    average_precision: float
    f1: float


def detect_script_onsets(samples: NDArray[np.float32], rate_hz: int) -> DetectedOnsets:
    """Onsets of the first 8 s by librosa's defaults and delta 0.3, as in MMAudio's eval_onsets.py.

    The (N,) finite sound is resampled to 22050 Hz by soxr HQ, as librosa.load does.

    Raises:
        ValueError: the sound is not mono, or the rate is not positive.
        MissingExtra: librosa is not installed.
    """
    levels.check_mono(samples, rate_hz)
    librosa = extra_package("librosa")
    waveform = soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ")
    waveform = waveform[: round(DURATION_S * RATE_HZ)]
    if not waveform.any():
        return DetectedOnsets(positions=np.zeros(0), waveform=waveform)
    # The defaults of onset_strength, whose spectrogram is computed faster
    mel = levels.mel_power(
        waveform, RATE_HZ, window=WINDOW_SAMPLES, hop=HOP_SAMPLES, bands=BAND_COUNT
    )
    strength = librosa.onset.onset_strength(S=librosa.power_to_db(mel), sr=RATE_HZ)
    positions = librosa.onset.onset_detect(
        onset_envelope=strength, sr=RATE_HZ, units="samples", delta=DELTA
    )
    return DetectedOnsets(positions=np.asarray(positions, dtype=np.float64), waveform=waveform)


def annotated_onsets(times_s: ArrayLike) -> DetectedOnsets:
    """Annotated onsets of the first 8 s, given in ascending seconds, as the script reads them."""
    times = np.asarray(times_s, dtype=np.float64)
    return DetectedOnsets(
        positions=times[times < DURATION_S] * RATE_HZ, waveform=np.zeros(0, np.float32)
    )


def script_score(reference: DetectedOnsets, estimated: DetectedOnsets) -> WindowedScore:
    """Accuracy, AP and F1 of one file as the published script prints them before averaging.

    The accuracy is 0 without true onsets; AP is 1 and F1 is 0 if there are some and none is
    predicted.

    Raises:
        ValueError: the script itself fails: an onset in the first 50 ms, or no onsets on either
            side.
    """
    scaled = _scale(estimated.waveform)
    onsets = _suppress_neighbours(estimated.positions.astype(np.int64).tolist(), scaled)
    # Greedy matching of each true onset, in order.
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
        # (c): `i` is an index of `left`, but is used in `onsets`.
        match = near[int(np.argsort([scaled[onsets[i]] for i in near])[-1])]
        confidences.append(_confidence(scaled, left[match]))
        hits += 1
        left.remove(left[match])
        if not left:
            break  # (a)
    # Predictions without a match are negatives.
    labels += [0] * len(left)
    confidences += [_confidence(scaled, onset) for onset in left]
    if not labels:
        raise ValueError("there are no true and no predicted onsets: the published script fails")
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
    """The area under precision over recall, 0..1, in steps, with equal confidences as one step.

    `labels` are 1 for correct predictions. `positive_count` includes positives that were not
    predicted; if it is sum(labels), sklearn.metrics.average_precision_score gives the same.
    """
    if not positive_count or not len(labels):
        return 0.0
    order = np.argsort(-np.asarray(confidences), kind="stable")
    sorted_confidences = np.asarray(confidences)[order]
    correct = np.cumsum(np.asarray(labels, dtype=np.float64)[order])
    last_of_equals = np.append(np.diff(sorted_confidences) != 0, True)
    precision = (correct / np.arange(1, len(correct) + 1))[last_of_equals]
    recall = correct[last_of_equals] / positive_count
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _scale(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    if not len(waveform):
        raise ValueError("an empty sound: the published script fails")
    lowest, highest = waveform.min(), waveform.max()
    return np.asarray((waveform - lowest) / (highest - lowest + np.float32(1e-6)))


def _confidence(scaled: NDArray[np.float32], onset: int) -> float:
    window = scaled[onset - CONFIDENCE_SAMPLES : onset + CONFIDENCE_SAMPLES]  # (d)
    if not len(window):
        raise ValueError(
            f"an onset at {onset / RATE_HZ:.3f} s, in the first 50 ms: the published script fails"
        )
    return float(window.max())


def _suppress_neighbours(onsets: list[int], scaled: NDArray[np.float32]) -> list[int]:
    """Onsets without weaker neighbours within 50 ms, except those that the script skips."""
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
            position += 1  # (e): the item that has moved to this position is skipped
    return sorted(kept)


def script_detector(waveform: Waveform) -> DetectedOnsets:
    """`detect_script_onsets` of the mean of a sound's channels."""
    return detect_script_onsets(waveform.mono(), waveform.rate_hz)


def windowed_metrics(
    group: PairwiseGroup, names: Sequence[str], references: Sequence[str]
) -> tuple[Metric, ...]:
    """The records of accuracy, AP and F1 of a group that gives a `WindowedScore`."""
    return tuple(
        Metric(
            name=name,
            reference=reference,
            computation=Pairwise(group=group, value=attrgetter(attribute)),
        )
        for name, reference, attribute in zip(
            names, references, ("accuracy", "average_precision", "f1"), strict=True
        )
    )


_REFERENCE = (
    "MMAudio eval_onsets.py after Du et al., CVPR 2023 (CondFoleyGen), bug-compatible: librosa "
    "delta 0.3, 22050 Hz by soxr HQ, first 8 s, within 0.3 s; mean over files"
)
METRICS = windowed_metrics(
    PairwiseGroup(
        name="script_onsets",
        modules=(sys.modules[__name__], levels),
        basis=script_detector,
        analyse=lambda detected: detected,
        analyse_events=lambda events: annotated_onsets(events.times_s),
        compare=script_score,
    ),
    ("onset_accuracy_mmaudio_script", "onset_ap_mmaudio_script", "onset_f1_mmaudio_script"),
    (
        _REFERENCE,
        f"{_REFERENCE}; 1 where nothing is predicted",
        f"{_REFERENCE}; misses after the last prediction are not counted",
    ),
)
