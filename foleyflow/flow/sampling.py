"""Latents of a window from noise, with the solver that fits what the network predicts."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.diffusion import DIFFUSION_SAMPLERS
from foleyflow.flow.field import flow_map, noise_prediction, velocity_field
from foleyflow.flow.samplers import SAMPLERS, follow_map, uniform_grid
from foleyflow.flow.transformer import Condition, FlowTransformer

# What each kind of network can be sampled with; the first is the default.
SOLVERS = {"velocity": ("map", *SAMPLERS), "noise": ("dpm", "ddim")}


def sample(
    flow: FlowTransformer,
    condition: Condition,
    noise: Tensor,
    *,
    steps: int,
    guidance: float,
    solver: str | None = None,
) -> Tensor:
    """Standardised latents of one window from noise; known frames are given back as they were.

    Args:
        flow: in eval mode.
        condition: of B rows.
        noise: (B, L, C) standard normal.
        steps: of the solver.
        guidance: w, at least 1.
        solver: one of `SOLVERS` of what the network predicts. "map" jumps along the flow map
            (GDCF, the default), "euler", "midpoint" and "heun" solve the equation of its velocity
            (DCF); "dpm" (the default of noise predictions) and "ddim" those of diffusion.

    Raises:
        ConfigError: no such solver for this network.
    """
    known = SOLVERS[flow.config.predicts]
    solver = known[0] if solver is None else solver
    if solver not in known:
        raise ConfigError(
            f"solver {solver!r}: expected one of {', '.join(known)} for a network that predicts "
            f"{flow.config.predicts}"
        )
    grid = uniform_grid(steps)
    if solver == "map":
        made = follow_map(flow_map(flow, condition, guidance=guidance), noise, grid)
    elif solver in SAMPLERS:
        made = SAMPLERS[solver](velocity_field(flow, condition, guidance=guidance), noise, grid)
    else:
        predict = noise_prediction(flow, condition, guidance=guidance)
        made = DIFFUSION_SAMPLERS[solver](predict, noise, grid)
    return torch.where(condition.known[..., None], condition.context, made)
