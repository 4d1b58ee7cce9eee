"""Samplers on equations with known solutions: exactness, order of convergence, inversion."""

from __future__ import annotations

import math

import pytest
import torch
from support.gaussian_mixture import GaussianMap, Mixture, measured_order

from foleyflow.flow.samplers import SAMPLERS, apply_flow_map, uniform_grid

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2}


def test_every_sampler_has_a_tested_order():
    assert ORDERS.keys() == SAMPLERS.keys()


def test_grids_are_uniform_in_both_directions():
    assert uniform_grid(1) == [1.0, 0.0]
    assert uniform_grid(4) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    assert uniform_grid(2, start=0.0, end=1.0) == pytest.approx([0.0, 0.5, 1.0])
    with pytest.raises(ValueError, match="steps=0: expected at least 1"):
        uniform_grid(0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_constant_velocity_is_integrated_exactly(name):
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    speed = torch.randn(2, 5, 3, dtype=torch.float64)
    for grid in ([1.0, 0.0], [1.0, 0.9, 0.2, 0.0]):
        end = SAMPLERS[name](lambda x, tau: speed, x, grid)
        torch.testing.assert_close(end, x - speed)


def velocity(x: torch.Tensor, tau: float) -> torch.Tensor:
    """dx/dtau = x (1 + tau^2); the solution is x(0) exp(tau + tau^3 / 3)."""
    return x * (1 + tau**2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_measured_order_of_convergence(name):
    start = torch.ones(1, 1, 1, dtype=torch.float64)
    exact = math.exp(-4 / 3)
    order = measured_order(SAMPLERS[name], velocity, start, exact, (16, 32, 64, 128))
    assert order == pytest.approx(ORDERS[name], abs=0.1)


@pytest.mark.parametrize("path", ["linear", "gvp"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_measured_order_on_the_velocity_of_a_mixture(name, path):
    torch.manual_seed(0)
    mixture = Mixture(path)
    noise = torch.randn(1, 100, 2, dtype=torch.float64)
    exact = mixture.generated(noise)
    order = measured_order(SAMPLERS[name], mixture.velocity, noise, exact, (32, 64, 128))
    assert order == pytest.approx(ORDERS[name], abs=0.15)


def test_linear_and_gvp_map_noise_to_the_same_audio():
    torch.manual_seed(0)
    noise = torch.randn(1, 100, 2, dtype=torch.float64)
    one, other = (
        SAMPLERS["heun"](Mixture(path).velocity, noise, uniform_grid(400))
        for path in ("linear", "gvp")
    )
    torch.testing.assert_close(one, other, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("euler", 5e-2), ("midpoint", 1e-4), ("heun", 1e-4)]
)
def test_integrating_forward_and_back_returns_to_the_start(name, tolerance):
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    noise = SAMPLERS[name](velocity, x, uniform_grid(100, start=0.0, end=1.0))
    back = SAMPLERS[name](velocity, noise, uniform_grid(100))
    assert float((noise - x).abs().max()) > 0.01
    assert float((back - x).norm() / x.norm()) < tolerance


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_an_exact_flow_map_needs_one_step(path):
    flow = GaussianMap(path)
    torch.manual_seed(0)
    noise = torch.randn(4, 500, 10, dtype=torch.float64)
    one = apply_flow_map(flow.at, noise, uniform_grid(1))
    torch.testing.assert_close(one, flow.mean + flow.deviation * noise)
    for grid in (uniform_grid(5), [1.0, 0.3, 0.0]):
        torch.testing.assert_close(apply_flow_map(flow.at, noise, grid), one)
    back = apply_flow_map(flow.at, one, uniform_grid(3, start=0.0, end=1.0))
    torch.testing.assert_close(back, noise)


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_the_flow_map_agrees_with_its_integrated_velocity(path):
    flow = GaussianMap(path)
    noise = torch.randn(1, 50, 4, dtype=torch.float64)
    integrated = SAMPLERS["heun"](lambda x, t: flow.at(x, t, t), noise, uniform_grid(200))
    mapped = apply_flow_map(flow.at, noise, uniform_grid(1))
    torch.testing.assert_close(integrated, mapped, atol=1e-4, rtol=0)
