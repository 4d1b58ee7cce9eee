"""The exact answer for independent Gaussian latents, to which a network adds what it knows.

Latents of a good codec are rich: most of what is in them no picture tells. A network that must
first learn to hand noise through itself spends its training on that, and what it makes until then
varies too little. With this it makes Gaussian noise of the right size in each channel before its
first step, in one evaluation or many, and learns what differs from that.

Dimension letters: B batch, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.flow.path import PATHS, Coefficients

SHORTEST = 1e-3  # interval below which the derivative at its middle is the difference quotient


@dataclass(frozen=True, kw_only=True)
class Preconditioning:
    """Factors of a network F: its answer is skip * x + outward * F(inward * x).

    Attributes:
        inward: (B, 1, C), to unit deviation.
        skip: (B, 1, C), of the exact answer for Gaussian latents.
        outward: (B, 1, C), the deviation of what that answer leaves open.
    """

    inward: Tensor
    skip: Tensor
    outward: Tensor


def for_velocity(r: Tensor, tau: Tensor, deviation: Tensor, path: str) -> Preconditioning:
    """For a network of mean velocities between tau and r.

    A Gaussian latent's flow keeps its place in its distribution: x_r = x_tau s(r) / s(tau), with s
    the deviation at a flow time.

    Args:
        r, tau: (B,) flow times, r <= tau.
        deviation: (C,) of the latents.
        path: a key of `PATHS`.

    Source: ours, after Karras et al. 2022, table 1, for flow maps and channels of their own size.
    """
    r, tau = r.float()[:, None, None], tau.float()[:, None, None]
    c, end, middle = (PATHS[path](time) for time in (tau, r, 0.5 * (tau + r)))
    here, there = (_variance(at, deviation) for at in (c, end))
    gap = tau - r
    rate = 2 * (
        middle.alpha * middle.alpha_dot * deviation.square() + middle.sigma * middle.sigma_dot
    )
    rate = torch.where(gap > SHORTEST, (here - there) / gap.clamp_min(SHORTEST), rate)
    now, then = here.sqrt(), there.sqrt()
    turning = (c.alpha_dot * c.sigma - c.sigma_dot * c.alpha).abs()
    return Preconditioning(
        inward=1 / now, skip=rate / (now * (now + then)), outward=turning * deviation / now
    )


def for_noise(tau: Tensor, deviation: Tensor, path: str) -> Preconditioning:
    """For a network of the noise in x_tau; arguments as for `for_velocity`.

    Source: Karras et al. 2022, table 1, solved for the noise.
    """
    tau = tau.float()[:, None, None]
    c = PATHS[path](tau)
    variance = _variance(c, deviation)
    size = variance.sqrt()
    return Preconditioning(
        inward=1 / size, skip=c.sigma / variance, outward=c.alpha * deviation / size
    )


def _variance(c: Coefficients, deviation: Tensor) -> Tensor:
    return (c.alpha * deviation).square() + c.sigma.square()
