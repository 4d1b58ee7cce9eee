"""Vocoders: the paper's log-mel levels to sound at 8 kHz, by Griffin-Lim or by a network.

Dimension letters: B batch, N samples, T mel frames, M mel bands, K bins, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foleyflow.codec.autoencoder import MAX_LOG_MAGNITUDE, ConvNextBlock
from foleyflow.codec.paper_mel import (
    BANDS,
    HOP_SAMPLES,
    RATE_HZ,
    WINDOW_SAMPLES,
    PaperMel,
)
from foleyflow.errors import ConfigError
from foleyflow.spectrogram import istft, mel_filters, stft

ITERATIONS, MOMENTUM = 64, 0.99
REACH_FRAMES = 16  # mel frames on each side that Griffin-Lim takes into account


class Vocoder(nn.Module):
    """Decodes (B, T, M) log-mel levels of `PaperMel` to (B, 200 T) audio at 8 kHz.

    Attributes:
        context_frames: mel frames on each side that influence a decoded frame.
    """

    context_frames: int

    def forward(self, levels: Tensor, known: Tensor | None = None) -> Tensor:
        """The audio of a sound, of which the first samples may be `known`, (B, n)."""
        raise NotImplementedError


class GriffinLim(Vocoder):
    """Magnitudes by non-negative least squares, and phases by fast Griffin-Lim.

    Known samples are kept in every iteration, so that the phases of the rest continue them.

    Reference: Griffin & Lim 1984; Perraudin, Balazs & Søndergaard 2013 for the momentum; Zhu,
    Beauregard & Wyse 2007 (RTISI) for sound that is kept.
    """

    def __init__(self, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.context_frames = REACH_FRAMES
        self.iterations = iterations
        self.mel = PaperMel()

    def forward(self, levels: Tensor, known: Tensor | None = None) -> Tensor:
        """(B, T, M) to (B, 200 T) audio, which begins with the `known` samples.

        The phases start from the same random numbers in every call.
        """
        known = levels.new_zeros(len(levels), 0) if known is None else known
        magnitudes = self.mel.magnitudes(levels)
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(magnitudes.shape[1:], generator=generator).to(levels.device)
        spectrum = torch.polar(magnitudes, (2 * math.pi * angles).expand_as(magnitudes))
        audio = _with_start(_inverse(spectrum), known)
        last = torch.zeros_like(spectrum)
        for _ in range(self.iterations):
            consistent = stft(audio, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
            ahead = consistent + MOMENTUM * (consistent - last)
            last = consistent
            audio = _with_start(_inverse(torch.polar(magnitudes, ahead.angle())), known)
        return audio


def _inverse(spectrum: Tensor) -> Tensor:
    return istft(spectrum, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)


def _with_start(audio: Tensor, known: Tensor) -> Tensor:
    return torch.cat([known, audio[:, known.shape[1] :]], 1)


@dataclass(frozen=True, kw_only=True)
class VocoderConfig:
    """Shape of the neural vocoder; the defaults are those of the tiny one."""

    width: int = 256
    blocks: int = 4  # ConvNeXt blocks at the rate of the mel frames
    fine_width: int = 160
    fine_blocks: int = 4  # at the rate of the output spectra
    spectra_per_frame: int = 4  # output spectra in a mel frame

    def __post_init__(self) -> None:
        if self.spectra_per_frame < 1 or HOP_SAMPLES % (2 * self.spectra_per_frame):
            raise ConfigError(
                f"spectra_per_frame={self.spectra_per_frame}: expected a number of which twice "
                f"divides {HOP_SAMPLES}"
            )


class NeuralVocoder(Vocoder):
    """ConvNeXt blocks with the head of an inverse STFT.

    Its spectra are four times as dense as the mel frames, so that attacks are as short as 25 ms
    windows allow. The network predicts phases, and log magnitudes relative to those of the mel
    bands around each bin.

    Reference: Siuzdak 2023 (Vocos), for the head.
    """

    band_weights: Tensor
    band_sizes: Tensor

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        fine = 3 * config.fine_blocks + config.spectra_per_frame  # in spectra
        self.context_frames = 3 * (1 + config.blocks) + -(-fine // config.spectra_per_frame) + 1
        self.hop_samples = HOP_SAMPLES // config.spectra_per_frame
        self.window_samples = 4 * self.hop_samples
        bins = self.window_samples // 2 + 1
        self.input_conv = nn.Conv1d(BANDS, config.width, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNextBlock(config.width) for _ in range(config.blocks)))
        self.upsample = nn.Linear(config.width, config.spectra_per_frame * config.fine_width)
        self.fine = nn.Sequential(
            *(ConvNextBlock(config.fine_width) for _ in range(config.fine_blocks))
        )
        self.norm = nn.LayerNorm(config.fine_width)
        self.head = nn.Linear(config.fine_width, 2 * bins)
        # Magnitudes start as those of the bands, for the shorter window; phases start so that the
        # energy of a spectrum is in its middle.
        nn.init.zeros_(self.head.weight[:bins])
        nn.init.constant_(self.head.bias[:bins], math.log(self.window_samples / WINDOW_SAMPLES))
        with torch.no_grad():
            self.head.bias[bins:] += math.pi * (torch.arange(bins) % 2)
        weights = _band_weights(self.window_samples)
        self.register_buffer("band_weights", weights, persistent=False)
        filters = mel_filters(bands=BANDS, window_samples=WINDOW_SAMPLES, rate_hz=RATE_HZ)
        self.register_buffer("band_sizes", filters.sum(0).log(), persistent=False)

    def forward(self, levels: Tensor, known: Tensor | None = None) -> Tensor:
        """(B, T, M) to (B, 200 T) audio, which does not depend on `known`."""
        # Blocks at the rate of the mel frames, then at that of the spectra
        hidden = self.input_conv((levels / 4.0 + 1.0).transpose(1, 2)).transpose(1, 2)
        hidden = self.upsample(self.blocks(hidden))
        hidden = self.fine(hidden.unflatten(2, (self.config.spectra_per_frame, -1)).flatten(1, 2))
        log_magnitudes, phase = self.head(self.norm(hidden)).float().chunk(2, -1)
        # Magnitudes relative to those of the bands, which are constant over a mel frame
        with torch.autocast(levels.device.type, enabled=False):
            bands = (levels.float() - self.band_sizes) @ self.band_weights.T
            bands = bands.repeat_interleave(self.config.spectra_per_frame, 1)
            magnitudes = torch.exp((log_magnitudes + bands).clamp(max=MAX_LOG_MAGNITUDE))
            return istft(
                torch.polar(magnitudes, phase),
                window_samples=self.window_samples,
                hop_samples=self.hop_samples,
            )


def _band_weights(window_samples: int) -> Tensor:
    """Weights (K, M) of the bands in the mean level around each bin of a shorter window."""
    filters = mel_filters(bands=BANDS, window_samples=window_samples, rate_hz=RATE_HZ)
    totals = filters.sum(1)
    # A bin outside all bands takes the nearest bin's
    covered = totals.nonzero()[:, 0]
    nearest = (torch.arange(len(totals))[:, None] - covered).abs().argmin(1)
    return (filters / totals.clamp_min(1e-8)[:, None])[covered[nearest]]
