"""The Python entry points of training: `train` a recipe, and `prepare` its cached features."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foleyflow import __version__
from foleyflow.data.mixture import DataMixture, DataShare
from foleyflow.errors import ConfigError
from foleyflow.parallel.precision import precision_on
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.parallel.threads import torch_threads
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.system.device import pick_device
from foleyflow.system.processor import feature_text, processor_features, processor_name
from foleyflow.training import loop
from foleyflow.training.journal import read_journal
from foleyflow.training.lora import add_adapters_, merge_adapters_
from foleyflow.training.processes import Processes, join_processes
from foleyflow.training.task import RENAMED_SETTINGS, Recipe, Task
from foleyflow.weights import load_into, read_record, save_component, write_atomically

# Settings that a resumed run may change: a lower learning rate rescues a run that diverged, and
# other parts and shards fit other devices.
CHANGEABLE_SETTINGS = (
    "train.steps",
    "train.learning_rate",
    "train.accumulate",
    "train.shard",
    "train.log_every",
    "train.validate_every",
    "train.save_every",
)


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """The exported model folder, its components, the steps, and the last validation entry."""

    model: Path
    components: tuple[str, ...]
    steps: int
    validation: dict[str, Any]


def train(
    recipe: Recipe,
    *,
    data: Path | DataMixture,
    out: Path,
    recipe_name: str = "",
    init: Path | None = None,
    lora_rank: int | None = None,
    threads: int = 0,
    device: str | torch.device = "auto",
    progress: loop.Progress | None = None,
) -> TrainSummary | None:
    """Trains a recipe to its last step, or resumes it, and exports `out / "model"`.

    Args:
        recipe: of any task.
        data: folder of the data set, or several with their weights.
        out: folder of the run.
        recipe_name: recorded in the run and in the model.
        init: model folder with the initial weights; None starts from random weights.
        lora_rank: freezes the model of `init` and trains adapters of this rank, which are merged.
        threads: CPU threads per operation; 0 keeps the present number.
        device: a device or its name, see `pick_device`. "cuda" without a number becomes the device
            of each process's local rank.
        progress: called after each logged step with the step and its figures.

    Returns:
        The result in the first process, None in the others.

    Raises:
        ConfigError: `out` contains a run with other settings, `lora_rank` comes without `init`, or
            the recipe can't join several data sets.
        TrainingError: a number is not finite; the last good state is kept.
    """
    config = run_config(recipe, recipe_name=recipe_name, data=data, init=init, lora_rank=lora_rank)
    mixture = DataMixture.of(data)
    thread_count = torch_threads(threads) if threads else contextlib.nullcontext()
    with join_processes(pick_device(str(device))) as (processes, own_device), thread_count:
        if own_device.type == "cpu":
            keep_freed_memory()
        _check_settings(out, config)

        # Task with its initial weights
        torch.manual_seed(recipe.train.seed)
        with processes.leader_first():
            joins = mixture.is_joined
            task = recipe.build_joined(mixture) if joins else recipe.build(mixture.folders[0])
        if init is not None:
            load_into(
                task.modules[recipe.component],
                init,
                recipe.component,
                reinitialised_prefixes=task.reinitialised_prefixes,
            )
        if lora_rank is not None:
            _add_adapters(task, recipe.component, lora_rank)

        # Training
        if processes.is_leader:
            precision = precision_on(own_device) if recipe.train.bf16 else "fp32"
            _record_run(out, config, processes, precision, task.shares)
        averages = loop.train(
            task,
            recipe.train,
            folder=out,
            device=own_device,
            processes=processes,
            progress=progress,
        )

        # Export
        if not processes.is_leader:
            return None
        if lora_rank is not None:
            merge_adapters_(averages[recipe.component])
        return _export(out, task, recipe, config, averages)


def prepare(recipe: Recipe, data: Path, parallel_map: ParallelMap | None = None) -> dict[str, int]:
    """Fills the caches of a data set that a recipe's training opens; None uses this process.

    Returns:
        The number of windows of each split.

    Raises:
        ConfigError: the recipe has no cached features.
    """
    return {split: recipe.prepare(data, split, parallel_map) for split in ("train", "validation")}


def run_config(
    recipe: Recipe,
    *,
    recipe_name: str = "",
    data: Path | DataMixture,
    init: Path | None = None,
    lora_rank: int | None = None,
) -> dict[str, Any]:
    """The content of `config.json`: everything that a resumed run must have in common.

    Raises:
        ConfigError: `lora_rank` comes without `init`.
        CheckpointError: `init` lacks the component that the recipe trains.
    """
    if lora_rank is not None and init is None:
        raise ConfigError(
            f"--lora {lora_rank}: expected the model to adapt",
            hint="give --init MODEL, with the settings of the recipe that trained it",
        )
    component = recipe.component
    config = {
        "task": recipe.task,
        "recipe": recipe_name,
        "data": DataMixture.of(data).record,
        # By content, since a folder may be moved
        "init": None if init is None else {component: read_record(init, component).sha256},
        "lora": lora_rank,
        "settings": dataclasses.asdict(recipe),  # type: ignore[call-overload]  # a dataclass
    }
    return dict(json.loads(json.dumps(config)))  # lists for tuples, as they are read back


def _export(
    out: Path,
    task: Task,
    recipe: Recipe,
    config: Mapping[str, Any],
    averages: Mapping[str, nn.Module],
) -> TrainSummary:
    with torch.no_grad():
        exported = task.export(averages)
    journal = read_journal(out / "journal.jsonl")
    results = [entry for entry in journal if any(key.startswith("validation/") for key in entry)]
    validation = results[-1] if results else {}
    hours = sum(entry.get("took_s", 0.0) for entry in journal) / 3600
    for name, (module, module_config) in exported.items():
        save_component(
            out / "model",
            name,
            module=module,
            config=module_config,
            provenance={
                **config,
                **_sampling(task.shares),
                "foleyflow": __version__,
                "training_hours": round(hours, 3),
                "validation": validation,
            },
        )
    task.plot(out, journal, averages)
    return TrainSummary(
        model=out / "model",
        components=tuple(sorted(exported)),
        steps=recipe.train.steps,
        validation=validation,
    )


def _add_adapters(task: Task, component: str, rank: int) -> None:
    if set(task.modules) != {component}:
        raise ConfigError(
            f"--lora: expected a task of one module, this one has {', '.join(task.modules)}",
            hint="choose a recipe without slow student, teacher, merging or polish",
        )
    add_adapters_(task.modules[component], rank)


def _check_settings(out: Path, config: dict[str, Any]) -> None:
    """Raises ConfigError if `out` contains a run with other settings."""
    path = out / "config.json"
    if not path.exists():
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})", hint="give another --out") from error
    changed = [
        key
        for key in _differences(_with_new_names(stored), config)
        if key.removeprefix("settings.") not in CHANGEABLE_SETTINGS
    ]
    if changed:
        raise ConfigError(
            f"{out}: was started with other settings: {', '.join(changed[:5])}",
            hint="repeat the original command to resume it, or give another --out",
        )


def _with_new_names(config: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with the present names of its settings."""
    for old, new in RENAMED_SETTINGS.items():
        group, _, name = old.rpartition(".")
        settings = config.get("settings", {})
        settings = settings.get(group, {}) if group else settings
        if name in settings:
            settings[new.rpartition(".")[2]] = settings.pop(name)
    return config


def _sampling(shares: Sequence[DataShare]) -> dict[str, Any]:
    """How clips are sampled from each data set, for records; empty if all are equally probable."""
    return {"sampling": [dataclasses.asdict(share) for share in shares]} if shares else {}


def _record_run(
    out: Path,
    config: dict[str, Any],
    processes: Processes,
    precision: str,
    shares: Sequence[DataShare],
) -> None:
    """Writes config.json and environment.json before the first step."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "config.json", json.dumps(config, indent=1) + "\n")
    environment = {
        "foleyflow": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "cpu": processor_name(),
        "cpu_features": feature_text(processor_features()),
        "precision": precision,
        "processes": processes.count,
        **_sampling(shares),
    }
    write_atomically(out / "environment.json", json.dumps(environment, indent=1) + "\n")


def _differences(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    """Keys at which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differences(one.get(key), other.get(key), f"{prefix}{key}.")
    elif one != other:
        yield prefix.rstrip(".")
