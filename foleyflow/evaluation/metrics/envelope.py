"""Correlation of two level envelopes: whether a sound swells and fades when it should.

No onsets are detected, so it also applies to sounds without any: rain, rolling, scraping. The
envelope is the root mean square in dB under a Hann window of 25 ms every 10 ms, without frequency
weighting; levels more than 60 dB below the maximum count as 60 dB below it.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.computations import Pairwise, PairwiseGroup
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import levels
from foleyflow.evaluation.metrics.levels import DYNAMIC_RANGE_DB, JUDGED_RATE_HZ

WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
SILENCE_DBFS = -90.0  # an envelope that never reaches this is flat
FLAT_DEVIATION_DB = 1e-6  # an envelope with a smaller standard deviation is flat


def envelope_correlation(
    reference: NDArray[np.float32], estimated: NDArray[np.float32], rate_hz: int
) -> float:
    """Pearson correlation, -1..1, of two sounds' levels over time, at lag 0; the longer is cut.

    It is 0 if one envelope is flat (silence, for instance), 1 if both are. The sounds are (N,)
    float32 at one rate, full scale at -1..1.

    Raises:
        ValueError: a sound is not mono, or empty.
    """
    return correlate(level_envelope(reference, rate_hz), level_envelope(estimated, rate_hz))


def level_envelope(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """Mean square of a (N,) sound every 10 ms from time 0, at 16 kHz.

    The length is the duration in steps of 10 ms, rounded up.
    """
    levels.check_mono(samples, rate_hz)
    if rate_hz != JUDGED_RATE_HZ:
        samples = levels.resample(samples, rate_hz, JUDGED_RATE_HZ)
    power = np.square(samples.astype(np.float64))
    count = -(-len(samples) // HOP_SAMPLES)
    frames = levels.frame(power, window=WINDOW_SAMPLES, hop=HOP_SAMPLES, count=count)
    envelope: NDArray[np.float64] = frames @ levels.hann_window(WINDOW_SAMPLES)
    return envelope


def correlate(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
    """`envelope_correlation` of two envelopes of `level_envelope`, (T,), T > 0."""
    count = min(len(reference), len(estimated))
    if not count:
        raise ValueError("an empty sound has no envelope to compare")
    first, second = _deviation_db(reference[:count]), _deviation_db(estimated[:count])
    if not (first.any() and second.any()):
        return float(first.any() == second.any())
    return float(np.clip(first @ second / np.sqrt((first @ first) * (second @ second)), -1, 1))


def _deviation_db(mean_squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level minus its mean; zeros for a flat envelope."""
    highest = float(mean_squares.max())
    if highest < 10 ** (SILENCE_DBFS / 10):
        return np.zeros(len(mean_squares))
    floor = highest * 10 ** (-DYNAMIC_RANGE_DB / 10)
    level_db = 10 * np.log10(np.maximum(mean_squares, floor))
    deviation_db = level_db - level_db.mean()
    flat = deviation_db.std() < FLAT_DEVIATION_DB
    return np.zeros(len(mean_squares)) if flat else np.asarray(deviation_db)


METRICS = (
    Metric(
        name="envelope_correlation",
        range=(-1.0, 1.0),
        reference="ours: Pearson correlation of levels in dB (25 ms Hann, every 10 ms, floor 60 dB "
        "below the maximum) at 16 kHz by soxr VHQ; 0 where one is flat, 1 where both are",
        computation=Pairwise(
            group=PairwiseGroup(
                name="envelope",
                modules=(sys.modules[__name__], levels),
                basis=levels.mono_16_khz,
                analyse=lambda samples: level_envelope(samples, JUDGED_RATE_HZ),
                analyse_events=None,
                compare=correlate,
            )
        ),
    ),
)
