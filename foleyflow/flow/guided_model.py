"""A network and a condition as what solvers take: a velocity, a flow map, a noise prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.samplers import FlowMap, Velocity
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowTransformer


def flow_map(network: FlowTransformer, condition: Condition, *, guidance: float = 1.0) -> FlowMap:
    """The network's mean velocity `(x, r, tau) -> u` for one condition.

    Args:
        network: the flow, trained as GDCF where r differs from tau.
        condition: of B rows, embedded once.
        guidance: w, at least 1; an input of the network.

    Raises:
        ValueError: the network predicts noise.

    Source: paper eqs. 6 and 8; method section C.1.
    """
    _expect("velocity", network)
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
    """The velocity `(x, tau) -> dx/dtau` of DCF: the diagonal r = tau of the flow map.

    Args:
        network: the flow.
        condition: of B rows, embedded once.
        guidance: w, at least 1.

    Source: paper eq. 5; method section C.1.
    """
    mean_velocity = flow_map(network, condition, guidance=guidance)
    return lambda x, tau: mean_velocity(x, tau, tau)


def noise_prediction(
    network: FlowTransformer, condition: Condition, *, guidance: float = 1.0
) -> Velocity:
    """The noise `(x, tau) -> eps` that a diffusion network expects in x.

    Args:
        network: of the diffusion baseline.
        condition: of B rows, embedded once.
        guidance: w; above 1 each call evaluates the network with and without condition.

    Raises:
        ValueError: the network predicts a velocity.

    Source: Ho & Salimans 2022 (classifier-free guidance), with w = 1 for none.
    """
    _expect("noise", network)
    one = torch.ones(len(condition.known), device=condition.known.device)
    dropped = torch.full_like(condition.material, DROP_ALL)
    embeddings = [network.embed(condition)]
    embeddings += [network.embed(condition, dropped)] if guidance != 1 else []

    def predict(x: Tensor, tau: float) -> Tensor:
        with_and_without = [
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
        informed, blind = with_and_without[0], with_and_without[-1]
        return blind + guidance * (informed - blind)

    return predict


def _expect(quantity: str, network: FlowTransformer) -> None:
    if network.config.predicts != quantity:
        raise ValueError(
            f"a network that predicts {network.config.predicts}: expected one that predicts "
            f"{quantity}"
        )
