"""A network and a condition as what solvers take: a velocity field, or a flow map."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.samplers import FlowMap, Velocity
from foleyflow.flow.transformer import Condition, FlowTransformer


def flow_map(network: FlowTransformer, condition: Condition, *, guidance: float = 1.0) -> FlowMap:
    """The network's mean velocity `(x, r, tau) -> u` for one condition.

    Args:
        network: the flow, trained as GDCF where r differs from tau.
        condition: of B rows, embedded once.
        guidance: w, at least 1; an input of the network.

    Source: paper eqs. 6 and 8; method section C.1.
    """
    embedded = network.embed(condition)
    one = torch.ones(len(condition.known), device=condition.known.device)

    def mean_velocity(x: Tensor, r: float, tau: float) -> Tensor:
        return network(
            x,
            r=one * r,
            tau=one * tau,
            strength=one * guidance,
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
