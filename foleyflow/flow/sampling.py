"""Latents of a window from noise, with the solver that fits what the network predicts."""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.diffusion import DIFFUSION_SAMPLERS
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.flow.guided_model import flow_map, noise_prediction, velocity_field
from foleyflow.flow.path import PATHS
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
    path: str = "linear",
) -> Tensor:
    """Standardised latents of one window from noise; known frames are given back as they were.

    On the way known frames are shown where the path has them, as in training, whatever the
    network says of them: it was never asked to.

    Args:
        flow: in eval mode.
        condition: of B rows.
        noise: (B, L, C) standard normal.
        steps: of the solver.
        guidance: w, at least 1.
        solver: one of `SOLVERS` of what the network predicts. "map" jumps along the flow map
            (GDCF, the default), "euler", "midpoint" and "heun" solve the equation of its velocity
            (DCF); "dpm" (the default of noise predictions) and "ddim" those of diffusion.
        path: a key of `path.PATHS`, that of a velocity network's training; where known frames are.

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
    diffusion = flow.config.predicts == "noise"
    some_known = bool(condition.known.any())

    def shown(x: Tensor, tau: float) -> Tensor:
        if not some_known:
            return x
        c = PATHS[DIFFUSION_PATH if diffusion else path](torch.tensor(tau, device=x.device))
        on_path = c.alpha * condition.context + c.sigma * noise
        return torch.where(condition.known[..., None], on_path, x)

    grid = uniform_grid(steps)
    if diffusion:
        predict = noise_prediction(flow, condition, guidance=guidance)
        made = DIFFUSION_SAMPLERS[solver](lambda x, tau: predict(shown(x, tau), tau), noise, grid)
    elif solver == "map":
        jump = flow_map(flow, condition, guidance=guidance)
        made = follow_map(lambda x, r, tau: jump(shown(x, tau), r, tau), noise, grid)
    else:
        velocity = velocity_field(flow, condition, guidance=guidance)
        made = SAMPLERS[solver](lambda x, tau: velocity(shown(x, tau), tau), noise, grid)
    return torch.where(condition.known[..., None], condition.context, made)
