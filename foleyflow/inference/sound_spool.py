"""Decodes latents to sound of any length, and holds it in bounded memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.streaming import decode_stream
from foleyflow.inference.latent_generation import ClipFindings, LatentChunk
from foleyflow.media import LoudnessMeter, loudness_gain, peak_gain
from foleyflow.system.stopwatch import Stopwatch

MEMORY_BYTES = 2 * 2**20  # longer sound (11 s at 48 kHz) goes to a temporary file
BLOCK_SAMPLES = 48_000


class SoundSpool:
    """Mono float32 sound with its loudness and its level per latent frame."""

    def __init__(self, rate_hz: int, *, hop_samples: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)
        weakref.finalize(self, self._file.close)
        self._meter = LoudnessMeter(rate_hz, 1)
        self._hop_samples = hop_samples
        self._levels: list[NDArray[np.float32]] = []

    @property
    def levels(self) -> NDArray[np.float32]:
        """(T,) peak level of each latent frame."""
        return np.concatenate(self._levels)

    def append(self, block: NDArray[np.float32]) -> None:
        """Adds (n,) samples, where n is a multiple of the latent hop."""
        self._file.write(np.ascontiguousarray(block, np.float32).tobytes())
        self._meter.add(block[None])
        self._levels.append(np.abs(block.reshape(-1, self._hop_samples)).max(axis=1))

    def gain(self, target_lufs: float | None) -> float:
        """The factor to a target loudness (None keeps it), limited so that peaks do not clip."""
        gain = 1.0
        if target_lufs is not None:
            gain = loudness_gain(self._meter.integrated_lufs(), target_lufs)
        return gain * peak_gain(float(self.levels.max(initial=0.0)) * gain)

    def blocks(self, gain: float) -> Iterator[NDArray[np.float32]]:
        """All samples times `gain`, in (1, n) blocks."""
        self._file.seek(0)
        while data := self._file.read(4 * BLOCK_SAMPLES):
            yield np.frombuffer(data, np.float32)[None] * np.float32(gain)
        self._file.seek(0, 2)


@torch.inference_mode()
def decode_chunks(
    codec: Codec, chunks: Iterable[LatentChunk], stopwatch: Stopwatch
) -> tuple[SoundSpool, ClipFindings]:
    """Decodes the latents of a clip; `stopwatch` receives the part "codec"."""
    spool = SoundSpool(codec.config.rate_hz, hop_samples=codec.config.hop_samples)
    findings, waiting = ClipFindings(), Stopwatch()
    latents = waiting.timed("latents", findings.collect(chunks))
    for block in stopwatch.timed("codec", decode_stream(codec, latents)):
        spool.append(block[0].float().cpu().numpy())
    stopwatch.add("codec", -waiting.seconds["latents"])  # the decoder waits for the generation
    return spool, findings
