"""Statistics of generated latents against true ones: variance, noise level and distribution.

A generator of the conditional mean places its onsets correctly but lacks the differences between
true sounds: most of the variance, and nearly all of the noise between events. Onset scores do not
detect this; these figures do. Computed in float64.

Dimension letters: N clips, L latent frames, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.clock import centres_s
from foleyflow.evaluation.metrics.distribution import fit_gaussian, frechet_distance

# Latents change quickly around an event, so these frames do not count as noise.
BEFORE_EVENT_S = 0.04
AFTER_EVENT_S = 0.12
# The variance of white noise minus the mean of its neighbours: 1 + 1/4 + 1/4.
WHITE_RESIDUAL = 1.5
SMALLEST_DEVIATION = 1e-6  # for a channel that never changes


@dataclass(frozen=True, kw_only=True)
class LatentFigures:
    """Statistics of generated latents; variance and noise level relative to the true ones."""

    variance: float
    # None if no frame of either is away from events, or the true latents have no noise
    noise_level: float | None
    frechet: float  # of single frames, with channels in true standard deviations


def compare_latents(
    true: ArrayLike, generated: ArrayLike, *, true_quiet: ArrayLike, generated_quiet: ArrayLike
) -> LatentFigures:
    """All statistics of a set of clips, with each channel in its true standard deviations.

    Args:
        true, generated: (N, L, C) latents.
        true_quiet, generated_quiet: (N, L) bool, frames away from events (`quiet_frames`).

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.
    """
    first, second = _latents(true), _latents(generated)
    if first.shape != second.shape:
        raise ValueError(f"latents of {first.shape} and {second.shape}: expected equal shapes")
    deviation = np.maximum(first.std(axis=(0, 1)), SMALLEST_DEVIATION)
    centre = first.mean(axis=(0, 1))
    first, second = (first - centre) / deviation, (second - centre) / deviation
    levels = noise_level(first, true_quiet), noise_level(second, generated_quiet)
    frames = [fit_gaussian(side.reshape(-1, side.shape[2])) for side in (first, second)]
    return LatentFigures(
        variance=variance(second) / max(variance(first), SMALLEST_DEVIATION),
        noise_level=levels[1] / levels[0] if levels[0] and levels[1] is not None else None,
        frechet=frechet_distance(*frames),
    )


def variance(latents: ArrayLike) -> float:
    """Mean over channels of the variance over clips and frames of (N, L, C) latents."""
    return float(_latents(latents).var(axis=(0, 1)).mean())


def noise_level(latents: ArrayLike, quiet: ArrayLike) -> float | None:
    """Root mean square, over frames and channels, of the part that neighbours do not predict.

    The residual x_n - (x_{n-1} + x_{n+1}) / 2 is zero for anything that changes linearly and small
    for slow changes (a sinusoid of w radians per frame keeps 1 - cos w of its amplitude); white
    noise of deviation s has residuals of variance 1.5 s^2, which is divided out.

    `quiet`, (N, L), selects frames of the latents, (N, L, C); the first and last never count. The
    result is None if no frame counts.

    Reference: the residual of interpolation as an innovation, Yaglom 1962, section 23.
    """
    values, counted = _latents(latents), np.asarray(quiet, dtype=bool)
    if counted.shape != values.shape[:2]:
        raise ValueError(f"quiet: got {counted.shape}, expected {values.shape[:2]}")
    residual = values[:, 1:-1] - 0.5 * (values[:, :-2] + values[:, 2:])
    chosen = residual[counted[:, 1:-1]]
    if not len(chosen):
        return None
    return float(np.sqrt(np.square(chosen).mean() / WHITE_RESIDUAL))


def sample_diversity(first: ArrayLike, second: ArrayLike, *, deviation: ArrayLike) -> float:
    """Root mean square difference of two samples for the same clips, over root 2.

    It is s for independent samples, (N, L, C), of deviation s around the same means, and 0 for a
    generator of means. `deviation`, (C,), are the units of the channels.
    """
    scale = np.maximum(np.asarray(deviation, np.float64), SMALLEST_DEVIATION)
    difference = (_latents(first) - _latents(second)) / scale
    return float(np.sqrt(np.square(difference).mean() / 2))


def quiet_frames(
    events_s: Sequence[NDArray[np.float64]], count: int, rate_hz: float
) -> NDArray[np.bool_]:
    """Latent frames away from events: (N, L) bool, False from 40 ms before until 120 ms after one.

    `events_s` has the events of N clips, in seconds from the clip's start and in any order; `count`
    is L.
    """
    centres = centres_s(count, rate_hz)
    quiet = []
    for times_s in events_s:
        since = centres[:, None] - np.asarray(times_s, np.float64)[None, :]
        near = (since >= -BEFORE_EVENT_S) & (since <= AFTER_EVENT_S)
        quiet.append(~near.any(axis=1))
    return np.stack(quiet)


def _latents(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"latents: got {array.shape}, expected (N, L, C), none of them 0")
    if not np.isfinite(array).all():
        raise ValueError("latents: some are not finite")
    return array
