"""The linear heart of a codec: a sound's levels as principal components, and back.

A codec of this size that begins with random weights learns to drop what is rare and narrow, such
as the ring of a glass, long before it learns to keep it. With this beside its networks it keeps
what so many numbers can keep from the first step on, and the networks add to it.

Dimension letters: B batch, N samples, T latent frames, C latent channels, M bands, K bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foleyflow.spectrogram import magnitude, mel_filters, stft

FRAMES = 2  # spectra of a latent frame
FLOOR = 0.01  # added to magnitudes before the logarithm: about -100 dB of a full-scale tone
FAINTEST = 1e-5  # what magnitudes near the floor become without it
LEAST_DEVIATION = 1e-3


class Skeleton(nn.Module):
    """Log-mel levels of a latent frame to `channels` uncorrelated numbers of unit deviation.

    Source: ours; principal components after Hotelling 1933.
    """

    def __init__(self, *, rate_hz: int, hop_samples: int, bands: int, channels: int) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        filters = mel_filters(
            bands=bands,
            window_samples=2 * hop_samples,
            rate_hz=rate_hz,
            low_hz=30.0,
            high_hz=rate_hz / 2,
        )
        shares = filters / filters.sum(1, keepdim=True).clamp_min(1e-9)
        beyond = filters.sum(1) == 0  # bins outside of all bands are as the nearest one
        lower = torch.arange(len(filters)) < len(filters) // 2
        shares[beyond & lower, 0] = 1.0
        shares[beyond & ~lower, -1] = 1.0
        self.register_buffer("filters", filters / filters.sum(0), persistent=False)
        self.register_buffer("shares", shares.T.contiguous(), persistent=False)  # (M, K)
        self.register_buffer("mean", torch.zeros(FRAMES * bands))
        self.register_buffer("components", torch.zeros(channels, FRAMES * bands))
        self.register_buffer("deviation", torch.ones(channels))

    def levels(self, waveform: Tensor) -> Tensor:
        """(B, N) sound to (B, T, 2 M) log-mel levels, those of its two spectra one by one."""
        spectrum = stft(
            waveform,
            window_samples=2 * self.hop_samples,
            hop_samples=self.hop_samples // FRAMES,
        )
        levels = torch.log(magnitude(spectrum) @ self.filters + FLOOR)
        return levels.unflatten(1, (-1, FRAMES)).flatten(2)

    @torch.no_grad()
    def fit_(self, levels: Tensor) -> None:
        """Finds the components of (R, 2 M) levels, the strongest first."""
        mean = levels.mean(0)
        centred = (levels - mean).double()
        variances, vectors = torch.linalg.eigh(centred.T @ centred / len(levels))
        kept = len(self.deviation)
        self.mean.copy_(mean)
        self.components.copy_(vectors.flip(1)[:, :kept].T)
        self.deviation.copy_(variances.flip(0)[:kept].sqrt().clamp_min(LEAST_DEVIATION))

    def latents(self, waveform: Tensor) -> Tensor:
        """(B, N) sound to (B, T, C)."""
        return (self.levels(waveform) - self.mean) @ self.components.T / self.deviation

    def log_sizes(self, latents: Tensor) -> Tensor:
        """(B, T, C) to (B, 2 T, K) log magnitudes, as smooth as the bands are wide."""
        levels = (latents * self.deviation) @ self.components + self.mean
        sizes = torch.exp(levels.unflatten(2, (FRAMES, -1)).flatten(1, 2) @ self.shares)
        return torch.log((sizes - FLOOR).clamp_min(FAINTEST))
