"""Discriminators that a codec is trained against: waveforms by period, complex spectra by band.

Dimension letters: B batch, N samples, T frames, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from foleyflow.errors import ConfigError
from foleyflow.spectrogram import stft

# Ends of the bands of a spectrum, as fractions of half the sample rate
BAND_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
QUIETEST_PEAK = 1e-3  # -60 dB; quieter sounds are not amplified to full scale
FULL_PEAK = 0.8


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Size of the discriminators; the defaults are those of the Descript Audio Codec.

    Attributes:
        periods: a waveform is folded into rows of this many samples, one network for each.
        period_channels: output channels of the strided convolutions over the rows.
        windows_samples: windows of the complex spectra, one network for each; the hop is a quarter.
        spectral_channels: channels of the convolutions over a band of a spectrum.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    windows_samples: tuple[int, ...] = (2048, 1024, 512)
    spectral_channels: int = 32

    def __post_init__(self) -> None:
        if not self.periods and not self.windows_samples:
            raise ConfigError(
                "discriminators: periods and windows_samples are empty: expected at least one",
                hint="use a recipe without discriminators to train by reconstruction losses alone",
            )
        if min(self.periods, default=2) < 2 or len(self.period_channels) < 2:
            raise ConfigError(
                f"discriminators: periods={self.periods}, period_channels={self.period_channels}: "
                "expected periods of 2 or more samples and at least two layers"
            )
        if any(window % 8 or window < 64 for window in self.windows_samples):
            raise ConfigError(
                f"discriminators: windows_samples={self.windows_samples}: expected multiples of 8, "
                "at least 64"
            )


class Judgement(NamedTuple):
    """What one discriminator returns for a batch of sounds."""

    scores: Tensor  # (B, 1, ...), one for each place; high for true sounds
    features: list[Tensor]  # (B, C, ...) of each layer before the last one


class PeriodDiscriminator(nn.Module):
    """Strided 2-D convolutions over a waveform folded into rows of `period` samples.

    Reference: Kong et al. 2020 (HiFi-GAN), multi-period discriminator.
    """

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        inputs = (1, *channels[:-1])
        strides = (*(3 for _ in channels[:-1]), 1)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(one, other, (5, 1), (stride, 1), padding=(2, 0)))
            for one, other, stride in zip(inputs, channels, strides, strict=True)
        )
        self.head = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, sound: Tensor) -> Judgement:
        """(B, N) audio to scores and features."""
        missing = -sound.shape[1] % self.period
        padded = functional.pad(sound[:, None], (0, missing), mode="reflect")
        hidden = padded.unflatten(2, (-1, self.period))
        return _judged(hidden, self.layers, self.head)


class SpectralDiscriminator(nn.Module):
    """2-D convolutions over bands of a complex spectrum, whose real and imaginary part are input.

    Reference: Kumar et al. 2023 (Descript Audio Codec), multi-band multi-resolution discriminator;
        Défossez et al. 2022 (EnCodec) for the complex input.
    """

    def __init__(self, window_samples: int, channels: int) -> None:
        super().__init__()
        self.window_samples = window_samples
        bins = window_samples // 2 + 1
        self.edges = tuple(round(edge * bins) for edge in BAND_EDGES)
        self.bands = nn.ModuleList(_band_layers(channels) for _ in BAND_EDGES[1:])
        self.head = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, sound: Tensor) -> Judgement:
        """(B, N) audio to scores and features."""
        hop = self.window_samples // 4
        with torch.autocast(sound.device.type, enabled=False):
            whole_hops = functional.pad(sound.float(), (0, -sound.shape[1] % hop))
            spectrum = stft(whole_hops, window_samples=self.window_samples, hop_samples=hop)
        parts = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # (B, 2, T, K)
        features: list[Tensor] = []
        outputs = []
        for layers, first, last in zip(self.bands, self.edges[:-1], self.edges[1:], strict=True):
            hidden = parts[..., first:last]
            for layer in layers:  # type: ignore[attr-defined]  # a module list
                hidden = functional.leaky_relu(layer(hidden), 0.1)
                features.append(hidden)
            outputs.append(hidden)
        return Judgement(self.head(torch.cat(outputs, 3)), features)


class Discriminators(nn.Module):
    """All discriminators of a configuration."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.by_period = nn.ModuleList(
            PeriodDiscriminator(period, config.period_channels) for period in config.periods
        )
        self.by_window = nn.ModuleList(
            SpectralDiscriminator(window, config.spectral_channels)
            for window in config.windows_samples
        )

    def forward(self, sound: Tensor) -> list[Judgement]:
        """(B, N) audio to the result of each discriminator.

        As in the Descript Audio Codec, the mean of each sound is removed and its peak becomes 0.8.
        Unlike there, sounds with peaks below -60 dB stay quiet, so that the rounding noise of
        silence has no large gradients.
        """
        centred = sound - sound.mean(1, keepdim=True)
        peaks = centred.abs().amax(1, keepdim=True).clamp_min(QUIETEST_PEAK)
        scaled = FULL_PEAK * centred / peaks
        return [network(scaled) for network in (*self.by_period, *self.by_window)]


def _band_layers(channels: int) -> nn.ModuleList:
    """Convolutions over one band; three of them halve the number of bins."""
    shapes = [(2, (3, 9), 1), *[(channels, (3, 9), 2)] * 3, (channels, (3, 3), 1)]
    return nn.ModuleList(
        weight_norm(
            nn.Conv2d(
                inputs, channels, kernel, (1, stride), padding=(kernel[0] // 2, kernel[1] // 2)
            )
        )
        for inputs, kernel, stride in shapes
    )


def _judged(hidden: Tensor, layers: nn.ModuleList, head: nn.Module) -> Judgement:
    features = []
    for layer in layers:
        hidden = functional.leaky_relu(layer(hidden), 0.1)
        features.append(hidden)
    return Judgement(head(hidden), features)
