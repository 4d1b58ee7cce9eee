"""Everything a run needs to go on: weights, averages, optimiser states, step. Atomic, no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from foleyflow.errors import CheckpointError, TrainingError
from foleyflow.training.optimiser import MovingAverage
from foleyflow.training.processes import shared_like, whole

STATE_NAME = "state.safetensors"


def save_state(
    folder: Path,
    *,
    step: int,
    modules: Mapping[str, nn.Module],
    averages: Mapping[str, MovingAverage],
    optimisers: Mapping[str, torch.optim.Optimizer],
    writes: bool = True,
) -> None:
    """Writes the run's state; the old one stays until the new one is whole.

    In training with shares of weights every process must call it; one of them `writes`.

    Raises:
        TrainingError: a number in it is not finite; the old state stays.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"{name}/module/{key}"] = value
    for turn in optimisers:
        for key, value in averages[turn].module.state_dict().items():
            tensors[f"{turn}/average/{key}"] = value
        for index, entry in optimisers[turn].state_dict()["state"].items():
            for key, value in entry.items():
                tensors[f"{turn}/optimiser/{index}/{key}"] = torch.as_tensor(value)
    stored: dict[str, Tensor] = {}
    for key, value in tensors.items():
        complete = whole(value.detach())
        if writes:
            stored[key] = complete.cpu().clone().contiguous()
    if not writes:
        return
    broken = [k for k, v in stored.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise TrainingError(
            f"step {step}: {len(broken)} tensors are not finite, {broken[0]!r} for one",
            hint="the last good state is kept; lower train.learning_rate and say it again",
        )
    temporary = folder / (STATE_NAME + ".part")
    save_file(stored, temporary, metadata={"progress": json.dumps({"step": step})})
    os.replace(temporary, folder / STATE_NAME)


def load_state(
    folder: Path,
    *,
    modules: Mapping[str, nn.Module],
    averages: Mapping[str, MovingAverage],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> int:
    """Fills everything from the folder's state, strictly.

    Returns:
        The number of steps done; 0 where there is no state yet.

    Raises:
        CheckpointError: the state is damaged or of another configuration.
    """
    path = folder / STATE_NAME
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as stream:
            step = int(json.loads(stream.metadata()["progress"])["step"])
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}
        for name, module in modules.items():
            _fill(module, _under(tensors, f"{name}/module/"))
        for turn in optimisers:
            _fill(averages[turn].module, _under(tensors, f"{turn}/average/"))
            parameters = [p for g in optimisers[turn].param_groups for p in g["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, f"{turn}/optimiser/").items():
                index, name = key.split("/")
                if value.ndim:
                    value = shared_like(value, parameters[int(index)])
                state.setdefault(int(index), {})[name] = value
            whole = optimisers[turn].state_dict()
            optimisers[turn].load_state_dict({**whole, "state": state})
    except (
        SafetensorError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
    ) as error:
        raise CheckpointError(
            f"{path}: can't go on from it ({str(error)[:200]})",
            hint="give another --out folder, or remove this one to start again",
        ) from error
    return step


def _fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    shaped = {k: shared_like(v, own[k]) if k in own else v for k, v in tensors.items()}
    module.load_state_dict(shaped)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
