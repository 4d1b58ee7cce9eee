"""`foleyflow doctor`: the command line's options."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import (
    handle_errors,
    print_result,
)
from foleyflow.cli.options import Debug, Json


def doctor(
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of published encoders' weights, hashed too. "
            "Default: ~/.cache/foleyflow/encoders."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is installed and usable, what is missing, and the line that mends it."""
    with handle_errors(debug=debug, as_json=as_json):
        status = _run(weights_dir=weights_dir, as_json=as_json)
    raise typer.Exit(status)


def _run(*, weights_dir: Path | None, as_json: bool) -> int:
    """Prints the findings; 1 if the main job can't run here."""
    from foleyflow.doctor import examine, is_usable

    findings = examine(weights_dir=weights_dir)
    lines = [
        f"{finding.state:8s} {finding.name}: {finding.detail}"
        + (f"\n         mend: {finding.mend}" if finding.mend else "")
        for finding in findings
    ]
    print_result(
        {"findings": [dataclasses.asdict(finding) for finding in findings]},
        as_json=as_json,
        text="\n".join(lines),
    )
    return int(not is_usable(findings))
