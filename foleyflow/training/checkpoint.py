"""The checkpoint of a run: weights, averages, optimiser states and the step, in safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from foleyflow.errors import CheckpointError, TrainingError
from foleyflow.system.atomic_files import draft_of
from foleyflow.training.optimiser import MovingAverage
from foleyflow.training.processes import shard_like, unsharded

STATE_NAME = "state.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Content of a checkpoint except the step: modules by name, the others by phase."""

    modules: Mapping[str, nn.Module]
    averages: Mapping[str, MovingAverage]
    optimisers: Mapping[str, torch.optim.Optimizer]


def save_state(folder: Path, state: TrainState, *, step: int, is_writer: bool = True) -> None:
    """Writes a checkpoint, which replaces the previous one atomically.

    In sharded training every process must call it, and one of them is the writer.

    Raises:
        TrainingError: a number is not finite; the previous checkpoint is kept.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in state.modules.items():
        for key, value in module.state_dict().items():
            tensors[f"{name}/module/{key}"] = value
    for phase, optimiser in state.optimisers.items():
        for key, value in state.averages[phase].module.state_dict().items():
            tensors[f"{phase}/average/{key}"] = value
        for index, entry in optimiser.state_dict()["state"].items():
            for key, value in entry.items():
                tensors[f"{phase}/optimiser/{index}/{key}"] = torch.as_tensor(value)
    stored: dict[str, Tensor] = {}
    for key, value in tensors.items():
        complete = unsharded(value.detach())
        if is_writer:
            stored[key] = complete.cpu().clone().contiguous()
    if not is_writer:
        return
    broken = [k for k, v in stored.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise TrainingError(
            f"step {step}: {len(broken)} tensors are not finite, for example {broken[0]!r}",
            hint="the last good state is kept; lower train.learning_rate and rerun",
        )
    with draft_of(folder / STATE_NAME, one_writer=True) as draft:
        save_file(stored, draft, metadata={"progress": json.dumps({"step": step})})


def load_state(folder: Path, state: TrainState) -> int:
    """Loads the folder's checkpoint strictly into the state.

    Returns:
        The number of completed steps; 0 if there is no checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another configuration.
    """
    path = folder / STATE_NAME
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as stream:
            step = int(json.loads(stream.metadata()["progress"])["step"])
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}
        for name, module in state.modules.items():
            _load_module(module, _with_prefix(tensors, f"{name}/module/"))
        for phase, optimiser in state.optimisers.items():
            average = state.averages[phase].module
            _load_module(average, _with_prefix(tensors, f"{phase}/average/"))
            _load_optimiser(optimiser, _with_prefix(tensors, f"{phase}/optimiser/"))
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path}: cannot resume from this checkpoint ({str(error)[:200]})",
            hint="give another --out folder, or remove this one to start from the beginning",
        ) from error
    return step


def _load_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    module.load_state_dict(
        {k: shard_like(v, own[k]) if k in own else v for k, v in tensors.items()}
    )


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/")
        if value.ndim:
            value = shard_like(value, parameters[int(index)])
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
