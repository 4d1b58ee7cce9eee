"""Networks of a codec that works on samples: strided convolutions with the snake activation.

The encoder and the decoder are those of the Descript Audio Codec, with a Gaussian posterior in
place of its quantiser, as in the autoencoder of Stable Audio Open.

Dimension letters: B batch, N samples, T latent frames, C latent channels, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from foleyflow.errors import ConfigError

DILATIONS = (1, 3, 9)  # of the residual units of a block
KERNEL = 7
SMALLEST_ALPHA = 1e-9
INITIAL_DEVIATION = 0.02  # of the weights of convolutions
LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE = -12.0, 4.0  # of the latents


@dataclass(frozen=True, kw_only=True)
class WaveformCodecConfig:
    """Shape of a codec on samples; the defaults are for general sound at 48 kHz.

    With `rate_hz=44100` and `strides=(2, 3, 3, 7, 7)` latents also have 50 Hz.
    """

    architecture: Literal["waveform"] = "waveform"
    rate_hz: int = 48_000  # audio samples per second
    strides: tuple[int, ...] = (2, 4, 4, 5, 6)  # of the encoder's blocks; their product is the hop
    channels: int = 64  # latent channels
    encoder_width: int = 64  # channels before the first block, doubled by each block
    decoder_width: int = 64  # channels after the last block

    def __post_init__(self) -> None:
        if not self.strides or min(self.strides) < 2:
            raise ConfigError(
                f"strides={self.strides}: expected at least one stride, each of 2 or more"
            )

    @property
    def hop_samples(self) -> int:
        """Audio samples per latent frame."""
        return math.prod(self.strides)

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.rate_hz / self.hop_samples


class Snake(nn.Module):
    """x + sin(a x)^2 / a with a trained frequency a of each channel.

    Reference: Ziyin et al. 2020, eq. 3; Lee et al. 2022 (BigVGAN) for audio.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, D, N) to (B, D, N)."""
        return hidden + (self.alpha * hidden).sin().square() / (self.alpha + SMALLEST_ALPHA)


class ResidualUnit(nn.Module):
    """Snake, dilated convolution, snake and pointwise convolution, with a residual."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        pad = dilation * (KERNEL // 2)
        self.layers = nn.Sequential(
            Snake(channels),
            _normed(nn.Conv1d(channels, channels, KERNEL, dilation=dilation, padding=pad)),
            Snake(channels),
            _normed(nn.Conv1d(channels, channels, 1)),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, D, N) to (B, D, N)."""
        residual: Tensor = self.layers(hidden)
        return hidden + residual


class WaveformEncoder(nn.Module):
    """Waveform to the mean and log-variance of its latents."""

    def __init__(self, config: WaveformCodecConfig) -> None:
        super().__init__()
        self.hop_samples = config.hop_samples
        width = config.encoder_width
        layers: list[nn.Module] = [_normed(nn.Conv1d(1, width, KERNEL, padding=KERNEL // 2))]
        for stride in config.strides:
            layers += [ResidualUnit(width, dilation) for dilation in DILATIONS]
            layers += [Snake(width), _strided(width, 2 * width, stride)]
            width *= 2
        layers += [Snake(width), _normed(nn.Conv1d(width, 2 * config.channels, 3, padding=1))]
        self.layers = nn.Sequential(*layers)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) audio, N a multiple of the hop, to mean and log-variance, each (B, T, C).

        Raises:
            ValueError: N is not a multiple of the hop.
        """
        if waveform.shape[1] % self.hop_samples:
            raise ValueError(
                f"{waveform.shape[1]} samples: expected a multiple of {self.hop_samples}"
            )
        # Contiguous, so that noise of the same shape has the same order for any number of items
        moments = self.layers(waveform[:, None]).transpose(1, 2).contiguous().float()
        mean, log_variance = moments.chunk(2, -1)
        return mean, log_variance.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)


class WaveformDecoder(nn.Module):
    """Frames to audio by transposed convolutions; also the vocoder of `mel_network.py`."""

    def __init__(self, *, channels: int, width: int, strides: Sequence[int]) -> None:
        """`strides` are those of the encoder, which the decoder applies in reverse order."""
        super().__init__()
        self.strides = tuple(reversed(strides))
        widest = width * 2 ** len(strides)
        layers: list[nn.Module] = [
            _normed(nn.Conv1d(channels, widest, KERNEL, padding=KERNEL // 2))
        ]
        for stride in self.strides:
            layers += [Snake(widest), _upsampling(widest, widest // 2, stride)]
            widest //= 2
            layers += [ResidualUnit(widest, dilation) for dilation in DILATIONS]
        layers += [Snake(widest), _normed(nn.Conv1d(widest, 1, KERNEL, padding=KERNEL // 2))]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C) to (B, T * product of strides) audio, float32."""
        audio: Tensor = self.layers(frames.transpose(1, 2))
        return audio[:, 0].float()

    @property
    def context_frames(self) -> int:
        """Receptive field: input frames on each side that influence an output frame."""
        # The first and last sample that influence the samples of frame 0, layer by layer
        first, last = 0, math.prod(self.strides) - 1
        edge = KERNEL // 2
        first, last = first - edge, last + edge
        for stride in reversed(self.strides):
            residual = sum(DILATIONS) * edge
            pad = -(-stride // 2)
            first = -((2 * stride - 1 - pad - first + residual) // stride)
            last = (last + residual + pad) // stride
        return max(-first, last) + edge


def _normed(layer: nn.Module) -> nn.Module:
    """A convolution with weight normalisation and the initial weights of DAC."""
    if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
        nn.init.trunc_normal_(layer.weight, std=INITIAL_DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return weight_norm(layer)


def _strided(inputs: int, outputs: int, stride: int) -> nn.Module:
    """(B, inputs, N) to (B, outputs, N / stride)."""
    return _normed(nn.Conv1d(inputs, outputs, 2 * stride, stride, padding=-(-stride // 2)))


def _upsampling(inputs: int, outputs: int, stride: int) -> nn.Module:
    """(B, inputs, N) to (B, outputs, N * stride)."""
    return _normed(
        nn.ConvTranspose1d(
            inputs,
            outputs,
            2 * stride,
            stride,
            padding=-(-stride // 2),
            output_padding=stride % 2,
        )
    )
