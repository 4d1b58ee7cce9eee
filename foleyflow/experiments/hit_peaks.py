"""Peaks of a sound near hits at known times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A hit peaks from 10 ms before to 60 ms after its time, and before the next hit.
PEAK_BEFORE_S, PEAK_AFTER_S = 0.01, 0.06


def peaks_of_hits(
    sound: NDArray[np.float32], times_s: NDArray[np.float64], rate_hz: int
) -> NDArray[np.float64]:
    """The peak of a (N,) sound near each hit, relative to full scale, (K,).

    It is NaN where the sound has ended. `times_s` is ascending.
    """
    peaks = np.full(len(times_s), np.nan)
    for index, time_s in enumerate(times_s):
        # Up to the next hit, which may have the same time as this one
        later_s = times_s[times_s > time_s]
        end_s = min(time_s + PEAK_AFTER_S, later_s.min(initial=np.inf) - PEAK_BEFORE_S)
        end_s = max(end_s, time_s + PEAK_BEFORE_S)
        first = max(0, round((time_s - PEAK_BEFORE_S) * rate_hz))
        piece = sound[first : round(end_s * rate_hz)]
        if len(piece):
            peaks[index] = float(np.abs(piece).max())
    return peaks
