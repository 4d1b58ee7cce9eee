"""Short-time spectra on the clip's clock: STFT, its exact inverse and mel filters.

One framing rule for the project: frame n of hop h covers samples [n h, (n + 1) h), and its window
is centred on that interval. N samples (a multiple of h) give exactly N / h frames, whose centres
are `clock.centres_s`. Edges are padded with zeros.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LOG_FLOOR = 1e-5  # added to magnitudes before the logarithm: -100 dB


def frame(waveform: Tensor, *, window_samples: int, hop_samples: int) -> Tensor:
    """Cut audio (B, N) into overlapping frames (B, N / hop, window), centred on their hops.

    A ValueError is raised unless N is a multiple of the hop, and the window is the hop plus an even
    number.

    Compare the "same" padding of Vocos (Siuzdak 2023).
    """
    if waveform.shape[-1] % hop_samples:
        raise ValueError(f"{waveform.shape[-1]} samples: expected a multiple of {hop_samples}")
    if (window_samples - hop_samples) % 2 or window_samples < hop_samples:
        raise ValueError(
            f"window of {window_samples} samples: expected {hop_samples} plus an even number"
        )
    pad = (window_samples - hop_samples) // 2
    return functional.pad(waveform, (pad, pad)).unfold(-1, window_samples, hop_samples)


def stft(waveform: Tensor, *, window_samples: int, hop_samples: int) -> Tensor:
    """Spectra of Hann-windowed frames, (B, T, window_samples // 2 + 1) complex64."""
    window = torch.hann_window(window_samples, device=waveform.device, dtype=waveform.dtype)
    frames = frame(waveform, window_samples=window_samples, hop_samples=hop_samples)
    return torch.fft.rfft(frames * window)


def istft(spectrum: Tensor, *, window_samples: int, hop_samples: int) -> Tensor:
    """Exact inverse of `stft` by weighted overlap-add, (B, T * hop_samples) float32.

    The hop is at most half a window.

    Reference: Griffin & Lim 1984, eq. 6 (least-squares inverse).
    """
    batch, count, _ = spectrum.shape
    window = torch.hann_window(window_samples, device=spectrum.device, dtype=torch.float32)
    frames = torch.fft.irfft(spectrum, n=window_samples) * window
    total = (count - 1) * hop_samples + window_samples
    pad = (window_samples - hop_samples) // 2

    def overlap_add(columns: Tensor) -> Tensor:
        folded = functional.fold(
            columns.transpose(1, 2),
            output_size=(1, total),
            kernel_size=(1, window_samples),
            stride=(1, hop_samples),
        )
        return folded.reshape(len(columns), total)[:, pad : total - pad]

    envelope = overlap_add(window.square().expand(1, count, window_samples))
    return overlap_add(frames) / envelope.clamp_min(1e-8).expand(batch, -1)


def mel_filters(
    *,
    bands: int,
    window_samples: int,
    rate_hz: int,
    low_hz: float = 30.0,
    high_hz: float | None = None,
) -> Tensor:
    """Mel filters of unit peak: triangles in hertz with edges on the HTK mel scale.

    They are (window_samples // 2 + 1, bands) float32, up to half the sample rate by default. A band
    narrower than a bin takes its nearest bin, so that no band is empty.

    Reference: HTK mel scale, mel = 2595 log10(1 + f / 700).
    """

    def mel(frequency_hz: float) -> float:
        return 2595.0 * float(torch.log10(torch.tensor(1.0 + frequency_hz / 700.0)))

    high_hz = rate_hz / 2 if high_hz is None else high_hz
    edges_mel = torch.linspace(mel(low_hz), mel(high_hz), bands + 2, dtype=torch.float64)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = torch.linspace(0, rate_hz / 2, window_samples // 2 + 1, dtype=torch.float64)[:, None]
    filters = _triangles(bins_hz, edges_hz)
    empty = (filters.sum(0) == 0).nonzero()[:, 0]
    nearest = (bins_hz - edges_hz[1:-1]).abs().argmin(0)
    filters[nearest[empty], empty] = 1.0
    return filters.float()


def mel_triangles(
    *, bands: int, window_samples: int, rate_hz: int, low_hz: float, high_hz: float
) -> Tensor:
    """Mel filters of unit peak that are triangles on the mel axis, as in Kaldi and VGGish.

    Published audio networks were trained on these. `mel_filters` and librosa have triangles on the
    hertz axis, which gives other numbers. The shape is that of `mel_filters`; the first bin (0 Hz)
    belongs to no band.

    Reference: HTK mel scale, 1127 ln(1 + f / 700).
    """
    bins_hz = torch.linspace(0, rate_hz / 2, window_samples // 2 + 1, dtype=torch.float64)
    bins = 1127.0 * torch.log1p(bins_hz / 700.0)[:, None]
    low, high = (1127.0 * math.log1p(hertz / 700.0) for hertz in (low_hz, high_hz))
    filters = _triangles(bins, torch.linspace(low, high, bands + 2, dtype=torch.float64))
    filters[0] = 0.0
    return filters.float()


def _triangles(points: Tensor, edges: Tensor) -> Tensor:
    """Triangles of unit peak over consecutive edges (M + 2,), at points (K, 1): (K, M)."""
    rising = (points - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0.0)


def magnitude(spectrum: Tensor) -> Tensor:
    """Magnitudes of complex spectra (..., bins), float32.

    They are at least 1e-8 (-160 dB), so that the gradient is finite everywhere. The sum of squares
    is three times as fast as `abs` on CPUs.
    """
    return torch.sqrt(torch.view_as_real(spectrum).square().sum(-1) + 1e-16)


def log_magnitude(spectrum: Tensor, filters: Tensor | None = None) -> Tensor:
    """Natural logarithm of (mel-filtered) magnitudes, with a floor of -100 dB.

    (..., bins) complex spectra, and (bins, bands) filters or None, to (..., bands or bins) float32.
    """
    magnitudes = magnitude(spectrum)
    if filters is not None:
        magnitudes = magnitudes @ filters
    return torch.log(magnitudes + LOG_FLOOR)
