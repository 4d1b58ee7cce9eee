"""Generation of a window's latents from noise, with a solver for what the network predicts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from foleyflow.errors import ConfigError
from foleyflow.flow.diffusion import DIFFUSION_SAMPLERS, log_snr_grid
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.flow.guided_model import flow_map, noise_prediction, velocity_field
from foleyflow.flow.path import PATHS, SMALLEST_TAU
from foleyflow.flow.samplers import SAMPLERS, apply_flow_map, uniform_grid
from foleyflow.flow.transformer import Condition, FlowTransformer

# Solvers for each kind of network
SOLVERS = {"velocity": ("map", *SAMPLERS), "noise": tuple(DIFFUSION_SAMPLERS)}


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
    """Generate the standardised latents of one window, (B, L, C), from standard normal noise.

    Known frames are returned unchanged. During the solve they are placed on the path, as in
    training; the network's prediction for them is ignored, because it was not trained for it.

    Args:
        guidance: scale w, at least 1.
        solver: one of `SOLVERS` for the network's prediction. "map" applies the flow map; "euler",
            "midpoint" and "heun" integrate the velocity; "dpm" and "ddim" are the diffusion
            baseline's. None for "map", "dpm", or "euler" if the network has no flow map.
        path: the path of a velocity network's training, a key of `path.PATHS`.

    Raises:
        ConfigError: the network can't be sampled with this solver, or with the solver and this
            guidance.
    """
    solvers = SOLVERS[flow.config.predicts]
    if solver is None:
        has_no_map = flow.config.predicts == "velocity" and not flow.trained_intervals
        solver = "euler" if has_no_map else solvers[0]
    if solver not in solvers:
        raise ConfigError(
            f"solver {solver!r}: expected one of {', '.join(solvers)} for a network that predicts "
            f"{flow.config.predicts}"
        )
    diffusion = flow.config.predicts == "noise"
    any_known = bool(condition.known.any())

    def place_known(x: Tensor, tau: float) -> Tensor:
        if not any_known:
            return x
        c = PATHS[DIFFUSION_PATH if diffusion else path](torch.tensor(tau, device=x.device))
        on_path = c.alpha * condition.context + c.sigma * noise
        return torch.where(condition.known[..., None], on_path, x)

    field: Callable[..., Callable[..., Tensor]]
    solve: Callable[..., Tensor]
    if diffusion:
        field, solve = noise_prediction, DIFFUSION_SAMPLERS[solver]
    elif solver == "map":
        field, solve = flow_map, apply_flow_map
    else:
        field, solve = velocity_field, SAMPLERS[solver]
    evaluate = field(flow, condition, guidance=guidance)
    # The last one of `times` is the flow time of x
    grid = [*log_snr_grid(steps - 1), 0.0] if diffusion and steps > 1 else uniform_grid(steps)
    if not diffusion:
        grid = uniform_grid(steps, end=SMALLEST_TAU[path])
    latents = solve(lambda x, *times: evaluate(place_known(x, times[-1]), *times), noise, grid)
    return torch.where(condition.known[..., None], condition.context, latents)
