"""The commands of `foleyflow`. Heavy packages are imported only when a command runs."""

from __future__ import annotations

import json
import os
from importlib.resources import files
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
from foleyflow.cli.completion import COMPLETE_VARIABLE, completion
from foleyflow.cli.config import config
from foleyflow.cli.configuration import Configuration
from foleyflow.cli.console import print_error, print_result, print_status
from foleyflow.cli.doctor import doctor
from foleyflow.cli.evaluate import evaluate
from foleyflow.cli.gallery import gallery
from foleyflow.cli.generate import generate
from foleyflow.cli.reel import reel
from foleyflow.cli.serve import serve
from foleyflow.cli.spot import spot
from foleyflow.cli.train import train
from foleyflow.cli.usage import ReportingGroup, wants_json
from foleyflow.errors import FoleyflowError
from foleyflow.parallel.precision import PRECISION_VARIABLE, precision_set_to
from foleyflow.system.printable import printable

# They work without it, whatever is wrong with it.
WITHOUT_CONFIGURATION = ("config", "completion", "doctor")

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
    if COMPLETE_VARIABLE in os.environ:
        from typer.completion import completion_init

        completion_init()
    app(prog_name="foleyflow")


def _print_version(wanted: bool) -> None:
    if wanted:
        record = files("foleyflow").joinpath("assets", "model", "config.json").read_text("utf-8")
        typer.echo(f"foleyflow {__version__}")
        for name, component in json.loads(record)["components"].items():
            typer.echo(f"{component['sha256']}  {name}.safetensors")
        raise typer.Exit


def _configure(context: typer.Context) -> None:
    """Gives the options of the invoked command their defaults from environment and files."""
    command = context.invoked_subcommand
    if command is None or command in WITHOUT_CONFIGURATION:
        return
    try:
        configuration = Configuration(context.command, context, context.obj)
        context.default_map = configuration.default_map(command)
        precision = configuration.default((), "precision")
    except FoleyflowError as error:
        status = print_error(error, debug=False)
        if wants_json(context):
            value = {"error": str(error), "hint": error.hint or ""}
            print_result(value, as_json=True, text="")
        raise typer.Exit(status) from None
    for text in configuration.unknown_variables():
        print_status(f"foleyflow: warning: {printable(text)}")
    source = context.get_parameter_source("precision")
    if precision is not None and source is not None and source.name == "DEFAULT":
        context.params["precision"] = precision.value


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version, and the hashes of the weights that ship with it.",
        ),
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
    context.obj = dict(os.environ)  # before the next lines change it
    _configure(context)
    context.with_resource(precision_set_to(context.params["precision"]))


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
    (gallery, "Draw reports of simulated clips before and after correcting their cues."),
    (ablate, "Train and measure the paper's ablation tables."),
    (bench, "Measure speed and memory on this machine."),
    (doctor, "Check the installation."),
    (config, "Show the defaults of options and where each comes from."),
    (completion, "Print the script that completes commands in a shell."),
):
    app.command(short_help=summary)(command)
