"""How likely audio is under the flow, and the noise that it came from.

The flow of the velocity (DCF, the diagonal of the flow map) is invertible: solved from tau = 0 to
1 it gives the noise of an audio, and the integral of its divergence the change of density. This is
the density of latents under that flow, not of waveforms, and no claim on the one-step map. The
inverse is as good as the flow is smooth: where audio lies close together (latents that repeat, in
silence, have no density at all) say with how much noise on the latents a figure was taken.

Derivatives are vector-Jacobian products (reverse mode), which every attention kernel has; forward
mode would need the slower attention by plain products.

Dimension letters: B batch, L latent frames, C channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.flow.samplers import Velocity, heun, uniform_grid

LARGEST_EXACT = 256  # numbers per row up to which the trace is taken entry by entry
# A divergence: (velocity, x, tau) -> (dx/dtau, its divergence), shapes (B, L, C) and (B,).
Divergence = Callable[[Velocity, Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """The density of audio under the flow.

    Attributes:
        noise: (B, L, C), where the flow leads the audio; standard normal if the model is right.
        log_density: (B,) nats, of the whole (L, C) array.
        dimensions: L * C.
    """

    noise: Tensor
    log_density: Tensor
    dimensions: int

    @property
    def nats_per_dimension(self) -> Tensor:
        """Log-likelihood per number, (B,); higher is likelier."""
        return self.log_density / self.dimensions

    @property
    def bits_per_dimension(self) -> Tensor:
        """Negative log-likelihood per number in bits, (B,); lower is likelier."""
        return -self.nats_per_dimension / math.log(2)


def encode(velocity: Velocity, audio: Tensor, *, steps: int = 25) -> Tensor:
    """The noise that the flow leads to this audio, (B, L, C). Source: paper eq. 6; Heun."""
    return heun(velocity, audio, uniform_grid(steps, start=0.0, end=1.0))


def decode(velocity: Velocity, noise: Tensor, *, steps: int = 25) -> Tensor:
    """The audio that the flow makes of this noise, (B, L, C); undoes `encode`."""
    return heun(velocity, noise, uniform_grid(steps))


def invert(
    velocity: Velocity,
    audio: Tensor,
    *,
    steps: int = 25,
    tolerance: float = 1e-5,
    turns: int = 30,
) -> Tensor:
    """The noise that `decode` makes this very audio of, (B, L, C).

    `encode` and `decode` each err by what a step of Heun's method leaves out, which is much where
    the flow changes fast. Here each step of `decode` is itself undone, by fixed-point iteration
    from `encode`'s step on. About five times the evaluations of `encode`.

    Args:
        velocity: rows must not see each other.
        audio: (B, L, C) standardised latents.
        steps: of `decode`.
        tolerance: of a step, root mean square relative to the row.
        turns: of the iteration at most; a step that has not come that near by then is left at the
            best that was found.

    Source: ours (fixed-point inversion of a sampler: Pan et al. 2023, AIDI; Hong et al. 2024).
    """
    x = audio
    for after, tau in itertools.pairwise(uniform_grid(steps, start=0.0, end=1.0)):

        def step(y: Tensor, grid: tuple[float, float] = (tau, after)) -> Tensor:
            return heun(velocity, y, grid)

        x = _solved(step, x, heun(velocity, x, (after, tau)), tolerance, turns)
    return x


def _solved(
    step: Callable[[Tensor], Tensor], wanted: Tensor, guess: Tensor, tolerance: float, turns: int
) -> Tensor:
    """The input of `step` that gives `wanted`, row by row; smaller corrections where one failed."""
    size = _row_rms(wanted).clamp_min(torch.finfo(wanted.dtype).tiny)
    weight, error = torch.ones_like(size), torch.full_like(size, torch.inf)
    best, rest = guess, torch.zeros_like(guess)
    for _ in range(1 + turns):  # the first one only measures the guess
        tried = best + weight * rest
        left = wanted - step(tried)
        now = _row_rms(left) / size
        nearer = now < error
        best, rest = torch.where(nearer, tried, best), torch.where(nearer, left, rest)
        error = torch.where(nearer, now, error)
        weight = torch.where(nearer, weight, 0.5 * weight)
        if bool((error < tolerance).all()):
            break
    return best


def _row_rms(values: Tensor) -> Tensor:
    """(B, L, C) to (B, 1, 1)."""
    return values.square().mean((1, 2), keepdim=True).sqrt()


def log_likelihood(
    velocity: Velocity, audio: Tensor, *, steps: int = 50, divergence: Divergence | None = None
) -> Likelihood:
    """Log-density of audio by the change of variables along the flow.

    Args:
        velocity: differentiable in x; rows must not see each other.
        audio: (B, L, C) standardised latents without context: the density is of all frames.
        steps: of Heun's method, each with two evaluations of velocity and divergence.
        divergence: None for the exact trace up to `LARGEST_EXACT` numbers per row, and beyond it
            for four random probes (`hutchinson`) of torch's generator.

    Returns:
        The noise and the density.

    Source: paper eqs. 2 and 3 (the change of variables); Chen et al. 2018, Grathwohl et al. 2019;
        method section C.5.
    """
    dimensions = audio[0].numel()
    if divergence is None:
        exact = dimensions <= LARGEST_EXACT
        divergence = exact_divergence if exact else hutchinson(audio, probes=4)
    x, volume = audio, torch.zeros(len(audio), dtype=audio.dtype, device=audio.device)
    for tau, after in itertools.pairwise(uniform_grid(steps, start=0.0, end=1.0)):
        step = after - tau
        slope, rate = divergence(velocity, x, tau)
        ahead, rate_ahead = divergence(velocity, x + step * slope, after)
        x = x + 0.5 * step * (slope + ahead)
        volume = volume + 0.5 * step * (rate + rate_ahead)
    prior = -0.5 * (x.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return Likelihood(noise=x, log_density=prior + volume, dimensions=dimensions)


def exact_divergence(velocity: Velocity, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Velocity and the trace of its Jacobian, one backward pass per number of a row."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = velocity(x, tau)
        by_number = value.flatten(1).sum(0)  # rows do not see each other
        trace = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for index, total in enumerate(by_number):
            (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
            trace = trace + gradient.flatten(1)[:, index]
    return value.detach(), trace


def hutchinson(like: Tensor, *, probes: int) -> Divergence:
    """A divergence estimated by random signs, unbiased; the same signs all along the flow.

    Args:
        like: (B, L, C), for shape, dtype and device.
        probes: sign patterns averaged; the error falls with its root.

    Source: Hutchinson 1989; Grathwohl et al. 2019 (FFJORD), one draw per solve.
    """
    shape = (probes, *like.shape)
    signs = torch.randint(0, 2, shape, device=like.device).to(like.dtype) * 2 - 1

    def estimate(velocity: Velocity, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = velocity(x, tau)
            trace = torch.zeros(len(x), dtype=x.dtype, device=x.device)
            for probe in signs:
                (gradient,) = torch.autograd.grad(value, x, probe, retain_graph=True)
                trace = trace + (gradient * probe).flatten(1).sum(1)
        return value.detach(), trace / probes

    return estimate
