"""Conversions of velocity, score, noise and data: round trips, and a mixture with exact values."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.gaussian_mixture import Mixture

from foleyflow.flow.conversion import FROM_DATA_AND_NOISE, TO_DATA_AND_NOISE, convert
from foleyflow.flow.path import PATHS, interpolate

TAU = torch.tensor([0.05, 0.3, 0.5, 0.8, 0.95], dtype=torch.float64)


def pair(path: str):
    """x_tau and the four quantities of one audio and one noise."""
    torch.manual_seed(0)
    audio, noise = torch.randn(2, len(TAU), 6, 3, dtype=torch.float64)
    x, velocity = interpolate(audio, noise, TAU, path)
    score = -noise / PATHS[path](TAU).sigma[:, None, None]
    return x, {"velocity": velocity, "score": score, "noise": noise, "data": audio}


def test_every_quantity_has_both_conversions():
    names = {"velocity", "score", "noise", "data"}
    assert TO_DATA_AND_NOISE.keys() == FROM_DATA_AND_NOISE.keys() == names


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("given", "wanted"), list(itertools.product(TO_DATA_AND_NOISE, TO_DATA_AND_NOISE))
)
def test_every_conversion_is_exact_and_invertible(path, given, wanted):
    x, known = pair(path)
    found = convert(known[given], x, TAU, given=given, wanted=wanted, path=path)
    torch.testing.assert_close(found, known[wanted], atol=1e-9, rtol=1e-9)
    back = convert(found, x, TAU, given=wanted, wanted=given, path=path)
    torch.testing.assert_close(back, known[given], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("given", "wanted"), list(itertools.permutations(TO_DATA_AND_NOISE, 2)))
def test_expectations_of_a_mixture_are_converted_exactly(path, given, wanted):
    torch.manual_seed(0)
    mixture = Mixture(path)
    x = 1.5 * torch.randn(len(TAU), 40, 2, dtype=torch.float64)
    tau = TAU[:, None, None]
    value, known = getattr(mixture, given)(x, tau), getattr(mixture, wanted)(x, tau)
    found = convert(value, x, TAU, given=given, wanted=wanted, path=path)
    torch.testing.assert_close(found, known, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_the_mixture_satisfies_the_continuity_equation(path, tau):
    # d/dtau log p + v . score + div v = 0.
    mixture = Mixture(path)
    x = torch.linspace(-3, 3, 61, dtype=torch.float64).requires_grad_()
    velocity = mixture.velocity(x, tau)
    divergence = torch.autograd.grad(velocity.sum(), x)[0]
    half = 1e-5
    change = (mixture.log_density(x, tau + half) - mixture.log_density(x, tau - half)) / (2 * half)
    rest = change + velocity * mixture.score(x, tau) + divergence
    assert float(rest.detach().abs().max()) < 1e-6


def test_linear_and_gvp_are_one_path_up_to_time_and_scale():
    # cos x + sin e = (cos + sin) ((1 - t) x + t e) with t = sin / (sin + cos).
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for tau in (0.2, 0.5, 0.7):
        c = PATHS["gvp"](torch.tensor(tau, dtype=torch.float64))
        scale = float(c.alpha + c.sigma)
        linear_tau = float(c.sigma) / scale
        gvp, linear = Mixture("gvp"), Mixture("linear")
        torch.testing.assert_close(gvp.data(scale * x, tau), linear.data(x, linear_tau))
        torch.testing.assert_close(gvp.noise(scale * x, tau), linear.noise(x, linear_tau))


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_velocity_gives_data_and_noise_at_both_ends(path):
    audio, noise = torch.randn(2, 2, 4, 3, dtype=torch.float64)
    tau = torch.tensor([0.0, 1.0], dtype=torch.float64)
    x, velocity = interpolate(audio, noise, tau, path)
    for wanted, known in (("data", audio), ("noise", noise)):
        found = convert(velocity, x, tau, given="velocity", wanted=wanted, path=path)
        torch.testing.assert_close(found, known)


def test_undetermined_quantities_are_not_finite():
    x = torch.ones(1, 2, 2)
    zero, one = torch.tensor([0.0]), torch.tensor([1.0])
    assert not convert(x, x, zero, given="data", wanted="noise").isfinite().any()
    assert not convert(x, x, one, given="noise", wanted="data").isfinite().any()


@pytest.mark.parametrize("names", [("speed", "data"), ("data", "speed")])
def test_unknown_quantities_are_refused(names):
    x = torch.ones(1, 2, 2)
    with pytest.raises(ValueError, match=r"quantity 'speed': expected one of velocity, score"):
        convert(x, x, torch.ones(1), given=names[0], wanted=names[1])


@pytest.mark.parametrize("path", PATHS)
def test_float32_is_accurate_near_the_audio(path):
    tau = torch.tensor([1e-4, 1e-3])
    single, double = PATHS[path](tau), PATHS[path](tau.double())
    for name in ("alpha", "sigma", "alpha_dot", "sigma_dot"):
        exact = getattr(double, name).float()
        torch.testing.assert_close(getattr(single, name), exact, rtol=1e-5, atol=0)
