"""Trains the codec to reconstruct sounds through noisy latents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.losses import (
    FINE_RESOLUTIONS,
    RESOLUTIONS,
    SpectralLosses,
    envelope_loss,
    kl_to_unit,
)
from foleyflow.codec.mel_network import MelDecoder, MelEncoder
from foleyflow.data.mixture import WeightedIndices
from foleyflow.parallel.batch_sharding import all_gather_with_grad, normal_like
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.training.task import Batch, Exported, Figures, Modules, Task, weighted_sum

PCA_CLIPS = 512  # crops that the codec's linear part is fitted to


@dataclass(frozen=True, kw_only=True)
class CodecLossConfig:
    """Weights of the codec's losses.

    Attributes:
        crop_s: length of each training sound.
        mel, spectral, envelope, kl: weights.
        latent_noise: standard deviation of the noise that is added to the standardised latents
            before decoding, so that the decoder tolerates errors of a generator.
        audible_nepers: see `SpectralLosses`; 0 weights all bins of a spectrogram equally.
        fine_spectra: compares spectra under the seven windows of the Descript Audio Codec, from 32
            to 2048 samples; None or False for three windows from 480 to 1920 samples.
    """

    crop_s: float = 1.0
    mel: float = 3.0
    spectral: float = 1.0
    envelope: float = 0.5
    kl: float = 1e-2
    latent_noise: float = 0.05
    audible_nepers: float = 7.0
    fine_spectra: bool | None = None


class CodecTask(Task):
    """The codec as a `Task` of one phase.

    `decoder_only` keeps the encoder and the latents, so that models of these latents stay valid.
    With a `bank` of other sounds, `bank_fraction` of the training sounds come from it. The others
    are sampled with `probabilities`, or equally often.
    """

    phases: tuple[str, ...] = ("codec",)

    def __init__(
        self,
        codec: Codec,
        losses: CodecLossConfig,
        *,
        sounds: NDArray[np.int16],
        validation_sounds: NDArray[np.int16],
        decoder_only: bool = False,
        bank: NDArray[np.int16] | None = None,
        bank_fraction: float = 0.0,
        probabilities: NDArray[np.float64] | None = None,
    ) -> None:
        self.losses = losses
        self._decoder_only = decoder_only
        codec.encoder.requires_grad_(not decoder_only)
        self.modules: dict[str, nn.Module] = {"codec": codec}
        self._sounds = sounds
        self._weighted = None if probabilities is None else WeightedIndices(probabilities)
        self._bank, self._bank_fraction = bank, bank_fraction
        hop = codec.config.hop_samples
        self._crop = round(losses.crop_s * codec.config.rate_hz / hop) * hop
        middle = (validation_sounds.shape[1] - self._crop) // 2
        crops = validation_sounds[:96, middle : middle + self._crop]
        self._validation = torch.from_numpy(crops.astype(np.float32) / INT16_FULL_SCALE)
        self._spectra = SpectralLosses(
            codec.config.rate_hz,
            audible_nepers=losses.audible_nepers,
            resolutions=FINE_RESOLUTIONS if losses.fine_spectra else RESOLUTIONS,
        )
        if codec.has_linear_part and not decoder_only:
            rng = np.random.default_rng(0)
            codec.fit_mel_pca_(self.sample_batch(rng, PCA_CLIPS)["sound"])

    def sample_batch(self, rng: np.random.Generator, clips: int) -> Batch:
        """Random crops of random sounds at random levels: "sound" (clips, crop) float32.

        "clip" (clips,) int64 contains the indices of the sounds.
        """
        if self._weighted is None:
            chosen = rng.integers(len(self._sounds), size=clips)
        else:
            chosen = rng.permutation(self._weighted.sample(rng, clips))
        starts = rng.integers(self._sounds.shape[1] - self._crop + 1, size=clips)
        gains = 10 ** (rng.uniform(-15, 3, size=clips) / 20) * rng.choice([-1, 1], size=clips)
        crops = np.stack(
            [self._sounds[c, s : s + self._crop] for c, s in zip(chosen, starts, strict=True)]
        ).astype(np.float32)
        if self._bank is not None:
            for item in (rng.random(clips) < self._bank_fraction).nonzero()[0]:
                row = rng.integers(len(self._bank))
                start = rng.integers(self._bank.shape[1] - self._crop + 1)
                crops[item] = self._bank[row, start : start + self._crop]
                chosen[item] = row
        crops *= gains[:, None].astype(np.float32) / INT16_FULL_SCALE
        return {
            "sound": torch.from_numpy(np.clip(crops, -1.0, 1.0)),
            "clip": torch.from_numpy(chosen),
        }

    def loss(self, phase: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        """Reconstruction losses through sampled, noisy latents, and the KL term."""
        _, terms = self.reconstruct(batch["sound"])
        return weighted_sum(terms, self.losses)

    def sample_latents(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Sampled, noisy latents (B, T, C) of sounds (B, N), and their KL term."""
        codec = codec_of(self.modules)
        mean, log_variance = codec.encoder(sound)
        deviation = (0.5 * log_variance).exp()
        spread = all_gather_with_grad(mean.detach()).std(dim=(0, 1)).clamp_min(1e-3)
        extra = self.losses.latent_noise * spread
        noise = normal_like(mean) * (deviation.square() + extra.square()).sqrt()
        return mean + noise, kl_to_unit(mean, log_variance)

    def reconstruct(self, sound: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Sounds (B, N) decoded from sampled, noisy latents, and all loss terms.

        The mel term of a codec on mel spectra also compares the spectra before the vocoder.
        """
        codec = codec_of(self.modules)
        latents, kl = self.sample_latents(sound)
        decoded = codec.decoder(latents)
        terms = {**self._reconstruction(decoded, sound), "kl": kl}
        if isinstance(codec.encoder, MelEncoder) and isinstance(codec.decoder, MelDecoder):
            error = codec.decoder.levels(latents) - codec.encoder.levels(sound)
            terms["mel"] = terms["mel"] + error.abs().mean()
        return decoded, terms

    def validate(self, modules: Modules) -> Figures:
        """Losses of noiseless reconstructions of validation sounds."""
        codec = codec_of(modules)
        device = next(codec.parameters()).device
        values: dict[str, list[float]] = {}
        for sound in self._validation.to(device).split(16):
            mean, _ = codec.encoder(sound)
            for name, value in self._reconstruction(codec.decoder(mean), sound).items():
                values.setdefault(name, []).append(float(value))
        return {name: float(np.mean(each)) for name, each in values.items()}

    def export(self, modules: Modules) -> Exported:
        """The averaged codec, with statistics of its latents measured on training sounds."""
        codec = codec_of(modules)
        if not self._decoder_only:
            device = next(codec.parameters()).device
            rng = np.random.default_rng(0)
            means = [
                codec.encoder(self.sample_batch(rng, 16)["sound"].to(device))[0].flatten(0, 1)
                for _ in range(64)
            ]
            latents = torch.cat(means)
            codec.latent_mean.copy_(latents.mean(0))
            codec.latent_deviation.copy_(latents.std(0).clamp_min(1e-3))
        return {"codec": (codec, asdict(codec.config))}

    def _reconstruction(self, decoded: Tensor, sound: Tensor) -> dict[str, Tensor]:
        with torch.autocast(sound.device.type, enabled=False):
            spectra = self._spectra.to(sound.device)(decoded.float(), sound)
            return {**spectra, "envelope": envelope_loss(decoded.float(), sound)}


def codec_of(modules: Modules) -> Codec:
    """The codec among a task's modules."""
    return cast(Codec, modules["codec"])
