"""`foleyflow doctor`."""

from __future__ import annotations

import dataclasses

from foleyflow.cli.outcome import answer
from foleyflow.doctor import examine


def run(*, as_json: bool) -> int:
    """Prints the findings; 1 if something is broken."""
    findings = examine()
    lines = [
        f"{finding.state:8s} {finding.name}: {finding.detail}"
        + (f"\n         mend: {finding.mend}" if finding.mend else "")
        for finding in findings
    ]
    answer(
        {"findings": [dataclasses.asdict(finding) for finding in findings]},
        as_json=as_json,
        text="\n".join(lines),
    )
    return int(any(finding.state == "broken" for finding in findings))
