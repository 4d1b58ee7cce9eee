"""The commands of `foleyflow measure`, in the order in which the help lists them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from foleyflow.cli.console import check_writable, write_report
from foleyflow.cli.measure.cues import (
    calibration,
    cues,
    events,
    places,
    real_cues,
    real_events,
    reference,
    spectrograms,
)
from foleyflow.cli.measure.delivery import delivery
from foleyflow.cli.measure.evaluation import evaluation, judges, materials
from foleyflow.cli.measure.networks import aligner, ceiling, codec, encoders, flow, mixture
from foleyflow.cli.measure.report import Report, report_lines
from foleyflow.cli.measure.robustness import robustness
from foleyflow.cli.measure.training import adaptation, scales, training
from foleyflow.cli.measure.vocoder import vocoder
from foleyflow.cli.shared_options import Result, printing

app = typer.Typer(
    help="Measure the parts of a model, its training and the evaluation.", no_args_is_help=True
)


def _measurement(function: Callable[..., Report]) -> Callable[..., Result]:
    """A function that writes the report of another one to its `out`, if any, and adds its text."""

    @functools.wraps(function)
    def measure(**options: Any) -> Result:
        out = options.get("out")
        check_writable(out)
        report = function(**options)
        write_report(out, report)
        return report, "\n".join(report_lines(report))

    return measure


for function in (
    aligner,
    codec,
    ceiling,
    vocoder,
    encoders,
    evaluation,
    events,
    real_events,
    flow,
    mixture,
    judges,
    cues,
    reference,
    calibration,
    places,
    spectrograms,
    real_cues,
    delivery,
    materials,
    scales,
    training,
    adaptation,
):
    app.command()(printing(_measurement(function)))
app.command()(printing(robustness))  # its report has a text and an exit status of its own
