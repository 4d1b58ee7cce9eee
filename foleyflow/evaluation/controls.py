"""Control sounds: silence, noise as loud as the true sound, and the band-limited true sound.

The other controls are the true sounds themselves. A metric on which a control scores well proves
nothing about a system.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from foleyflow.media.loudness import loudness_lufs
from foleyflow.signals import Waveform


def silence_like(true: Waveform) -> Waveform:
    """Digital silence, one channel, of a sound's length and rate."""
    return Waveform(samples=np.zeros((1, true.samples.shape[1]), np.float32), rate_hz=true.rate_hz)


def noise_like(true: Waveform, *, seed: int = 0) -> Waveform:
    """White noise of a sound's length, rate and integrated loudness; silence for silence.

    The noise has one normally distributed channel, which may exceed full scale.

    Raises:
        ValueError: some samples are not finite, so there is no loudness to match.

    Reference: ITU-R BS.1770-4 for the loudness.
    """
    if not np.isfinite(true.samples).all():
        raise ValueError("true: some samples are not finite, so its loudness is unknown")
    target_lufs = loudness_lufs(Waveform(samples=true.mono()[None], rate_hz=true.rate_hz))
    if math.isinf(target_lufs):
        return silence_like(true)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((1, true.samples.shape[1]), dtype=np.float32)
    measured_lufs = loudness_lufs(Waveform(samples=noise, rate_hz=true.rate_hz))
    gain = np.float32(10 ** ((target_lufs - measured_lufs) / 20))
    return Waveform(samples=noise * gain, rate_hz=true.rate_hz)


def narrow_like(true: Waveform, *, rate_hz: int) -> Waveform:
    """A sound resampled (soxr VHQ) to a lower rate; the sound itself if its rate is not higher."""
    if true.rate_hz <= rate_hz or not true.samples.shape[1]:
        return true
    narrow = soxr.resample(true.samples.T, true.rate_hz, rate_hz, quality="VHQ")
    return Waveform(samples=np.ascontiguousarray(narrow.T), rate_hz=rate_hz)
