"""The flow's network with a fixed condition and guidance, as the functions that solvers take."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.diffusion import NoisePrediction
from foleyflow.flow.samplers import SAMPLERS, FlowMap, Velocity
from foleyflow.flow.transformer import DROP_ALL, Condition, FlowTransformer


def flow_map(network: FlowTransformer, condition: Condition, *, guidance: float = 1.0) -> FlowMap:
    """The mean velocity `(x, r, tau) -> u` of a network for one condition (paper eqs. 6 and 8).

    `guidance` is the scale w, at least 1, and an input of the network.

    Raises:
        ConfigError: the network was trained by flow matching alone (it has no flow map), or without
            guidance and w is not 1.
        ValueError: the network predicts noise.
    """
    _check_prediction("velocity", network)
    if not network.trained_intervals:
        raise ConfigError(
            "solver 'map': this flow was trained by flow matching alone and has no flow map",
            hint=f"choose one of the solvers {', '.join(SAMPLERS)}, or a flow with a flow map",
        )
    if guidance != 1 and not network.trained_guidance:
        raise ConfigError(
            f"guidance={guidance:g}: the one-step stage of this flow had no guidance",
            hint=f"choose guidance=1, or one of the solvers {', '.join(SAMPLERS)}",
        )
    return _evaluate(network, condition, guidance=guidance)


def velocity_field(
    network: FlowTransformer, condition: Condition, *, guidance: float = 1.0
) -> Velocity:
    """The velocity `(x, tau) -> dx/dtau` of the flow (paper eq. 5): the diagonal r = tau of a map.

    A network that was trained with guidance takes the scale w as an input. For any other one, a
    scale other than 1 is classifier-free guidance with two evaluations, v_0 + w (v_c - v_0).

    Raises:
        ValueError: the network predicts noise.
    """
    _check_prediction("velocity", network)
    if guidance == 1 or network.trained_guidance:
        evaluate = _evaluate(network, condition, guidance=guidance)
        return lambda x, tau: evaluate(x, tau, tau)
    return _guide_by_two_evaluations(network, condition, guidance=guidance)


def noise_prediction(
    network: FlowTransformer, condition: Condition, *, guidance: float = 1.0
) -> NoisePrediction:
    """The noise `(x, tau) -> eps` that a network of the diffusion baseline predicts.

    Unless the guidance scale w is 1, each call evaluates the network with and without the
    condition. A network that predicts a velocity raises a ValueError.

    Reference: Ho & Salimans 2022 (classifier-free guidance), where w = 1 means no guidance.
    """
    _check_prediction("noise", network)
    if guidance == 1:
        evaluate = _evaluate(network, condition)
        return lambda x, tau: evaluate(x, tau, tau)
    return _guide_by_two_evaluations(network, condition, guidance=guidance)


def _evaluate(
    network: FlowTransformer,
    condition: Condition,
    *,
    guidance: float = 1.0,
    drops: Tensor | None = None,
) -> FlowMap:
    """The network's output `(x, r, tau) -> u` for a condition, parts of which can be dropped."""
    embedded = network.embed(condition, drops)
    one = torch.ones(len(condition.known), device=condition.known.device)

    def evaluate(x: Tensor, r: float, tau: float) -> Tensor:
        return network(
            x,
            r=one * r,
            tau=one * tau,
            guidance_scale=one * guidance,
            embedded=embedded,
            condition=condition,
        )

    return evaluate


def _guide_by_two_evaluations(
    network: FlowTransformer, condition: Condition, *, guidance: float
) -> Callable[[Tensor, float], Tensor]:
    """Classifier-free guidance of the network's output at r = tau."""
    dropped = torch.full((len(condition.known),), DROP_ALL, device=condition.known.device)
    conditional = _evaluate(network, condition)
    unconditional = _evaluate(network, condition, drops=dropped)

    def guided(x: Tensor, tau: float) -> Tensor:
        base = unconditional(x, tau, tau)
        return base + guidance * (conditional(x, tau, tau) - base)

    return guided


def _check_prediction(quantity: str, network: FlowTransformer) -> None:
    if network.config.predicts != quantity:
        raise ValueError(
            f"the network predicts {network.config.predicts}: expected one that predicts {quantity}"
        )
