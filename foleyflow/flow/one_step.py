"""The one-step flow map, trained from a flow-matching network by its own shorter jumps."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import (
    MeanVelocity,
    ObjectiveConfig,
    masked_error,
    mean_velocity_of_jumps,
    predict,
    sample_dropout_and_guidance,
    sample_intervals,
)
from foleyflow.flow.path import interpolate
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import any_rank, normal_like

UNGUIDED_PROGRESS = 0.2  # fraction of the stage that is trained without guidance


def one_step_loss(
    network: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
    *,
    progress: float,
) -> tuple[Tensor, dict[str, float]]:
    """The paper's generalised dynamic conditional flow (GDCF): a flow map for one-step generation.

    A jump from tau to r equals two jumps by way of the middle m. With the mean velocity u,

        u(x_tau, r, tau) = (u(x_tau, m, tau) + u(x_m, r, m)) / 2,
        x_m = x_tau - (tau - m) u(x_tau, m, tau).

    Samples with an interval have the right-hand side as their target, by the present network and
    without gradient; jumps over half of a shortest interval follow the velocity u(x, tau, tau). The
    other samples, with r = tau, train the velocity on the (guided) conditional velocity. Every
    target is then either that of flow matching or the result of shorter jumps, so that errors do
    not grow with the derivatives of the network.

    The network must be trained by `flow_matching_loss` before. `progress` (0..1) is the position
    within this stage, for the curriculum of intervals and guidance. In the training log, "error" is
    that of all samples, and "interval_error" the part of it from samples with an interval.
    Arguments as in objective.py.

    Reference: paper eqs. 6 and 8; Frans et al. 2024 (shortcut models) with free interval ends, a
        form of progressive self-distillation (Boffi et al. 2025).
    """
    batch, device = len(audio), audio.device
    # Interval, condition dropout and guidance scale of each sample
    tau, r = sample_intervals(batch, config, progress, device)
    drops, guidance_scale = sample_dropout_and_guidance(batch, config, device)
    if progress <= UNGUIDED_PROGRESS:
        guidance_scale = torch.ones_like(guidance_scale)
    has_interval = tau > r

    # Point on the path and its conditional velocity
    noise = normal_like(audio)
    x, velocity = interpolate(audio, noise, tau, config.path)

    with torch.no_grad():
        # Target without an interval, with classifier-free guidance:
        # v + (1 - 1 / w) (u_conditional - u_unconditional)
        target = velocity.clone()
        guided = some_rows((guidance_scale > 1) & ~has_interval)
        if len(guided):
            chosen, scale = condition.rows(guided), guidance_scale[guided]
            at = x[guided], tau[guided], chosen
            conditional = predict(network, *at, drops[guided], scale)
            unconditional = predict(network, *at, torch.full_like(guided, DROP_ALL))
            target[guided] += (1 - 1 / scale)[:, None, None] * (conditional - unconditional)
        # Target with an interval: two jumps of half its length
        wide = some_rows(has_interval)
        if len(wide):
            jumps = mean_velocity_of_jumps(
                _half_jump(
                    network,
                    condition.rows(wide),
                    drops[wide],
                    guidance_scale[wide],
                    # The halves of the shortest intervals are steps of Euler's method
                    is_euler=(tau - r < 1.5 * 0.5**config.halvings)[wide],
                ),
                audio[wide],
                noise[wide],
                condition.rows(wide),
                tau=tau[wide],
                r=r[wide],
                jumps=2,
                path=config.path,
            )
            chosen_rows = has_interval[wide][:, None, None]
            target[wide] = torch.where(chosen_rows, jumps, target[wide])

    # Error of one jump
    predicted = predict(network, x, tau, condition, drops, guidance_scale, r=r)
    errors = masked_error(predicted, target, condition.known)
    return errors.mean(), {
        "error": float(errors.detach().mean()),
        "interval_error": float((errors.detach() * has_interval).mean()),
    }


def some_rows(mask: Tensor) -> Tensor:
    """Indices of the rows in a (B,) mask; the first row if only other processes have any.

    All processes evaluate the network equally often, as sharded weights require.
    """
    is_needed = any_rank(mask)
    rows = mask.nonzero()[:, 0]
    return rows if len(rows) or not is_needed else rows.new_zeros(1)


def _half_jump(
    network: FlowTransformer,
    condition: Condition,
    drops: Tensor,
    guidance_scale: Tensor,
    *,
    is_euler: Tensor,
) -> MeanVelocity:
    """The network's mean velocity, or its velocity at the start of the jump in some rows (B,)."""

    def velocity_of(x: Tensor, r: Tensor, tau: Tensor) -> Tensor:
        end = torch.where(is_euler, tau, r)
        return predict(network, x, tau, condition, drops, guidance_scale, r=end)

    return velocity_of
