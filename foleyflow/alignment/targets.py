"""What hidden segments are recovered to: frozen targets that cannot collapse.

Codec latents come from the frozen codec and are handed in; the mel patches are made here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.alignment.model import AlignmentConfig
from foleyflow.spectrogram import log_magnitude, mel_filters, stft


class MelPatches(torch.nn.Module):
    """Log-mel spectra of sound, as the student's input and as a target.

    Windows are two hops long, so that one guard frame hides all of a neighbour (masking.py).

    Source: method sections B.2 and B.4.
    """

    def __init__(self, config: AlignmentConfig, *, rate_hz: int) -> None:
        super().__init__()
        self.config = config
        hop_s = config.segment_s / config.mel_frames_per_segment
        self.hop_samples = round(hop_s * rate_hz)
        filters = mel_filters(
            bands=config.mel_bands,
            window_samples=2 * self.hop_samples,
            rate_hz=rate_hz,
            low_hz=50.0,
            high_hz=min(20_000.0, rate_hz / 2),
        )
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, N) sound to (B, N / hop, bands) log-mel, about zero mean and unit deviation."""
        spectrum = stft(waveform, window_samples=2 * self.hop_samples, hop_samples=self.hop_samples)
        return (log_magnitude(spectrum, self.filters) + 6.0) / 3.0

    def targets(self, mel: Tensor) -> Tensor:
        """Each segment's patch, normalised by its own mean and deviation, and its energy.

        Args:
            mel: (B, S * frames, bands) from `forward`.

        Returns:
            (B, S, frames * bands + 1); the last is the patch's mean level.
        """
        patches = mel.unflatten(1, (-1, self.config.mel_frames_per_segment)).flatten(2)
        level = patches.mean(-1, keepdim=True)
        spread = patches.std(-1, keepdim=True)
        return torch.cat([(patches - level) / (spread + 0.1), level], -1)
