"""Inversion and likelihood of audio latents under the flow.

The flow of the velocity (the diagonal of the flow map) is invertible: integrated from tau = 0 to 1
it gives the noise of some audio, and the integral of its divergence gives the change of density.
On a path that ends above tau = 0 (`path.SMALLEST_TAU`), that end takes the place of tau = 0.
The density is that of latents under this flow, not of waveforms nor of the one-step map. Latents
that repeat exactly (silence) have no density: report the noise level that was added to the latents.

Derivatives are vector-Jacobian products, which every attention kernel supports.

Dimension letters: B batch, L latent frames, C channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.flow.path import SMALLEST_TAU
from foleyflow.flow.samplers import Velocity, heun, uniform_grid

MAX_EXACT_TRACE = 256  # dimensions per sample up to which the trace is computed exactly
# A divergence: (velocity, x, tau) -> (dx/dtau, its divergence), shapes (B, L, C) and (B,).
Divergence = Callable[[Velocity, Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """The density of audio under the flow."""

    noise: Tensor  # (B, L, C) encoded audio; standard normal under an exact model
    log_density: Tensor  # (B,) nats, of the complete (L, C) array

    @property
    def nats_per_dimension(self) -> Tensor:
        """Log-likelihood per dimension, (B,); higher is likelier."""
        return self.log_density / self.noise[0].numel()

    @property
    def bits_per_dimension(self) -> Tensor:
        """Negative log-likelihood per dimension in bits, (B,); lower is likelier."""
        return -self.nats_per_dimension / math.log(2)


def encode(velocity: Velocity, audio: Tensor, *, steps: int = 25, path: str = "linear") -> Tensor:
    """Audio latents to their noise, (B, L, C), by Heun's method (paper eq. 6)."""
    return heun(velocity, audio, uniform_grid(steps, start=SMALLEST_TAU[path], end=1.0))


def decode(velocity: Velocity, noise: Tensor, *, steps: int = 25, path: str = "linear") -> Tensor:
    """Noise to audio latents, (B, L, C); the inverse of `encode` up to the solver's error."""
    return heun(velocity, noise, uniform_grid(steps, end=SMALLEST_TAU[path]))


def invert(
    velocity: Velocity,
    audio: Tensor,
    *,
    steps: int = 25,
    path: str = "linear",
    tolerance: float = 1e-5,
    max_iterations: int = 30,
) -> Tensor:
    """The noise that `decode` maps to exactly this audio, (B, L, C).

    `encode` and `decode` each have the discretisation error of Heun's method, which is large where
    the velocity changes fast. Here each step of `decode` itself is inverted by a fixed-point
    iteration that starts from the step of `encode`, with smaller corrections after a failed one. It
    takes about five times the evaluations of `encode`. A step ends at a root mean square error of
    `tolerance` relative to the sample, or with the best iterate of `max_iterations`.

    The velocity must treat samples of a batch independently.

    Reference: fixed-point inversion of samplers (Pan et al. 2023, AIDI; Hong et al. 2024).
    """
    x = audio
    grid = uniform_grid(steps, start=SMALLEST_TAU[path], end=1.0)
    for after, tau in itertools.pairwise(grid):
        scale = _rms(x).clamp_min(torch.finfo(x.dtype).tiny)
        weight, error = torch.ones_like(scale), torch.full_like(scale, torch.inf)
        best, residual = heun(velocity, x, (after, tau)), torch.zeros_like(x)
        for _ in range(1 + max_iterations):  # the first iteration only evaluates the guess
            candidate = best + weight * residual
            remaining = x - heun(velocity, candidate, (tau, after))
            candidate_error = _rms(remaining) / scale
            better = candidate_error < error
            best = torch.where(better, candidate, best)
            residual = torch.where(better, remaining, residual)
            error = torch.where(better, candidate_error, error)
            weight = torch.where(better, weight, 0.5 * weight)
            if bool((error < tolerance).all()):
                break
        x = best
    return x


def _rms(values: Tensor) -> Tensor:
    """Root mean square of each sample, (B, L, C) to (B, 1, 1)."""
    return values.square().mean((1, 2), keepdim=True).sqrt()


def log_likelihood(
    velocity: Velocity,
    audio: Tensor,
    *,
    steps: int = 50,
    path: str = "linear",
    divergence: Divergence | None = None,
) -> Likelihood:
    """Log-density of audio latents by the change of variables along the flow.

    log p(x) = log N(x_1; 0, I) + integral_0^1 div v(x_tau, tau) dtau.

    The velocity must be differentiable in x and treat samples of a batch independently. Each of the
    `steps` of Heun's method evaluates it twice, with its divergence: by default, the exact trace up
    to `MAX_EXACT_TRACE` dimensions per sample, else four random probes (`hutchinson`). The density
    covers all frames of `audio` (B, L, C), standardised latents without context.

    Reference: paper eqs. 2 and 3; Chen et al. 2018; Grathwohl et al. 2019.
    """
    if divergence is None:
        exact = audio[0].numel() <= MAX_EXACT_TRACE
        divergence = exact_divergence if exact else hutchinson(audio, probes=4)
    x, log_volume = audio, torch.zeros(len(audio), dtype=audio.dtype, device=audio.device)
    grid = uniform_grid(steps, start=SMALLEST_TAU[path], end=1.0)
    for tau, after in itertools.pairwise(grid):
        step = after - tau
        # Heun's method for the position and the log-volume
        slope, rate = divergence(velocity, x, tau)
        slope_after, rate_after = divergence(velocity, x + step * slope, after)
        x = x + 0.5 * step * (slope + slope_after)
        log_volume = log_volume + 0.5 * step * (rate + rate_after)
    # Standard normal density of the encoded noise
    prior = -0.5 * (x.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return Likelihood(noise=x, log_density=prior + log_volume)


def exact_divergence(velocity: Velocity, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Velocity and the trace of its Jacobian, by one backward pass per dimension of a sample."""
    basis = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)
    return _probe(velocity, x, tau, basis.view(-1, 1, *x.shape[1:]).expand(-1, len(x), -1, -1))


def hutchinson(like: Tensor, *, probes: int) -> Divergence:
    """An unbiased random estimate of the divergence, with the same probes along the entire flow.

    It averages over `probes` random sign vectors with the shape, dtype and device of `like`.

    Reference: Hutchinson 1989; Grathwohl et al. 2019 (FFJORD).
    """
    shape = (probes, *like.shape)
    signs = torch.randint(0, 2, shape, device=like.device).to(like.dtype) * 2 - 1

    def estimate(velocity: Velocity, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        value, total = _probe(velocity, x, tau, signs)
        return value, total / probes

    return estimate


def _probe(velocity: Velocity, x: Tensor, tau: float, probes: Tensor) -> tuple[Tensor, Tensor]:
    """Velocity, and the sum of probe^T J probe over (P, B, L, C) probes of its Jacobian J."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = velocity(x, tau)
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for probe in probes:
            (gradient,) = torch.autograd.grad(value, x, probe, retain_graph=True)
            total = total + (gradient * probe).flatten(1).sum(1)
    return value.detach(), total
