"""Loudness in one pass equals pyloudnorm; gains have the documented effect."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest

from foleyflow.media import LoudnessMeter, loudness_gain, loudness_lufs, peak_gain
from foleyflow.signals import Waveform


def noise(seconds, rate_hz=48_000, channels=1, seed=0, level=0.1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, level, (channels, round(seconds * rate_hz))).astype(np.float32)


def sparse(seconds, rate_hz=48_000, channels=1, seed=0):
    """Decaying hits with silence between them, like foley sound."""
    rng = np.random.default_rng(seed)
    samples = np.zeros((channels, round(seconds * rate_hz)), np.float32)
    for start in rng.integers(0, samples.shape[1] - rate_hz // 2, 5):
        hit = rng.normal(0, 0.3, rate_hz // 4) * np.exp(-np.arange(rate_hz // 4) / 2000)
        samples[:, start : start + len(hit)] += hit.astype(np.float32)
    return samples


def lufs(samples, gain=1.0):
    """The loudness of samples at 48 kHz, multiplied by a gain."""
    return loudness_lufs(Waveform(samples=samples * np.float32(gain), rate_hz=48_000))


def reference_lufs(samples, rate_hz):
    return pyloudnorm.Meter(rate_hz).integrated_loudness(samples.T.astype(np.float64))


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("make", "seconds"),
    [(noise, 0.4), (noise, 0.97), (noise, 3.33), (sparse, 0.97), (sparse, 3.33), (sparse, 10.0)],
)
def test_one_pass_equals_pyloudnorm(make, seconds, channels, rate_hz):
    samples = make(seconds, rate_hz, channels, seed=round(seconds * 100))
    meter = LoudnessMeter(rate_hz, channels)
    for start in range(0, samples.shape[1], 7_001):
        meter.add(samples[:, start : start + 7_001])
    assert meter.integrated_lufs() == pytest.approx(reference_lufs(samples, rate_hz), abs=1e-9)


@pytest.mark.parametrize("channels", [3, 4, 5])
def test_channel_weights_equal_pyloudnorm(channels):
    samples = noise(2.0, 48_000, channels, seed=channels)
    meter = LoudnessMeter(48_000, channels)
    meter.add(samples)
    assert meter.integrated_lufs() == pytest.approx(reference_lufs(samples, 48_000), abs=1e-9)


def test_full_scale_sine_at_1_khz_has_minus_3_lufs():
    time_s = np.arange(5 * 48_000) / 48_000
    sine = np.sin(2 * np.pi * 997 * time_s)[None].astype(np.float32)
    # BS.1770-4: 0 dBFS at 997 Hz in one front channel reads -3.01 LKFS.
    assert lufs(sine) == pytest.approx(-3.01, abs=0.1)


def test_gate_ignores_silence():
    loud = noise(4.0)
    padded = np.concatenate([loud, np.zeros((1, 20 * 48_000), np.float32)], axis=1)
    assert lufs(padded) == pytest.approx(lufs(loud), abs=0.3)


def test_loudness_of_silence_and_very_short_sound():
    for shape in ((1, 48_000), (2, 0)):
        assert lufs(np.zeros(shape, np.float32)) == -math.inf
    short = noise(0.1)
    padded = np.pad(short, ((0, 0), (0, round(0.3 * 48_000))))
    assert lufs(short) == pytest.approx(reference_lufs(padded, 48_000), abs=0.05)


def test_meter_refuses_another_channel_count():
    with pytest.raises(ValueError, match=r"got \(2, 10\), expected \(1, n\)"):
        LoudnessMeter(48_000, 1).add(np.zeros((2, 10), np.float32))


@pytest.mark.parametrize("target_lufs", [-30.0, -20.0, -14.0])
def test_gain_reaches_the_target_loudness(target_lufs):
    samples = sparse(5.0)
    gain = loudness_gain(lufs(samples), target_lufs)
    assert lufs(samples, gain) == pytest.approx(target_lufs, abs=0.05)


def test_gain_has_an_upper_limit():
    quiet = noise(2.0, level=0.002)
    before = lufs(quiet)
    assert -60 < before < -40
    assert lufs(quiet, loudness_gain(before, -14.0)) == pytest.approx(before + 20.0, abs=0.05)


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_is_not_amplified(level):
    assert loudness_gain(lufs(noise(2.0, level=level)), -14.0) == 1.0
    assert loudness_gain(-math.inf, -14.0) == 1.0


def test_peak_gain_scales_down_to_the_ceiling_and_never_up():
    samples = noise(1.0, level=0.8)
    gain = peak_gain(float(np.abs(samples).max()))
    assert np.abs(samples * gain).max() == pytest.approx(10 ** (-1 / 20), rel=1e-5)
    assert peak_gain(float(np.abs(noise(1.0, level=0.01)).max())) == 1.0
    assert peak_gain(0.0) == 1.0
