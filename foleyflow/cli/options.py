"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and log messages.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
Threads = Annotated[int, typer.Option(min=0, help="Processor threads; 0 uses all cores.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Distribute the work on a Ray cluster: local, auto or HOST:PORT. "
        "Default: run in this process.",
    ),
]
