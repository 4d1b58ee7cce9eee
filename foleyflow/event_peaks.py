"""When something happens: moments read off a curve of probability, and the track that shows them.

The aligner gives a probability for each latent frame; the flow wants a track with a bump at each
event. Both directions stand here, so that training (true events) and use (found events) agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import centres_s

BUMP_S = 0.013  # deviation of a bump: two thirds of a latent frame at 50 Hz
FAINTEST = 0.05  # a bump ends where it is lower
SHORTEST_GAP_S = 0.03  # of two peaks nearer than this, the lower one is no event


def find_event_peaks(
    probability: NDArray[np.float32], *, rate_hz: float, threshold: float
) -> NDArray[np.float64]:
    """Peaks of a probability over time.

    Args:
        probability: (T,) per grid step, 0..1.
        rate_hz: grid steps per second.
        threshold: lower peaks don't count.

    Returns:
        (E,) float64 ascending seconds from the grid's start, within 0..T / rate_hz, placed between
        grid steps by the parabola through each peak and its neighbours.

    Source: ours; the parabola as in Smith & Serra 1987 (PARSHL).
    """
    padded = np.pad(probability.astype(np.float64), 1)
    inner, left, right = padded[1:-1], padded[:-2], padded[2:]
    peaks = np.flatnonzero((inner >= threshold) & (inner >= left) & (inner > right))
    curve = left[peaks] - 2 * inner[peaks] + right[peaks]
    shift = np.zeros(len(peaks))
    bent = curve < -1e-6
    shift[bent] = 0.5 * (left[peaks] - right[peaks])[bent] / curve[bent]
    times_s = np.clip((peaks + 0.5 + shift) / rate_hz, 0.0, len(probability) / rate_hz)
    order = np.argsort(-inner[peaks], kind="stable")
    kept: list[float] = []
    for time_s in times_s[order]:
        if all(abs(time_s - other) >= SHORTEST_GAP_S for other in kept):
            kept.append(float(time_s))
    return np.array(sorted(kept), np.float64)


def event_track(times_s: NDArray[np.float64], count: int, rate_hz: float) -> NDArray[np.float32]:
    """A bump at each event.

    Args:
        times_s: (E,) seconds from the grid's start; events beyond it may show with their edge.
        count: grid steps T.
        rate_hz: of the grid.

    Returns:
        (T,) float32, 1 in the grid step where an event starts, a little beside it, else 0.

    Source: ours.
    """
    centres = centres_s(count, rate_hz)
    near = np.abs(centres[:, None] - times_s[None, :])
    level = np.exp(-0.5 * (near / BUMP_S) ** 2).max(axis=1, initial=0.0)
    level[(near <= 0.5 / rate_hz).any(axis=1)] = 1.0
    level[level < FAINTEST] = 0.0
    return np.asarray(level, np.float32)
