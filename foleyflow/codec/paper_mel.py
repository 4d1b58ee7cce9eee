"""The paper's spectrogram: sound at 8 kHz, windows of 50 ms every 25 ms, 128 mel bands.

Dimension letters: B batch, N samples, T mel frames, M mel bands, K bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foleyflow.spectrogram import LOG_FLOOR, log_magnitude, mel_filters, stft

RATE_HZ = 8000
WINDOW_SAMPLES, HOP_SAMPLES = 400, 200
BANDS = 128
FRAME_RATE_HZ = RATE_HZ / HOP_SAMPLES
INVERSION_STEPS = 200


class PaperMel(nn.Module):
    """Log-mel levels of a sound, and the magnitudes that they leave possible.

    Below 650 Hz the bands are narrower than the bins of 20 Hz, so that several bands may have the
    same bin.
    """

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filters(bands=BANDS, window_samples=WINDOW_SAMPLES, rate_hz=RATE_HZ)
        self.register_buffer("filters", filters, persistent=False)
        # The gradient of the least squares changes at most this much per unit of magnitude
        self._steepest = float(torch.linalg.matrix_norm(filters @ filters.T, 2))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, N) audio at 8 kHz, N a multiple of 200, to (B, N / 200, 128) log magnitudes."""
        spectrum = stft(waveform, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
        return log_magnitude(spectrum, self.filters)

    def magnitudes(self, levels: Tensor) -> Tensor:
        """Magnitudes (B, T, K) of log-mel levels (B, T, M) by non-negative least squares.

        The start is the weighted mean of the bands that cover a bin, which is smooth; accelerated
        projected gradient steps follow.

        Reference: Beck & Teboulle 2009 (FISTA).
        """
        wanted = (levels.exp() - LOG_FLOOR).clamp_min(0.0)
        per_bin = self.filters / self.filters.sum(0)
        weights = per_bin / per_bin.sum(1, keepdim=True).clamp_min(1e-8)
        found = ahead = wanted @ weights.T
        speed = 1.0
        for _ in range(INVERSION_STEPS):
            gradient = (ahead @ self.filters - wanted) @ self.filters.T
            last, found = found, (ahead - gradient / self._steepest).clamp_min(0.0)
            faster = (1 + (1 + 4 * speed**2) ** 0.5) / 2
            ahead = found + (speed - 1) / faster * (found - last)
            speed = faster
        return found
