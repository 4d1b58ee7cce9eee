"""Whether generated latents vary as the true ones do: how much in all, and how finely.

A generator that gives the mean of what could sound has its onsets in the right places and still
lacks what differs from one true sound to the next: most of the variance, and nearly all of the
noise between events. Onset scores do not see it; these figures do. Arrays in, numbers out,
float64; which network made the latents is not known here.

Dimension letters: N clips, L latent frames, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.clock import centres_s
from foleyflow.evaluation.metrics.distribution import fit_gaussian, frechet_distance

# Around an event latents jump for a reason; what is finer than that is looked at elsewhere.
BEFORE_EVENT_S = 0.04
AFTER_EVENT_S = 0.12
# Of white noise, a frame minus the mean of its neighbours has this variance: 1 + 1/4 + 1/4.
WHITE_RESIDUAL = 1.5
SMALLEST_DEVIATION = 1e-6  # of a channel that never changes


@dataclass(frozen=True, kw_only=True)
class LatentFigures:
    """Generated latents against the true ones.

    Attributes:
        variance: generated over true; 1 is right.
        noise_level: generated over true; 1 is right, a generator of means has less. None where
            no frame of either is away from events, or the true ones have no noise.
        frechet: distance of single frames as distributions, channels in true deviations.
    """

    variance: float
    noise_level: float | None
    frechet: float


def compare_latents(
    true: ArrayLike,
    made: ArrayLike,
    *,
    true_quiet: ArrayLike,
    made_quiet: ArrayLike,
) -> LatentFigures:
    """All figures of a set of clips; every channel counts alike, in its true deviations.

    Args:
        true: (N, L, C) latents of the true sounds.
        made: (N, L, C) of the sounds made for them.
        true_quiet: (N, L) bool, frames of the true sounds away from events (`quiet_frames`).
        made_quiet: (N, L) bool, of the generated ones.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.

    Source: ours; method section F.6 (variance and noise floor), Fréchet as `distribution`.
    """
    first, second = _latents(true), _latents(made)
    if first.shape != second.shape:
        raise ValueError(f"latents of {first.shape} and {second.shape}: expected equal shapes")
    deviation = np.maximum(first.std(axis=(0, 1)), SMALLEST_DEVIATION)
    centre = first.mean(axis=(0, 1))
    first, second = (first - centre) / deviation, (second - centre) / deviation
    levels = noise_level(first, true_quiet), noise_level(second, made_quiet)
    noise = None
    if levels[0] and levels[1] is not None:
        noise = levels[1] / levels[0]
    frames = [fit_gaussian(side.reshape(-1, side.shape[2])) for side in (first, second)]
    return LatentFigures(
        variance=variance(second) / max(variance(first), SMALLEST_DEVIATION),
        noise_level=noise,
        frechet=frechet_distance(*frames),
    )


def variance(latents: ArrayLike) -> float:
    """Mean over channels of the variance over clips and frames.

    Args:
        latents: (N, L, C).

    Source: ours.
    """
    return float(_latents(latents).var(axis=(0, 1)).mean())


def noise_level(latents: ArrayLike, quiet: ArrayLike) -> float | None:
    """Deviation of what a frame has that its two neighbours do not tell, away from events.

    The residual x_n - (x_{n-1} + x_{n+1}) / 2 is zero for anything that changes linearly and small
    for what changes slowly (a sinusoid of w radians a frame keeps 1 - cos w of its amplitude);
    white noise of deviation s has residuals of variance 1.5 s^2, which is divided out.

    Args:
        latents: (N, L, C).
        quiet: (N, L) bool, which frames count; the first and last frame never do.

    Returns:
        root mean square over frames and channels; of white noise its deviation. None where no
        frame counts.

    Raises:
        ValueError: shapes that do not fit.

    Source: ours; the residual of interpolation as an innovation (Yaglom 1962, section 23).
    """
    values, counted = _latents(latents), np.asarray(quiet, dtype=bool)
    if counted.shape != values.shape[:2]:
        raise ValueError(f"quiet: got {counted.shape}, expected {values.shape[:2]}")
    residual = values[:, 1:-1] - 0.5 * (values[:, :-2] + values[:, 2:])
    chosen = residual[counted[:, 1:-1]]
    if not len(chosen):
        return None
    return float(np.sqrt(np.square(chosen).mean() / WHITE_RESIDUAL))


def spread(first: ArrayLike, second: ArrayLike, *, deviation: ArrayLike) -> float:
    """How far two samples for the same clips are apart: 0 for a generator of means.

    Args:
        first: (N, L, C) latents.
        second: (N, L, C), for the same clips from other noise.
        deviation: (C,) of the true latents, in which channels are compared.

    Returns:
        root mean square difference over root 2; of independent samples with deviation s around
        the same means it is s.

    Source: ours; method section G (no collapse, diversity).
    """
    scale = np.maximum(np.asarray(deviation, np.float64), SMALLEST_DEVIATION)
    difference = (_latents(first) - _latents(second)) / scale
    return float(np.sqrt(np.square(difference).mean() / 2))


def quiet_frames(
    events_s: Sequence[NDArray[np.float64]], count: int, rate_hz: float
) -> NDArray[np.bool_]:
    """Latent frames that no event is near to.

    Args:
        events_s: N clips' events, seconds from the clip's start, in any order.
        count: latent frames L of each.
        rate_hz: of them.

    Returns:
        (N, L) bool, False from 40 ms before an event until 120 ms after it.

    Source: ours.
    """
    centres = centres_s(count, rate_hz)
    rows = []
    for times_s in events_s:
        since = centres[:, None] - np.asarray(times_s, np.float64)[None, :]
        near = (since >= -BEFORE_EVENT_S) & (since <= AFTER_EVENT_S)
        rows.append(~near.any(axis=1))
    return np.stack(rows)


def _latents(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"latents: got {array.shape}, expected (N, L, C), none of them 0")
    if not np.isfinite(array).all():
        raise ValueError("latents: some are not finite")
    return array
