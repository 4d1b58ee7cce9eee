"""`foleyflow measure`: the command line's options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import (
    check_writable,
    handle_errors,
    print_result,
    progress_on_stderr,
)
from foleyflow.cli.options import Debug, Json


def robustness(
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="Number of files, from each container in turn. Default: 1000."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the damage.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; results do not depend on their number.")
    ] = 2,
    containers: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Containers to test, such as mp4,mkv. Default: all."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CONTAINER:NUMBER", help="Run this case only; repeatable."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for the files of failed cases."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the report to this JSON file.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run generate on damaged and unusual files and count the results; exit 1 on a failure."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.robustness import report as measurement
        from foleyflow.weights import write_atomically

        check_writable(out)
        selected = measurement.select_cases(case or [], count=cases, containers=containers)
        with progress_on_stderr("cases") as show:
            report = measurement.measure(
                selected, seed=seed, workers=workers, keep=keep, on_progress=show
            )
        if out is not None:
            write_atomically(out, json.dumps(report, indent=1) + "\n")
        print_result(report, as_json=as_json, text=measurement.report_text(report))
    raise typer.Exit(1 if report["failures"] else 0)
