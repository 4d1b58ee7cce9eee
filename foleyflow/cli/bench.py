"""`foleyflow bench`: the command line's options."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foleyflow.cli.console import (
    check_writable,
    handle_errors,
    print_result,
    print_status,
)
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
        _run(out=out, as_json=as_json)


def _run(*, out: Path | None, as_json: bool) -> None:
    """Takes all figures; a line per row goes to stderr meanwhile."""
    from foleyflow.experiments.benchmark import machine, measure
    from foleyflow.weights import write_atomically

    check_writable(out)
    rows = measure(on_row=lambda row: print_status(_line(row)))
    report = {"machine": machine(), "rows": [dataclasses.asdict(row) for row in rows]}
    if out is not None:
        write_atomically(out, json.dumps(report, indent=1) + "\n")
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    lines = [about, *(f"{_line(row)}\n    {row.how}" for row in rows)]
    print_result(report, as_json=as_json, text="\n".join(lines))


def _line(row: Row) -> str:
    value = "-" if row.value is None else f"{row.value:.4g}"
    wanted = f"(target {row.target})" if row.target else ""
    return f"{row.name:52} {value:>8} {row.unit:14}{wanted}".rstrip()
