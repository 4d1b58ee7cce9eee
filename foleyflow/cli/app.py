"""The commands of `foleyflow`. Heavy packages are imported only when a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from foleyflow import __version__
from foleyflow.cli import data, measure
from foleyflow.cli.ablate import ablate
from foleyflow.cli.bench import bench
from foleyflow.cli.bundle import bundle
from foleyflow.cli.doctor import doctor
from foleyflow.cli.evaluate import evaluate
from foleyflow.cli.generate import generate
from foleyflow.cli.reel import reel
from foleyflow.cli.train import train
from foleyflow.cli.usage import ReportingGroup
from foleyflow.parallel.precision import PRECISION_VARIABLE, precision_set_to

app = typer.Typer(
    cls=ReportingGroup,
    help="Generate sound for silent videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data")
app.add_typer(measure.app, name="measure")


def main() -> None:
    """The entry point of the console script."""
    app(prog_name="foleyflow")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foleyflow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            envvar=PRECISION_VARIABLE,
            metavar="auto|bf16|fp32",
            help="Precision of the networks; auto is bf16 if the device supports it in hardware.",
        ),
    ] = "auto",
) -> None:
    """Generate sound for silent videos."""
    context.with_resource(precision_set_to(precision))


app.command(short_help="Generate sound for videos and write copies with it.")(generate)
app.command()(train)
app.command()(bundle)
app.command()(ablate)
app.command()(evaluate)
app.command()(reel)
app.command()(bench)
app.command(short_help="Check the installation, and how to fix what is missing.")(doctor)
