"""`foleyflow doctor`: check the installation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Json


def doctor(
    weights_dir: Annotated[
        Path | None,
        Option(
            help="Folder of published encoders' weights, whose hashes are verified. Default: "
            "~/.cache/foleyflow/encoders, without verification."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the installation: versions, devices, models, and how to fix what is missing.

    The exit status is 1 if `foleyflow generate` can't run.
    """
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.doctor import examine, is_usable

        findings = examine(weights_dir=weights_dir)
        lines = [
            f"{finding.state:8s} {finding.name}: {finding.detail}"
            + (f"\n         fix: {finding.fix}" if finding.fix else "")
            for finding in findings
        ]
        print_result(
            {"findings": [dataclasses.asdict(finding) for finding in findings]},
            as_json=as_json,
            text="\n".join(lines),
        )
    raise typer.Exit(int(not is_usable(findings)))
