"""Does the sound swell and fade when it should? Correlation of two envelopes of level.

Arrays in, numbers out. No onsets are looked for, so it also judges sounds that have none: rain,
rolling, scraping. The envelope is the root mean square under a Hann window of 25 ms every 10 ms,
in dB, not weighted by frequency; what lies 60 dB below its maximum counts as that floor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metric import Metric

RATE_HZ = 16000
WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
FLOOR_DB = 60.0
SILENCE_DBFS = -90.0  # an envelope that never reaches this is flat
FLATTEST_DB = 1e-6  # a standard deviation below this is none

ENVELOPE_CORRELATION = Metric(
    name="envelope_correlation",
    unit="1",
    direction="higher",
    range=(-1.0, 1.0),
    reference="ours: Pearson correlation of levels in dB (25 ms Hann, every 10 ms, floor 60 dB "
    "below the maximum) at 16 kHz by soxr VHQ; 0 where one is flat, 1 where both are",
)


def envelope_correlation(
    reference: NDArray[np.float32], estimated: NDArray[np.float32], rate_hz: int
) -> float:
    """Pearson correlation of two sounds' levels over time, at no lag.

    Args:
        reference: (N,) float32, full scale at -1..1.
        estimated: (N,) float32; of the longer one the end is left out.
        rate_hz: of both.

    Returns:
        -1..1; 0 if one envelope is flat (silence, say), 1 if both are.

    Raises:
        ValueError: not mono, or nothing in common.

    Source: Pearson 1895; the envelope is ours.
    """
    return correlate(level_envelope(reference, rate_hz), level_envelope(estimated, rate_hz))


def level_envelope(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """Mean square of a sound every 10 ms, the first at time 0.

    Args:
        samples: (N,) float32, full scale at -1..1.
        rate_hz: its rate; brought to 16 kHz by soxr.

    Returns:
        (T,) float64, one for each begun 10 ms.

    Raises:
        ValueError: not mono, or a rate that is not positive.

    Source: ours.
    """
    if samples.ndim != 1 or rate_hz <= 0:
        raise ValueError(f"got {samples.shape} at {rate_hz} Hz, expected (N,) and a rate > 0")
    import soxr

    sound = samples
    if rate_hz != RATE_HZ:
        sound = soxr.resample(samples, rate_hz, RATE_HZ, quality="VHQ")
    frame_count = -(-len(sound) // HOP_SAMPLES)
    padded = np.zeros(frame_count * HOP_SAMPLES + WINDOW_SAMPLES)
    padded[WINDOW_SAMPLES // 2 : WINDOW_SAMPLES // 2 + len(sound)] = sound
    windows = np.lib.stride_tricks.sliding_window_view(np.square(padded), WINDOW_SAMPLES)
    weights = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    envelope: NDArray[np.float64] = windows[::HOP_SAMPLES][:frame_count] @ (weights / weights.sum())
    return envelope


def correlate(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> float:
    """Pearson correlation of two envelopes in dB, over what they have in common.

    Args:
        reference: (T,) mean squares, as `level_envelope` gives them.
        estimated: (T,) mean squares.

    Returns:
        -1..1; 0 if one is flat, 1 if both are.

    Raises:
        ValueError: nothing in common.

    Source: Pearson 1895.
    """
    count = min(len(reference), len(estimated))
    if not count:
        raise ValueError("an empty sound has no envelope to compare")
    first, second = _deviation_db(reference[:count]), _deviation_db(estimated[:count])
    if not (first.any() and second.any()):
        return float(first.any() == second.any())
    return float(np.clip(first @ second / np.sqrt((first @ first) * (second @ second)), -1, 1))


def _deviation_db(mean_squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level less its mean; zeros for a flat one."""
    highest = float(mean_squares.max())
    if highest < 10 ** (SILENCE_DBFS / 10):
        return np.zeros(len(mean_squares))
    floor = highest * 10 ** (-FLOOR_DB / 10)
    level_db = 10 * np.log10(np.maximum(mean_squares, floor))
    deviation_db = level_db - level_db.mean()
    flat = deviation_db.std() < FLATTEST_DB
    return np.zeros(len(mean_squares)) if flat else np.asarray(deviation_db)
