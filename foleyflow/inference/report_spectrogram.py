"""Plots spectrograms with a logarithmic frequency axis, for reports and comparisons."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import NDArray

from foleyflow.inference.report_cues import PALE
from foleyflow.signals import Waveform

BAND_COUNT = 220
LOWEST_HZ, HIGHEST_HZ = 50.0, 20000.0
SPECTROGRAM_WINDOW_SAMPLES = 1024
FFT_SAMPLES = 2048
LONGEST_HOP_SAMPLES = 1024


def band_power(sound: Waveform, *, most_columns: int) -> NDArray[np.float32]:
    """The power of a sound in logarithmic bands, (bands, columns); equal spans of time.

    A column is the maximum of its frames. There are about as many columns as frames, and at most
    `most_columns`.
    """
    samples = sound.mono() if sound.samples.shape[1] else np.zeros(1, np.float32)
    # A hop that gives about one frame per column, or several for long sounds
    hop_samples = int(np.clip(len(samples) // most_columns, 16, LONGEST_HOP_SAMPLES))
    frame_count = -(-len(samples) // hop_samples)
    frames_per_column = -(-frame_count // most_columns)
    column_count = -(-frame_count // frames_per_column)
    padded = np.zeros(
        column_count * frames_per_column * hop_samples + SPECTROGRAM_WINDOW_SAMPLES,
        dtype=np.float32,
    )
    padded[SPECTROGRAM_WINDOW_SAMPLES // 2 : SPECTROGRAM_WINDOW_SAMPLES // 2 + len(samples)] = (
        samples
    )
    # Power in logarithmic bands, block by block
    windows = np.lib.stride_tricks.sliding_window_view(padded, SPECTROGRAM_WINDOW_SAMPLES)[
        ::hop_samples
    ]
    taper = np.hanning(SPECTROGRAM_WINDOW_SAMPLES).astype(np.float32)
    bands = _band_weights(sound.rate_hz)
    power = np.zeros((BAND_COUNT, column_count), dtype=np.float32)
    block = max(1, 4096 // frames_per_column)  # columns per block, which bounds memory
    for first in range(0, column_count, block):
        last = min(first + block, column_count)
        cut = windows[first * frames_per_column : last * frames_per_column]
        spectrum = np.abs(np.fft.rfft(cut * taper, FFT_SAMPLES, axis=1)) ** 2
        power[:, first:last] = (
            (spectrum.astype(np.float32) @ bands)
            .reshape(last - first, frames_per_column, BAND_COUNT)
            .max(axis=1)
            .T
        )
    return power


def relative_db(power: NDArray[np.float32], loudest: float) -> NDArray[np.float32]:
    """Power in dB relative to `loudest`, at least -120 dB."""
    ratio = power / max(loudest, 1e-9)
    return np.asarray(10 * np.log10(np.maximum(ratio, 1e-12)), dtype=np.float32)


def plot_band_power(
    axes: Axes,
    power: NDArray[np.float32],
    *,
    duration_s: float,
    loudest: float,
    range_db: float,
    colours: int = 256,
) -> None:
    """Plot a result of `band_power`.

    Args:
        axes: with seconds on the horizontal axis.
        power: (bands, columns).
        duration_s: length of the sound.
        loudest: the power that has the lightest colour; twice as much has it too.
        range_db: the darkest colour is this far below.
        colours: number of steps of the colour map.
    """
    axes.imshow(
        relative_db(power, loudest),
        extent=(0, max(duration_s, 0.001), 0, BAND_COUNT),
        origin="lower",
        aspect="auto",
        cmap=colormaps["magma"].resampled(colours),
        vmin=-range_db,
        vmax=0,
        interpolation="bilinear",
    ).set_clip_on(True)
    axes.set_facecolor("#000004")  # the lowest colour of the map, for the time after the sound
    axes.set_ylim(0, BAND_COUNT)
    ticks_hz = (100, 1000, 10000)
    axes.set_yticks([_band_of(frequency_hz) for frequency_hz in ticks_hz], ["100", "1 k", "10 k"])
    axes.set_ylabel("Hz", fontsize=9, color=PALE, labelpad=2)


def _band_weights(rate_hz: int) -> NDArray[np.float32]:
    """(bins, bands) triangular filters on a logarithmic axis, at least one bin wide."""
    bins_hz = np.fft.rfftfreq(FFT_SAMPLES, 1 / rate_hz)[:, None]
    steps = (np.arange(BAND_COUNT) + 0.5) / BAND_COUNT
    centres_hz = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** steps
    half_hz = np.maximum(centres_hz * np.log(HIGHEST_HZ / LOWEST_HZ) / BAND_COUNT, bins_hz[1, 0])
    weights = np.maximum(0.0, 1 - np.abs(bins_hz - centres_hz) / half_hz)
    return np.asarray(weights / np.maximum(weights.sum(axis=0), 1.0), dtype=np.float32)


def _band_of(frequency_hz: float) -> float:
    return float(BAND_COUNT * np.log(frequency_hz / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ))
