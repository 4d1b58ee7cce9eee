"""Sounds that every figure must be read beside: silence, noise as loud as the truth.

The other two controls, the true sound and another clip's true sound, need no making. A metric that
one of them wins says nothing of a system. Nothing here reads files.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from foleyflow.media.loudness import loudness_lufs
from foleyflow.signals import Waveform


def silence_like(true: Waveform) -> Waveform:
    """Digital silence as long as a sound.

    Args:
        true: any sound.

    Returns:
        one channel of zeros, of the same rate.

    Source: ours.
    """
    return Waveform(samples=np.zeros((1, true.samples.shape[1]), np.float32), rate_hz=true.rate_hz)


def noise_like(true: Waveform, *, seed: int = 0) -> Waveform:
    """White noise as long and as loud as a sound.

    Args:
        true: any sound; heard as its channels' mean.
        seed: of the noise.

    Returns:
        one channel of normal noise, of the same rate and integrated loudness; it may exceed full
        scale. Silence for silence.

    Raises:
        ValueError: some samples are not finite, so there is no loudness to match.

    Source: ITU-R BS.1770-4 for the loudness.
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
    """A sound as a system of a lower rate could give it at best.

    Args:
        true: any sound.
        rate_hz: the lower rate.

    Returns:
        its channels at `rate_hz`; the sound itself where it has no higher rate.

    Source: ours; soxr VHQ.
    """
    if true.rate_hz <= rate_hz or not true.samples.shape[1]:
        return true
    narrow = soxr.resample(true.samples.T, true.rate_hz, rate_hz, quality="VHQ")
    return Waveform(samples=np.ascontiguousarray(narrow.T), rate_hz=rate_hz)
