"""The flow's network with a fixed condition and guidance, as the functions that solvers take."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.diffusion import NoisePrediction
from foleyflow.flow.samplers import FlowMap, Velocity
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowTransformer


def flow_map(network: FlowTransformer, condition: Condition, *, guidance: float = 1.0) -> FlowMap:
    """The mean velocity `(x, r, tau) -> u` of a network for one condition (paper eqs. 6 and 8).

    Where r differs from tau, the network must be trained by `one_step_loss`. `guidance` is the
    scale w, at least 1. A network that predicts noise raises a ValueError.
    """
    _check_prediction("velocity", network)
    embedded = network.embed(condition)
    one = torch.ones(len(condition.known), device=condition.known.device)

    def mean_velocity(x: Tensor, r: float, tau: float) -> Tensor:
        return network(
            x,
            r=one * r,
            tau=one * tau,
            guidance_scale=one * guidance,
            embedded=embedded,
            condition=condition,
        )

    return mean_velocity


def velocity_field(
    network: FlowTransformer, condition: Condition, *, guidance: float = 1.0
) -> Velocity:
    """The velocity `(x, tau) -> dx/dtau` of the flow (paper eq. 5): the diagonal of `flow_map`."""
    mean_velocity = flow_map(network, condition, guidance=guidance)
    return lambda x, tau: mean_velocity(x, tau, tau)


def noise_prediction(
    network: FlowTransformer, condition: Condition, *, guidance: float = 1.0
) -> NoisePrediction:
    """The noise `(x, tau) -> eps` that a network of the diffusion baseline predicts.

    Unless the guidance scale w is 1, each call evaluates the network with and without the
    condition. A network that predicts a velocity raises a ValueError.

    Reference: Ho & Salimans 2022 (classifier-free guidance), where w = 1 means no guidance.
    """
    _check_prediction("noise", network)
    one = torch.ones(len(condition.known), device=condition.known.device)
    dropped = torch.full_like(condition.material, DROP_ALL)
    embeddings = [network.embed(condition)]
    embeddings += [network.embed(condition, dropped)] if guidance != 1 else []

    def predict(x: Tensor, tau: float) -> Tensor:
        predictions = [
            network(
                x,
                r=one * tau,
                tau=one * tau,
                guidance_scale=one,
                embedded=embedded,
                condition=condition,
            )
            for embedded in embeddings
        ]
        conditional, unconditional = predictions[0], predictions[-1]
        return unconditional + guidance * (conditional - unconditional)

    return predict


def _check_prediction(quantity: str, network: FlowTransformer) -> None:
    if network.config.predicts != quantity:
        raise ValueError(
            f"the network predicts {network.config.predicts}: expected one that predicts {quantity}"
        )
