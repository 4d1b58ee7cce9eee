"""`foleyflow bundle`: collect the parts of a model in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Json


def bundle(
    parts: Annotated[
        list[Path],
        Argument(metavar="PART", help="Model folders that `foleyflow train` exported."),
    ],
    out: Annotated[
        Path, Option(help="Model folder to write; components that no PART has are kept.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Collect a codec, an aligner and a flow in one model folder."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.weights import merge_models

        components = merge_models(parts, out)
        answer = {"model": str(out), "components": components}
        print_result(answer, as_json=as_json, text=f"{out}: {', '.join(components)}")
