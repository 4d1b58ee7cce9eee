"""From audio to noise and back: where a latent is at flow time tau, and how fast it moves.

tau = 0 is audio, tau = 1 is noise. Three affine paths; "linear" is what the model is trained on.
Their flows are one flow up to a change of time and scale: linear and gvp lead each noise to the
same audio (vp too, but for the e^-5 of audio that it keeps at tau = 1), so that the choice decides
how training and solvers spread their effort, and not what can be expressed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.parallel.batch_sharding import sample_for_full_batch

BETA_MIN, BETA_MAX = 0.1, 20.0  # of the variance-preserving path (Song et al. 2021)


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """x_tau = alpha x + sigma eps, and the derivatives of both by tau; tensors of tau's shape."""

    alpha: Tensor
    sigma: Tensor
    alpha_dot: Tensor
    sigma_dot: Tensor


def linear(tau: Tensor) -> Coefficients:
    """alpha = 1 - tau, sigma = tau. Source: Lipman et al. 2023; Liu et al. 2023."""
    one = torch.ones_like(tau)
    return Coefficients(alpha=1 - tau, sigma=tau, alpha_dot=-one, sigma_dot=one)


def generalised_variance_preserving(tau: Tensor) -> Coefficients:
    """alpha = cos(pi tau / 2), sigma = sin(pi tau / 2). Source: SiT (Ma et al. 2024), "GVP"."""
    angle = 0.5 * math.pi * tau
    speed = 0.5 * math.pi
    return Coefficients(
        alpha=angle.cos(),
        sigma=angle.sin(),
        alpha_dot=-speed * angle.sin(),
        sigma_dot=speed * angle.cos(),
    )


def variance_preserving(tau: Tensor) -> Coefficients:
    """The diffusion path with beta from 0.1 to 20. Source: Song et al. 2021, eq. 33."""
    log_alpha = -0.25 * tau.square() * (BETA_MAX - BETA_MIN) - 0.5 * tau * BETA_MIN
    rate = -0.5 * tau * (BETA_MAX - BETA_MIN) - 0.5 * BETA_MIN
    alpha = log_alpha.exp()
    # expm1: near tau = 0 the difference 1 - alpha^2 would have no digits left in float32.
    sigma = (-torch.expm1(2 * log_alpha)).clamp_min(1e-12).sqrt()
    return Coefficients(
        alpha=alpha,
        sigma=sigma,
        alpha_dot=rate * alpha,
        sigma_dot=-rate * alpha.square() / sigma,
    )


PATHS: dict[str, Callable[[Tensor], Coefficients]] = {
    "linear": linear,
    "gvp": generalised_variance_preserving,
    "vp": variance_preserving,
}


def interpolate(
    audio: Tensor, noise: Tensor, tau: Tensor, path: str = "linear"
) -> tuple[Tensor, Tensor]:
    """The point on the path and its velocity.

    Args:
        audio: (B, L, C) standardised latents.
        noise: (B, L, C) standard normal.
        tau: (B,) in 0..1.
        path: a key of `PATHS`.

    Returns:
        x_tau and v = alpha' x + sigma' eps, each (B, L, C).

    Source: paper eq. 2; method section C.1.
    """
    c = PATHS[path](tau[:, None, None])
    return c.alpha * audio + c.sigma * noise, c.alpha_dot * audio + c.sigma_dot * noise


def sample_tau(batch: int, *, mean: float, deviation: float, device: torch.device) -> Tensor:
    """Logit-normal flow times, (batch,) in 0..1. Source: Esser et al. 2024."""
    normal = sample_for_full_batch(lambda rows: torch.randn(rows, device=device), batch)
    return torch.sigmoid(mean + deviation * normal)
