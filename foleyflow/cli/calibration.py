"""`foleyflow measure calibration`: calibrate the confidence of cues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from foleyflow.cli.console import check_writable, progress_on_stderr
from foleyflow.cli.options import EMBEDDED, Model, Out, SimulatedData


def calibration(
    data: SimulatedData,
    model: Model = EMBEDDED,
    split: Annotated[
        str,
        Option(metavar="train|validation|test", help="Split that the calibration is fitted to."),
    ] = "validation",
    test_split: Annotated[
        str, Option(metavar="train|validation|test", help="Split that it is also measured on.")
    ] = "test",
    clips: Annotated[int, Option(min=1, help="Maximum number of clips of each split.")] = 10_000,
    write: Annotated[
        bool, Option("--write", help="Write calibration.json into the model folder.")
    ] = False,
    plot: Annotated[
        Path | None,
        Option(help="Also plot confidence against the fraction of impacts to this PNG file."),
    ] = None,
    out: Out = None,
) -> dict[str, Any]:
    """Calibrate the confidence of cues that an aligner finds, and measure it on other clips."""
    from foleyflow.experiments.measure_calibration import measure_calibration
    from foleyflow.pretrained import model_folder

    check_writable(plot)
    with progress_on_stderr("clips") as show:
        report = measure_calibration(
            model_folder(model),
            data,
            split=split,
            test_split=test_split,
            clips=clips,
            write=write,
            progress=show,
        )
    if plot is not None:
        from foleyflow.experiments.calibration_plots import plot_reliability

        plot_reliability(plot, report)
    return report
