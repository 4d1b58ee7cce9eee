"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and log lines.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, no more.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, do nothing.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
Threads = Annotated[int, typer.Option(min=0, help="Processor threads; 0 takes all.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Share the work out on a Ray cluster: local, auto, HOST:PORT. Default: this process.",
    ),
]
