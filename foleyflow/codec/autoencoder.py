"""The codec's network: 48 kHz sound to 50 latent frames a second, and back through an ISTFT.

A variational autoencoder of ConvNeXt blocks. It holds the latents' mean and deviation, so that
what leaves `encode` is standardised and what enters `decode` may be a generator's output. It does
not train itself (losses.py, training) and reads no files.

Dimension letters: B batch, N samples, T latent frames, C latent channels, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foleyflow.codec.mel_pca import Skeleton
from foleyflow.codec.phase_propagation import PhasePropagation
from foleyflow.errors import ConfigError
from foleyflow.spectrogram import frame, istft, log_magnitude, mel_filters, stft

FIRST_LOG_VARIANCE = -4.0  # of the latents of a codec with a skeleton


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """Shape of the codec; defaults are the tiny model's.

    Attributes:
        rate_hz: sound samples per second.
        hop_samples: samples per latent frame.
        channels: latent channels.
        encoder_width, encoder_blocks: ConvNeXt blocks at the latent rate.
        decoder_width, decoder_blocks: at the latent rate.
        fine_blocks: decoder blocks at twice the latent rate.
        mel_bands: bands of the encoder's log-mel input.
        skeleton_bands: bands of the linear part that the networks add to; 0 for none.
        carried_tones: rings go on from frame to frame by their own frequency (tones.py) where
            latents are decoded; training hears the network's phases.
    """

    rate_hz: int = 48_000
    hop_samples: int = 960
    channels: int = 48
    encoder_width: int = 256
    encoder_blocks: int = 5
    decoder_width: int = 320
    decoder_blocks: int = 5
    fine_blocks: int = 3
    mel_bands: int = 128
    skeleton_bands: int = 128
    carried_tones: bool = True

    def __post_init__(self) -> None:
        if self.hop_samples % 8:
            raise ConfigError(f"hop_samples={self.hop_samples}: expected a multiple of 8")

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.rate_hz / self.hop_samples

    def skeleton(self) -> Skeleton | None:
        """The linear part, not fitted yet."""
        if not self.skeleton_bands:
            return None
        return Skeleton(
            rate_hz=self.rate_hz,
            hop_samples=self.hop_samples,
            bands=self.skeleton_bands,
            channels=self.channels,
        )


class ConvNextBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer network per frame, added to the input.

    Source: Liu et al. 2022 (ConvNeXt), in one dimension as in Vocos (Siuzdak 2023).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 3 * width)
        self.contract = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        mixed = self.depthwise(hidden.transpose(1, 2)).transpose(1, 2)
        mixed = self.contract(nn.functional.gelu(self.expand(self.norm(mixed))))
        return hidden + self.scale * mixed


class Encoder(nn.Module):
    """Waveform to the mean and log-variance of its latents."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        width = config.encoder_width
        self.long_window = 2 * config.hop_samples
        self.short_hop = config.hop_samples // 4
        self.short_bands = 40
        for name, bands, window in (
            ("long_filters", config.mel_bands, self.long_window),
            ("short_filters", self.short_bands, 2 * self.short_hop),
        ):
            filters = mel_filters(
                bands=bands,
                window_samples=window,
                rate_hz=config.rate_hz,
                low_hz=30.0,
                high_hz=config.rate_hz / 2,
            )
            self.register_buffer(name, filters, persistent=False)
        inputs = config.mel_bands + 4 * self.short_bands
        self.spectral = nn.Linear(inputs, width)
        self.raw = nn.Linear(self.long_window, width, bias=False)
        self.blocks = nn.Sequential(*(ConvNextBlock(width) for _ in range(config.encoder_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * config.channels)
        self.skeleton = config.skeleton()
        if self.skeleton is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias[: config.channels])
            nn.init.constant_(self.head.bias[config.channels :], FIRST_LOG_VARIANCE)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) sound, N a multiple of the hop, to mean and log-variance, each (B, T, C)."""
        hop = self.config.hop_samples
        with torch.autocast(waveform.device.type, enabled=False):
            long = stft(waveform, window_samples=self.long_window, hop_samples=hop)
            short = stft(waveform, window_samples=2 * self.short_hop, hop_samples=self.short_hop)
            coarse = log_magnitude(long, self.long_filters)
            fine = log_magnitude(short, self.short_filters)
            fine = fine.reshape(*coarse.shape[:2], 4 * self.short_bands)
            spectra = torch.cat([coarse, fine], -1) / 4.0 + 1.0
        raw = frame(waveform, window_samples=self.long_window, hop_samples=hop)
        hidden = self.spectral(spectra) + self.raw(raw)
        mean, log_variance = self.head(self.norm(self.blocks(hidden))).float().chunk(2, -1)
        if self.skeleton is not None:
            with torch.autocast(waveform.device.type, enabled=False):
                mean = mean + self.skeleton.latents(waveform)
        return mean, log_variance.clamp(-12.0, 4.0)


class Decoder(nn.Module):
    """Latents to sound, through magnitudes and phases at twice the latent rate."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.hop_samples = config.hop_samples // 2
        self.window_samples = 2 * config.hop_samples
        width = config.decoder_width
        self.enter = nn.Conv1d(config.channels, width, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNextBlock(width) for _ in range(config.decoder_blocks)))
        self.upsample = nn.Linear(width, 2 * width)
        self.fine = nn.Sequential(*(ConvNextBlock(width) for _ in range(config.fine_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * (self.window_samples // 2 + 1))
        self.skeleton = config.skeleton()
        if self.skeleton is not None:
            # Magnitudes begin as its own; phases so that a frame's energy lies in its middle, and
            # not at its ends, where the window takes it away.
            bins = self.window_samples // 2 + 1
            nn.init.zeros_(self.head.weight[:bins])
            nn.init.zeros_(self.head.bias[:bins])
            with torch.no_grad():
                self.head.bias[bins:] += math.pi * (torch.arange(bins) % 2)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, T, C) to (B, T * hop) sound, float32."""
        return self.sound(*self.spectra(latents))

    def spectra(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) to log magnitudes and phases, each (B, 2 T, K) float32."""
        hidden = self.blocks(self.enter(latents.transpose(1, 2)).transpose(1, 2))
        batch, count, width = hidden.shape
        hidden = self.fine(self.upsample(hidden).reshape(batch, 2 * count, width))
        log_size, phase = self.head(self.norm(hidden)).float().chunk(2, -1)
        if self.skeleton is not None:
            with torch.autocast(latents.device.type, enabled=False):
                log_size = log_size + self.skeleton.log_sizes(latents.float())
        return log_size, phase

    def sound(self, log_size: Tensor, phase: Tensor) -> Tensor:
        """What `spectra` says, each (B, 2 T, K), to (B, T * hop) sound."""
        spectrum = torch.polar(torch.exp(log_size.clamp(max=4.6)), phase)
        return istft(spectrum, window_samples=self.window_samples, hop_samples=self.hop_samples)


class Codec(nn.Module):
    """Sound to standardised latents and back.

    `latent_mean` and `latent_deviation` are measured on training sounds and stored with the
    weights; a fresh codec has 0 and 1.

    Source: method section E (tiny VAE at 48 kHz).
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latent_mean", torch.zeros(config.channels))
        self.register_buffer("latent_deviation", torch.ones(config.channels))

    def encode(self, waveform: Tensor) -> Tensor:
        """Sound to its standardised latents (the posterior's mean).

        Args:
            waveform: (B, N) float32 at `config.rate_hz`; N a multiple of `config.hop_samples`.

        Returns:
            (B, N / hop_samples, C) float32, about zero mean and unit deviation per channel.
        """
        mean, _ = self.encoder(waveform)
        return (mean - self.latent_mean) / self.latent_deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised latents (B, T, C) to sound (B, T * hop_samples) float32."""
        log_size, phase = self.spectra(latents)
        rows = zip(log_size, phase, strict=True)
        return self.decoder.sound(log_size, torch.stack([self.tones()(*row) for row in rows]))

    def spectra(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised latents (B, T, C) to log magnitudes and phases, each (B, 2 T, K)."""
        return self.decoder.spectra(latents * self.latent_deviation + self.latent_mean)

    def tones(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The phase processor of one sound: `PhasePropagation.carry`, or the identity."""
        if not self.config.carried_tones:
            return lambda log_size, phase: phase
        window_samples, hop_samples = self.decoder.window_samples, self.decoder.hop_samples
        return PhasePropagation(window_samples=window_samples, hop_samples=hop_samples).carry

    def level_deviations(self) -> Tensor:
        """How far each standardised latent moves a sound's log-mel levels, (C,) in nepers.

        Those of the linear part; all 1 for a codec without one.
        """
        skeleton = self.decoder.skeleton
        if skeleton is None:
            return torch.ones_like(self.latent_deviation)
        return self.latent_deviation * skeleton.deviation

    @torch.no_grad()
    def fit_skeleton_(self, sounds: Tensor) -> None:
        """Fits the linear part to (B, N) sounds; nothing to do where there is none."""
        if self.encoder.skeleton is None or self.decoder.skeleton is None:
            return
        levels = torch.cat(
            [self.encoder.skeleton.levels(block).flatten(0, 1) for block in sounds.split(16)]
        )
        self.encoder.skeleton.fit_(levels)
        self.decoder.skeleton.load_state_dict(self.encoder.skeleton.state_dict())

    @property
    def context_frames(self) -> int:
        """Latent frames on each side that influence a decoded frame (the receptive field).

        Where tones are carried their phases come from further back; magnitudes don't.
        """
        coarse = 3 * (1 + self.config.decoder_blocks)
        return coarse + -(-3 * self.config.fine_blocks // 2) + 2
