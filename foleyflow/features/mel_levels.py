"""All sounds of a split as log-mel levels, computed once at the beginning of a run.

Four seconds take 50 kB, so that a few thousand clips fit into memory, and a training step takes
what it needs by a slice. How levels are computed, the caller says.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.signals import INT16_FULL_SCALE


@torch.no_grad()
def levels_of(
    sounds: NDArray[np.int16], front_end: Callable[[Tensor], Tensor], *, batch: int = 32
) -> NDArray[np.float16]:
    """Levels of many sounds.

    Args:
        sounds: (N, samples) int16, full scale at 32767.
        front_end: (B, samples) float32 to (B, T, M).
        batch: sounds at a time.

    Returns:
        (N, T, M) float16.

    Source: ours.
    """
    parts = []
    for start in range(0, len(sounds), batch):
        block = sounds[start : start + batch].astype(np.float32) / INT16_FULL_SCALE
        parts.append(front_end(torch.from_numpy(block)).numpy().astype(np.float16))
    return np.concatenate(parts)


def disturbed(
    levels: NDArray[np.float32], rng: np.random.Generator, *, strength: float = 1.0
) -> NDArray[np.float32]:
    """A clip's levels as another recording or codec would give them.

    Args:
        levels: (T, M) natural logarithms of magnitudes.
        rng: makes every choice.
        strength: of the changes; 0 for none.

    Returns:
        (T, M): bands raised and lowered smoothly, sometimes a lower band limit, noise below.

    Source: ours.
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
