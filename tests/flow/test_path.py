"""Probability paths: their ends, and velocities as derivatives of the positions."""

from __future__ import annotations

import math

import pytest
import torch

from foleyflow.flow.path import PATHS, SMALLEST_TAU, interpolate, sample_tau


@pytest.mark.parametrize("name", ["linear", "gvp"])
def test_paths_start_with_audio_and_end_with_noise(name):
    ends = PATHS[name](torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(ends.alpha, torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(ends.sigma, torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_the_variance_preserving_path_ends_near_noise():
    ends = PATHS["vp"](torch.tensor([0.0, 1.0], dtype=torch.float64))
    last = math.exp(-0.25 * (20.0 - 0.1) - 0.5 * 0.1)
    wanted = torch.tensor([1.0, last], dtype=torch.float64)
    torch.testing.assert_close(ends.alpha, wanted)
    wanted = torch.tensor([0.0, math.sqrt(1 - last**2)], dtype=torch.float64)
    torch.testing.assert_close(ends.sigma, wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", ["gvp", "vp"])
def test_variance_is_preserved(name):
    c = PATHS[name](torch.linspace(0.01, 1.0, 50, dtype=torch.float64))
    torch.testing.assert_close(c.alpha**2 + c.sigma**2, torch.ones(50, dtype=torch.float64))


@pytest.mark.parametrize("name", PATHS)
def test_derivatives_match_finite_differences(name):
    tau, half = torch.linspace(0.02, 0.98, 40, dtype=torch.float64), 1e-6
    ahead, behind, c = PATHS[name](tau + half), PATHS[name](tau - half), PATHS[name](tau)
    for value, derivative in (("alpha", c.alpha_dot), ("sigma", c.sigma_dot)):
        measured = (getattr(ahead, value) - getattr(behind, value)) / (2 * half)
        torch.testing.assert_close(measured, derivative, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_interpolated_points_and_velocities(name):
    torch.manual_seed(0)
    audio, noise = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    tau = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    x, velocity = interpolate(audio, noise, tau, name)
    for row in range(3):
        c = PATHS[name](tau[row])
        torch.testing.assert_close(x[row], c.alpha * audio[row] + c.sigma * noise[row])
    half = 1e-6
    ahead, behind = (interpolate(audio, noise, tau + h, name)[0] for h in (half, -half))
    torch.testing.assert_close((ahead - behind) / (2 * half), velocity, atol=1e-5, rtol=1e-5)


def test_the_linear_path_is_a_straight_line():
    audio, noise = torch.randn(2, 1, 5, 4)
    x, velocity = interpolate(audio, noise, torch.tensor([0.25]))
    torch.testing.assert_close(x, 0.75 * audio + 0.25 * noise)
    torch.testing.assert_close(velocity, noise - audio)


def test_flow_times_are_logit_normal():
    torch.manual_seed(0)
    tau = sample_tau(20_000, mean=-0.4, deviation=0.7, path="linear", device=torch.device("cpu"))
    assert 0 < float(tau.min()) and float(tau.max()) < 1
    logits = torch.logit(tau)
    assert float(logits.mean()) == pytest.approx(-0.4, abs=0.02)
    assert float(logits.std()) == pytest.approx(0.7, abs=0.02)


def test_every_path_ends_where_its_velocity_is_bounded():
    assert SMALLEST_TAU.keys() == PATHS.keys()
    for name, smallest in SMALLEST_TAU.items():
        end = PATHS[name](torch.tensor(smallest, dtype=torch.float64))
        assert abs(float(end.sigma_dot)) < 6.0 and abs(float(end.alpha_dot)) < 6.0
        assert float(end.sigma) < 0.011
        assert float(end.alpha) > 0.9999
        tau = sample_tau(20_000, mean=-8.0, deviation=2.0, path=name, device=torch.device("cpu"))
        assert smallest <= float(tau.min()) < smallest + 1e-4
