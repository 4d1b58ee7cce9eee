"""What the flow is trained on: DCF's flow matching, then GDCF's one-step map (improved MeanFlow).

Losses are means over the frames that are not context, and weighted so that quiet and loud clips
count alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.path import interpolate, sample_tau
from foleyflow.flow.transformer import DROP_ALL, DROP_TIMING, KEEP_ALL, Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like, sample_for_full_batch

# A row's derivative along the flow is scaled down to this root mean square. Velocities are of size
# 1.4; without the bound single rows reached 600 and their errors 20,000.
LARGEST_SLOPE = 3.0


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Settings of both objectives.

    Attributes:
        path: a key of `path.PATHS`.
        tau_mean, tau_deviation: of the logit-normal flow times.
        drop_all, drop_timing: shares of rows without condition, or without its timing.
        interval_share: GDCF: share of rows with r < tau, at full curriculum.
        endpoint_share: GDCF: share of those with (tau near 1, r = 0), the query of inference.
        largest_guidance: GDCF: w is drawn from 1 to this.
        difference: GDCF: half step of the central difference along the flow.
        balance: p of the weight 1 / (loss + floor)^p.
        floor: see `balance`.
    """

    path: str = "linear"
    tau_mean: float = 0.6
    tau_deviation: float = 1.3
    drop_all: float = 0.1
    drop_timing: float = 0.05
    interval_share: float = 0.5
    endpoint_share: float = 0.3
    largest_guidance: float = 4.0
    difference: float = 2e-3
    balance: float = 0.75
    floor: float = 1e-2

    def __post_init__(self) -> None:
        if self.largest_guidance < 1 or not 0 <= self.interval_share <= 1:
            raise ConfigError(
                f"largest_guidance={self.largest_guidance} (>= 1), "
                f"interval_share={self.interval_share} (0..1)"
            )


def sample_dropout(batch: int, config: ObjectiveConfig, device: torch.device) -> Tensor:
    """Which rows lose their condition: (batch,) of KEEP_ALL, DROP_TIMING, DROP_ALL."""
    chance = _even(batch, device)
    drops = torch.full((batch,), KEEP_ALL, device=device)
    drops[chance < config.drop_all + config.drop_timing] = DROP_TIMING
    drops[chance < config.drop_all] = DROP_ALL
    return drops


def sample_guidance_scale(batch: int, config: ObjectiveConfig, device: torch.device) -> Tensor:
    """Guidance w, (batch,) log-uniform from 1 to `largest_guidance`."""
    power = _even(batch, device)
    return torch.exp(power * torch.log(torch.tensor(config.largest_guidance, device=device)))


def sample_dropout_and_guidance(
    batch: int, config: ObjectiveConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Dropped conditions and guidance of rows, each (batch,), as the flow map is trained."""
    guidance_scale = sample_guidance_scale(batch, config, device)
    drops = sample_dropout(batch, config, device)
    return drops, torch.where(drops == KEEP_ALL, guidance_scale, torch.ones_like(guidance_scale))


def masked_error(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error per row over frames that are not context, (B,)."""
    wanted = (~known).float()
    per_frame = (predicted - target).square().mean(-1)
    return (per_frame * wanted).sum(1) / wanted.sum(1).clamp_min(1)


def balanced(errors: Tensor, config: ObjectiveConfig) -> Tensor:
    """Mean of rows' errors, each weighted by 1 / (error + floor)^balance.

    Source: method section C.4 step 5 (adaptive weighting of MeanFlow).
    """
    return (errors / (errors.detach() + config.floor) ** config.balance).mean()


def flow_matching_loss(
    network: FlowTransformer, audio: Tensor, condition: Condition, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """Conditional flow matching with per-frame conditions.

    Args:
        network: the flow.
        audio: (B, L, C) standardised latents.
        condition: of the same rows.
        config: settings.

    Returns:
        The loss and figures for the journal.

    Source: paper eq. 5; method section C.1, L_DCF.
    """
    batch, device = len(audio), audio.device
    tau = sample_tau(batch, mean=config.tau_mean, deviation=config.tau_deviation, device=device)
    x, velocity = interpolate(audio, normal_like(audio), tau, config.path)
    one = torch.ones(batch, device=device)
    predicted = network(
        x,
        r=tau,
        tau=tau,
        guidance_scale=one,
        embedded=network.embed(condition, sample_dropout(batch, config, device)),
        condition=condition,
    )
    errors = masked_error(predicted, velocity, condition.known)
    return balanced(errors, config), {"error": float(errors.detach().mean())}


def one_step_loss(
    network: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
    *,
    progress: float,
) -> tuple[Tensor, dict[str, float]]:
    """One-step flow map with guidance as an input, from its DCF diagonal.

    The network's own mean velocity u is turned into a velocity, V = u + (tau - r) du/dtau, and V
    is matched to the (guided) conditional velocity. The derivative follows the predicted velocity
    and is a central difference, without gradient.

    Args:
        network: the flow, trained by `flow_matching_loss` before.
        audio: (B, L, C) standardised latents.
        condition: of the same rows.
        config: settings.
        progress: 0..1, how far this stage is (curriculum of intervals and guidance).

    Returns:
        The loss and figures for the journal.

    Source: improved MeanFlow (Geng et al. 2025) as method section C.4, steps 1 to 6.
    """
    batch, device = len(audio), audio.device
    tau, r = sample_intervals(batch, config, progress, device)
    drops, guidance_scale = sample_dropout_and_guidance(batch, config, device)
    if progress <= 0.2:
        guidance_scale = torch.ones_like(guidance_scale)

    x, velocity = interpolate(audio, normal_like(audio), tau, config.path)
    embedded = network.embed(condition, drops)
    with torch.no_grad():
        own = network(
            x, r=tau, tau=tau, guidance_scale=guidance_scale, embedded=embedded, condition=condition
        )
        target = velocity
        chosen = (guidance_scale > 1).nonzero()[:, 0]
        if len(chosen):
            some = condition.rows(chosen)
            one = torch.ones(len(chosen), device=device)
            nothing = network(
                x[chosen],
                r=tau[chosen],
                tau=tau[chosen],
                guidance_scale=one,
                embedded=network.embed(some, torch.full_like(drops[chosen], DROP_ALL)),
                condition=some,
            )
            share = (1 - 1 / guidance_scale[chosen])[:, None, None]
            target = velocity.clone()
            target[chosen] += share * (own[chosen] - nothing)
        slope = torch.zeros_like(x)
        chosen = (tau - r > 1e-4).nonzero()[:, 0]
        if len(chosen):
            slope[chosen] = _slope(
                network,
                x[chosen],
                own[chosen],
                r=r[chosen],
                tau=tau[chosen],
                guidance_scale=guidance_scale[chosen],
                embedded=embedded[chosen].float(),
                condition=condition.rows(chosen),
                half=config.difference,
            )
    slope = bounded(slope)
    predicted = network(
        x, r=r, tau=tau, guidance_scale=guidance_scale, embedded=embedded, condition=condition
    )
    compound = predicted + (tau - r)[:, None, None] * slope
    errors = masked_error(compound, target, condition.known)
    return balanced(errors, config), {
        "error": float(errors.detach().mean()),
        "slope": float(slope.square().mean().sqrt()),
    }


def bounded(slope: Tensor) -> Tensor:
    """Rows (B, L, C) scaled down to a root mean square of `LARGEST_SLOPE` where they exceed it.

    Source: ours, after the normalised tangents of Lu & Song 2025 (sCM).
    """
    size = slope.square().mean((1, 2), keepdim=True).sqrt()
    return slope * (LARGEST_SLOPE / size.clamp_min(LARGEST_SLOPE))


def _even(batch: int, device: torch.device) -> Tensor:
    """(batch,) evenly in 0..1."""
    return sample_for_full_batch(lambda rows: torch.rand(rows, device=device), batch)


def sample_intervals(
    batch: int, config: ObjectiveConfig, progress: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Flow times (tau, r), each (batch,), with r <= tau; r < tau grows over the first tenth."""
    draws = [
        sample_tau(batch, mean=config.tau_mean, deviation=config.tau_deviation, device=device)
        for _ in range(2)
    ]
    tau, r = torch.maximum(*draws), torch.minimum(*draws)
    ends = _even(batch, device) < config.endpoint_share
    tau = torch.where(ends, 1 - 0.02 * _even(batch, device), tau)
    r = torch.where(ends, torch.zeros_like(r), r)
    share = config.interval_share * min(1.0, progress / 0.1)
    same = _even(batch, device) >= share
    tau = torch.where(same, draws[0], tau)
    return tau, torch.where(same, tau, r)


@torch.no_grad()
def _slope(
    network: FlowTransformer,
    x: Tensor,
    velocity: Tensor,
    *,
    r: Tensor,
    tau: Tensor,
    guidance_scale: Tensor,
    embedded: Tensor,
    condition: Condition,
    half: float,
) -> Tensor:
    """d/dtau of u(x_tau, r, tau) along the flow, by a central difference in float32.

    Context frames have no tangent. tau may leave 0..1 by `half`.
    """
    tangent = velocity * (~condition.known)[..., None]
    ends = []
    with torch.autocast(x.device.type, enabled=False):
        for sign in (1.0, -1.0):
            ends.append(
                network(
                    x + sign * half * tangent,
                    r=r,
                    tau=tau + sign * half,
                    guidance_scale=guidance_scale,
                    embedded=embedded,
                    condition=condition,
                )
            )
    return (ends[0] - ends[1]) / (2 * half)
