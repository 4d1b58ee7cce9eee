"""Variance and noise of latents in closed form, and for a generator of means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foleyflow.evaluation.latent_statistics import (
    compare_latents,
    noise_level,
    quiet_frames,
    sample_diversity,
    variance,
)

RNG = np.random.default_rng(3)
EVERYWHERE = np.ones((40, 200), bool)


def test_the_noise_level_of_white_noise_is_its_deviation():
    noise = 0.3 * RNG.standard_normal((40, 200, 4))
    assert noise_level(noise, EVERYWHERE) == pytest.approx(0.3, rel=0.03)


def test_linear_changes_have_no_noise():
    ramp = np.linspace(-3, 5, 200)[None, :, None] * RNG.standard_normal((40, 1, 4))
    assert noise_level(ramp, EVERYWHERE) == pytest.approx(0.0, abs=1e-12)
    noise = 0.1 * RNG.standard_normal((40, 200, 4))
    assert noise_level(ramp + noise, EVERYWHERE) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("rate", [0.1, 0.5, 2.0])
def test_the_noise_level_of_a_sinusoid_in_closed_form(rate):
    # 40 phases over whole periods: the root mean square of a sinusoid is 1 / sqrt 2.
    phase = 2 * np.pi * np.arange(40) / 40
    wave = np.sin(rate * np.arange(200)[None] + phase[:, None])[..., None]
    expected = (1 - math.cos(rate)) / math.sqrt(2 * 1.5)
    assert noise_level(wave, EVERYWHERE) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_the_noise_level_of_an_autoregression_in_closed_form(memory):
    # var = s^2 (1.5 - 2 rho_1 + rho_2 / 2), with rho_k = memory^k.
    steps = RNG.standard_normal((200, 400, 2)) * math.sqrt(1 - memory**2)
    values = RNG.standard_normal((200, 1, 2)).repeat(400, 1)
    for frame in range(1, 400):
        values[:, frame] = memory * values[:, frame - 1] + steps[:, frame]
    expected = math.sqrt((1.5 - 2 * memory + 0.5 * memory**2) / 1.5)
    assert noise_level(values, np.ones((200, 400), bool)) == pytest.approx(expected, rel=0.02)


def test_only_quiet_frames_count():
    noise = np.zeros((2, 100, 3))
    noise[:, 40:60] = 5 * RNG.standard_normal((2, 20, 3))
    quiet = np.ones((2, 100), bool)
    quiet[:, 38:62] = False
    assert noise_level(noise, quiet) == 0.0
    assert noise_level(noise, np.ones((2, 100), bool)) > 1.0
    assert noise_level(noise, np.zeros((2, 100), bool)) is None


def test_frames_around_an_event_are_not_quiet():
    (row, silent) = quiet_frames([np.array([0.5, 1.0]), np.zeros(0)], 100, 50.0)
    centres = (np.arange(100) + 0.5) / 50
    near = [any(time - 0.04 <= centre <= time + 0.12 for time in (0.5, 1.0)) for centre in centres]
    np.testing.assert_array_equal(row, ~np.array(near))
    assert silent.all() and 0 < row.sum() < 100


def test_variance_is_the_mean_over_channels():
    values = np.stack([2 * RNG.standard_normal((50, 80)), np.zeros((50, 80))], -1)
    assert variance(values) == pytest.approx(2.0, rel=0.05)


def test_equal_latents_have_ideal_statistics():
    latents = RNG.standard_normal((20, 60, 5)) * np.array([1, 2, 3, 0.1, 10])
    quiet = np.ones((20, 60), bool)
    figures = compare_latents(latents, latents, true_quiet=quiet, generated_quiet=quiet)
    assert (figures.variance, figures.noise_level) == (pytest.approx(1), pytest.approx(1))
    assert figures.frechet == pytest.approx(0, abs=1e-9)


def test_statistics_do_not_depend_on_the_units_of_channels():
    true, generated = RNG.standard_normal((2, 20, 60, 5))
    quiet = np.ones((20, 60), bool)
    scale, shift = np.array([1, 2, 30, 0.1, 10]), np.array([0, 5, -3, 1, 100])
    plain = compare_latents(true, 0.7 * generated, true_quiet=quiet, generated_quiet=quiet)
    scaled = scale * true + shift, scale * 0.7 * generated + shift
    other = compare_latents(*scaled, true_quiet=quiet, generated_quiet=quiet)
    for name in ("variance", "noise_level", "frechet"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), rel=1e-6)


def test_a_generator_of_means_has_less_variance_and_noise():
    # A slow predictable curve plus noise; the mean is the curve alone.
    curve = np.sin(np.arange(300) / 25)[None, :, None] * np.ones((30, 1, 4))
    true = curve + 0.5 * RNG.standard_normal((30, 300, 4))
    quiet = np.ones((30, 300), bool)
    mean = compare_latents(true, curve, true_quiet=quiet, generated_quiet=quiet)
    assert mean.noise_level < 0.01
    assert mean.variance == pytest.approx(0.5 / 0.75, rel=0.05)
    again = curve + 0.5 * RNG.standard_normal((30, 300, 4))
    right = compare_latents(true, again, true_quiet=quiet, generated_quiet=quiet)
    assert right.noise_level == pytest.approx(1, rel=0.03)
    assert right.variance == pytest.approx(1, rel=0.03)
    assert right.frechet < 0.01 < mean.frechet


def test_the_spread_of_two_samples_is_their_deviation():
    means = 10 * RNG.standard_normal((30, 300, 4))
    first, second = (means + 0.4 * RNG.standard_normal(means.shape) for _ in range(2))
    assert sample_diversity(first, second, deviation=np.ones(4)) == pytest.approx(0.4, rel=0.02)
    assert sample_diversity(first, second, deviation=2 * np.ones(4)) == pytest.approx(0.2, rel=0.02)
    assert sample_diversity(means, means, deviation=np.ones(4)) == 0.0


def test_the_frechet_distance_of_shifted_frames_is_the_shift():
    true = RNG.standard_normal((50, 200, 3))
    quiet = np.ones((50, 200), bool)
    moved = compare_latents(true, true + true.std((0, 1)), true_quiet=quiet, generated_quiet=quiet)
    assert moved.frechet == pytest.approx(3.0, rel=1e-6)


def test_latents_that_do_not_fit_are_refused():
    latents = np.zeros((2, 10, 3))
    quiet = np.ones((2, 10), bool)
    with pytest.raises(ValueError, match="expected equal shapes"):
        compare_latents(latents, latents[:, :9], true_quiet=quiet, generated_quiet=quiet[:, :9])
    with pytest.raises(ValueError, match="quiet: got"):
        noise_level(latents, quiet[:, :5])
    with pytest.raises(ValueError, match="not finite"):
        variance(np.full((1, 2, 3), np.nan))
    with pytest.raises(ValueError, match="expected \\(N, L, C\\)"):
        variance(np.zeros((4, 5)))
