"""The commands of `foleyflow`. Heavy packages are imported only when a command runs."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from foleyflow import __version__
from foleyflow.cli import data, measure
from foleyflow.cli.ablate import ablate
from foleyflow.cli.adapt import adapt
from foleyflow.cli.average import average
from foleyflow.cli.bench import bench
from foleyflow.cli.bundle import bundle
from foleyflow.cli.doctor import doctor
from foleyflow.cli.evaluate import evaluate
from foleyflow.cli.generate import generate
from foleyflow.cli.reel import reel
from foleyflow.cli.serve import serve
from foleyflow.cli.spot import spot
from foleyflow.cli.train import train
from foleyflow.cli.usage import ReportingGroup
from foleyflow.parallel.precision import PRECISION_VARIABLE, precision_set_to

app = typer.Typer(
    cls=ReportingGroup,
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
        Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
    precision: Annotated[
        str,
        Option(
            envvar=PRECISION_VARIABLE,
            metavar="auto|bf16|fp32",
            help="Precision of the networks; auto is bf16 on devices with hardware support.",
        ),
    ] = "auto",
) -> None:
    """Generate sound for silent videos, and train and measure the models that do it."""
    context.with_resource(precision_set_to(precision))


for command, summary in (
    (spot, "Find the cues of each video."),
    (generate, "Generate sound for each video."),
    (serve, "Open the studio: correct sounds in the browser."),
    (train, "Train one part of the model, or a judge."),
    (adapt, "Adapt the model to your own recordings."),
    (average, "Average the weights of several trainings."),
    (bundle, "Collect a codec, an aligner and a flow in one model folder."),
    (evaluate, "Score generated sounds against references."),
    (reel, "Write a page to compare generated sounds by ear."),
    (ablate, "Train and measure the paper's ablation tables."),
    (bench, "Measure speed and memory on this machine."),
    (doctor, "Check the installation."),
):
    app.command(short_help=summary)(command)
