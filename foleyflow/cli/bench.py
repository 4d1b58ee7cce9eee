"""`foleyflow bench`: measure speed and memory."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foleyflow.cli.console import check_writable, handle_errors, print_result, print_status
from foleyflow.cli.options import Debug, Json

if TYPE_CHECKING:
    from foleyflow.experiments.benchmark import Row


def bench(
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON here.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure speed and memory on this machine."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.benchmark import measure
        from foleyflow.experiments.machine import machine
        from foleyflow.weights import write_atomically

        check_writable(out)
        about = machine()
        rows = measure(on_row=lambda row: print_status(_line(row)))
        report = {"machine": about, "rows": [dataclasses.asdict(row) for row in rows]}
        if out is not None:
            write_atomically(out, json.dumps(report, indent=1) + "\n")
        lines = [", ".join(f"{key} {value}" for key, value in about.items())]
        lines += [f"{_line(row)}\n    {row.how}" for row in rows]
        print_result(report, as_json=as_json, text="\n".join(lines))


def _line(row: Row) -> str:
    value = "-" if row.value is None else f"{row.value:.4g}"
    target = f"(target {row.target})" if row.target else ""
    return f"{row.name:52} {value:>8} {row.unit:14}{target}".rstrip()
