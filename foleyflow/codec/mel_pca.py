"""A linear codec: principal components of log-mel levels, which the networks add a residual to.

A small randomly initialised codec learns to drop rare narrow sounds, such as the ring of a glass,
long before it learns to preserve them. With this linear part it preserves what the given number of
components can represent from the first training step on.

Dimension letters: B batch, N samples, T latent frames, C latent channels, M bands, K bins.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from foleyflow.spectrogram import magnitude, mel_filters, stft

FRAMES = 2  # spectra per latent frame
FLOOR = 0.01  # added to magnitudes before the logarithm: about -100 dB of a full-scale tone
SMALLEST_MAGNITUDE = 1e-5  # bound of magnitudes after the floor is subtracted
SMALLEST_DEVIATION = 1e-3
# Errors of bands count more from the first frequency on, up to twice from the second on. Without
# it, the few narrow rings of glass above 2 kHz are the first to be lost.
EVEN_BELOW_HZ, DOUBLE_ABOVE_HZ = 1500.0, 6000.0


class MelPca(nn.Module):
    """Log-mel levels of a latent frame to uncorrelated latents of unit deviation, and back.

    Reference: principal components (Hotelling 1933).
    """

    filters: Tensor
    bin_weights: Tensor
    band_weights: Tensor
    mean: Tensor
    components: Tensor
    deviation: Tensor

    def __init__(self, *, rate_hz: int, hop_samples: int, bands: int, channels: int) -> None:
        super().__init__()
        self.rate_hz, self.hop_samples = rate_hz, hop_samples
        filters = mel_filters(bands=bands, window_samples=2 * hop_samples, rate_hz=rate_hz)
        # Weights of the bands for each bin; bins outside of all bands take the nearest band
        weights = filters / filters.sum(1, keepdim=True).clamp_min(1e-9)
        outside = filters.sum(1) == 0
        lower = torch.arange(len(filters)) < len(filters) // 2
        weights[outside & lower, 0] = 1.0
        weights[outside & ~lower, -1] = 1.0
        self.register_buffer("filters", filters / filters.sum(0), persistent=False)
        self.register_buffer("bin_weights", weights.T.contiguous(), persistent=False)  # (M, K)
        self.register_buffer("band_weights", torch.ones(FRAMES * bands))
        self.register_buffer("mean", torch.zeros(FRAMES * bands))
        self.register_buffer("components", torch.zeros(channels, FRAMES * bands))
        self.register_buffer("deviation", torch.ones(channels))

    def levels(self, waveform: Tensor) -> Tensor:
        """(B, N) audio to (B, T, 2 M): log-mel levels of both spectra of each latent frame."""
        spectrum = stft(
            waveform, window_samples=2 * self.hop_samples, hop_samples=self.hop_samples // FRAMES
        )
        levels = torch.log(magnitude(spectrum) @ self.filters + FLOOR)
        return levels.unflatten(1, (-1, FRAMES)).flatten(2)

    @torch.no_grad()
    def fit_(self, levels: Tensor) -> None:
        """Fit the components to (R, 2 M) levels, in order of decreasing weighted variance."""
        bins_hz = torch.linspace(0, 1, len(self.filters)) * self.rate_hz / 2
        octaves = torch.log2((bins_hz @ self.filters).clamp_min(1.0) / EVEN_BELOW_HZ)
        span = math.log2(DOUBLE_ABOVE_HZ / EVEN_BELOW_HZ)
        self.band_weights.copy_((1 + octaves / span).clamp(1.0, 2.0).repeat(FRAMES))
        mean = levels.mean(0)
        centred = ((levels - mean) * self.band_weights).double()
        variances, vectors = torch.linalg.eigh(centred.T @ centred / len(levels))
        count = len(self.deviation)
        self.mean.copy_(mean)
        self.components.copy_(vectors.flip(1)[:, :count].T)
        self.deviation.copy_(variances.flip(0)[:count].sqrt().clamp_min(SMALLEST_DEVIATION))

    def latents(self, waveform: Tensor) -> Tensor:
        """(B, N) audio to (B, T, C)."""
        centred = (self.levels(waveform) - self.mean) * self.band_weights
        return centred @ self.components.T / self.deviation

    def levels_from(self, latents: Tensor) -> Tensor:
        """Inverse of `latents`: (B, T, C) to (B, T, 2 M) log-mel levels."""
        return (latents * self.deviation) @ self.components / self.band_weights + self.mean

    def log_magnitudes(self, latents: Tensor) -> Tensor:
        """(B, T, C) to (B, 2 T, K) log magnitudes, interpolated between the bands."""
        levels = self.levels_from(latents).unflatten(2, (FRAMES, -1)).flatten(1, 2)
        magnitudes = torch.exp(levels @ self.bin_weights)
        return torch.log((magnitudes - FLOOR).clamp_min(SMALLEST_MAGNITUDE))
