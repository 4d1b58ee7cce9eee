"""The diffusion baseline: DDPM's loss, and the solvers that its models are sampled with.

Not the product's way to sound: it is what the flow is measured against, on the same network, data
and steps. The network predicts the noise in x_tau on the variance-preserving path. Solvers are
plain functions over a grid of flow times, like those of `samplers`, but of a noise prediction
`(x, tau) -> eps`, since they use the form of the path and need no velocity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from foleyflow.flow.objective import ObjectiveConfig, masked_error, sample_dropout
from foleyflow.flow.path import BETA_MAX, BETA_MIN, PATHS, interpolate
from foleyflow.flow.samplers import uniform_grid
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like, sample_for_full_batch

PATH = "vp"
LEVELS = 1000  # of noise, as in DDPM
NoisePrediction = Callable[[Tensor, float], Tensor]


def diffusion_loss(
    network: FlowTransformer, audio: Tensor, condition: Condition, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """Mean squared error of the predicted noise, all levels alike.

    Args:
        network: predicts noise.
        audio: (B, L, C) standardised latents.
        condition: of the same rows.
        config: the shares of dropped conditions are used.

    Returns:
        The loss and figures for the journal.

    Source: Ho et al. 2020 (DDPM), eq. 14, L_simple; its linear betas are the path "vp".
    """
    batch, device = len(audio), audio.device
    levels = sample_for_full_batch(
        lambda rows: torch.randint(1, LEVELS + 1, (rows,), device=device), batch
    )
    tau = levels / LEVELS
    noise = normal_like(audio)
    x, _ = interpolate(audio, noise, tau, PATH)
    predicted = network(
        x,
        r=tau,
        tau=tau,
        guidance_scale=torch.ones(batch, device=device),
        embedded=network.embed(condition, sample_dropout(batch, config, device)),
        condition=condition,
    )
    error = masked_error(predicted, noise, condition.known).mean()
    return error, {"error": float(error.detach())}


def log_snr_grid(steps: int, *, start: float = 1.0, end: float = 1e-3) -> list[float]:
    """`steps` + 1 flow times at equal distances of log(alpha / sigma).

    Source: Lu et al. 2022 (DPM-Solver), section 3.3; the path's inverse in closed form.
    """
    first, last = (math.log(alpha / sigma) for alpha, sigma in map(_levels, (start, end)))
    span = BETA_MAX - BETA_MIN
    times = []
    for level in uniform_grid(steps, start=first, end=last):
        log_alpha = -0.5 * math.log1p(math.exp(-2 * level))
        root = math.sqrt(BETA_MIN**2 / 4 - span * log_alpha)
        times.append((root - BETA_MIN / 2) / (span / 2))
    return times


def ddim(predict: NoisePrediction, x: Tensor, times: Sequence[float]) -> Tensor:
    """First order, one evaluation a step, no added noise.

    Source: Song et al. 2021 (DDIM), eq. 12 with sigma = 0.
    """
    for tau, after in itertools.pairwise(times):
        noise = predict(x, tau)
        (alpha, sigma), (alpha_after, sigma_after) = _levels(tau), _levels(after)
        x = alpha_after * (x - sigma * noise) / alpha + sigma_after * noise
    return x


def dpm_solver_2m(predict: NoisePrediction, x: Tensor, times: Sequence[float]) -> Tensor:
    """DPM-Solver++(2M): second order, one evaluation a step, remembers the one before.

    A step into tau = 0, where log(alpha / sigma) is infinite, is of first order, as the first is.

    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """
    before: tuple[Tensor, float] | None = None  # the data expected then, and the step's length
    for tau, after in itertools.pairwise(times):
        (alpha, sigma), (alpha_after, sigma_after) = _levels(tau), _levels(after)
        data = (x - sigma * predict(x, tau)) / alpha
        length = math.log(alpha_after / sigma_after) - math.log(alpha / sigma)
        ahead = data
        if before is not None and after > 0:
            earlier, last_length = before
            ahead = data + 0.5 * length / last_length * (data - earlier)
        x = sigma_after / sigma * x - alpha_after * math.expm1(-length) * ahead
        before = data, length
    return x


DIFFUSION_SAMPLERS: dict[str, Callable[[NoisePrediction, Tensor, Sequence[float]], Tensor]] = {
    "ddim": ddim,
    "dpm": dpm_solver_2m,
}


def _levels(tau: float) -> tuple[float, float]:
    """(alpha, sigma) of the path at one time."""
    c = PATHS[PATH](torch.tensor(tau, dtype=torch.float64))
    return float(c.alpha), float(c.sigma)
