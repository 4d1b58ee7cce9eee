"""`foleyflow doctor`: check the installation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from typer import Option

from foleyflow.cli.shared_options import Result, printing


@printing
def doctor(
    weights_dir: Annotated[
        Path | None,
        Option(
            help="Folder of published encoders' weights, whose hashes are verified. Default: "
            "~/.cache/foleyflow/encoders, without verification."
        ),
    ] = None,
) -> Result:
    """Check the installation: versions, devices, models, and how to fix what is missing.

    The exit status is 1 if `foleyflow generate` can't run.
    """
    from foleyflow.doctor import examine, is_usable

    findings = examine(weights_dir=weights_dir)
    lines = [
        f"{finding.state:8s} {finding.name}: {finding.detail}"
        + (f"\n         fix: {finding.fix}" if finding.fix else "")
        for finding in findings
    ]
    value = {"findings": [dataclasses.asdict(finding) for finding in findings]}
    return value, "\n".join(lines), int(not is_usable(findings))
