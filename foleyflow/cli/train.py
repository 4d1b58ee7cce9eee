"""`foleyflow train`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Device, DryRun, Json, Threads


def train(
    task: Annotated[str, typer.Argument(help="codec, align, flow or judge.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of this task.")] = "tiny",
    data: Annotated[
        Path, typer.Option(help="Data set; for the codec, a folder for its sounds.")
    ] = Path("data/sim"),
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/TASK.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Model folder with the initial weights.")
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            metavar="RANK",
            help="Adapt the model of --init with low-rank adapters, which are merged at the end.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Train one part of the model or a judge. Rerun to resume."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.recipes import recipe_named
        from foleyflow.recipes.overrides import override
        from foleyflow.system.device import pick_device
        from foleyflow.training import run

        settings = override(recipe_named(task, recipe), set_ or [])
        if dry_run:
            config = run.run_config(
                settings, recipe_name=recipe, data=data, init=init, lora_rank=lora
            )
            print_result(config, as_json=True, text="")
            return
        with training_progress(task, settings.train.steps) as progress:
            summary = run.train(
                settings,
                recipe_name=recipe,
                data=data,
                out=out or Path("runs") / task,
                init=init,
                lora_rank=lora,
                threads=threads,
                device=pick_device(device),
                progress=progress,
            )
        if summary:  # in the first process
            answer = {**dataclasses.asdict(summary), "model": str(summary.model)}
            text = f"{summary.model}: {', '.join(summary.components)}"
            print_result(answer, as_json=as_json, text=text)


@contextmanager
def training_progress(task: str, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A progress bar on stderr with the last loss; it appears at the first logged step.

    Yields:
        The `progress` argument of `foleyflow.training.run.train`.
    """
    with ExitStack() as stack:
        bars: list[Any] = []

        def show(step: int, figures: dict[str, float]) -> None:
            losses = [value for key, value in figures.items() if key.endswith("/loss")]
            if not bars:
                bar = typer.progressbar(length=steps, label=f"training {task}", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            if losses:
                bars[0].label = f"training {task}  loss {losses[-1]:.3f}"
            bars[0].update(step - bars[0].pos)

        yield show
