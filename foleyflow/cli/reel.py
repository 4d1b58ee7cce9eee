"""`foleyflow reel`: write a page to compare systems by ear."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.console import progress_on_stderr
from foleyflow.cli.options import EMBEDDED, SIMULATED, Guidance, Model, Seed
from foleyflow.cli.shared_options import Result, printing


@printing
def reel(
    out: Annotated[Path, Argument(metavar="OUT", help="New folder of the page.")],
    data: Annotated[
        Path, Option(help="Data set of simulated clips with a test split.")
    ] = SIMULATED,
    model: Model = EMBEDDED,
    baseline: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=FOLDER:SOLVER:STEPS",
            help="Another flow to compare; repeatable. For example: "
            "diffusion=runs/diffusion/model:dpm:25.",
        ),
    ] = None,
    clips: Annotated[int, Option(min=1, help="Number of test clips.")] = 10,
    seed: Seed = 0,
    guidance: Guidance = 1.0,
) -> Result:
    """Write a page to compare generated sounds by ear: step counts, baselines and the original."""
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
    text = f"{result.page}: {result.clips} clips by {', '.join(result.systems[1:])}"
    return dataclasses.asdict(result), text
