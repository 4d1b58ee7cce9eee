"""`foleyflow reel`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors
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
            help="Another flow to listen to, diffusion=runs/diffusion/model:dpm:25 for instance; "
            "repeatable.",
        ),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Test clips.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, the same for all systems.")] = 0,
    guidance: Annotated[float, typer.Option(min=1.0, max=20.0, help="As in generate.")] = 1.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Sound test clips at each step count and by baselines, and write a page to compare them."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.reel import run

        run(
            out,
            data=data,
            model=model,
            baselines=baseline or [],
            clips=clips,
            seed=seed,
            guidance=guidance,
            as_json=as_json,
        )
