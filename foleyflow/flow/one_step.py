"""The one-step flow map: improved MeanFlow, trained from a flow-matching network."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import (
    ObjectiveConfig,
    adaptively_weighted,
    masked_error,
    predict,
    sample_dropout_and_guidance,
    sample_intervals,
)
from foleyflow.flow.path import interpolate
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like

# Bound on the root mean square of each sample's derivative along the flow. Velocities are of size
# 1.4; without the bound, derivatives of single samples reached 600 and their errors 20,000.
MAX_DERIVATIVE_RMS = 3.0
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

    The loss is the squared error of the right-hand side against the (guided) conditional velocity.
    The derivative is taken along the network's own velocity and carries no gradient.

    The network must be trained by `flow_matching_loss` before. `progress` (0..1) is the position
    within this stage, for the curriculum of intervals and guidance. Arguments as in objective.py.

    Reference: paper eqs. 6 and 8; improved MeanFlow (Geng et al. 2025).
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
        # Classifier-free guidance in the target: v + (1 - 1 / w) (u_conditional - u_unconditional)
        target = velocity
        guided = (guidance_scale > 1).nonzero()[:, 0]
        if len(guided):
            dropped = torch.full_like(guided, DROP_ALL)
            unconditional = predict(
                network, x[guided], tau[guided], condition.rows(guided), dropped
            )
            weight = (1 - 1 / guidance_scale[guided])[:, None, None]
            target = velocity.clone()
            target[guided] += weight * (own[guided] - unconditional)
        # Derivative along the flow, where the interval is not empty
        derivative = torch.zeros_like(x)
        wide = (tau - r > 1e-4).nonzero()[:, 0]
        if len(wide):
            derivative[wide] = derivative_along_flow(
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
    derivative = bound_derivative(derivative)

    # MeanFlow identity: u + (tau - r) du/dtau is a velocity
    predicted = network(
        x, r=r, tau=tau, guidance_scale=guidance_scale, embedded=embedded, condition=condition
    )
    compound = predicted + (tau - r)[:, None, None] * derivative
    errors = masked_error(compound, target, condition.known)
    return adaptively_weighted(errors, config), {
        "error": float(errors.detach().mean()),
        "slope": float(derivative.square().mean().sqrt()),
    }


def bound_derivative(derivative: Tensor) -> Tensor:
    """Scale samples (B, L, C) down to a root mean square of at most `MAX_DERIVATIVE_RMS`.

    Compare the normalised tangents of Lu & Song 2025 (sCM).
    """
    rms = derivative.square().mean((1, 2), keepdim=True).sqrt()
    return derivative * (MAX_DERIVATIVE_RMS / rms.clamp_min(MAX_DERIVATIVE_RMS))


@torch.no_grad()
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
