"""Log-spectral distance in closed form, and the spectrogram baseline."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.evaluation.metrics.spectral import log_spectral_distance, paper_griffin_lim


def noise(seconds=1.0, rate_hz=48000, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate_hz))).astype(np.float32)


def test_identical_sounds_are_at_distance_zero():
    assert log_spectral_distance(noise(), noise()) == 0.0


def test_a_gain_of_6_db_is_a_distance_of_6_db():
    # Noise is far above the floor of -100 dB in every bin; the edge frames are too.
    distance_db = log_spectral_distance(noise(), 2 * noise())
    assert distance_db == pytest.approx(20 * np.log10(2), abs=0.05)


def test_the_distance_is_symmetric_and_grows():
    a, b = noise(seed=0), noise(seed=1)
    assert log_spectral_distance(a, b) == pytest.approx(log_spectral_distance(b, a))
    assert log_spectral_distance(a, a + 0.1 * b) < log_spectral_distance(a, a + 0.5 * b)


def test_the_longer_sound_is_cut():
    a = noise(1.0)
    assert log_spectral_distance(a, np.concatenate([a, a])) == 0.0


def test_silence_against_silence_is_zero_and_full_scale_is_bounded_by_the_floor():
    assert log_spectral_distance(np.zeros(100, np.float32), np.zeros(100, np.float32)) == 0.0
    assert log_spectral_distance(np.zeros(48000, np.float32), noise() * 10) < 100.0


def test_stereo_and_empty_sounds_are_refused():
    with pytest.raises(ValueError, match="expected"):
        log_spectral_distance(np.zeros((2, 5), np.float32), np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match="N > 0"):
        log_spectral_distance(np.zeros(0, np.float32), np.zeros(0, np.float32))


def test_griffin_lim_keeps_length_and_pitch_below_4_khz():
    t = np.arange(2 * 48000) / 48000
    sound = (0.3 * np.sin(2 * np.pi * 1000 * t) + 0.3 * np.sin(2 * np.pi * 9000 * t)).astype(
        np.float32
    )
    restored = paper_griffin_lim(sound, 48000)
    assert restored.shape == sound.shape
    assert restored.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(restored))
    frequency_hz = np.fft.rfftfreq(len(restored), 1 / 48000)
    assert frequency_hz[spectrum.argmax()] == pytest.approx(1000, abs=40)
    assert spectrum[frequency_hz > 4100].max() < 1e-2 * spectrum.max()
    assert np.array_equal(restored, paper_griffin_lim(sound, 48000))


def test_griffin_lim_refuses_sounds_shorter_than_a_frame():
    with pytest.raises(ValueError, match="78 ms or more"):
        paper_griffin_lim(np.zeros(3000, np.float32), 48000)
