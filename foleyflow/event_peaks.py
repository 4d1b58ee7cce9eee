"""Event times from a probability curve, and tracks with a bump at each event.

The aligner learns such a track as its onset probability for each latent frame, and the cue tracks
of the flow contain one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import centres_s

BUMP_S = 0.013  # standard deviation of a bump: two thirds of a latent frame at 50 Hz
SMALLEST_LEVEL = 0.05  # lower levels of a bump are set to zero
EVENT_THRESHOLD = 0.5  # onset probability of an event; best on simulated validation clips
SHORTEST_GAP_S = 0.03  # the lower one of two closer peaks is discarded


def find_event_peaks(
    probability: NDArray[np.float32], *, rate_hz: float, threshold: float
) -> NDArray[np.float64]:
    """Find the peaks at or above `threshold` of a probability (T,) over time.

    Returns (E,) ascending seconds from the start of the grid, within 0..T / rate_hz. Each peak is
    refined by the parabola through its three grid steps.

    Reference: Smith & Serra 1987 (PARSHL), for the parabola.
    """
    # Local maxima above the threshold; the last step of a plateau counts
    padded = np.pad(probability.astype(np.float64), 1)
    inner, left, right = padded[1:-1], padded[:-2], padded[2:]
    peaks = np.flatnonzero((inner >= threshold) & (inner >= left) & (inner > right))
    # Parabolic interpolation
    curvature = left[peaks] - 2 * inner[peaks] + right[peaks]
    shift = np.zeros(len(peaks))
    curved = curvature < -1e-6
    shift[curved] = 0.5 * (left[peaks] - right[peaks])[curved] / curvature[curved]
    times_s = np.clip((peaks + 0.5 + shift) / rate_hz, 0.0, len(probability) / rate_hz)
    # The highest of close peaks
    kept: list[float] = []
    for time_s in times_s[np.argsort(-inner[peaks], kind="stable")]:
        if all(abs(time_s - other) >= SHORTEST_GAP_S for other in kept):
            kept.append(float(time_s))
    return np.array(sorted(kept), np.float64)


def event_track(times_s: NDArray[np.float64], count: int, rate_hz: float) -> NDArray[np.float32]:
    """A track (count,) with a Gaussian bump at each event (E,), in seconds.

    It is 1 in the grid step where an event starts, lower next to it, else 0. Events outside the
    grid may reach into it.
    """
    centres = centres_s(count, rate_hz)
    distance_s = np.abs(centres[:, None] - times_s[None, :])
    level = np.exp(-0.5 * (distance_s / BUMP_S) ** 2).max(axis=1, initial=0.0)
    level[(distance_s <= 0.5 / rate_hz).any(axis=1)] = 1.0
    level[level < SMALLEST_LEVEL] = 0.0
    return np.asarray(level, np.float32)
