"""`foleyflow measure`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors
from foleyflow.cli.options import Debug, Json


def robustness(
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="Files to try, in turn from each container. Default: 1000."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed damages in other ways.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; they change no result.")] = 2,
    containers: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Only these, such as mp4,mkv. Default: all."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CONTAINER:NUMBER", help="Run this case alone; repeatable."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Copy the files of the cases that failed to here."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the report as JSON here.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run generate on damaged and odd files and count how it ends; exit 1 if a case failed."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.robustness.report import robustness as run

        status = run(
            case_count=cases,
            seed=seed,
            workers=workers,
            containers=containers,
            case_names=case or [],
            keep=keep,
            out=out,
            as_json=as_json,
        )
    raise typer.Exit(status)
