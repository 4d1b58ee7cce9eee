"""The generated controls: silence, and noise of the true sound's loudness."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.evaluation.controls import noise_like, silence_like
from foleyflow.media.loudness import loudness_lufs
from foleyflow.signals import Waveform


def tone(level=0.1, rate_hz=48000, channels=1, seconds=2.0):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = np.tile(level * np.sin(2 * np.pi * 500 * t), (channels, 1)).astype(np.float32)
    return Waveform(samples=samples, rate_hz=rate_hz)


@pytest.mark.parametrize("rate_hz", [8000, 44100, 96000])
@pytest.mark.parametrize("level", [0.003, 0.5])
def test_noise_has_the_loudness_of_the_true_sound(rate_hz, level):
    true = tone(level, rate_hz, channels=2)
    noise = noise_like(true)
    mono = Waveform(samples=true.mono()[None], rate_hz=rate_hz)
    assert loudness_lufs(noise) == pytest.approx(loudness_lufs(mono), abs=0.05)
    assert noise.samples.shape == (1, true.samples.shape[1])
    assert noise.rate_hz == rate_hz


def test_noise_is_white_and_seeded():
    noise = noise_like(tone()).samples[0]
    power = np.abs(np.fft.rfft(noise)) ** 2
    low, high = np.array_split(power[1:], 2)
    assert low.mean() == pytest.approx(high.mean(), rel=0.03)
    assert np.array_equal(noise, noise_like(tone()).samples[0])
    assert not np.array_equal(noise, noise_like(tone(), seed=1).samples[0])


def test_a_sound_with_samples_that_are_not_finite_is_refused():
    true = tone()
    true.samples[0, 100] = np.nan
    with pytest.raises(ValueError, match="not finite, so its loudness is unknown"):
        noise_like(true)


def test_silence_gives_silence_and_lengths_are_kept():
    true = tone(0.0)
    assert not noise_like(true).samples.any()
    assert not silence_like(tone()).samples.any()
    assert silence_like(tone(channels=2)).samples.shape == (1, 96000)
    empty = Waveform(samples=np.zeros((1, 0), np.float32), rate_hz=16000)
    assert noise_like(empty).samples.shape == silence_like(empty).samples.shape == (1, 0)
