"""Correlation of envelopes: identity, opposites, shifts, and sounds without an envelope."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.evaluation.metrics.envelope import correlate, envelope_correlation, level_envelope

RATE_HZ = 16000


def noise(seconds=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def swelling(late_s=0.0, seed=0):
    """Noise that swells and fades once a second, 20 dB up and down."""
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    level_db = 10 * np.sin(2 * np.pi * (t - late_s))
    return (noise(seed=seed) * 10 ** (level_db / 20)).astype(np.float32)


def test_a_sound_correlates_fully_with_itself_at_any_level():
    assert envelope_correlation(swelling(), swelling(), RATE_HZ) == pytest.approx(1.0)
    assert envelope_correlation(swelling(), 0.1 * swelling(), RATE_HZ) == pytest.approx(1.0)


def test_correlation_depends_on_the_time_and_not_on_the_fine_structure():
    values = [
        envelope_correlation(swelling(), swelling(late_s, seed=1), RATE_HZ)
        for late_s in (0.0, 0.1, 0.25, 0.5)
    ]
    # A sine that is late by a tenth, a quarter and half of its period.
    expected = np.cos(2 * np.pi * np.array([0, 0.1, 0.25, 0.5]))
    assert values == pytest.approx(expected, abs=0.06)


def test_the_envelope_of_a_burst_peaks_at_the_burst():
    sound = np.zeros(RATE_HZ, np.float32)
    sound[8000:8160] = 0.5
    envelope = level_envelope(sound, RATE_HZ)
    assert len(envelope) == 100
    assert envelope.argmax() == 50
    assert envelope[:48].max() < 1e-6
    assert len(level_envelope(sound[:-1], RATE_HZ)) == 100


def test_the_envelope_of_a_tone_is_its_mean_square_at_any_rate():
    for rate_hz in (8000, 22050, 96000):
        tone = np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz).astype(np.float32)
        assert level_envelope(tone, rate_hz)[5:-5] == pytest.approx(0.5, abs=0.01)


def test_flat_envelopes_agree_only_with_each_other():
    silence = np.zeros(2 * RATE_HZ, np.float32)
    assert envelope_correlation(silence, silence, RATE_HZ) == 1.0
    assert envelope_correlation(swelling(), silence, RATE_HZ) == 0.0
    assert envelope_correlation(silence, swelling(), RATE_HZ) == 0.0
    assert abs(envelope_correlation(swelling(), noise(seed=3), RATE_HZ)) < 0.2


def test_the_longer_sound_is_cut():
    longer = np.concatenate([swelling(), noise(seed=5)])
    assert envelope_correlation(swelling(), longer, RATE_HZ) > 0.999


def test_sounds_without_an_envelope_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N,\) and a rate > 0"):
        envelope_correlation(np.zeros((2, 5), np.float32), noise(), RATE_HZ)
    with pytest.raises(ValueError, match=r"at 0 Hz"):
        level_envelope(noise(), 0)
    with pytest.raises(ValueError, match="empty sound"):
        correlate(np.zeros(0), np.ones(5))
