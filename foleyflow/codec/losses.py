"""What the codec is trained to keep: spectra, loudness in time, small latents.

Pure functions on tensors. No discriminator: it belongs to the recipe for large machines.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foleyflow.spectrogram import log_magnitude, stft

RESOLUTIONS = ((2400, 600), (960, 240), (480, 120), (240, 60))  # (window, hop) in samples


def spectral_loss(decoded: Tensor, target: Tensor) -> Tensor:
    """Log-magnitude L1 plus spectral convergence, averaged over resolutions.

    Args:
        decoded: (B, N) sound; N a multiple of 1200.
        target: (B, N) sound.

    Returns:
        () non-negative.

    Source: Yamamoto et al. 2020 (multi-resolution STFT loss).
    """
    total = decoded.new_zeros(())
    for window_samples, hop_samples in RESOLUTIONS:
        got = stft(decoded, window_samples=window_samples, hop_samples=hop_samples)
        wanted = stft(target, window_samples=window_samples, hop_samples=hop_samples)
        log_l1 = functional.l1_loss(log_magnitude(got), log_magnitude(wanted))
        difference = (got.abs() - wanted.abs()).flatten(1).norm(dim=1)
        convergence = (difference / (wanted.abs().flatten(1).norm(dim=1) + 1.0)).mean()
        total = total + log_l1 + convergence
    return total / len(RESOLUTIONS)


def mel_loss(decoded: Tensor, target: Tensor, filters: Tensor) -> Tensor:
    """L1 of log-mel spectra; window 1920, hop 480.

    Args:
        decoded: (B, N) sound.
        target: (B, N) sound.
        filters: (961, bands) from `spectrogram.mel_filters`.

    Returns:
        () in nepers (natural logarithm of magnitude).

    Source: Kong et al. 2020 (HiFi-GAN), natural logarithm.
    """
    spectra = [
        log_magnitude(stft(sound, window_samples=1920, hop_samples=480), filters)
        for sound in (decoded, target)
    ]
    return functional.l1_loss(*spectra)


def envelope_loss(decoded: Tensor, target: Tensor) -> Tensor:
    """L1 of the logarithm of 1 ms energies: keeps attacks where they are.

    Source: method section E (transient term), ours.
    """

    def log_energy(sound: Tensor) -> Tensor:
        return torch.log(functional.avg_pool1d(sound.square()[:, None], 48, 48) + 1e-7)

    return functional.l1_loss(log_energy(decoded), log_energy(target))


def kl_to_unit(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of the latents' posterior from N(0, 1), nats per dimension, averaged.

    Source: Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
