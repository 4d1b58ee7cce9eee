"""The one-step flow map: improved MeanFlow, trained from a flow-matching network."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import (
    ObjectiveConfig,
    masked_error,
    predict,
    sample_dropout_and_guidance,
    sample_intervals,
)
from foleyflow.flow.path import interpolate
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import any_rank, normal_like

SHORTEST_INTERVAL = 1e-4  # shorter intervals count as empty
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

    The MeanFlow identity relates the mean velocity u over [r, tau] to the velocity v at tau:

        v(x_tau, tau) = u(x_tau, r, tau) + (tau - r) d/dtau u(x_tau, r, tau).

    The loss is the squared residual of this identity, where v is the network's own velocity
    u(x_tau, tau, tau) without gradient, as target and as the direction of the derivative. Samples
    with r = tau train that velocity on the (guided) conditional velocity.

    MeanFlow has the conditional velocity as the target of all samples, and no gradient through the
    derivative. The latter moves u to v - (tau - r) du/dtau with the present u: an iteration that
    enlarges errors which change fast along the flow, and that diverged here without a bound on the
    derivative. With a gradient, the noise of conditional velocities would be multiplied by the
    derivative's own gradient.

    The network must be trained by `flow_matching_loss` before. `progress` (0..1) is the position
    within this stage, for the curriculum of intervals and guidance. Arguments as in objective.py.

    Reference: paper eqs. 6 and 8; MeanFlow (Geng et al. 2025), in the form of Eulerian
        self-distillation (Boffi et al. 2025).
    """
    batch, device = len(audio), audio.device
    # Interval, condition dropout and guidance scale of each sample
    tau, r = sample_intervals(batch, config, progress, device)
    drops, guidance_scale = sample_dropout_and_guidance(batch, config, device)
    if progress <= UNGUIDED_PROGRESS:
        guidance_scale = torch.ones_like(guidance_scale)

    # Point on the path and its conditional velocity
    x, velocity = interpolate(audio, normal_like(audio), tau, config.path)
    embedded = network.embed(condition, drops)

    with torch.no_grad():
        # The network's own velocity, on the diagonal r = tau
        own = network(
            x, r=tau, tau=tau, guidance_scale=guidance_scale, embedded=embedded, condition=condition
        )
        # Target where the interval is empty, with classifier-free guidance:
        # v + (1 - 1 / w) (u_conditional - u_unconditional)
        is_wide = tau - r > SHORTEST_INTERVAL
        target = velocity.clone()
        guided = some_rows((guidance_scale > 1) & ~is_wide)
        if len(guided):
            dropped = torch.full_like(guided, DROP_ALL)
            unconditional = predict(
                network, x[guided], tau[guided], condition.rows(guided), dropped
            )
            weight = (1 - 1 / guidance_scale[guided])[:, None, None]
            target[guided] += weight * (own[guided] - unconditional)
        # Target of the other samples
        target = torch.where(is_wide[:, None, None], own, target)

    # Derivative along the flow, where the interval is not empty
    derivative = torch.zeros_like(x)
    wide = some_rows(is_wide)
    if len(wide):
        slopes = derivative_along_flow(
            network,
            x[wide],
            own[wide],
            r=r[wide],
            tau=tau[wide],
            guidance_scale=guidance_scale[wide],
            embedded=embedded[wide].float(),
            condition=condition.rows(wide),
            half_step=config.difference,
        )
        derivative = derivative.index_copy(0, wide, slopes)

    # MeanFlow identity: u + (tau - r) du/dtau is a velocity
    predicted = network(
        x, r=r, tau=tau, guidance_scale=guidance_scale, embedded=embedded, condition=condition
    )
    compound = predicted + (tau - r)[:, None, None] * derivative
    error = masked_error(compound, target, condition.known).mean()
    return error, {
        "error": float(error.detach()),
        "slope": float(derivative.detach().square().mean().sqrt()),
    }


def some_rows(mask: Tensor) -> Tensor:
    """Indices of the rows in a (B,) mask; the first row if only other processes have any.

    All processes evaluate the network equally often, as sharded weights require.
    """
    rows = mask.nonzero()[:, 0]
    return rows if len(rows) or not any_rank(mask) else rows.new_zeros(1)


def derivative_along_flow(
    network: FlowTransformer,
    x: Tensor,
    velocity: Tensor,
    *,
    r: Tensor,
    tau: Tensor,
    guidance_scale: Tensor,
    embedded: Tensor,
    condition: Condition,
    half_step: float,
) -> Tensor:
    """d/dtau u(x_tau, r, tau) along `velocity`, (B, L, C), by a central difference in float32.

    Context frames have no tangent. The network is evaluated up to `half_step` outside of 0..1.
    """
    tangent = velocity * (~condition.known)[..., None]
    with torch.autocast(x.device.type, enabled=False):
        ahead, behind = (
            network(
                x + step * tangent,
                r=r,
                tau=tau + step,
                guidance_scale=guidance_scale,
                embedded=embedded,
                condition=condition,
            )
            for step in (half_step, -half_step)
        )
    return (ahead - behind) / (2 * half_step)
