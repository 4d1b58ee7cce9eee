"""The distance of decoded sounds from true ones, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foleyflow.evaluation.metrics.spectral import log_spectral_distance
from foleyflow.experiments.reconstruction import (
    WINDOWS_SAMPLES,
    log_spectral_distances_db,
    pre_echo_db,
    pre_echoes_db,
)

RATE_HZ = 48_000
ONSET_S = 0.5
BEFORE = slice(round(0.48 * RATE_HZ), round(0.495 * RATE_HZ))  # 20 to 5 ms before it


@pytest.fixture
def click():
    """A second of silence with a decaying noise that starts at 0.5 s."""
    sound = np.zeros(RATE_HZ, np.float32)
    begin = round(ONSET_S * RATE_HZ)
    noise = np.random.default_rng(0).standard_normal(RATE_HZ - begin)
    sound[begin:] = 0.3 * noise * np.exp(-np.arange(len(noise)) / 4800)
    return sound


def attack_power(sound: np.ndarray) -> float:
    begin = round(ONSET_S * RATE_HZ)
    return float(np.square(sound[begin : begin + round(0.02 * RATE_HZ)], dtype=np.float64).mean())


@pytest.mark.parametrize("level_db", [-50.0, -30.0, -10.0])
def test_pre_echo_is_the_added_power_relative_to_the_true_one(click, level_db):
    amplitude = math.sqrt(attack_power(click) * 10 ** (level_db / 10))
    decoded = click.copy()
    decoded[BEFORE] = amplitude  # constant: its power is exactly amplitude squared
    # The true sound is silent before the onset and counts as 60 dB below the attack
    wanted = 10 * math.log10((10 ** (level_db / 10) + 1e-6) / 1e-6)
    assert pre_echo_db(click, decoded, ONSET_S, RATE_HZ) == pytest.approx(wanted, abs=1e-3)
    every, after_quiet = pre_echoes_db(click, decoded, [ONSET_S], RATE_HZ)
    assert every == after_quiet == [pytest.approx(wanted, abs=1e-3)]


def test_equal_sounds_and_other_times_have_no_pre_echo(click):
    assert pre_echo_db(click, click, ONSET_S, RATE_HZ) == 0.0
    decoded = click.copy()
    decoded[: BEFORE.start] = 0.5
    decoded[BEFORE.stop :] = 0.5
    assert pre_echo_db(click, decoded, ONSET_S, RATE_HZ) == 0.0


def test_removed_sound_before_an_onset_is_negative(click):
    true = click.copy()
    true[BEFORE] = math.sqrt(1e-2 * attack_power(click))  # -20 dB: not quiet
    every, after_quiet = pre_echoes_db(true, click, [ONSET_S], RATE_HZ)
    assert every == [pytest.approx(10 * math.log10(1e-6 / (1e-2 + 1e-6)), abs=1e-3)]
    assert after_quiet == []


def test_onsets_near_the_start_and_silent_attacks_have_no_value(click):
    assert pre_echo_db(click, click, 0.01, RATE_HZ) is None
    assert pre_echo_db(click, click, 0.2, RATE_HZ) is None
    assert pre_echoes_db(click, click, [0.01, 0.2], RATE_HZ) == ([], [])


def test_a_gain_is_its_level_at_all_resolutions():
    sound = 0.3 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    found = log_spectral_distances_db(sound, np.float32(0.5) * sound)
    assert list(found) == [str(window) for window in WINDOWS_SAMPLES]
    for distance_db in found.values():
        assert distance_db == pytest.approx(20 * math.log10(2), rel=0.02)


def test_the_longest_window_is_the_metric_of_evaluate(click):
    noise = np.random.default_rng(1).standard_normal(len(click)).astype(np.float32)
    decoded = click + np.float32(0.01) * noise
    wanted = log_spectral_distance(click, decoded)
    assert log_spectral_distances_db(click, decoded)["2048"] == pytest.approx(wanted)
    assert max(log_spectral_distances_db(click, click).values()) == 0.0
