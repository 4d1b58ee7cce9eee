"""The exact solution for independent Gaussian latents, to which the network learns a residual.

Most of the detail in a codec's latents can't be predicted from the video. A plain network must
first learn to pass noise through, and its samples vary too little until then. With this
preconditioning the untrained network already generates Gaussian latents of the right scale in each
channel, in one step or many, and learns the difference from them.

Dimension letters: B batch, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.flow.path import PATHS, Coefficients

SHORTEST = 1e-3  # below this interval the difference quotient is replaced by a derivative


@dataclass(frozen=True, kw_only=True)
class Preconditioning:
    """Factors around a network F: its output is skip * x + outward * F(inward * x)."""

    inward: Tensor  # (B, 1, C), scales the input to unit standard deviation
    skip: Tensor  # (B, 1, C), the exact solution for Gaussian latents
    outward: Tensor  # (B, 1, C), the standard deviation of the residual


def for_velocity(r: Tensor, tau: Tensor, deviation: Tensor, path: str) -> Preconditioning:
    """Factors for a network that predicts mean velocities between tau and r.

    The flow of a Gaussian latent preserves its quantile: x_r = x_tau s(r) / s(tau), where s is the
    standard deviation at a flow time.

    Takes flow times r <= tau (B,), and the standard deviation of the latents (C,).

    Compare Karras et al. 2022, table 1; here for flow maps and with a scale per channel.
    """
    r, tau = r.float()[:, None, None], tau.float()[:, None, None]
    c, end, middle = (PATHS[path](time) for time in (tau, r, 0.5 * (tau + r)))
    variance, variance_end = (_variance(at, deviation) for at in (c, end))
    gap = tau - r
    # Rate of change of the variance: a difference quotient, or the derivative at the midpoint
    rate = 2 * (
        middle.alpha * middle.alpha_dot * deviation.square() + middle.sigma * middle.sigma_dot
    )
    rate = torch.where(gap > SHORTEST, (variance - variance_end) / gap.clamp_min(SHORTEST), rate)
    scale, scale_end = variance.sqrt(), variance_end.sqrt()
    determinant = (c.alpha_dot * c.sigma - c.sigma_dot * c.alpha).abs()
    return Preconditioning(
        inward=1 / scale,
        skip=rate / (scale * (scale + scale_end)),
        outward=determinant * deviation / scale,
    )


def for_noise(tau: Tensor, deviation: Tensor, path: str) -> Preconditioning:
    """Factors for a network that predicts the noise in x_tau; arguments as for `for_velocity`.

    Reference: Karras et al. 2022, table 1, solved for the noise.
    """
    tau = tau.float()[:, None, None]
    c = PATHS[path](tau)
    variance = _variance(c, deviation)
    scale = variance.sqrt()
    return Preconditioning(
        inward=1 / scale, skip=c.sigma / variance, outward=c.alpha * deviation / scale
    )


def _variance(c: Coefficients, deviation: Tensor) -> Tensor:
    return (c.alpha * deviation).square() + c.sigma.square()
