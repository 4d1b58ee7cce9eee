"""The constant lag between sound and picture of a recording, estimated with an aligner.

A lag is sound minus picture: positive means that the sound is late. The sound of recordings is up
to 100 ms early or late (docs/experiments/2026-11-27-recording-lags.md), which no picture shows and
a training must not learn.

Dimension letters: L latent frames, K onsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import centres_s
from foleyflow.evaluation.metrics.synchrony.comparison import LARGEST_LAG_S

LAG_STEP_S = 0.005
# Lags so far away that agreement is by chance, to either side
CHANCE_FROM_S, CHANCE_TO_S = 0.2, 1.2
CLEAR_DEVIATIONS = 3.0  # of agreement by chance, above its mean
CLOSE_LAGS_S = 0.015  # every other onset must give the same lag as the others
RIVAL_DISTANCE_S, LARGEST_RIVAL = 0.06, 0.85  # another peak, as a fraction of the highest one


@dataclass(frozen=True, kw_only=True)
class LagEstimate:
    """The lag of a recording.

    Attributes:
        lag_s: sound minus picture; None if the peak of the agreement is not clear.
        deviations: height of the peak above agreement by chance, in its standard deviations.
        reason: why there is no clear lag; empty if there is one.
    """

    lag_s: float | None
    deviations: float
    reason: str = ""


def onset_agreement(
    probability: NDArray[np.float32],
    onsets_s: NDArray[np.float64],
    lags_s: NDArray[np.float64],
    *,
    rate_hz: float,
) -> NDArray[np.float64]:
    """Mean onset probability (L,) of the picture at the onsets (K,) of the sound, for each lag."""
    times_s = centres_s(len(probability), rate_hz)
    moved_s = onsets_s[None, :] - lags_s[:, None]
    values = np.interp(moved_s, times_s, probability.astype(np.float64), left=0.0, right=0.0)
    return np.asarray(values.mean(1), np.float64)


def estimate_lag(
    probability: NDArray[np.float32], onsets_s: NDArray[np.float64], *, rate_hz: float
) -> LagEstimate:
    """The lag within 120 ms at which probabilities and onsets agree best, if the peak is clear.

    The peak must exceed the agreement at lags of 0.2 to 1.2 s, which is by chance, by three of its
    standard deviations. It must lie inside the range, no other peak may be nearly as high, and
    both halves of the onsets (every other one) must agree on it.

    Args:
        probability: (L,) of an onset in each latent frame, from the picture.
        onsets_s: (K,) of the recording's own sound, at least two.
        rate_hz: latent frames per second.
    """
    # Agreement near no lag, and by chance
    steps = round(LARGEST_LAG_S / LAG_STEP_S)
    # One step beyond either end
    lags_s = LAG_STEP_S * np.arange(-steps - 1, steps + 2, dtype=np.float64)
    near = onset_agreement(probability, onsets_s, lags_s, rate_hz=rate_hz)
    one_side_s = np.arange(CHANCE_FROM_S, CHANCE_TO_S, LAG_STEP_S)
    far_s = np.concatenate([-one_side_s, one_side_s]).astype(np.float64)
    by_chance = onset_agreement(probability, onsets_s, far_s, rate_hz=rate_hz)
    mean, deviation = float(by_chance.mean()), float(by_chance.std())
    # The peak, and whether it is clear
    best = int(near.argmax())
    height = float(near[best]) - mean
    deviations = round(height / max(deviation, 1e-9), 2)
    rivals = near[np.abs(lags_s - lags_s[best]) >= RIVAL_DISTANCE_S] - mean
    halves_s = [
        lags_s[onset_agreement(probability, half_s, lags_s, rate_hz=rate_hz).argmax()]
        for half_s in (onsets_s[::2], onsets_s[1::2])
    ]
    reason = ""
    if deviations < CLEAR_DEVIATIONS:
        reason = f"lag unclear: picture and sound agree little ({deviations:.1f} deviations)"
    elif best in (0, len(lags_s) - 1):
        reason = f"lag unclear: more than {round(1000 * LARGEST_LAG_S)} ms"
    elif rivals.max(initial=0.0) > LARGEST_RIVAL * height:
        reason = "lag unclear: two lags fit equally well"
    elif np.ptp(halves_s) > CLOSE_LAGS_S + 1e-9:
        reason = "lag unclear: parts of the recording have different lags"
    if reason:
        return LagEstimate(lag_s=None, deviations=deviations, reason=reason)
    # Refined by the parabola through three points
    left, middle, right = near[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < -1e-12 else 0.0
    lag_s = float(lags_s[best] + shift * LAG_STEP_S)
    return LagEstimate(lag_s=round(lag_s, 4), deviations=deviations)
