"""Spectra and mel filters as the published networks compute them.

They differ from `foleyflow.spectrogram`, which frames sound on the clip's clock.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

LINEAR_HZ_PER_MEL = 200.0 / 3  # below the corner of Slaney's scale
CORNER_HZ, CORNER_MEL = 1000.0, 15.0
LOG_STEP_PER_MEL = math.log(6.4) / 27  # above the corner


def centred_stft(sound: Tensor, window: Tensor, *, fft_samples: int, hop_samples: int) -> Tensor:
    """Spectra of (B, N) or (N,) sound with reflected ends, (..., bins, 1 + N // hop) complex."""
    return torch.stft(
        sound,
        fft_samples,
        hop_length=hop_samples,
        win_length=len(window),
        window=window,
        center=True,
        return_complex=True,
    )


def centred_power(sound: Tensor, window: Tensor, *, fft_samples: int, hop_samples: int) -> Tensor:
    """Squared magnitudes of `centred_stft`."""
    spectrum = centred_stft(sound, window, fft_samples=fft_samples, hop_samples=hop_samples)
    return torch.view_as_real(spectrum).square().sum(-1)


@functools.cache
def slaney_filters(
    *, bands: int, window_samples: int, rate_hz: int, low_hz: float, high_hz: float
) -> Tensor:
    """Mel filters of librosa's defaults, (window_samples // 2 + 1, bands): triangles of unit area.

    Slaney's mel scale is linear below 1 kHz and logarithmic above. The filters of
    `foleyflow.spectrogram` have the HTK scale and unit peaks. Do not modify the cached result.

    Reference: Slaney 1998, Auditory Toolbox version 2; librosa.filters.mel.
    """
    edges_mel = torch.linspace(
        _slaney_mel(low_hz), _slaney_mel(high_hz), bands + 2, dtype=torch.float64
    )
    edges_hz = torch.where(
        edges_mel < CORNER_MEL,
        edges_mel * LINEAR_HZ_PER_MEL,
        CORNER_HZ * torch.exp(LOG_STEP_PER_MEL * (edges_mel - CORNER_MEL)),
    )
    bins_hz = torch.linspace(0, rate_hz / 2, window_samples // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    peaks = torch.minimum(rising, falling).clamp_min(0.0)
    return (peaks * 2 / (edges_hz[2:] - edges_hz[:-2])).float()


def _slaney_mel(frequency_hz: float) -> float:
    if frequency_hz < CORNER_HZ:
        return frequency_hz / LINEAR_HZ_PER_MEL
    return CORNER_MEL + math.log(frequency_hz / CORNER_HZ) / LOG_STEP_PER_MEL
