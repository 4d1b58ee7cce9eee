"""The diffusion baseline: DDPM's loss, and the DDIM and DPM-Solver++ samplers.

The flow is compared with it on the same network, data and steps. The network predicts the noise in
x_tau on the variance-preserving path. The solvers are plain functions over a grid of flow times,
like those of `samplers`, but take a noise prediction `(x, tau) -> eps`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from foleyflow.flow.objective import ObjectiveConfig, masked_error, predict, sample_dropout
from foleyflow.flow.path import BETA_MAX, BETA_MIN, PATHS, interpolate
from foleyflow.flow.samplers import uniform_grid
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like, sample_for_full_batch

PATH = "vp"
LEVELS = 1000  # noise levels, as in DDPM
NoisePrediction = Callable[[Tensor, float], Tensor]


def diffusion_loss(
    network: FlowTransformer, audio: Tensor, condition: Condition, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """Mean squared error of the predicted noise, with uniformly sampled noise levels.

    Arguments as in objective.py; only the dropout probabilities of `config` are used.

    Reference: Ho et al. 2020 (DDPM), eq. 14, L_simple; its linear betas give the path "vp".
    """
    batch, device = len(audio), audio.device
    levels = sample_for_full_batch(
        lambda rows: torch.randint(1, LEVELS + 1, (rows,), device=device), batch
    )
    tau = levels / LEVELS
    noise = normal_like(audio)
    x, _ = interpolate(audio, noise, tau, PATH)
    drops = sample_dropout(batch, config, device)
    predicted = predict(network, x, tau, condition, drops)
    error = masked_error(predicted, noise, condition.known).mean()
    return error, {"error": float(error.detach())}


def log_snr_grid(steps: int, *, start: float = 1.0, end: float = 1e-3) -> list[float]:
    """`steps` + 1 flow times at equal distances of log(alpha / sigma).

    Reference: Lu et al. 2022 (DPM-Solver), section 3.3; the inverse of the path in closed form.
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
    """DDIM: first order, one evaluation per step, deterministic.

    Reference: Song et al. 2021 (DDIM), eq. 12 with sigma = 0.
    """
    for tau, after in itertools.pairwise(times):
        noise = predict(x, tau)
        (alpha, sigma), (alpha_after, sigma_after) = _levels(tau), _levels(after)
        x = alpha_after * (x - sigma * noise) / alpha + sigma_after * noise
    return x


def dpm_solver_2m(predict: NoisePrediction, x: Tensor, times: Sequence[float]) -> Tensor:
    """DPM-Solver++(2M): second order, one evaluation per step.

    The first step is of first order, as is a step to tau = 0, where log(alpha / sigma) is infinite.

    Reference: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """
    previous: tuple[Tensor, float] | None = None  # data prediction and length of the last step
    for tau, after in itertools.pairwise(times):
        (alpha, sigma), (alpha_after, sigma_after) = _levels(tau), _levels(after)
        # Data prediction, and the step's length in log(alpha / sigma)
        data = (x - sigma * predict(x, tau)) / alpha
        length = math.log(alpha_after / sigma_after) - math.log(alpha / sigma)
        # Linear extrapolation from the previous step
        extrapolated = data
        if previous is not None and after > 0:
            previous_data, previous_length = previous
            extrapolated = data + 0.5 * length / previous_length * (data - previous_data)
        # Exponential integrator step
        x = sigma_after / sigma * x - alpha_after * math.expm1(-length) * extrapolated
        previous = data, length
    return x


DIFFUSION_SAMPLERS: dict[str, Callable[[NoisePrediction, Tensor, Sequence[float]], Tensor]] = {
    "dpm": dpm_solver_2m,
    "ddim": ddim,
}


def _levels(tau: float) -> tuple[float, float]:
    """(alpha, sigma) of the path at one flow time."""
    c = PATHS[PATH](torch.tensor(tau, dtype=torch.float64))
    return float(c.alpha), float(c.sigma)
