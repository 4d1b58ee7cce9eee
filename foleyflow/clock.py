"""The only place where seconds become samples, latent frames and segments, and back.

Time zero of every grid is the start of the video: the presentation time stamp of its first
frame is subtracted once, in `media.reader`, and never again. A video frame is a point sample at
its time stamp. A latent frame or a segment is a stretch [n/rate, (n+1)/rate) with its centre at
(n + 0.5)/rate. Counts are rounded half up, here and nowhere else.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def count_at(duration_s: float, rate_hz: float) -> int:
    """Number of grid steps in a duration, rounded half up.

    Args:
        duration_s: non-negative, finite, seconds.
        rate_hz: steps per second, positive.

    Raises:
        ValueError: a negative or non-finite duration, a non-positive rate.

    Source: ours.
    """
    if not (math.isfinite(duration_s) and duration_s >= 0 and rate_hz > 0):
        raise ValueError(
            f"duration_s={duration_s!r}, rate_hz={rate_hz!r}: expected a finite duration >= 0 "
            "and a rate > 0"
        )
    # 1e-9 of a step absorbs the binary error of products such as 0.29 * 100.
    return math.floor(duration_s * rate_hz + 0.5 + 1e-9)


def count_covering(duration_s: float, rate_hz: float) -> int:
    """Number of grid steps needed to cover a duration completely (rounded up).

    Source: ours.
    """
    return math.ceil(duration_s * rate_hz - 1e-6)


def seconds_of(count: int, rate_hz: float) -> float:
    """Start, in seconds, of grid step `count`.

    Source: ours.
    """
    return count / rate_hz


def centres_s(count: int, rate_hz: float, start_s: float = 0.0) -> NDArray[np.float64]:
    """Centres of `count` consecutive grid steps.

    Returns:
        (count,) float64, seconds: start_s + (n + 0.5) / rate_hz.

    Source: ours (method: latent and segment centres).
    """
    return start_s + (np.arange(count, dtype=np.float64) + 0.5) / rate_hz
