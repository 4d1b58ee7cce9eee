"""Lengthen a recording of rolling or scraping, and give it the levels of a cue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CROSSFADE_S = 0.1  # between two repetitions


def looped(body: NDArray[np.float32], count: int, *, rate_hz: int) -> NDArray[np.float32]:
    """A recording (N,), N > 0, cut or repeated with crossfades to (count,) samples.

    Crossfades keep the power, because the two ends are not correlated. They take at most half of
    the recording.
    """
    overlap = min(round(CROSSFADE_S * rate_hz), len(body) // 2)
    if count <= len(body):
        return body[:count].copy()
    fade_in = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1)).astype(np.float32)
    step = len(body) - overlap
    repetitions = -(-(count - overlap) // step)
    # Every repetition fades in over the end of the one before
    inner = body.copy()
    inner[:overlap] *= fade_in
    inner[step:] *= fade_in[::-1]
    sound = np.zeros(repetitions * step + overlap, np.float32)
    for start in range(0, repetitions * step, step):
        sound[start : start + len(body)] += inner
    # The beginning of the recording does not fade in
    sound[:overlap] = body[:overlap]
    return sound[:count]


def amplitudes(curve_db: tuple[float, ...], count: int, *, reference: float) -> NDArray[np.float32]:
    """Factors (count,) of a level curve at equal steps, at 0 dB equal to `reference`."""
    steps = np.linspace(0, max(count - 1, 1), len(curve_db))
    levels_db = np.interp(np.arange(count), steps, curve_db)
    return (reference * 10 ** (levels_db / 20)).astype(np.float32)
