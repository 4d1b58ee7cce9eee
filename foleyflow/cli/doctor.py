"""`foleyflow doctor`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from foleyflow.cli.outcome import print_result
from foleyflow.doctor import examine, is_usable


def run(*, weights_dir: Path | None, as_json: bool) -> int:
    """Prints the findings; 1 if the main job can't run here."""
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
