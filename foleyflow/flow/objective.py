"""Settings and helpers that the training objectives of the flow share.

All losses take (B, L, C) standardised latents `audio` and the condition of the same samples. They
are means over the latent frames that are not context, and return the loss and metrics for the
training log.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.path import SMALLEST_TAU, interpolate, sample_tau
from foleyflow.flow.transformer import DROP_ALL, DROP_TIMING, KEEP_ALL, Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import sample_for_full_batch

# A mean velocity (x, r, tau) -> u, with x (B, L, C) and flow times (B,).
MeanVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Settings of the flow's training objectives."""

    path: str = "linear"  # a key of `path.PATHS`
    tau_mean: float = 0.6  # of the logits of flow times
    tau_deviation: float = 1.3
    drop_all: float = 0.1  # probability of dropping the condition
    drop_timing: float = 0.05  # probability of dropping only its timing
    interval_share: float = 0.6  # fraction of samples with r < tau, after the curriculum
    noise_share: float = 0.5  # fraction of those that start at tau = 1, as in generation
    halvings: int = 5  # lengths of intervals are 1, 1/2, ..., 2^-halvings of the path
    largest_guidance: float = 4.0  # the guidance scale w is sampled from 1 to this value

    def __post_init__(self) -> None:
        shares = (self.interval_share, self.noise_share)
        if self.largest_guidance < 1 or not all(0 <= share <= 1 for share in shares):
            raise ConfigError(
                f"largest_guidance={self.largest_guidance}, interval_share={self.interval_share}, "
                f"noise_share={self.noise_share}: expected largest_guidance >= 1 and shares in 0..1"
            )
        if self.halvings < 1:
            raise ConfigError(f"halvings={self.halvings}: expected at least 1")


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
    batch: int,
    config: ObjectiveConfig,
    progress: float,
    device: torch.device,
    *,
    longest: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Sample flow times (tau, r), each (batch,), with r <= tau.

    Lengths tau - r are a fraction `longest` of the path, halved up to `halvings` times with equal
    probabilities: half of an interval is then an interval of training too, down to the shortest. A
    part of the intervals starts at tau = 1, the others anywhere. The fraction of samples with
    r < tau grows over the first tenth of training (`progress` 0..1); the others have logit-normal
    times.
    """
    # Lengths, as fractions of the path
    halvings = (sample_uniform(batch, device) * (config.halvings + 1)).floor()
    length = longest * 0.5 ** halvings.clamp_max(config.halvings)
    # Starts, with room for the length
    from_noise = sample_uniform(batch, device) < config.noise_share
    uniform = sample_uniform(batch, device)
    end = torch.where(from_noise, 1 - length, (1 - length) * uniform)
    smallest = SMALLEST_TAU[config.path]
    r, tau = (smallest + (1 - smallest) * place for place in (end, end + length))
    # The other samples are on the diagonal r = tau
    fraction = config.interval_share * min(1.0, progress / 0.1)
    diagonal = sample_uniform(batch, device) >= fraction
    times = sample_times(batch, config, device)
    tau = torch.where(diagonal, times, tau.clamp_max(1.0))
    return tau, torch.where(diagonal, times, r)


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


def guided_mean_velocity(
    network: FlowTransformer, condition: Condition, drops: Tensor, guidance_scale: Tensor
) -> MeanVelocity:
    """The mean velocity `(x, r, tau) -> u` of a frozen network with guidance.

    A network that was trained by flow matching alone has no flow map and takes no guidance scale:
    it gives its velocity at tau, with classifier-free guidance by two evaluations.
    """
    one = torch.ones_like(guidance_scale)

    def evaluate(
        x: Tensor, r: Tensor, tau: Tensor, embedded: Tensor, guidance_scale: Tensor
    ) -> Tensor:
        return network(
            x,
            r=r,
            tau=tau,
            guidance_scale=guidance_scale,
            embedded=embedded,
            condition=condition,
        )

    embedded = network.embed(condition, drops)
    if network.trained_intervals:
        return lambda x, r, tau: evaluate(x, r, tau, embedded, guidance_scale)
    without = network.embed(condition, torch.full_like(drops, DROP_ALL))

    def guided(x: Tensor, r: Tensor, tau: Tensor) -> Tensor:
        base = evaluate(x, tau, tau, without, one)
        conditional = evaluate(x, tau, tau, embedded, one)
        return base + guidance_scale[:, None, None] * (conditional - base)

    return guided


def mean_velocity_of_jumps(
    velocity_of: MeanVelocity,
    audio: Tensor,
    noise: Tensor,
    condition: Condition,
    *,
    tau: Tensor,
    r: Tensor,
    jumps: int,
    path: str,
) -> Tensor:
    """The mean velocity of equal jumps from tau to r, (B, L, C), which begin on the path.

    `velocity_of` is the mean velocity (x, r, tau) -> u of a jump. Known frames are placed on the
    path before each jump, as in sampling.
    """
    grid = [tau + (r - tau) * k / jumps for k in range(jumps + 1)]
    position, _ = interpolate(audio, noise, tau, path)
    mean = torch.zeros_like(position)
    for start, end in itertools.pairwise(grid):
        on_path, _ = interpolate(audio, noise, start, path)
        position = torch.where(condition.known[..., None], on_path, position)
        velocity = velocity_of(position, end, start)
        position = position - (start - end)[:, None, None] * velocity
        mean = mean + velocity / jumps
    return mean


def masked_error(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of each sample over the frames that are not context, (B,).

    Losses are plain means of these errors. A weight that depends on a sample's own error, like the
    1 / (error + c)^p of MeanFlow, would move the minimum away from the conditional mean.
    """
    weights = (~known).float()
    per_frame = (predicted - target).square().mean(-1)
    return (per_frame * weights).sum(1) / weights.sum(1).clamp_min(1)
