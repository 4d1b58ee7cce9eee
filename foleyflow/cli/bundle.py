"""`foleyflow bundle`: collect the parts of a model in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.shared_options import Result, printing


@printing
def bundle(
    parts: Annotated[
        list[Path],
        Argument(metavar="PART", help="Model folders that `foleyflow train` exported."),
    ],
    out: Annotated[
        Path, Option(help="Model folder to write; components that no PART has are kept.")
    ],
) -> Result:
    """Collect a codec, an aligner and a flow in one model folder."""
    from foleyflow.weights import merge_models

    components = merge_models(parts, out)
    return {"model": str(out), "components": components}, f"{out}: {', '.join(components)}"
