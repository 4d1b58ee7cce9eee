"""Networks of a codec on mel spectra: mel, Gaussian latents, mel, and a vocoder to samples.

Current generators of sound for video have such a codec: a variational autoencoder of mel spectra
and a vocoder that is trained for all sounds. Here both are trained together.

Dimension letters: B batch, N samples, T latent frames, C latent channels, M bands, F spectra per
latent frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foleyflow.codec.convnext import ConvNextBlock
from foleyflow.codec.waveform_network import (
    HIGHEST_LOG_VARIANCE,
    LOWEST_LOG_VARIANCE,
    WaveformDecoder,
)
from foleyflow.errors import ConfigError
from foleyflow.spectrogram import log_magnitude, mel_filters, stft

LEVEL_SCALE, LEVEL_OFFSET = 0.25, 1.0  # of log-mel levels as input and output of the networks


@dataclass(frozen=True, kw_only=True)
class MelCodecConfig:
    """Shape of a codec on mel spectra; the defaults are for general sound at 48 kHz.

    With `rate_hz=44100` and `vocoder_strides=(3, 3, 7, 7)` latents also have 50 Hz.
    """

    architecture: Literal["mel"] = "mel"
    rate_hz: int = 48_000  # audio samples per second
    vocoder_strides: tuple[int, ...] = (4, 4, 5, 6)  # their product is the hop of the spectra
    spectra_per_latent: int = 2
    bands: int = 128
    channels: int = 40  # latent channels
    width: int = 512  # of the autoencoder of mel spectra
    blocks: int = 6  # on each side, half of them at the rate of the spectra
    vocoder_width: int = 96  # channels after the last block

    def __post_init__(self) -> None:
        if self.blocks < 2 or self.blocks % 2 or self.spectra_per_latent < 1:
            raise ConfigError(
                f"blocks={self.blocks}, spectra_per_latent={self.spectra_per_latent}: expected an "
                "even number of at least 2, and at least 1"
            )

    @property
    def spectrum_hop_samples(self) -> int:
        """Audio samples per spectrum."""
        hop = 1
        for stride in self.vocoder_strides:
            hop *= stride
        return hop

    @property
    def hop_samples(self) -> int:
        """Audio samples per latent frame."""
        return self.spectra_per_latent * self.spectrum_hop_samples

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.rate_hz / self.hop_samples


class MelEncoder(nn.Module):
    """Waveform to the mean and log-variance of the latents of its mel spectra."""

    filters: Tensor

    def __init__(self, config: MelCodecConfig) -> None:
        super().__init__()
        self.hop_samples = config.spectrum_hop_samples
        self.window_samples = 4 * self.hop_samples
        self.spectra_per_latent = config.spectra_per_latent
        filters = mel_filters(
            bands=config.bands, window_samples=self.window_samples, rate_hz=config.rate_hz
        )
        self.register_buffer("filters", filters / filters.sum(0), persistent=False)
        half = config.blocks // 2
        self.input = nn.Linear(config.bands, config.width)
        self.fine = nn.Sequential(*(ConvNextBlock(config.width) for _ in range(half)))
        self.join = nn.Linear(config.spectra_per_latent * config.width, config.width)
        self.blocks = nn.Sequential(*(ConvNextBlock(config.width) for _ in range(half)))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 2 * config.channels)

    def levels(self, waveform: Tensor) -> Tensor:
        """(B, N) audio to (B, F T, M) log-mel levels in nepers, float32."""
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = stft(
                waveform.float(), window_samples=self.window_samples, hop_samples=self.hop_samples
            )
            return log_magnitude(spectrum, self.filters)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) audio, N a multiple of the hop, to mean and log-variance, each (B, T, C)."""
        scaled = LEVEL_SCALE * self.levels(waveform) + LEVEL_OFFSET
        hidden = self.fine(self.input(scaled))
        hidden = hidden.unflatten(1, (-1, self.spectra_per_latent)).flatten(2)
        hidden = self.norm(self.blocks(self.join(hidden)))
        mean, log_variance = self.head(hidden).float().chunk(2, -1)
        return mean, log_variance.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)


class MelDecoder(nn.Module):
    """Latents to mel spectra, and a vocoder from these to audio.

    Reference: Kong et al. 2020 (HiFi-GAN) and Lee et al. 2022 (BigVGAN) for the vocoder, whose
        blocks are those of `waveform_network.py`.
    """

    def __init__(self, config: MelCodecConfig) -> None:
        super().__init__()
        self.spectra_per_latent = config.spectra_per_latent
        self.width = config.width
        self.side_blocks = config.blocks // 2
        self.input = nn.Linear(config.channels, config.width)
        self.blocks = nn.Sequential(*(ConvNextBlock(config.width) for _ in range(self.side_blocks)))
        self.split = nn.Linear(config.width, config.spectra_per_latent * config.width)
        self.fine = nn.Sequential(*(ConvNextBlock(config.width) for _ in range(self.side_blocks)))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.bands)
        self.vocoder = WaveformDecoder(
            channels=config.bands, width=config.vocoder_width, strides=config.vocoder_strides
        )

    def forward(self, latents: Tensor) -> Tensor:
        """(B, T, C) to (B, T * hop) audio, float32."""
        return self.vocode(self.levels(latents))

    def levels(self, latents: Tensor) -> Tensor:
        """(B, T, C) to (B, F T, M) log-mel levels in nepers, float32."""
        hidden = self.split(self.blocks(self.input(latents)))
        hidden = hidden.unflatten(2, (self.spectra_per_latent, self.width)).flatten(1, 2)
        scaled: Tensor = self.head(self.norm(self.fine(hidden))).float()
        return (scaled - LEVEL_OFFSET) / LEVEL_SCALE

    def vocode(self, levels: Tensor) -> Tensor:
        """(B, F T, M) log-mel levels in nepers to (B, T * hop) audio."""
        audio: Tensor = self.vocoder(LEVEL_SCALE * levels + LEVEL_OFFSET)
        return audio

    @property
    def context_frames(self) -> int:
        """Receptive field: latent frames on each side that influence a decoded frame."""
        spectra = 3 * self.side_blocks + self.vocoder.context_frames
        return 3 * self.side_blocks + -(-spectra // self.spectra_per_latent)
