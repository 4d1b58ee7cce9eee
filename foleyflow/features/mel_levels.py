"""Sounds as log-mel levels in memory, for the training of judges, and their augmentation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.signals import INT16_FULL_SCALE


@torch.no_grad()
def compute_levels(
    sounds: NDArray[np.int16], front_end: Callable[[Tensor], Tensor], *, batch: int = 32
) -> NDArray[np.float16]:
    """Levels of many sounds; four seconds take 50 kB.

    Args:
        sounds: (N, samples) int16, full scale at 32767.
        front_end: maps (B, samples) float32 to (B, T, M).
        batch: sounds at a time.

    Returns:
        (N, T, M) float16.
    """
    parts = []
    for start in range(0, len(sounds), batch):
        block = sounds[start : start + batch].astype(np.float32) / INT16_FULL_SCALE
        parts.append(front_end(torch.from_numpy(block)).numpy().astype(np.float16))
    return np.concatenate(parts)


def augment_levels(
    levels: NDArray[np.float32], rng: np.random.Generator, *, strength: float = 1.0
) -> NDArray[np.float32]:
    """Imitates another recording or codec: a smooth equalisation, a band limit and noise.

    `levels` are (T, M) natural logarithms of magnitudes. A `strength` of 0 changes nothing.
    """
    bands = levels.shape[1]
    if rng.random() < 0.7:
        knots = strength * rng.normal(0.0, 0.5, 6)
        tilt = np.interp(np.arange(bands), np.linspace(0, bands - 1, 6), knots)
        levels = levels + tilt.astype(np.float32)
    peak = float(levels.max())
    if rng.random() < 0.15 * strength:
        limit = int(rng.integers(bands * 2 // 3, bands))
        levels = levels.copy()
        levels[:, limit:] -= 6.0
    if rng.random() < 0.4 * strength:
        # Magnitudes of noise in a band are Rayleigh distributed.
        noise = rng.rayleigh(1.0, levels.shape) * np.exp(peak - rng.uniform(3.5, 8.0))
        levels = np.logaddexp(levels, np.log(noise + 1e-9)).astype(np.float32)
    return levels
