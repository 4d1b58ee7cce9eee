"""`foleyflow train`: train one part of the model, or a judge."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.console import training_progress
from foleyflow.cli.options import (
    SIMULATED,
    Device,
    DryRun,
    Recipe,
    Settings,
    Threads,
)
from foleyflow.cli.shared_options import Result, printing
from foleyflow.system.printable import json_text


@printing
def train(
    task: Annotated[str, Argument(metavar="TASK", help="codec, align, flow, vocoder or judge.")],
    recipe: Recipe = "tiny",
    data: Annotated[
        list[Path],
        Option(
            metavar="FOLDER[=WEIGHT]",
            help="Data set; repeatable. Each gets a fraction of the training clips in proportion "
            "to its weight (default: 1), and validation uses the first. The codec stores its "
            "sounds there, unless it uses the clips.",
        ),
    ] = [SIMULATED],  # noqa: B006  # read only
    out: Annotated[Path | None, Option(help="Run folder. Default: runs/TASK.")] = None,
    init: Annotated[
        Path | None,
        Option(help="Model folder with the initial weights. Default: random weights."),
    ] = None,
    lora: Annotated[
        int | None,
        Option(
            metavar="RANK",
            help="Train low-rank adapters of the --init model, which are merged at the end.",
        ),
    ] = None,
    set_: Settings = None,
    threads: Threads = 1,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> Result | None:
    """Train one part of the model, or a judge. Rerun to resume.

    The run folder receives checkpoints, a journal of the losses and the trained model.
    """
    from foleyflow.data.mixture import DataMixture
    from foleyflow.recipes import recipe_named
    from foleyflow.recipes.overrides import override
    from foleyflow.training import run

    settings = override(recipe_named(task, recipe), set_ or [])
    mixture = DataMixture.parse(data)
    if dry_run:
        config = run.run_config(
            settings, recipe_name=recipe, data=mixture, init=init, lora_rank=lora
        )
        return config, json_text(config)
    with training_progress(task, settings.train.steps) as progress:
        summary = run.train(
            settings,
            recipe_name=recipe,
            data=mixture,
            out=out or Path("runs") / task,
            init=init,
            lora_rank=lora,
            threads=threads,
            device=device,
            progress=progress,
        )
    if summary is None:  # not the first process
        return None
    value = {**dataclasses.asdict(summary), "model": str(summary.model)}
    return value, f"{summary.model}: {', '.join(summary.components)}"
