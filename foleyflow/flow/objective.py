"""Settings and helpers that the training objectives of the flow share.

All losses take (B, L, C) standardised latents `audio` and the condition of the same samples. They
are means over the latent frames that are not context, and return the loss and metrics for the
training log.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.path import SMALLEST_TAU, sample_tau
from foleyflow.flow.transformer import DROP_ALL, DROP_TIMING, KEEP_ALL, Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import sample_for_full_batch


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Settings of the flow's training objectives."""

    path: str = "linear"  # a key of `path.PATHS`
    tau_mean: float = 0.6  # of the logits of flow times
    tau_deviation: float = 1.3
    drop_all: float = 0.1  # probability of dropping the condition
    drop_timing: float = 0.05  # probability of dropping only its timing
    interval_share: float = 0.5  # fraction of samples with r < tau, at the end of the curriculum
    endpoint_share: float = 0.3  # fraction of those with tau near 1 and r = 0, as in generation
    largest_guidance: float = 4.0  # the guidance scale w is sampled from 1 to this value
    difference: float = 2e-3  # half step of the central difference along the flow

    def __post_init__(self) -> None:
        if self.largest_guidance < 1 or not 0 <= self.interval_share <= 1:
            raise ConfigError(
                f"largest_guidance={self.largest_guidance}, interval_share={self.interval_share}: "
                "expected largest_guidance >= 1 and interval_share in 0..1"
            )


def sample_dropout(batch: int, config: ObjectiveConfig, device: torch.device) -> Tensor:
    """Sample condition dropout: (batch,) of KEEP_ALL, DROP_TIMING and DROP_ALL."""
    uniform = sample_uniform(batch, device)
    drops = torch.full((batch,), KEEP_ALL, device=device)
    drops[uniform < config.drop_all + config.drop_timing] = DROP_TIMING
    drops[uniform < config.drop_all] = DROP_ALL
    return drops


def sample_dropout_and_guidance(
    batch: int, config: ObjectiveConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Sample condition dropout and guidance scales w, (batch,) each.

    w is log-uniform from 1 to `largest_guidance`, and 1 where a condition is dropped.
    """
    power = sample_uniform(batch, device)
    largest = torch.tensor(config.largest_guidance, device=device)
    guidance_scale = torch.exp(power * torch.log(largest))
    drops = sample_dropout(batch, config, device)
    return drops, torch.where(drops == KEEP_ALL, guidance_scale, torch.ones_like(guidance_scale))


def sample_intervals(
    batch: int, config: ObjectiveConfig, progress: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Sample flow times (tau, r), each (batch,), with r <= tau.

    The fraction of samples with r < tau grows over the first tenth of training (`progress` 0..1).
    """
    samples = [sample_times(batch, config, device) for _ in range(2)]
    tau, r = torch.maximum(*samples), torch.minimum(*samples)
    # Some intervals are those of one-step generation: from tau near 1 to the end of the path
    endpoint = sample_uniform(batch, device) < config.endpoint_share
    tau = torch.where(endpoint, 1 - 0.02 * sample_uniform(batch, device), tau)
    r = torch.where(endpoint, torch.full_like(r, SMALLEST_TAU[config.path]), r)
    # The other samples are on the diagonal r = tau
    fraction = config.interval_share * min(1.0, progress / 0.1)
    diagonal = sample_uniform(batch, device) >= fraction
    tau = torch.where(diagonal, samples[0], tau)
    return tau, torch.where(diagonal, tau, r)


def sample_times(batch: int, config: ObjectiveConfig, device: torch.device) -> Tensor:
    """Sample logit-normal flow times, (batch,)."""
    return sample_tau(
        batch,
        mean=config.tau_mean,
        deviation=config.tau_deviation,
        path=config.path,
        device=device,
    )


def sample_uniform(batch: int, device: torch.device) -> Tensor:
    """Sample (batch,) numbers uniformly from 0..1."""
    return sample_for_full_batch(lambda rows: torch.rand(rows, device=device), batch)


def predict(
    network: FlowTransformer,
    x: Tensor,
    tau: Tensor,
    condition: Condition,
    drops: Tensor | None = None,
    guidance_scale: Tensor | None = None,
    *,
    r: Tensor | None = None,
) -> Tensor:
    """The network's output u(x, r, tau), (B, L, C).

    Defaults: the complete condition, w = 1, and r = tau (the velocity, or the noise of the
    diffusion baseline).
    """
    return network(
        x,
        r=tau if r is None else r,
        tau=tau,
        guidance_scale=torch.ones_like(tau) if guidance_scale is None else guidance_scale,
        embedded=network.embed(condition, drops),
        condition=condition,
    )


def masked_error(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of each sample over the frames that are not context, (B,).

    Losses are plain means of these errors. A weight that depends on a sample's own error, like the
    1 / (error + c)^p of MeanFlow, would move the minimum away from the conditional mean.
    """
    weights = (~known).float()
    per_frame = (predicted - target).square().mean(-1)
    return (per_frame * weights).sum(1) / weights.sum(1).clamp_min(1)
