"""Measure loudness (ITU-R BS.1770-4) in one pass, and compute gains for loudness and peak.

Gains are plain factors, so a caller can apply them to a sound of any length block by block. Nothing
is compressed or clipped.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import av
import numpy as np
from av.filter import Graph
from numpy.typing import ArrayLike, NDArray

from foleyflow.signals import Waveform

_GATE_BLOCK_S = 0.4
_GATE_HOP_S = 0.1
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_CHANNEL_GAINS = (1.0, 1.0, 1.0, 1.41, 1.41)
# A layout of libav for each number of channels: channels are filtered separately.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0"}
# Quieter sound counts as silence and is not amplified.
_QUIETEST_LUFS = -60.0
_LARGEST_GAIN_DB = 20.0
_PEAK_CEILING = 10.0 ** (-1.0 / 20.0)


class LoudnessMeter:
    """Integrated loudness of a sound that arrives in blocks.

    Keeps the state of the filters and one energy per 100 ms; the result equals that of pyloudnorm's
    `Meter` for the complete sound.

    Reference: ITU-R BS.1770-4, equations 1 to 7; filter coefficients as in pyloudnorm.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._channels = channels
        self._graph = _k_weighting(rate_hz, _LAYOUTS[channels])
        self._hop_energies: list[NDArray[np.float64]] = []  # finished hops, (channels,) each
        self._open_energy = np.zeros(channels)
        self._sample_count = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Add the next (channels, n) float32 block; `ValueError` for another shape."""
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise ValueError(f"block: got {block.shape}, expected ({self._channels}, n)")
        if block.shape[1] == 0:
            return
        power = np.square(self._weighted(block))
        position = 0
        while position < power.shape[1]:
            hop_end = self._hop_start(len(self._hop_energies) + 1)
            count = min(hop_end - self._sample_count, power.shape[1] - position)
            self._open_energy += power[:, position : position + count].sum(axis=1)
            position += count
            self._sample_count += count
            if self._sample_count == hop_end:
                self._hop_energies.append(self._open_energy)
                self._open_energy = np.zeros(self._channels)

    def integrated_lufs(self) -> float:
        """Return the loudness in LUFS, -inf for silence; shorter sound is extended to 0.4 s."""
        duration_s = max(self._sample_count / self._rate_hz, _GATE_BLOCK_S)
        block_count = int(np.round((duration_s - _GATE_BLOCK_S) / _GATE_HOP_S)) + 1
        hops = np.zeros((block_count + 3, self._channels))
        filled = [*self._hop_energies, self._open_energy][: len(hops)]
        hops[: len(filled)] = filled
        energies = np.sum([hops[start : start + block_count] for start in range(4)], axis=0)
        mean_squares = np.asarray(energies / (_GATE_BLOCK_S * self._rate_hz))
        gains = np.array(_CHANNEL_GAINS[: self._channels])
        loudness = _lufs(mean_squares @ gains)
        loud = loudness >= _ABSOLUTE_GATE_LUFS
        if not loud.any():
            return -math.inf
        relative_gate = _lufs(mean_squares[loud].mean(axis=0) @ gains) + _RELATIVE_GATE_LU
        loud = (loudness > relative_gate) & (loudness > _ABSOLUTE_GATE_LUFS)
        if not loud.any():
            return -math.inf
        return float(_lufs(mean_squares[loud].mean(axis=0) @ gains))

    def windows_lufs(self, window_s: float) -> NDArray[np.float64]:
        """Return the loudness of every window of a length, one per 100 ms, without gates.

        A window of 0.4 s gives the momentary loudness, one of 3 s the short-term loudness (EBU Tech
        3341). Sound that is shorter than a window is extended by zeros.
        """
        count = round(window_s / _GATE_HOP_S)
        hops = self._hop_energies
        if len(hops) < count:
            silence = [np.zeros(self._channels)] * count
            hops = [*hops, self._open_energy, *silence][:count]
        sums = np.lib.stride_tricks.sliding_window_view(np.array(hops), count, axis=0).sum(axis=-1)
        gains = np.array(_CHANNEL_GAINS[: self._channels])
        return _lufs(sums @ gains / (window_s * self._rate_hz))

    def _weighted(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """(channels, n) K-weighted samples of a block that is not empty."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, np.float64),
            format="dblp",
            layout=_LAYOUTS[self._channels],
        )
        frame.sample_rate = self._rate_hz
        frame.pts = self._sample_count
        self._graph.push(frame)
        return cast(NDArray[np.float64], self._graph.pull().to_ndarray())

    def _hop_start(self, hop: int) -> int:
        """First sample of a 100 ms hop, rounded down as pyloudnorm does."""
        return int(_GATE_BLOCK_S * (hop * 0.25) * self._rate_hz)


def _k_weighting(rate_hz: int, layout: str) -> Graph:
    """The two filters of BS.1770 in float64 (libavfilter's `ebur128` rounds to 0.01 LU)."""
    graph = Graph()
    graph.threads = 1
    nodes = [
        graph.add_abuffer(sample_rate=rate_hz, format="dblp", layout=layout),
        *(
            graph.add("biquad", f"{coefficients}:transform=tdii:precision=f64")
            for coefficients in (_high_shelf(rate_hz), _high_pass(rate_hz))
        ),
        graph.add("abuffersink"),
    ]
    for node, following in itertools.pairwise(nodes):
        node.link_to(following)
    graph.configure()
    return graph


def _high_shelf(rate_hz: int) -> str:
    """+4 dB above 1.5 kHz, the effect of the head: RBJ's cookbook with Q = 1/sqrt(2)."""
    gain = 10.0 ** (4.0 / 40.0)
    angle = 2.0 * np.pi * (1500.0 / rate_hz)
    width = 2.0 * np.sqrt(gain) * (np.sin(angle) / (2.0 * (1.0 / np.sqrt(2.0))))
    up, down, cosine = gain + 1.0, gain - 1.0, np.cos(angle)
    return _biquad(
        [
            gain * (up + down * cosine + width),
            -2.0 * gain * (down + up * cosine),
            gain * (up + down * cosine - width),
        ],
        [up - down * cosine + width, 2.0 * (down - up * cosine), up - down * cosine - width],
    )


def _high_pass(rate_hz: int) -> str:
    """High-pass filter at 38 Hz: RBJ's cookbook with Q = 0.5."""
    angle = 2.0 * np.pi * (38.0 / rate_hz)
    width, cosine = np.sin(angle) / (2.0 * 0.5), np.cos(angle)
    half = (1.0 + cosine) / 2.0
    return _biquad([half, -(1.0 + cosine), half], [1.0 + width, -2.0 * cosine, 1.0 - width])


def _biquad(forward: list[float], back: list[float]) -> str:
    """Coefficients in full precision as options of libavfilter's `biquad`."""
    scaled = [float(value / back[0]) for value in (*forward, *back)]
    names = ("b0", "b1", "b2", "a0", "a1", "a2")
    return ":".join(f"{name}={value!r}" for name, value in zip(names, scaled, strict=True))


def loudness_lufs(waveform: Waveform) -> float:
    """Return the integrated loudness of a sound in LUFS; see `LoudnessMeter`."""
    meter = LoudnessMeter(waveform.rate_hz, waveform.samples.shape[0])
    # Blocks of one second stay in the processor's cache
    for start in range(0, waveform.samples.shape[1], waveform.rate_hz):
        meter.add(waveform.samples[:, start : start + waveform.rate_hz])
    return meter.integrated_lufs()


def loudness_gain(measured_lufs: float, target_lufs: float) -> float:
    """Return the factor, at most 20 dB, that brings a sound of known loudness to `target_lufs`.

    Sound below -60 LUFS counts as silence, with a factor of 1.
    """
    if measured_lufs < _QUIETEST_LUFS:
        return 1.0
    return float(10.0 ** (min(target_lufs - measured_lufs, _LARGEST_GAIN_DB) / 20.0))


def peak_gain(peak: float) -> float:
    """Return the factor, at most 1, that keeps a largest absolute sample below -1 dBFS."""
    return min(1.0, _PEAK_CEILING / peak) if peak > 0 else 1.0


def _lufs(weighted_mean_square: ArrayLike) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(-0.691 + 10.0 * np.log10(weighted_mean_square))
