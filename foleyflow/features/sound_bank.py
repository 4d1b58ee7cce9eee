"""A bank of sounds for the training of the codec.

Sampling a sound takes longer than a training step, so a few thousand sounds of two seconds are
sampled once, and training crops and scales them at random.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.features.store import Arrays, open_store
from foleyflow.parallel.ray_cluster import Item, Result
from foleyflow.parallel.threads import available_cores
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.simulation.sound.codec_sounds import CodecSounds, Split

BLOCK = 50  # sounds that a process samples at a time


@dataclass(frozen=True, kw_only=True)
class SoundBankConfig:
    """Number, length and sample rate of the sounds; seed and split of `CodecSounds`."""

    items: int = 3000
    duration_s: float = 2.0
    rate_hz: int = 48_000
    seed: int = 0
    split: Split = "train"


def sound_bank_folder(root: Path, config: SoundBankConfig) -> Path:
    """Folder of a bank, in the folder of caches `root`."""
    shape = f"{config.items}x{config.duration_s:g}s-{config.rate_hz}Hz"
    return root / f"sound_bank-{config.split}-{config.seed}-{shape}"


def open_sound_bank(root: Path, config: SoundBankConfig) -> NDArray[np.int16]:
    """Opens the bank, and samples its sounds first if it is missing.

    Returns:
        (items, samples) int16, full scale at 32767, memory-mapped.
    """
    return open_store(
        sound_bank_folder(root, config),
        functools.partial(_sample_block, config),
        range(0, config.items, BLOCK),
        parallel_map=_map_in_processes,
    )["sounds"]


def _sample_block(config: SoundBankConfig, start: int) -> Arrays:
    source = CodecSounds(
        seed=config.seed,
        split=config.split,
        duration_s=config.duration_s,
        rate_hz=config.rate_hz,
    )
    indices = range(start, min(start + BLOCK, config.items))
    sounds = [np.round(source[index] * INT16_FULL_SCALE).astype(np.int16) for index in indices]
    return {"sounds": np.stack(sounds)}


def _map_in_processes(work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(available_cores(), mp_context=context) as pool:
        yield from pool.map(work, items)
