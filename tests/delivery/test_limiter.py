"""The limiter keeps true peaks below its ceiling, and leaves everything else unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.delivery.limiter import limited_blocks
from foleyflow.media.true_peak import TruePeakMeter

RATE_HZ = 48_000
CEILING = 0.5


def limited(samples, length=10_000):
    blocks = (samples[:, start : start + length] for start in range(0, samples.shape[1], length))
    return np.concatenate(list(limited_blocks(blocks, RATE_HZ, ceiling=CEILING)), axis=1)


def true_peak(samples):
    meter = TruePeakMeter(RATE_HZ, len(samples))
    meter.add(samples)
    return meter.peak()


def hits(channels=1, level=2.0):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.01, (channels, 3 * RATE_HZ))
    for start in (0, 40_000, 41_000, 100_000, 3 * RATE_HZ - 2_000):
        tail = np.exp(-np.arange(2_000) / 300)
        samples[:, start : start + 2_000] += level * tail * rng.normal(0, 0.4, (channels, 2_000))
    return samples.astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_true_peaks_stay_below_the_ceiling(channels):
    samples = hits(channels)
    assert true_peak(samples) > 1.5
    result = limited(samples)
    assert result.shape == samples.shape and result.dtype == np.float32
    assert 0.9 * CEILING < true_peak(result) < 1.006 * CEILING  # a margin of 0.05 dB


def test_quiet_sound_and_distant_samples_are_unchanged():
    quiet = hits(level=0.05)
    np.testing.assert_array_equal(limited(quiet), quiet)
    samples = np.full((1, RATE_HZ), 0.1, np.float32)
    samples[0, 20_000] = 1.0
    result = limited(samples)
    changed = np.flatnonzero(result != samples)
    assert 20_000 - 500 < changed.min() and changed.max() < 20_000 + 500
    assert abs(result[0, 20_000]) <= CEILING


def test_channels_have_the_same_gain():
    samples = np.full((2, RATE_HZ), 0.1, np.float32)
    samples[0, 20_000] = 1.0
    result = limited(samples)
    changed = result[1] / samples[1]
    assert changed.min() < 0.6
    np.testing.assert_allclose(result[0] / samples[0], changed, rtol=1e-6)


@pytest.mark.parametrize("length", [1, 100, 481, 50_000, 200_000])
def test_the_result_does_not_depend_on_the_blocks(length):
    samples = hits()[:, : 3 * max(length, 2_000)]
    np.testing.assert_allclose(limited(samples, length), limited(samples, 777), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_short_sound_keeps_its_length(count):
    samples = np.full((1, count), 2.0, np.float32)
    result = (
        limited(samples) if count else next(iter(limited_blocks([samples], RATE_HZ, ceiling=1)))
    )
    assert result.shape == samples.shape
    assert list(limited_blocks([], RATE_HZ, ceiling=1.0)) == []


def test_few_samples_are_held():
    """The limiter asks for a block only after it has returned all but 15 ms of the sound."""
    given = 0

    def source():
        nonlocal given
        for _ in range(50):
            given += 4_800
            yield np.full((1, 4_800), 0.9, np.float32)

    returned, most = 0, 0
    for block in limited_blocks(source(), RATE_HZ, ceiling=CEILING):
        most = max(most, given - returned)
        returned += block.shape[1]
    assert returned == given == 240_000
    assert most <= 2 * 4_800
