"""`foleyflow train`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors
from foleyflow.cli.options import Debug, Device, DryRun, Json, Threads


def train(
    task: Annotated[str, typer.Argument(help="codec, align, flow or judge.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of this task.")] = "tiny",
    data: Annotated[Path, typer.Option(help="Data set; for codec a place for its sounds.")] = Path(
        "data/sim"
    ),
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/TASK.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Model folder whose weights the run begins with.")
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            metavar="RANK", help="Adapt the model of --init by adapters of this rank; it is merged."
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
    """Train one part of the model, or a judge; the same command again resumes."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.training.run import run

        run(
            task,
            recipe_name=recipe,
            data=data,
            out=out or Path("runs") / task,
            init=init,
            lora=lora,
            assignments=set_ or [],
            threads=threads,
            device=device,
            as_json=as_json,
            dry_run=dry_run,
        )
