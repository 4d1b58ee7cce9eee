"""Conditional flow matching: the first stage of the flow's training."""

from __future__ import annotations

from torch import Tensor

from foleyflow.flow.objective import (
    ObjectiveConfig,
    masked_error,
    predict,
    sample_dropout,
    sample_times,
)
from foleyflow.flow.path import interpolate
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like


def flow_matching_loss(
    network: FlowTransformer, audio: Tensor, condition: Condition, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """The paper's dynamic conditional flow (DCF): flow matching with per-frame conditions.

    E || u(x_tau, tau, tau) - (alpha' x + sigma' eps) ||^2 at x_tau = alpha x + sigma eps, where u
    is the network. It is smallest for the marginal velocity E[alpha' x + sigma' eps | x_tau].
    Arguments as in objective.py.

    Reference: paper eq. 5.
    """
    batch, device = len(audio), audio.device
    # Point on the path and its velocity
    tau = sample_times(batch, config, device)
    x, velocity = interpolate(audio, normal_like(audio), tau, config.path)
    # Prediction without guidance, with condition dropout
    drops = sample_dropout(batch, config, device)
    predicted = predict(network, x, tau, condition, drops)
    # Error over the frames that are not context
    error = masked_error(predicted, velocity, condition.known).mean()
    return error, {"error": float(error.detach())}
