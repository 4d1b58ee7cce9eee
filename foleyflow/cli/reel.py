"""`foleyflow reel`: write a page to compare systems by ear."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors, print_result, progress_on_stderr
from foleyflow.cli.options import Debug, Json


def reel(
    out: Annotated[Path, typer.Argument(help="New folder of the reel.")],
    data: Annotated[Path, typer.Option(help="Simulated clips with a test split.")] = Path(
        "data/sim"
    ),
    model: Annotated[str, typer.Option(help="Model folder, or embedded.")] = "embedded",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER:SOLVER:STEPS",
            help="Another flow to compare, such as diffusion=runs/diffusion/model:dpm:25; "
            "repeatable.",
        ),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Number of test clips.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, the same for all systems.")] = 0,
    guidance: Annotated[float, typer.Option(min=1.0, max=20.0, help="Guidance scale.")] = 1.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Generate sound for test clips at each step count and by baselines; write a page of them."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.reel import write_reel

        with progress_on_stderr("generating") as show:
            result = write_reel(
                out,
                data=data,
                model=model,
                baselines=baseline or [],
                clips=clips,
                seed=seed,
                guidance=guidance,
                progress=show,
            )
        print_result(
            dataclasses.asdict(result),
            as_json=as_json,
            text=f"{result.page}: {result.clips} clips by {', '.join(result.systems[1:])}",
        )
