"""Lengthen a recording of rolling or scraping, and give it the levels of a cue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CROSSFADE_S = 0.1  # between two repetitions


def looped(
    body: NDArray[np.float32],
    count: int,
    *,
    rate_hz: int,
    first: int = 0,
    last: int | None = None,
) -> NDArray[np.float32]:
    """A recording (N,), N > 0, cut or repeated with crossfades to (count,) samples.

    Crossfades keep the power, because the two ends are not correlated. They take at most half of
    the recording. With `first` and `last`, only the samples from `first` to before `last`.
    """
    last = count if last is None else min(last, count)
    overlap = min(round(CROSSFADE_S * rate_hz), len(body) // 2)
    if count <= len(body):
        return body[first:last].copy()
    fade_in = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1)).astype(np.float32)
    step = len(body) - overlap
    repetitions = -(-(count - overlap) // step)
    # The beginning of the recording does not fade in
    first_repetition = body.copy()
    first_repetition[step:] *= fade_in[::-1]
    # Every other repetition fades in over the end of the one before
    repetition = first_repetition.copy()
    repetition[:overlap] *= fade_in
    sound = np.zeros(max(last - first, 0), np.float32)
    for number in range(max((first - overlap) // step, 0), min(-(-last // step), repetitions)):
        start = number * step
        begin, end = max(start, first), min(start + len(body), last)
        samples = repetition if number else first_repetition
        sound[begin - first : end - first] += samples[begin - start : end - start]
    return sound


def amplitudes(
    curve_db: tuple[float, ...],
    count: int,
    *,
    reference: float,
    first: int = 0,
    last: int | None = None,
) -> NDArray[np.float32]:
    """Factors (count,) of a level curve at equal steps, at 0 dB equal to `reference`.

    With `first` and `last`, only the factors from `first` to before `last`.
    """
    steps = np.linspace(0, max(count - 1, 1), len(curve_db))
    places = np.arange(first, count if last is None else last)
    levels_db = np.interp(places, steps, curve_db)
    return (reference * 10 ** (levels_db / 20)).astype(np.float32)
