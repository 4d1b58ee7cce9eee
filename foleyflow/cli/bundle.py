"""`foleyflow bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Json


def bundle(
    parts: Annotated[
        list[Path],
        typer.Argument(metavar="PART...", help="Model folders, as `foleyflow train` exports them."),
    ],
    out: Annotated[Path, typer.Option(help="Model folder; its other components are kept.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Collect codec, aligner and flow in one model folder."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.weights import merge_models

        components = merge_models(parts, out)
        answer = {"model": str(out), "components": components}
        print_result(answer, as_json=as_json, text=f"{out}: {', '.join(components)}")
