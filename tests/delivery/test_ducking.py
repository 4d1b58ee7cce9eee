"""Ducking has the documented curve, and changes nothing away from the stretches."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.delivery import Ducking
from foleyflow.delivery.ducking import ducked_blocks
from foleyflow.errors import ConfigError

RATE_HZ = 48_000
DUCKING = Ducking(depth_db=12.0, attack_s=0.1, release_s=0.4)


def test_the_curve_is_a_half_cosine_before_and_after():
    times_s = np.array([0.5, 0.9, 0.925, 0.95, 0.975, 1.0, 1.5, 2.0, 2.1, 2.2, 2.3, 2.4, 3.0])
    shares = [0, 0, 0.5 - 0.5**1.5, 0.5, 0.5 + 0.5**1.5, 1, 1, 1]
    shares += [0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0, 0]
    gain_db = DUCKING.gain_db(times_s, [(1.0, 2.0)])
    np.testing.assert_allclose(gain_db, -12.0 * np.array(shares), atol=1e-9)


def test_overlapping_stretches_do_not_add():
    times_s = np.arange(0, 4, 0.01)
    one, other = (DUCKING.gain_db(times_s, [stretch]) for stretch in ((1.0, 1.5), (1.6, 2.0)))
    both = DUCKING.gain_db(times_s, [(1.6, 2.0), (1.0, 1.5)])
    np.testing.assert_array_equal(both, np.minimum(one, other))


def test_no_attack_and_no_release_is_a_step():
    ducking = Ducking(depth_db=6.0, attack_s=0.0, release_s=0.0)
    gain_db = ducking.gain_db(np.array([0.99, 1.0, 1.5, 2.0, 2.01]), [(1.0, 2.0)])
    np.testing.assert_array_equal(gain_db, [0, -6, -6, -6, 0])


@pytest.mark.parametrize("length", [960, 50_000, 400_000])
def test_samples_away_from_stretches_are_unchanged(length):
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 6 * RATE_HZ)).astype(np.float32)
    stretches = [(1.0, 1.0), (4.0, 4.5)]
    blocks = (samples[:, start : start + length] for start in range(0, samples.shape[1], length))
    result = np.concatenate(list(ducked_blocks(blocks, RATE_HZ, stretches, DUCKING)), axis=1)
    times_s = np.arange(samples.shape[1]) / RATE_HZ
    away = np.ones(samples.shape[1], bool)
    for start_s, end_s in stretches:
        away &= (times_s <= start_s - 0.1) | (times_s >= end_s + 0.4)
    np.testing.assert_array_equal(result[:, away], samples[:, away])
    assert 0.9 < away.sum() / RATE_HZ / 4.5 < 1.1
    inside = (times_s >= 4.0) & (times_s <= 4.5)
    np.testing.assert_allclose(result[:, inside], samples[:, inside] * 10**-0.6, rtol=1e-5)


@pytest.mark.parametrize("values", [{"depth_db": -3.0}, {"attack_s": float("nan")}])
def test_impossible_values_are_refused(values):
    with pytest.raises(ConfigError, match="expected 0 or more"):
        Ducking(**values)
