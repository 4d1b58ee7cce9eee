"""Audio preprocessing for judges: channels, offset, resampler and length.

Published figures depend on these settings more than many systems differ (the resampler alone
changes a Fréchet distance by tens), so reports contain them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from foleyflow.errors import ConfigError
from foleyflow.signals import Waveform

# Defaults of torchaudio's windowed sinc
SINC_WIDTH = 6  # zero crossings on each side
SINC_ROLLOFF = 0.99  # cutoff as a fraction of the Nyquist frequency


@dataclass(frozen=True, kw_only=True)
class AudioPreprocessing:
    """Settings of the preprocessing."""

    channels: Literal["mean", "first"] = "mean"  # the mean of all channels, or the first one
    centred: bool = False  # whether the mean of the sound is subtracted
    resampler: Literal["soxr", "sinc"] = "soxr"  # soxr VHQ, or torchaudio's default
    duration_s: float | None = None  # longer sounds are cut to it, rounded down to samples
    short: Literal["kept", "refused"] = "kept"  # sounds shorter than `duration_s`

    def __post_init__(self) -> None:
        if self.duration_s is not None and not self.duration_s > 0:
            raise ConfigError(f"duration_s: got {self.duration_s}, expected more than 0 or None")
        if self.short == "refused" and self.duration_s is None:
            raise ConfigError("short='refused': expected duration_s, got None")

    @property
    def description(self) -> str:
        """The settings in one line, for reports."""
        channels = "mean of the channels" if self.channels == "mean" else "first channel"
        offset = ", offset removed" if self.centred else ""
        resampler = {"soxr": "soxr VHQ", "sinc": f"windowed sinc of width {SINC_WIDTH}"}
        cut = "" if self.duration_s is None else f", first {self.duration_s:g} s"
        short = ", shorter ones refused" if self.short == "refused" else ""
        return f"{resampler[self.resampler]}, {channels}{offset}{cut}{short}"

    def apply(self, waveform: Waveform, rate_hz: int) -> NDArray[np.float32]:
        """Mix, centre, resample and cut a sound to (N,) at `rate_hz`, in the order of av-benchmark.

        Raises:
            ValueError: the sound is shorter than `duration_s`, and short sounds are refused.
        """
        samples = waveform.mono() if self.channels == "mean" else waveform.samples[0]
        if self.centred and len(samples):
            samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
        if len(samples) and waveform.rate_hz != rate_hz:
            samples = (
                soxr.resample(samples, waveform.rate_hz, rate_hz, quality="VHQ")
                if self.resampler == "soxr"
                else sinc_resample(samples, waveform.rate_hz, rate_hz)
            )
        if self.duration_s is None:
            return samples
        # Rounded down as in the published scripts; 1e-6 absorbs the binary error of the product
        wanted = int(self.duration_s * rate_hz + 1e-6)
        if len(samples) < wanted and self.short == "refused":
            raise ValueError(
                f"{len(samples) / rate_hz:.3f} s of sound, expected at least {self.duration_s:g} s"
            )
        return samples[:wanted]


def sinc_resample(
    samples: NDArray[np.float32], source_rate_hz: int, target_rate_hz: int
) -> NDArray[np.float32]:
    """Resample a (N,) sound with torchaudio's default, a sinc with a Hann window of six crossings.

    The result has ceil(N target / source) samples. Its aliases are only some 40 dB down, which is
    part of the protocol of published figures.

    Reference: Smith, Digital Audio Resampling; torchaudio.functional.resample.
    """
    divisor = math.gcd(source_rate_hz, target_rate_hz)
    source, target = source_rate_hz // divisor, target_rate_hz // divisor
    if source == target:
        return samples
    kernels, reach = _sinc_kernels(source, target)
    padded = np.pad(samples, (reach, reach + source))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1])[::source]
    resampled: NDArray[np.float32] = (windows @ kernels.T).reshape(-1)
    return resampled[: math.ceil(len(samples) * target / source)]


@functools.lru_cache(maxsize=16)
def _sinc_kernels(source: int, target: int) -> tuple[NDArray[np.float32], int]:
    """One filter per phase, (target, K), and the number of earlier samples that they reach."""
    cutoff = min(source, target) * SINC_ROLLOFF
    reach = math.ceil(SINC_WIDTH * source / cutoff)
    taps = np.arange(-reach, reach + source) / source
    phases = -np.arange(target) / target
    crossings = np.clip((phases[:, None] + taps) * cutoff, -SINC_WIDTH, SINC_WIDTH)
    window = np.cos(crossings * np.pi / SINC_WIDTH / 2) ** 2
    kernels = np.sinc(crossings) * window * cutoff / source
    return kernels.astype(np.float32), reach
