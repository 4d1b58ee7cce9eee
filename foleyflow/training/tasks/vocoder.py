"""Trains the neural vocoder of the paper's spectrogram on sounds at 8 kHz."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.codec.losses import SpectralLosses, envelope_loss
from foleyflow.codec.paper_mel import HOP_SAMPLES, RATE_HZ, PaperMel
from foleyflow.codec.vocoder import NeuralVocoder
from foleyflow.errors import DataError
from foleyflow.parallel.batch_sharding import normal_like
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task, weighted_sum

# (window in samples, hop in samples, mel bands) at 8 kHz; the longest one keeps tones coherent
RESOLUTIONS = ((1000, 250, 128), (400, 100, 64), (200, 50, 40), (80, 20, 20))
CROP_SAMPLES = math.lcm(HOP_SAMPLES, *(hop for _, hop, _ in RESOLUTIONS))
ENVELOPE_SAMPLES = 8  # 1 ms
VALIDATION_SOUNDS = 96


@dataclass(frozen=True, kw_only=True)
class VocoderLossConfig:
    """Weights of the vocoder's losses.

    Attributes:
        crop_s: length of each training sound, a multiple of 125 ms.
        mel, spectral, envelope: weights.
        level_noise: standard deviation of noise on the log-mel levels, in nepers, so that the
            vocoder tolerates errors of predicted levels.
        audible_nepers: see `SpectralLosses`; 0 weights all bins of a spectrogram equally.
    """

    crop_s: float = 1.0
    mel: float = 3.0
    spectral: float = 1.0
    envelope: float = 0.5
    level_noise: float = 0.1
    audible_nepers: float = 7.0


class VocoderTask(Task):
    """The vocoder as a `Task` of one phase."""

    phases = ("vocoder",)

    def __init__(
        self,
        vocoder: NeuralVocoder,
        losses: VocoderLossConfig,
        *,
        sounds: NDArray[np.int16],
        validation_sounds: NDArray[np.int16],
    ) -> None:
        """Takes sounds (N, samples) at 8 kHz.

        Raises:
            DataError: they are shorter than a crop.
        """
        self.losses = losses
        self.modules = {"vocoder": vocoder}
        self._mel = PaperMel()
        self._spectra = SpectralLosses(
            RATE_HZ, audible_nepers=losses.audible_nepers, resolutions=RESOLUTIONS
        )
        self._crop = max(1, round(losses.crop_s * RATE_HZ / CROP_SAMPLES)) * CROP_SAMPLES
        self._sounds = sounds
        shortest = min(sounds.shape[1], validation_sounds.shape[1])
        if shortest < self._crop:
            raise DataError(
                f"sounds of {shortest / RATE_HZ:g} s: expected at least losses.crop_s="
                f"{losses.crop_s:g} s",
                hint="set losses.crop_s lower",
            )
        middle = (validation_sounds.shape[1] - self._crop) // 2
        crops = validation_sounds[:VALIDATION_SOUNDS, middle : middle + self._crop]
        self._validation = torch.from_numpy(crops.astype(np.float32) / INT16_FULL_SCALE)

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random crops of random sounds at random levels: "sound" (clips, crop) float32.

        "clip" (clips,) int64 contains the indices of the sounds.
        """
        chosen = rng.integers(len(self._sounds), size=clips)
        starts = rng.integers(self._sounds.shape[1] - self._crop + 1, size=clips)
        crops = np.stack(
            [self._sounds[c, s : s + self._crop] for c, s in zip(chosen, starts, strict=True)]
        )
        # From their own level to a full scale of 30 dB less or 3 dB more
        gains = 10 ** (rng.uniform(-30, 3, size=(clips, 1)) / 20) / INT16_FULL_SCALE
        scaled = torch.from_numpy((crops * gains).astype(np.float32))
        return {"sound": scaled.clamp(-1.0, 1.0), "clip": torch.from_numpy(chosen)}

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """Distances of a sound from what is decoded from its noisy levels."""
        sound = batch["sound"]
        levels = self._mel.to(sound.device)(sound)
        noisy = levels + self.losses.level_noise * normal_like(levels)
        terms = self._distances(vocoder_of(self.modules)(noisy), sound)
        return weighted_sum(terms, self.losses)

    def validate(self, modules: Modules) -> Figures:
        """Distances for validation sounds from their exact levels."""
        vocoder = vocoder_of(modules)
        device = next(vocoder.parameters()).device
        values: dict[str, list[float]] = {}
        for sound in self._validation.to(device).split(16):
            decoded = vocoder(self._mel.to(device)(sound))
            for name, value in self._distances(decoded, sound).items():
                values.setdefault(name, []).append(float(value))
        return {name: float(np.mean(each)) for name, each in values.items()}

    def export(self, modules: Modules) -> Exported:
        """The averaged vocoder."""
        vocoder = vocoder_of(modules)
        return {"vocoder": (vocoder, asdict(vocoder.config))}

    def _distances(self, decoded: Tensor, sound: Tensor) -> dict[str, Tensor]:
        with torch.autocast(sound.device.type, enabled=False):
            spectra = self._spectra.to(sound.device)(decoded.float(), sound)
            envelope = envelope_loss(decoded.float(), sound, step_samples=ENVELOPE_SAMPLES)
            return {**spectra, "envelope": envelope}


def vocoder_of(modules: Modules) -> NeuralVocoder:
    """The vocoder among a task's modules."""
    return cast(NeuralVocoder, modules["vocoder"])
