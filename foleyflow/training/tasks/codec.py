"""Trains the codec to give back what it was given, through noisy latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.losses import SpectralLosses, envelope_loss, kl_to_unit
from foleyflow.parallel.batch_sharding import all_gather_with_grad, normal_like
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.training.task import Batch, Task

SKELETON_CLIPS = 512  # crops that the codec's linear part is fitted to


@dataclass(frozen=True, kw_only=True)
class CodecLossConfig:
    """Weights of the codec's losses.

    Attributes:
        crop_s: seconds of each training sound.
        mel, spectral, envelope, kl: weights.
        latent_noise: deviation of noise added to the standardised latents before decoding, so
            that the decoder forgives a generator's errors.
        audible_nepers: see `SpectralLosses`; 0 weighs all places of a spectrogram alike.
    """

    crop_s: float = 1.0
    mel: float = 3.0
    spectral: float = 1.0
    envelope: float = 0.5
    kl: float = 1e-2
    latent_noise: float = 0.05
    audible_nepers: float = 7.0


class CodecTask(Task):
    """The codec as a `Task`; one turn.

    With `decoder_only` the latents stay what they are: what was trained on them fits on.
    """

    turns = ("codec",)

    def __init__(
        self,
        codec: Codec,
        losses: CodecLossConfig,
        *,
        sounds: NDArray[np.int16],
        validation_sounds: NDArray[np.int16],
        decoder_only: bool = False,
    ) -> None:
        self.losses = losses
        self._decoder_only = decoder_only
        codec.encoder.requires_grad_(not decoder_only)
        self.modules = {"codec": codec}
        self._sounds = sounds
        self._crop = round(losses.crop_s * codec.config.rate_hz)
        middle = (validation_sounds.shape[1] - self._crop) // 2
        kept = validation_sounds[:96, middle : middle + self._crop]
        self._validation = torch.from_numpy(kept.astype(np.float32) / INT16_FULL_SCALE)
        self._spectra = SpectralLosses(codec.config.rate_hz, audible_nepers=losses.audible_nepers)
        if codec.config.skeleton_bands and not decoder_only:
            rng = np.random.default_rng(0)
            codec.fit_skeleton_(self.draw(rng, SKELETON_CLIPS)["sound"])

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random crops of random sounds at random levels.

        Returns:
            "sound" (clips, crop) float32; "clip" (clips,) int64, indices of the sounds.
        """
        rows = rng.integers(len(self._sounds), size=clips)
        starts = rng.integers(self._sounds.shape[1] - self._crop + 1, size=clips)
        gains = 10 ** (rng.uniform(-15, 3, size=clips) / 20) * rng.choice([-1, 1], size=clips)
        crops = np.stack(
            [self._sounds[r, s : s + self._crop] for r, s in zip(rows, starts, strict=True)]
        ).astype(np.float32)
        crops *= gains[:, None].astype(np.float32) / INT16_FULL_SCALE
        return {
            "sound": torch.from_numpy(np.clip(crops, -1.0, 1.0)),
            "clip": torch.from_numpy(rows),
        }

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Reconstruction through sampled, noisy latents."""
        codec = self.modules["codec"]
        target = batch["sound"]
        mean, log_variance = codec.encoder(target)
        deviation = (0.5 * log_variance).exp()
        spread = all_gather_with_grad(mean.detach()).std(dim=(0, 1)).clamp_min(1e-3)
        extra = self.losses.latent_noise * spread
        noise = normal_like(mean) * (deviation.square() + extra.square()).sqrt()
        decoded = codec.decoder(mean + noise)
        parts = self._parts(decoded, target)
        parts["kl"] = kl_to_unit(mean, log_variance)
        total = sum(getattr(self.losses, name) * value for name, value in parts.items())
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Losses of clean reconstructions of validation sounds."""
        codec = modules["codec"]
        device = next(codec.parameters()).device
        sums: dict[str, list[float]] = {}
        for target in self._validation.to(device).split(16):
            mean, _ = codec.encoder(target)
            for name, value in self._parts(codec.decoder(mean), target).items():
                sums.setdefault(name, []).append(float(value))
        return {name: float(np.mean(values)) for name, values in sums.items()}

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged codec with its latents' statistics measured on training sounds."""
        codec = modules["codec"]
        config = {"codec": (codec, asdict(codec.config))}
        if self._decoder_only:
            return config
        device = next(codec.parameters()).device
        rng = np.random.default_rng(0)
        means = [
            codec.encoder(self.draw(rng, 16)["sound"].to(device))[0].flatten(0, 1)
            for _ in range(64)
        ]
        latents = torch.cat(means)
        codec.latent_mean.copy_(latents.mean(0))
        codec.latent_deviation.copy_(latents.std(0).clamp_min(1e-3))
        return config

    def _parts(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        with torch.autocast(target.device.type, enabled=False):
            spectra = self._spectra.to(target.device)(decoded.float(), target)
            return {**spectra, "envelope": envelope_loss(decoded.float(), target)}
