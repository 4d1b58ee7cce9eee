"""Samplers on equations with known solutions: exactness, order of convergence, inversion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.gaussian_mixture import Mixture

from foleyflow.flow.path import PATHS
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
    counts = np.array([16, 32, 64, 128])
    errors = [
        abs(float(SAMPLERS[name](velocity, start, uniform_grid(int(n)))) - exact) for n in counts
    ]
    slope, _ = np.polyfit(np.log(1 / counts), np.log(errors), 1)
    assert slope == pytest.approx(ORDERS[name], abs=0.1)


@pytest.mark.parametrize("path", ["linear", "gvp"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_measured_order_on_the_velocity_of_a_mixture(name, path):
    torch.manual_seed(0)
    mixture = Mixture(path)
    noise = torch.randn(1, 100, 2, dtype=torch.float64)
    exact = mixture.generated(noise)
    counts = np.array([32, 64, 128])
    errors = [
        float((SAMPLERS[name](mixture.velocity, noise, uniform_grid(int(n))) - exact).norm())
        for n in counts
    ]
    slope, _ = np.polyfit(np.log(1 / counts), np.log(errors), 1)
    assert slope == pytest.approx(ORDERS[name], abs=0.15)


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


@dataclass(frozen=True)
class GaussianFlow:
    """Velocity and flow map of normal audio."""

    path: str
    mean: float = 0.7
    deviation: float = 0.4

    def moments(self, tau: float) -> tuple[float, float, float, float]:
        """Mean and deviation of x_tau, and their derivatives."""
        c = PATHS[self.path](torch.tensor(tau, dtype=torch.float64))
        alpha, sigma, alpha_dot, sigma_dot = (
            float(v) for v in (c.alpha, c.sigma, c.alpha_dot, c.sigma_dot)
        )
        spread = math.sqrt((alpha * self.deviation) ** 2 + sigma**2)
        spread_dot = (alpha * alpha_dot * self.deviation**2 + sigma * sigma_dot) / spread
        return alpha * self.mean, spread, alpha_dot * self.mean, spread_dot

    def velocity(self, x: torch.Tensor, tau: float) -> torch.Tensor:
        mean, spread, mean_dot, spread_dot = self.moments(tau)
        return mean_dot + spread_dot / spread * (x - mean)

    def map(self, x: torch.Tensor, r: float, tau: float) -> torch.Tensor:
        """The flow of x from tau to r."""
        (mean, spread, *_), (mean_r, spread_r, *_) = self.moments(tau), self.moments(r)
        return mean_r + spread_r / spread * (x - mean)

    def mean_velocity(self, x: torch.Tensor, r: float, tau: float) -> torch.Tensor:
        return (x - self.map(x, r, tau)) / (tau - r)


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_an_exact_flow_map_needs_one_step(path):
    flow = GaussianFlow(path)
    torch.manual_seed(0)
    noise = torch.randn(4, 500, 10, dtype=torch.float64)
    one = apply_flow_map(flow.mean_velocity, noise, uniform_grid(1))
    torch.testing.assert_close(one, flow.mean + flow.deviation * noise)
    for grid in (uniform_grid(5), [1.0, 0.3, 0.0]):
        torch.testing.assert_close(apply_flow_map(flow.mean_velocity, noise, grid), one)
    back = apply_flow_map(flow.mean_velocity, one, uniform_grid(3, start=0.0, end=1.0))
    torch.testing.assert_close(back, noise)


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_the_flow_map_agrees_with_its_integrated_velocity(path):
    flow = GaussianFlow(path)
    noise = torch.randn(1, 50, 4, dtype=torch.float64)
    integrated = SAMPLERS["heun"](flow.velocity, noise, uniform_grid(200))
    mapped = apply_flow_map(flow.mean_velocity, noise, uniform_grid(1))
    torch.testing.assert_close(integrated, mapped, atol=1e-4, rtol=0)
