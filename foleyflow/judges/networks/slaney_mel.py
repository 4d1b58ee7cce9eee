"""Mel filters of Slaney's Auditory Toolbox, as librosa draws them by default.

A third kind beside `spectrogram.mel_filters` and `mel_triangles`: the scale is straight below
1 kHz, and each triangle has an area of one, so that high bands are not louder for being wide.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STRAIGHT_HZ = 200.0 / 3  # per mel, below the corner
CORNER_HZ, CORNER_MEL = 1000.0, 15.0
LOG_STEP = math.log(6.4) / 27  # per mel, above it


def slaney_filters(
    *, bands: int, window_samples: int, rate_hz: int, low_hz: float, high_hz: float
) -> Tensor:
    """Triangles on the hertz axis, evenly spaced on Slaney's mel scale, of unit area.

    Returns:
        (window_samples // 2 + 1, bands) float32.

    Source: Slaney 1998, Auditory Toolbox version 2; librosa.filters.mel with its defaults.
    """
    edges_mel = torch.linspace(_mel(low_hz), _mel(high_hz), bands + 2, dtype=torch.float64)
    edges_hz = torch.where(
        edges_mel < CORNER_MEL,
        edges_mel * STRAIGHT_HZ,
        CORNER_HZ * torch.exp(LOG_STEP * (edges_mel - CORNER_MEL)),
    )
    bins_hz = torch.linspace(0, rate_hz / 2, window_samples // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    peaks = torch.minimum(rising, falling).clamp_min(0.0)
    return (peaks * 2 / (edges_hz[2:] - edges_hz[:-2])).float()


def _mel(frequency_hz: float) -> float:
    if frequency_hz < CORNER_HZ:
        return frequency_hz / STRAIGHT_HZ
    return CORNER_MEL + math.log(frequency_hz / CORNER_HZ) / LOG_STEP
