"""Conversion between seconds and counts of samples, latent frames and segments.

Time zero of every grid is the start of the video: `media.reader` subtracts the presentation time
stamp of the first frame. A video frame is a point sample at its time stamp. A latent frame or a
segment is an interval [n / rate, (n + 1) / rate) with its centre at (n + 0.5) / rate. Counts are
rounded in this module only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def count_at(duration_s: float, rate_hz: float) -> int:
    """Number of grid steps in a duration, rounded half up."""
    if not (math.isfinite(duration_s) and duration_s >= 0 and rate_hz > 0):
        raise ValueError(
            f"duration_s={duration_s!r}, rate_hz={rate_hz!r}: expected a finite duration >= 0 "
            "and a rate > 0"
        )
    # 1e-9 of a step absorbs the rounding error of products such as 0.29 * 100
    return math.floor(duration_s * rate_hz + 0.5 + 1e-9)


def count_covering(duration_s: float, rate_hz: float) -> int:
    """Number of grid steps that cover a duration (rounded up)."""
    return math.ceil(duration_s * rate_hz - 1e-6)


def centres_s(count: int, rate_hz: float, start_s: float = 0.0) -> NDArray[np.float64]:
    """Centres of grid steps, (count,) float64 seconds: start_s + (n + 0.5) / rate_hz."""
    return start_s + (np.arange(count, dtype=np.float64) + 0.5) / rate_hz
