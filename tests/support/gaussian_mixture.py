"""Mixtures of normals as audio, whose flow is known in closed form.

Velocity, score, expected noise and data, densities, and the map from noise to audio, as functions
of (x, tau) for solvers, or with the interface of the flow's network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from support.flow_networks import Unconditional
from torch import Tensor, nn

from foleyflow.flow.path import PATHS
from foleyflow.flow.samplers import uniform_grid


def measured_order(solve, field, noise, exact, counts: Sequence[int], grid=uniform_grid) -> float:
    """Slope of the logarithm of a solver's error over that of the length of its steps."""
    errors = [float((solve(field, noise, grid(n)) - exact).norm()) for n in counts]
    return float(np.polyfit(-np.log(counts), np.log(errors), 1)[0])


@dataclass(frozen=True)
class Mixture:
    """The same mixture of normals for each element of x (any shape)."""

    path: str = "linear"
    means: tuple[float, ...] = (-1.0, 0.8)
    deviations: tuple[float, ...] = (0.3, 0.5)
    weights: tuple[float, ...] = (0.4, 0.6)

    def sample(self, *shape: int) -> Tensor:
        """Sample audio, float64."""
        chosen = torch.multinomial(torch.tensor(self.weights), math.prod(shape), replacement=True)
        means = torch.tensor(self.means, dtype=torch.float64)[chosen].view(shape)
        deviations = torch.tensor(self.deviations, dtype=torch.float64)[chosen].view(shape)
        return means + deviations * torch.randn(shape, dtype=torch.float64)

    def coefficients(self, tau: Tensor | float):
        return PATHS[self.path](torch.as_tensor(tau, dtype=torch.float64))

    def _parts(self, x: Tensor, tau: Tensor | float):
        """Densities and moments of each part at x, with the parts last."""
        c = self.coefficients(tau)
        alpha, sigma = (torch.as_tensor(v, dtype=x.dtype)[..., None] for v in (c.alpha, c.sigma))
        means, deviations, weights = (
            torch.tensor(v, dtype=x.dtype) for v in (self.means, self.deviations, self.weights)
        )
        variance = alpha**2 * deviations**2 + sigma**2
        away = x[..., None] - alpha * means
        logs = weights.log() - 0.5 * (away**2 / variance + (2 * math.pi * variance).log())
        data = means + alpha * deviations**2 / variance * away
        return logs, data, sigma / variance * away, away / variance.sqrt()

    def log_density(self, x: Tensor, tau: Tensor | float = 0.0) -> Tensor:
        """log p_tau of each element."""
        return self._parts(x, tau)[0].logsumexp(-1)

    def cumulative(self, x: Tensor, tau: Tensor | float) -> Tensor:
        """The distribution function of each element."""
        weights = torch.tensor(self.weights, dtype=x.dtype)
        return (weights * torch.special.ndtr(self._parts(x, tau)[3])).sum(-1)

    def data(self, x: Tensor, tau: Tensor | float) -> Tensor:
        """E [audio | x_tau]."""
        logs, data, _, _ = self._parts(x, tau)
        return (logs.softmax(-1) * data).sum(-1)

    def noise(self, x: Tensor, tau: Tensor | float) -> Tensor:
        """E [noise | x_tau]."""
        logs, _, noise, _ = self._parts(x, tau)
        return (logs.softmax(-1) * noise).sum(-1)

    def score(self, x: Tensor, tau: Tensor | float) -> Tensor:
        """d/dx log p_tau, by automatic differentiation."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.log_density(x, tau).sum(), x)[0]

    def velocity(self, x: Tensor, tau: Tensor | float) -> Tensor:
        """The velocity of the flow from p_0 to p_1."""
        c = self.coefficients(tau)
        value = c.alpha_dot * self.data(x, tau) + c.sigma_dot * self.noise(x, tau)
        return value.to(x.dtype)

    def generated(self, noise: Tensor) -> Tensor:
        """The flow of noise to audio, which preserves quantiles in one dimension."""
        quantiles = self.cumulative(noise, 1.0)
        low, high = torch.full_like(noise, -20.0), torch.full_like(noise, 20.0)
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = self.cumulative(middle, 0.0) < quantiles
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)


class Exact(Unconditional):
    """The flow of a mixture and its exact one-step map, with the network's interface."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, x, *, r, tau, **rest):
        if bool((r < tau).any()):
            return x - self.mixture.generated(x.double()).float()
        return self.mixture.velocity(x.double(), tau[:, None, None]).float()


class TwoModes(Unconditional):
    """Audio at -middle and +middle with a deviation; both parameters are trained.

    On the diagonal it is the velocity of such audio, else the one-step map from noise to it.
    """

    def __init__(self, middle: float, deviation: float) -> None:
        super().__init__()
        self.middle, self.deviation = (nn.Parameter(torch.tensor(v)) for v in (middle, deviation))

    def forward(self, x, *, r, tau, **rest):
        if bool((r < tau).any()):
            # The upper half of a normal, stretched to a complete one around the middle
            quantile = (2 * torch.special.ndtr(x.abs()) - 1).clamp(1e-6, 1 - 1e-6)
            inner = self.middle + self.deviation * torch.special.ndtri(quantile)
            return x - x.sign() * inner
        tau = tau[:, None, None]
        variance = (1 - tau) ** 2 * self.deviation**2 + tau**2
        side = torch.tanh((1 - tau) * self.middle * x / variance)  # P(upper) - P(lower)
        # For both modes E[audio] = (1 - gain (1 - tau)) middle side + gain x.
        gain = (1 - tau) * self.deviation**2 / variance
        audio = side * self.middle * (1 - gain * (1 - tau)) + gain * x
        return (x - audio) / tau


class GaussianMap(Unconditional):
    """u of the exact flow map X = mu_r + (s_r / s_tau)(x - mu_tau) of normal audio.

    It has the network's interface; where r = tau it is the velocity.
    """

    mean = 0.7

    def __init__(self, path: str = "linear", *, deviation: float = 0.4) -> None:
        super().__init__()
        self.path, self.deviation = path, deviation

    def moments(self, tau: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of x_tau."""
        c = PATHS[self.path](tau)
        return c.alpha * self.mean, (c.alpha**2 * self.deviation**2 + c.sigma**2).sqrt()

    def at(self, x: Tensor, r: float, tau: float) -> Tensor:
        """u(x, r, tau) with the interface of the solvers."""
        r, tau = (torch.full((len(x),), time, dtype=x.dtype) for time in (r, tau))
        return self(x, r=r, tau=tau)

    def velocity(self, x: Tensor, tau: Tensor) -> Tensor:
        """At x (B, L, C), tau (B, 1, 1)."""
        c, (mean, spread) = PATHS[self.path](tau), self.moments(tau)
        slope = (c.alpha * c.alpha_dot * self.deviation**2 + c.sigma * c.sigma_dot) / spread
        return c.alpha_dot * self.mean + slope / spread * (x - mean)

    def forward(self, x, *, r, tau, **rest):
        r, tau = r[:, None, None], tau[:, None, None]
        (mean_r, spread_r), (mean, spread) = self.moments(r), self.moments(tau)
        moved = x - mean_r - spread_r / spread * (x - mean)
        same = r == tau
        return torch.where(same, self.velocity(x, tau), moved / (tau - r + same))
