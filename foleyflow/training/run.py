"""`foleyflow train`: a recipe, its overrides, the loop, and the model folder at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import typer

from foleyflow import __version__
from foleyflow.alignment.model import Alignment
from foleyflow.cli.console import print_result
from foleyflow.errors import ConfigError
from foleyflow.inference.pipeline import pick_device
from foleyflow.parallel.precision import precision_on
from foleyflow.parallel.threads import torch_threads
from foleyflow.recipes import component_of, recipe_named
from foleyflow.recipes.overrides import override
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.system.processor import feature_text, processor_features, processor_name
from foleyflow.training.alignment_plots import draw_run
from foleyflow.training.journal import read_journal
from foleyflow.training.loop import train
from foleyflow.training.lora import add_adapters_, merge_adapters_
from foleyflow.training.processes import Processes, joined
from foleyflow.training.task import Task
from foleyflow.training.tasks.alignment import AlignTask
from foleyflow.weights import load_into, read_record, save_component, write_atomically

# What a resumed run may have otherwise; a lower rate is the way on from numbers that blew up, other
# parts and shares are what fits other devices.
MAY_CHANGE = (
    "train.steps",
    "train.learning_rate",
    "train.accumulate",
    "train.shard",
    "train.log_every",
    "train.validate_every",
    "train.save_every",
)


def run(
    task_name: str,
    *,
    recipe_name: str,
    data: Path,
    out: Path,
    init: Path | None,
    lora: int | None,
    assignments: Sequence[str],
    threads: int,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Trains to the recipe's last step and exports `OUT/model`.

    A run begins with the weights of the model folder `init`, or with random ones. With `lora` these
    stay, and adapters of that rank learn beside them.
    """
    if lora is not None and init is None:
        raise ConfigError(
            f"--lora {lora}: expected the model that is to be adapted",
            hint="give --init MODEL; its recipe's settings must be given too",
        )
    recipe = override(recipe_named(task_name, recipe_name), assignments)
    config = run_config(task_name, recipe_name, recipe, data=data, init=init, lora=lora)
    if dry_run:
        print_result(config, as_json=True, text="")
        return
    summary = train_into(out, recipe, config, data=data, init=init, threads=threads, device=device)
    if summary:
        components = ", ".join(summary["components"])
        print_result(summary, as_json=as_json, text=f"{out / 'model'}: {components}")


def run_config(
    task_name: str,
    recipe_name: str,
    recipe: Any,
    *,
    data: Path,
    init: Path | None,
    lora: int | None = None,
) -> dict[str, Any]:
    """What decides a run, as JSON has it: `config.json`, and what a resumed run must have too."""
    config = {
        "task": task_name,
        "recipe": recipe_name,
        "data": str(data),
        "init": None if init is None else _hashes(init, component_of(task_name, recipe)),
        "lora": lora,
        "settings": dataclasses.asdict(recipe),
    }
    return dict(json.loads(json.dumps(config)))  # lists for tuples, as they are read back


def train_into(
    out: Path,
    recipe: Any,
    config: dict[str, Any],
    *,
    data: Path,
    init: Path | None,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Trains to the recipe's last step, from where `out` stands, and exports `out / "model"`.

    Args:
        out: the run's folder.
        recipe: of any task.
        config: of `run_config`; a resumed run must have the same.
        data: the data set.
        init: model folder whose weights the run begins with, or None.
        threads: processor threads; 0 leaves them as they are.
        device: as on the command line.

    Returns:
        "model", "components", "steps" and "validation"; nothing in processes that don't lead.

    Raises:
        ConfigError: `out` holds a run that was begun with other settings.
        TrainingError: a number is not finite.
    """
    with joined(pick_device(device)) as (processes, where), _threads(threads):
        if where.type == "cpu":
            keep_freed_memory()
        _refuse_other_settings(out, config)
        torch.manual_seed(recipe.train.seed)
        with processes.leader_first():
            task = recipe.build(data)
        if init is not None:
            component = component_of(config["task"], recipe)
            load_into(
                task.modules[component],
                init,
                component,
                reinitialised_prefixes=task.reinitialised_prefixes,
            )
        if config.get("lora"):
            _adapt(task, config)
        if processes.leads:
            precision = precision_on(where) if recipe.train.bf16 else "fp32"
            _note(out, config, processes, precision)
        averages = _train_with_a_bar(task, recipe, config, out, where, processes)
        if not processes.leads:
            return {}
        return _finish(out, task, recipe, config, averages)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Operations within use so many threads; 0 leaves them as they are."""
    with torch_threads(count) if count else contextlib.nullcontext():
        yield


def _train_with_a_bar(
    task: Task,
    recipe: Any,
    config: dict[str, Any],
    out: Path,
    where: torch.device,
    processes: Processes,
) -> dict[str, torch.nn.Module]:
    with typer.progressbar(
        length=recipe.train.steps, label=f"training {config['task']}", file=sys.stderr
    ) as bar:

        def show(step: int, figures: dict[str, float]) -> None:
            loss = figures.get(f"{task.turns[-1]}/loss", 0)
            bar.label = f"training {config['task']}  loss {loss:.3f}"
            bar.update(step - bar.pos)

        return train(
            task, recipe.train, folder=out, device=where, processes=processes, progress=show
        )


def _finish(
    out: Path,
    task: Task,
    recipe: Any,
    config: dict[str, Any],
    averages: dict[str, torch.nn.Module],
) -> dict[str, Any]:
    """Exports the model and draws its pictures; what the command answers."""
    if config.get("lora"):
        merge_adapters_(averages[config["task"]])
    with torch.no_grad():
        exported = task.export(averages)
    journal = read_journal(out / "journal.jsonl")
    results = [e for e in journal if any(k.startswith("validation/") for k in e)]
    hours = sum(entry.get("took_s", 0.0) for entry in journal) / 3600
    for name, (module, module_config) in exported.items():
        save_component(
            out / "model",
            name,
            module=module,
            config=module_config,
            provenance={
                **config,
                "foleyflow": __version__,
                "training_hours": round(hours, 3),
                "validation": results[-1] if results else {},
            },
        )
    if isinstance(task, AlignTask):
        draw_run(out, journal, task.example(cast(Alignment, averages["align"])))
    return {
        "model": str(out / "model"),
        "components": sorted(exported),
        "steps": recipe.train.steps,
        "validation": results[-1] if results else {},
    }


def _adapt(task: Task, config: dict[str, Any]) -> None:
    """Puts adapters into the task's model."""
    if set(task.modules) != {config["task"]}:
        raise ConfigError(
            f"--lora: expected a task of one module, this one has {', '.join(task.modules)}",
            hint="choose a recipe without slow student, teacher, merging or polish",
        )
    add_adapters_(task.modules[config["task"]], config["lora"])


def _hashes(init: Path, component: str) -> dict[str, str]:
    """What the run begins with, by content: a folder may be moved."""
    return {component: read_record(init, component).sha256}


def _refuse_other_settings(out: Path, config: dict[str, Any]) -> None:
    """Raises ConfigError where `out` holds a run that was begun otherwise."""
    path = out / "config.json"
    if not path.exists():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})", hint="give another --out") from error
    changed = _differences(there, config)
    changed = [key for key in changed if key.removeprefix("settings.") not in MAY_CHANGE]
    if changed:
        raise ConfigError(
            f"{out}: was begun with other settings: {', '.join(changed[:5])}",
            hint="give the same command again to resume, or another --out",
        )


def _note(out: Path, config: dict[str, Any], processes: Processes, precision: str) -> None:
    """Writes config.json and environment.json, before the first step."""
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
    }
    write_atomically(out / "environment.json", json.dumps(environment, indent=1) + "\n")


def _differences(one: Any, other: Any, prefix: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        found: list[str] = []
        for key in sorted(one.keys() | other.keys()):
            found += _differences(one.get(key), other.get(key), f"{prefix}{key}.")
        return found
    return [] if one == other else [prefix.rstrip(".")]
