"""`foleyflow bench`: measure speed and memory."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from foleyflow.cli.console import check_writable, print_status, write_report
from foleyflow.cli.options import Out
from foleyflow.cli.shared_options import Result, printing

if TYPE_CHECKING:
    from foleyflow.experiments.benchmark import Row


@printing
def bench(out: Out = None) -> Result:
    """Measure speed and memory on this machine."""
    from foleyflow.experiments.benchmark import measure
    from foleyflow.experiments.machine import machine

    check_writable(out)
    about = machine()
    rows = measure(on_row=lambda row: print_status(_line(row)))
    report = {"machine": about, "rows": [dataclasses.asdict(row) for row in rows]}
    write_report(out, report)
    lines = [", ".join(f"{key} {value}" for key, value in about.items())]
    lines += [f"{_line(row)}\n    {row.how}" for row in rows]
    return report, "\n".join(lines)


def _line(row: Row) -> str:
    value = "-" if row.value is None else f"{row.value:.4g}"
    target = f"(target {row.target})" if row.target else ""
    return f"{row.name:52} {value:>8} {row.unit:14}{target}".rstrip()
