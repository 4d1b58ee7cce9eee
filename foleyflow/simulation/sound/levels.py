"""Levels of sounds on one scale: 0 dB is as loud as the loudest hit of an ordinary clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.clock import count_at
from foleyflow.cues.cue import NOMINAL_PEAK

# An impact of this speed between bodies of this mass peaks at about `NOMINAL_PEAK`.
NOMINAL_MPS = 2.5
NOMINAL_KG = 0.2
FAINTEST_DB = -60.0  # lower levels are inaudible and are raised to this one
STEP_S = 0.04  # of a level curve
_SMOOTHED_STEPS = 3  # a value of a level curve covers 120 ms


def level_db(amplitude: ArrayLike) -> NDArray[np.float64]:
    """Return the levels of amplitudes relative to full scale, dB relative to `NOMINAL_PEAK`.

    Levels below `FAINTEST_DB`, silence included, are raised to it.
    """
    ratio = np.maximum(np.asarray(amplitude, np.float64) / NOMINAL_PEAK, 1e-9)
    return np.asarray(np.maximum(20 * np.log10(ratio), FAINTEST_DB))


def rms_curve(sound: NDArray[np.float64], *, rate_hz: int) -> NDArray[np.float64]:
    """Return the RMS of a sound in steps of `STEP_S`, smoothed over 120 ms.

    Args:
        sound: (N,).

    Returns:
        (ceil(N / step),) float64; value i is that of the step from i * `STEP_S` on and of its
        neighbours, where the sound has them.
    """
    step = count_at(STEP_S, rate_hz)
    starts = np.arange(0, len(sound), step)
    if not len(starts):
        return np.zeros(0)
    window = np.ones(_SMOOTHED_STEPS)
    margin = _SMOOTHED_STEPS // 2
    energy, count = (
        np.convolve(np.add.reduceat(values, starts), window)[margin : margin + len(starts)]
        for values in (np.square(sound), np.ones(len(sound)))
    )
    return np.asarray(np.sqrt(energy / count))
