"""Decodes latents to sound of any length, and holds it in bounded memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.codec.interface import SoundCodec
from foleyflow.codec.streaming import decode_stream
from foleyflow.inference.temporary_bytes import ArrayBytes, StoredBytes, TemporaryBytes
from foleyflow.media import LoudnessMeter, loudness_gain, peak_gain
from foleyflow.system.stopwatch import Stopwatch

BLOCK_SAMPLES = 48_000


class SoundSpool:
    """Mono float32 sound with its loudness and its level per latent frame."""

    def __init__(self, rate_hz: int, *, hop_samples: int) -> None:
        self._bytes: ArrayBytes = TemporaryBytes()
        self._meter = LoudnessMeter(rate_hz, 1)
        self._hop_samples = hop_samples
        self._levels: list[NDArray[np.float32]] = []
        self.source: object = self  # equal for spools of the same file

    @classmethod
    def stored(
        cls, path: Path, levels: NDArray[np.float32], *, rate_hz: int, hop_samples: int
    ) -> SoundSpool:
        """The sound in a file of float32 samples, with its `levels`; nothing can be added."""
        spool = cls(rate_hz, hop_samples=hop_samples)
        spool._bytes, spool._levels, spool.source = StoredBytes(path), [levels], path
        return spool

    @property
    def sample_count(self) -> int:
        """Number of samples so far."""
        return len(self._bytes) // 4

    @property
    def levels(self) -> NDArray[np.float32]:
        """(T,) peak level of each latent frame."""
        return np.concatenate(self._levels)

    def append(self, block: NDArray[np.float32]) -> None:
        """Adds (n,) samples, where n is a multiple of the latent hop."""
        self._bytes.append(block.astype(np.float32, copy=False))
        self._meter.add(block[None])
        self._levels.append(np.abs(block.reshape(-1, self._hop_samples)).max(axis=1))

    def gain(self, target_lufs: float | None) -> float:
        """The factor to a target loudness (None keeps it), limited so that peaks do not clip."""
        gain = 1.0
        if target_lufs is not None:
            gain = loudness_gain(self._meter.integrated_lufs(), target_lufs)
        return gain * peak_gain(float(self.levels.max(initial=0.0)) * gain)

    def blocks(
        self, gain: float, *, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Samples from `start` to before `stop`, by default all, times `gain`: (1, n) blocks."""
        total = self.sample_count
        stop = total if stop is None else min(stop, total)
        for first in range(start, stop, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, stop - first)
            samples = self._bytes.read(4 * first, count, np.float32)
            yield samples.astype(np.float32)[None] * np.float32(gain)


class StereoSpool:
    """Stereo float32 sound."""

    def __init__(self) -> None:
        self._bytes: ArrayBytes = TemporaryBytes()
        self.source: object = self  # equal for spools of the same file

    @classmethod
    def stored(cls, path: Path) -> StereoSpool:
        """The sound in a file of interleaved float32 samples; nothing can be added."""
        spool = cls()
        spool._bytes, spool.source = StoredBytes(path), path
        return spool

    @property
    def sample_count(self) -> int:
        """Number of samples of each channel so far."""
        return len(self._bytes) // 8

    def append(self, block: NDArray[np.float32]) -> None:
        """Adds (2, n) samples."""
        self._bytes.append(block.T.astype(np.float32, copy=False))

    def blocks(self, *, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Samples from `start` to before `stop`, by default all: (2, n) blocks."""
        total = self.sample_count
        stop = total if stop is None else min(stop, total)
        for first in range(start, stop, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, stop - first)
            samples = self._bytes.read(8 * first, 2 * count, np.float32)
            yield samples.astype(np.float32).reshape(-1, 2).T


@dataclass(frozen=True, kw_only=True)
class SoundPatch:
    """Samples (n,) or (channels, n) that replace those of a sound from `start` on."""

    start: int
    samples: NDArray[np.float32]

    @property
    def end(self) -> int:
        """The first sample after the patch."""
        return self.start + self.samples.shape[-1]

    @functools.cached_property
    def peak(self) -> float:
        """The largest absolute value of its samples."""
        return float(np.abs(self.samples).max(initial=0.0))


def patched_blocks(
    blocks: Iterable[NDArray[np.float32]], patches: Sequence[SoundPatch]
) -> Iterator[NDArray[np.float32]]:
    """Blocks (channels, n) of a sound with its patches; later ones replace earlier ones."""
    position = 0
    for block in blocks:
        end = position + block.shape[1]
        touching = [p for p in patches if p.start < end and p.end > position]
        if touching:
            block = block.copy()
        for patch in touching:
            begin, stop = max(patch.start, position), min(patch.end, end)
            own = patch.samples[..., begin - patch.start : stop - patch.start]
            block[:, begin - position : stop - position] = own
        yield block
        position = end


def added_blocks(
    blocks: Iterable[NDArray[np.float32]], others: Iterable[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Blocks (n,) of a sound with another one added, whose blocks may have other lengths.

    The other sound is cut or extended by zeros.
    """
    remaining = iter(others)
    waiting = np.zeros(0, np.float32)
    for block in blocks:
        while len(waiting) < len(block):
            zeros = np.zeros(len(block) - len(waiting), np.float32)
            waiting = np.concatenate([waiting, next(remaining, zeros)])
        yield block + waiting[: len(block)]
        waiting = waiting[len(block) :]


@torch.inference_mode()
def decode_latents(
    codec: SoundCodec,
    latents: Iterable[Tensor],
    process: Callable[[Iterable[NDArray[np.float32]]], Iterable[NDArray[np.float32]]],
    stopwatch: Stopwatch,
) -> SoundSpool:
    """Decodes the codec latents of a clip, in pieces (1, T, C).

    `process` changes the samples of a stream of blocks (n,), but not their number. `stopwatch`
    receives the part "codec", which includes it.
    """
    spool = SoundSpool(codec.config.rate_hz, hop_samples=codec.config.hop_samples)
    waiting = Stopwatch()
    pieces = waiting.timed("latents", latents)
    decoded = (block[0].float().cpu().numpy() for block in decode_stream(codec, pieces))
    for block in stopwatch.timed("codec", _in_hops(process(decoded), codec.config.hop_samples)):
        spool.append(block)
    stopwatch.add("codec", -waiting.seconds["latents"])  # the decoder waits for the generation
    return spool


def _in_hops(
    blocks: Iterable[NDArray[np.float32]], hop_samples: int
) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of complete hops."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        joined = np.concatenate([rest, block])
        complete = len(joined) - len(joined) % hop_samples
        if complete:
            yield joined[:complete]
        rest = joined[complete:]
