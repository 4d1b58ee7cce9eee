"""Audio preprocessing for judges: channels, offset, two resamplers, lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foleyflow.errors import ConfigError
from foleyflow.judges.preprocessing import (
    SINC_ROLLOFF,
    SINC_WIDTH,
    AudioPreprocessing,
    sinc_resample,
)
from foleyflow.signals import Waveform


def tone(frequency_hz, rate_hz, *, seconds=0.5):
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def noise(count, *, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (channels, count)).astype(np.float32)


@pytest.mark.parametrize(
    ("source_hz", "target_hz"), [(48000, 16000), (44100, 16000), (8000, 32000)]
)
def test_sinc_resampling_keeps_a_tone(source_hz, target_hz):
    resampled = sinc_resample(tone(1000, source_hz).astype(np.float32), source_hz, target_hz)
    assert len(resampled) == math.ceil(round(0.5 * source_hz) * target_hz / source_hz)
    inner = slice(target_hz // 50, -target_hz // 50)
    assert np.abs(resampled - tone(1000, target_hz))[inner].max() < 2e-3
    # A short filter attenuates aliases, but does not remove them
    if target_hz < source_hz:
        high = sinc_resample(tone(11000, source_hz).astype(np.float32), source_hz, target_hz)
        assert 1e-5 < np.abs(high[inner]).max() < 0.02


@pytest.mark.parametrize(("source_hz", "target_hz"), [(48000, 32000), (22050, 16000)])
def test_sinc_resampling_matches_the_explicit_sum(source_hz, target_hz):
    samples = noise(300)[0]
    resampled = sinc_resample(samples, source_hz, target_hz)
    cutoff_hz = min(source_hz, target_hz) * SINC_ROLLOFF
    times_s = np.arange(len(samples)) / source_hz
    for index in (0, 7, len(resampled) // 2, len(resampled) - 1):
        crossings = (times_s - index / target_hz) * cutoff_hz
        near = np.abs(crossings) < SINC_WIDTH
        window = np.cos(crossings[near] * np.pi / 2 / SINC_WIDTH) ** 2
        expected = (samples[near] * np.sinc(crossings[near]) * window).sum() * cutoff_hz / source_hz
        assert resampled[index] == pytest.approx(expected, abs=1e-5)


def test_sinc_resampling_at_equal_rates_returns_the_samples():
    samples = noise(100)[0]
    assert sinc_resample(samples, 16000, 16000) is samples


def test_channels_are_mixed_and_the_offset_is_removed():
    sound = Waveform(samples=noise(1000, channels=2) + np.float32(0.1), rate_hz=16000)
    assert np.array_equal(AudioPreprocessing().apply(sound, 16000), sound.mono())
    assert np.array_equal(
        AudioPreprocessing(channels="first").apply(sound, 16000), sound.samples[0]
    )
    centred = AudioPreprocessing(centred=True).apply(sound, 16000)
    assert abs(centred.mean(dtype=np.float64)) < 1e-7
    assert np.allclose(centred - centred[0], sound.mono() - sound.mono()[0], atol=1e-6)


@pytest.mark.parametrize("resampler", ["soxr", "sinc"])
@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000])
def test_all_source_rates_give_the_same_sound(resampler, rate_hz):
    preprocessing = AudioPreprocessing(resampler=resampler, duration_s=0.4)
    samples = tone(440, rate_hz).astype(np.float32)[None]
    resampled = preprocessing.apply(Waveform(samples=samples, rate_hz=rate_hz), 16000)
    assert len(resampled) == 6400 and resampled.dtype == np.float32
    assert np.abs(resampled - tone(440, 16000)[:6400])[500:-500].max() < 5e-3


def test_long_sounds_are_cut_and_short_sounds_kept_or_refused():
    sound = Waveform(samples=noise(7999), rate_hz=8000)
    assert len(AudioPreprocessing(duration_s=0.99999).apply(sound, 8000)) == 7999
    assert len(AudioPreprocessing(duration_s=8.0).apply(sound, 8000)) == 7999
    strict = AudioPreprocessing(duration_s=1.0, short="refused")
    with pytest.raises(ValueError, match=r"1\.000 s of sound, expected at least 1 s"):
        strict.apply(sound, 8000)  # one sample is missing
    assert len(strict.apply(Waveform(samples=noise(8000), rate_hz=8000), 8000)) == 8000
    empty = Waveform(samples=np.zeros((1, 0), np.float32), rate_hz=44100)
    assert len(AudioPreprocessing(centred=True, resampler="sinc").apply(empty, 16000)) == 0


def test_invalid_settings_are_refused():
    with pytest.raises(ConfigError, match="duration_s: got 0"):
        AudioPreprocessing(duration_s=0)
    with pytest.raises(ConfigError, match="short='refused': expected duration_s, got None"):
        AudioPreprocessing(short="refused")


def test_description_contains_all_settings():
    preprocessing = AudioPreprocessing(
        channels="first", centred=True, resampler="sinc", duration_s=8, short="refused"
    )
    assert preprocessing.description == (
        "windowed sinc of width 6, first channel, offset removed, first 8 s, shorter ones refused"
    )
