"""Sounds for the codec, drawn once and kept in one memory-mapped file.

Drawing a sound takes longer than a training step has time for; a bank of a few thousand two-second
sounds, cropped and scaled at random, does not. The bank is a cache: the same settings give the
same bytes, and it may be deleted at any time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.simulation.sound.codec_sounds import CodecSounds, Split


@dataclass(frozen=True, kw_only=True)
class SoundBankConfig:
    """What is in the bank.

    Attributes:
        items: number of sounds.
        duration_s: of each.
        rate_hz: samples per second.
        seed: of `CodecSounds`.
        split: "train", "validation" or "test".
    """

    items: int = 3000
    duration_s: float = 2.0
    rate_hz: int = 48_000
    seed: int = 0
    split: Split = "train"


def open_sound_bank(root: Path, config: SoundBankConfig) -> NDArray[np.int16]:
    """The bank as a memory map, made first where it is missing.

    Args:
        root: folder of caches; made if missing.
        config: what should be in it.

    Returns:
        (items, samples) int16, full scale at 32767, read-only.

    Source: ours.
    """
    samples = count_at(config.duration_s, config.rate_hz)
    name = "sounds-{split}-{seed}-{items}x{duration_s:g}s".format(**asdict(config))
    path = root / f"{name}.i16"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        bank = np.memmap(temporary, np.int16, "w+", shape=(config.items, samples))
        blocks = [range(i, min(i + 50, config.items)) for i in range(0, config.items, 50)]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            drawn = pool.map(_draw_block, [config] * len(blocks), blocks)
            for block, sounds in zip(blocks, drawn, strict=True):
                bank[block.start : block.stop] = sounds
        bank.flush()
        path.with_suffix(".json").write_text(json.dumps(asdict(config)) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    return np.memmap(path, np.int16, "r", shape=(config.items, samples))


def _draw_block(config: SoundBankConfig, indices: range) -> NDArray[np.int16]:
    source = CodecSounds(
        seed=config.seed,
        split=config.split,
        duration_s=config.duration_s,
        rate_hz=config.rate_hz,
    )
    return np.stack([np.round(source[i] * INT16_FULL_SCALE).astype(np.int16) for i in indices])
