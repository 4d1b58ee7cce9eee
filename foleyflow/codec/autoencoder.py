"""The codec's network: 48 kHz audio to 50 latent frames per second, and back through an ISTFT.

A variational autoencoder of ConvNeXt blocks. It stores the mean and standard deviation of the
latents, so that `encode` returns standardised latents and `decode` takes them.

Dimension letters: B batch, N samples, T latent frames, C latent channels, D width, K bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foleyflow.codec.convnext import ConvNextBlock
from foleyflow.codec.interface import SoundCodec
from foleyflow.codec.mel_network import MelCodecConfig, MelDecoder, MelEncoder
from foleyflow.codec.mel_pca import MelPca
from foleyflow.codec.phase_propagation import PhasePropagation
from foleyflow.codec.waveform_network import (
    WaveformCodecConfig,
    WaveformDecoder,
    WaveformEncoder,
)
from foleyflow.errors import ConfigError
from foleyflow.spectrogram import frame, istft, log_magnitude, mel_filters, stft

INITIAL_LOG_VARIANCE = -4.0  # of the latents of a codec with a linear part
MAX_LOG_MAGNITUDE = 4.6


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """Shape of the codec; the defaults are those of the tiny model."""

    rate_hz: int = 48_000  # audio samples per second
    hop_samples: int = 960  # audio samples per latent frame
    channels: int = 64  # latent channels
    encoder_width: int = 256
    encoder_blocks: int = 5  # ConvNeXt blocks at the latent rate
    decoder_width: int = 320
    decoder_blocks: int = 5  # at the latent rate
    fine_blocks: int = 3  # decoder blocks at twice the latent rate
    mel_bands: int = 128  # bands of the encoder's log-mel input
    mel_pca_bands: int = 128  # bands of the linear part (mel_pca.py); 0 for none
    gains_per_spectrum: int = 8  # gains over time per half latent frame (`Decoder`); 0 for none
    # Whether `Codec.decode` propagates phases (phase_propagation.py); training never does
    propagates_phase: bool = True

    def __post_init__(self) -> None:
        if self.hop_samples % 8:
            raise ConfigError(f"hop_samples={self.hop_samples}: expected a multiple of 8")
        gains = self.gains_per_spectrum
        if gains and self.hop_samples % (4 * gains):
            raise ConfigError(
                f"gains_per_spectrum={gains}: expected 0 or a number of which four times divides "
                f"hop_samples={self.hop_samples}"
            )

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.rate_hz / self.hop_samples

    def new_mel_pca(self) -> MelPca | None:
        """A linear part that is not fitted yet; None if the codec has none."""
        if not self.mel_pca_bands:
            return None
        return MelPca(
            rate_hz=self.rate_hz,
            hop_samples=self.hop_samples,
            bands=self.mel_pca_bands,
            channels=self.channels,
        )


AnyCodecConfig = CodecConfig | WaveformCodecConfig | MelCodecConfig


class Encoder(nn.Module):
    """Waveform to the mean and log-variance of its latents."""

    long_filters: Tensor
    short_filters: Tensor

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
            filters = mel_filters(bands=bands, window_samples=window, rate_hz=config.rate_hz)
            self.register_buffer(name, filters, persistent=False)
        self.spectral = nn.Linear(config.mel_bands + 4 * self.short_bands, width)
        self.raw = nn.Linear(self.long_window, width, bias=False)
        self.blocks = nn.Sequential(*(ConvNextBlock(width) for _ in range(config.encoder_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * config.channels)
        self.mel_pca = config.new_mel_pca()
        if self.mel_pca is not None:
            # The network starts as a zero residual of the linear part
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias[: config.channels])
            nn.init.constant_(self.head.bias[config.channels :], INITIAL_LOG_VARIANCE)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) audio, N a multiple of the hop, to mean and log-variance, each (B, T, C)."""
        hop = self.config.hop_samples
        with torch.autocast(waveform.device.type, enabled=False):
            # Log-mel levels of one long and four short windows per latent frame
            long = stft(waveform, window_samples=self.long_window, hop_samples=hop)
            short = stft(waveform, window_samples=2 * self.short_hop, hop_samples=self.short_hop)
            coarse = log_magnitude(long, self.long_filters)
            fine = log_magnitude(short, self.short_filters)
            fine = fine.reshape(*coarse.shape[:2], 4 * self.short_bands)
            spectra = torch.cat([coarse, fine], -1) / 4.0 + 1.0
        # Raw samples of the long window, then the ConvNeXt blocks
        raw = frame(waveform, window_samples=self.long_window, hop_samples=hop)
        hidden = self.spectral(spectra) + self.raw(raw)
        mean, log_variance = self.head(self.norm(self.blocks(hidden))).float().chunk(2, -1)
        if self.mel_pca is not None:
            with torch.autocast(waveform.device.type, enabled=False):
                mean = mean + self.mel_pca.latents(waveform)
        return mean, log_variance.clamp(-12.0, 4.0)


class DecodedSpectra(NamedTuple):
    """The decoder's output before the inverse STFT."""

    log_magnitudes: Tensor  # (B, 2 T, K) natural logarithm
    phase: Tensor  # (B, 2 T, K) radians
    gains: Tensor  # (B, 2 T, G) gains over time, 0..2; G may be 0


class Decoder(nn.Module):
    """Latents to audio: magnitudes and phases at twice the latent rate, then gains over time.

    A window of the inverse STFT is 40 ms long, so that the energy of an attack also reaches the
    time before it. The gains multiply the sound in steps of a few milliseconds and suppress it
    there.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.hop_samples = config.hop_samples // 2
        self.window_samples = 2 * config.hop_samples
        self.propagates_phase = config.propagates_phase
        # Receptive field at the latent rate, then at twice the rate, and the inverse STFT
        self.context_frames = 3 * (1 + config.decoder_blocks)
        self.context_frames += -(-3 * config.fine_blocks // 2) + 2
        width = config.decoder_width
        self.input_conv = nn.Conv1d(config.channels, width, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNextBlock(width) for _ in range(config.decoder_blocks)))
        self.upsample = nn.Linear(width, 2 * width)
        self.fine = nn.Sequential(*(ConvNextBlock(width) for _ in range(config.fine_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * (self.window_samples // 2 + 1))
        self.gain_head = None
        if config.gains_per_spectrum:
            self.gain_head = nn.Linear(width, config.gains_per_spectrum)
            nn.init.zeros_(self.gain_head.weight)  # gains start at 1
            nn.init.zeros_(self.gain_head.bias)
        self.mel_pca = config.new_mel_pca()
        if self.mel_pca is not None:
            # Magnitudes start as those of the linear part. Phases start so that the energy of a
            # frame is in its middle and not at its ends, where the window suppresses it.
            bins = self.window_samples // 2 + 1
            nn.init.zeros_(self.head.weight[:bins])
            nn.init.zeros_(self.head.bias[:bins])
            with torch.no_grad():
                self.head.bias[bins:] += math.pi * (torch.arange(bins) % 2)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, T, C) to (B, T * hop) audio, float32, with the network's phases."""
        return self.synthesise(self.spectra(latents))

    def spectra(self, latents: Tensor) -> DecodedSpectra:
        """(B, T, C) to magnitudes, phases and gains, float32."""
        # Blocks at the latent rate, then at twice the rate
        hidden = self.blocks(self.input_conv(latents.transpose(1, 2)).transpose(1, 2))
        batch, count, width = hidden.shape
        hidden = self.fine(self.upsample(hidden).reshape(batch, 2 * count, width))
        # Magnitudes relative to the linear part, and phases
        hidden = self.norm(hidden)
        log_magnitudes, phase = self.head(hidden).float().chunk(2, -1)
        if self.mel_pca is not None:
            with torch.autocast(latents.device.type, enabled=False):
                log_magnitudes = log_magnitudes + self.mel_pca.log_magnitudes(latents.float())
        if self.gain_head is None:
            gains = log_magnitudes.new_zeros(batch, 2 * count, 0)
        else:
            gains = 2 * self.gain_head(hidden).float().sigmoid()
        return DecodedSpectra(log_magnitudes=log_magnitudes, phase=phase, gains=gains)

    def synthesise(self, spectra: DecodedSpectra) -> Tensor:
        """(B, T * hop) audio by an inverse STFT; gains are interpolated between their steps."""
        magnitudes = torch.exp(spectra.log_magnitudes.clamp(max=MAX_LOG_MAGNITUDE))
        audio = istft(
            torch.polar(magnitudes, spectra.phase),
            window_samples=self.window_samples,
            hop_samples=self.hop_samples,
        )
        gains = spectra.gains.flatten(1)
        if not gains.shape[1]:
            return audio
        return audio * interpolate_steps(gains, audio.shape[1] // gains.shape[1])


def interpolate_steps(values: Tensor, step_samples: int) -> Tensor:
    """Linear interpolation between the centres of steps, (B, K) to (B, K * step_samples).

    `step_samples` is even. Unlike `functional.interpolate`, whose positions are rounded to float32,
    the result does not depend on the position of a step in a long sound.
    """
    before, after = (
        torch.cat([values[:, :1], values[:, :-1]], 1),
        torch.cat([values[:, 1:], values[:, -1:]], 1),
    )
    half = (torch.arange(step_samples // 2, device=values.device) + 0.5) / step_samples
    first = torch.lerp(before[..., None], values[..., None], half + 0.5)
    second = torch.lerp(values[..., None], after[..., None], half)
    return torch.cat([first, second], -1).flatten(1)


class Codec(SoundCodec):
    """Audio to standardised latents and back; see docs/method.md, section 4.

    `latent_mean` and `latent_deviation` are measured on training sounds and stored with the
    weights; a new codec has 0 and 1.
    """

    config: AnyCodecConfig
    latent_mean: Tensor
    latent_deviation: Tensor

    def __init__(self, config: AnyCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: Encoder | WaveformEncoder | MelEncoder
        self.decoder: Decoder | WaveformDecoder | MelDecoder
        match config:
            case WaveformCodecConfig():
                self.encoder = WaveformEncoder(config)
                self.decoder = WaveformDecoder(
                    channels=config.channels, width=config.decoder_width, strides=config.strides
                )
            case MelCodecConfig():
                self.encoder, self.decoder = MelEncoder(config), MelDecoder(config)
            case CodecConfig():
                self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("latent_mean", torch.zeros(config.channels))
        self.register_buffer("latent_deviation", torch.ones(config.channels))

    def encode(self, waveform: Tensor) -> Tensor:
        """Audio to its standardised latents (the mean of the posterior).

        (B, N) float32 at `config.rate_hz`, N a multiple of `config.hop_samples`, to
        (B, N / hop_samples, C) float32.
        """
        mean, _ = self.encoder(waveform)
        return (mean - self.latent_mean) / self.latent_deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised latents (B, T, C) to audio (B, T * hop_samples) float32."""
        restored = latents * self.latent_deviation + self.latent_mean
        if not isinstance(self.decoder, Decoder):
            audio: Tensor = self.decoder(restored)
            return audio
        spectra = self.decoder.spectra(restored)
        # Phases are propagated along each sound of the batch
        items = zip(spectra.log_magnitudes, spectra.phase, strict=True)
        phase = torch.stack([self.phase_processor()(*item) for item in items])
        return self.decoder.synthesise(spectra._replace(phase=phase))

    @property
    def spectral_decoder(self) -> Decoder:
        """The decoder of a codec whose decoder returns spectra.

        Raises:
            TypeError: the decoder is another one.
        """
        if not isinstance(self.decoder, Decoder):
            raise TypeError(f"{type(self.decoder).__name__}: expected a decoder of spectra")
        return self.decoder

    @property
    def decodes_spectra(self) -> bool:
        """Whether the decoder returns spectra, whose phases may be propagated."""
        return isinstance(self.decoder, Decoder)

    def spectra(self, latents: Tensor) -> DecodedSpectra:
        """Standardised latents (B, T, C) to magnitudes, phases and gains."""
        return self.spectral_decoder.spectra(latents * self.latent_deviation + self.latent_mean)

    def phase_processor(self) -> Callable[[Tensor, Tensor], Tensor]:
        """A phase processor for one sound: `PhasePropagation.propagate`, or the identity."""
        decoder = self.spectral_decoder
        if not decoder.propagates_phase:
            return lambda log_magnitudes, phase: phase
        window_samples, hop_samples = decoder.window_samples, decoder.hop_samples
        return PhasePropagation(window_samples=window_samples, hop_samples=hop_samples).propagate

    def level_deviations(self) -> Tensor:
        """Change of log-mel levels per unit of each standardised latent, (C,) in nepers.

        It is that of the linear part; all 1 for a codec without one.
        """
        mel_pca = self.decoder.mel_pca if isinstance(self.decoder, Decoder) else None
        if mel_pca is None:
            return torch.ones_like(self.latent_deviation)
        return self.latent_deviation * mel_pca.deviation

    @property
    def has_linear_part(self) -> bool:
        """Whether `fit_mel_pca_` has something to fit."""
        return isinstance(self.decoder, Decoder) and self.decoder.mel_pca is not None

    @torch.no_grad()
    def fit_mel_pca_(self, sounds: Tensor) -> None:
        """Fit the linear part, if there is one, to (B, N) audio."""
        if not (isinstance(self.encoder, Encoder) and isinstance(self.decoder, Decoder)):
            return
        if self.encoder.mel_pca is None or self.decoder.mel_pca is None:
            return
        levels = torch.cat(
            [self.encoder.mel_pca.levels(block).flatten(0, 1) for block in sounds.split(16)]
        )
        self.encoder.mel_pca.fit_(levels)
        self.decoder.mel_pca.load_state_dict(self.encoder.mel_pca.state_dict())

    @property
    def context_frames(self) -> int:
        """Receptive field: latent frames on each side that influence a decoded frame.

        Propagated phases depend on all frames before; magnitudes don't.
        """
        return self.decoder.context_frames
