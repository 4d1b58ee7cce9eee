"""`foleyflow average`: average the weights of several trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from foleyflow.cli.shared_options import Result, printing


@printing
def average(
    models: Annotated[
        list[Path],
        Argument(metavar="MODEL", help="Model folders of trainings that started from one model."),
    ],
    out: Annotated[Path, Option(help="Model folder to write; its other components are kept.")],
    component: Annotated[
        Literal["codec", "align", "flow"], Option(help="What to average.")
    ] = "flow",
) -> Result:
    """Average the weights of one component of several models."""
    from foleyflow.weight_average import average_models

    components = average_models(models, component, out)
    return {"model": str(out), "components": components}, f"{out}: {', '.join(components)}"
