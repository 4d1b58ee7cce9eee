"""Probability paths from audio (tau = 0) to noise (tau = 1): positions and velocities.

All three paths are affine: x_tau = alpha x + sigma eps. Their flows are the same up to a change of
time and scale: the linear and GVP flows map each noise to the same audio, as does the VP flow
except for the fraction e^-5 of audio that remains at tau = 1. The choice of the path thus decides
how training and solvers weight the flow times, but not what can be expressed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.parallel.batch_sharding import sample_for_full_batch

BETA_MIN, BETA_MAX = 0.1, 20.0  # of the variance-preserving path (Song et al. 2021)
# Flow time at which each path ends. The velocity of "vp" grows without bound towards tau = 0
# (5.7 eps at 1e-3, 50 eps at 1e-5), so that training, solvers and likelihoods end at 1e-3, where
# sigma is 0.011: less than the noise that the codec's decoder tolerates. Song et al. 2021 sample
# this path to the same time.
SMALLEST_TAU = {"linear": 0.0, "gvp": 0.0, "vp": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """alpha and sigma of x_tau = alpha x + sigma eps, and their derivatives by tau."""

    alpha: Tensor
    sigma: Tensor
    alpha_dot: Tensor
    sigma_dot: Tensor


def linear(tau: Tensor) -> Coefficients:
    """alpha = 1 - tau, sigma = tau. Reference: Lipman et al. 2023; Liu et al. 2023."""
    one = torch.ones_like(tau)
    return Coefficients(alpha=1 - tau, sigma=tau, alpha_dot=-one, sigma_dot=one)


def generalised_variance_preserving(tau: Tensor) -> Coefficients:
    """alpha = cos(pi tau / 2), sigma = sin(pi tau / 2). Reference: SiT (Ma et al. 2024), "GVP"."""
    speed = 0.5 * math.pi
    angle = speed * tau
    return Coefficients(
        alpha=angle.cos(),
        sigma=angle.sin(),
        alpha_dot=-speed * angle.sin(),
        sigma_dot=speed * angle.cos(),
    )


def variance_preserving(tau: Tensor) -> Coefficients:
    """The diffusion path with beta from 0.1 to 20, for tau from `SMALLEST_TAU` to 1.

    Reference: Song et al. 2021, eq. 33.
    """
    log_alpha = -0.25 * tau.square() * (BETA_MAX - BETA_MIN) - 0.5 * tau * BETA_MIN
    rate = -0.5 * tau * (BETA_MAX - BETA_MIN) - 0.5 * BETA_MIN
    alpha = log_alpha.exp()
    # expm1, because 1 - alpha^2 would lose all digits in float32 near tau = 0. The bound keeps the
    # derivatives finite at 0.
    sigma = (-torch.expm1(2 * log_alpha)).clamp_min(1e-12).sqrt()
    return Coefficients(
        alpha=alpha, sigma=sigma, alpha_dot=rate * alpha, sigma_dot=-rate * alpha.square() / sigma
    )


PATHS: dict[str, Callable[[Tensor], Coefficients]] = {
    "linear": linear,
    "gvp": generalised_variance_preserving,
    "vp": variance_preserving,
}


def interpolate(
    audio: Tensor, noise: Tensor, tau: Tensor, path: str = "linear"
) -> tuple[Tensor, Tensor]:
    """The point x_tau on the path and its velocity alpha' x + sigma' eps (paper eq. 2).

    Takes standardised latents and noise (B, L, C), and tau (B,) in 0..1; returns two (B, L, C).
    """
    c = PATHS[path](tau[:, None, None])
    return c.alpha * audio + c.sigma * noise, c.alpha_dot * audio + c.sigma_dot * noise


def sample_tau(
    batch: int, *, mean: float, deviation: float, path: str, device: torch.device
) -> Tensor:
    """Sample logit-normal flow times, (batch,), between the path's end and 1.

    Reference: Esser et al. 2024.
    """
    normal = sample_for_full_batch(lambda rows: torch.randn(rows, device=device), batch)
    smallest = SMALLEST_TAU[path]
    return smallest + (1 - smallest) * torch.sigmoid(mean + deviation * normal)
