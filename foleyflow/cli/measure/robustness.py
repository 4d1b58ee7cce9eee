"""`foleyflow measure robustness`: run generate on damaged and unusual files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from foleyflow.cli.console import check_writable, progress_on_stderr, write_report
from foleyflow.cli.options import Out, Seed
from foleyflow.cli.shared_options import Result


def robustness(
    cases: Annotated[
        int | None,
        Option(min=1, help="Number of files, over all containers. Default: 1000."),
    ] = None,
    seed: Seed = 0,
    workers: Annotated[
        int, Option(min=1, help="Number of processes. Results do not depend on it.")
    ] = 2,
    containers: Annotated[
        str | None,
        Option(metavar="NAME,...", help="Containers to test, such as mp4,mkv. Default: all."),
    ] = None,
    case: Annotated[
        list[str] | None,
        Option(metavar="CONTAINER:NUMBER", help="Run only this case; repeatable."),
    ] = None,
    keep: Annotated[
        Path | None, Option(help="Folder to which the files of failed cases are copied.")
    ] = None,
    out: Out = None,
) -> Result:
    """Run generate on damaged and unusual files.

    The exit status is 1 if any case failed.
    """
    from foleyflow.experiments.robustness import report as measurement

    check_writable(out)
    selected = measurement.select_cases(case or [], count=cases, containers=containers)
    with progress_on_stderr("cases") as show:
        report = measurement.measure(
            selected, seed=seed, workers=workers, keep=keep, on_progress=show
        )
    write_report(out, report)
    return report, measurement.report_text(report), int(bool(report["failures"]))
