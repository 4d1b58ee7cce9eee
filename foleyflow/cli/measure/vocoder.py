"""The command that measures decoders of the paper's spectrogram."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import ClipCount


def vocoder(
    data: Annotated[Path, Argument(metavar="DATA", help="Data set whose test sounds are decoded.")],
    model: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Model folder with a vocoder. Default: Griffin-Lim alone."),
    ] = None,
    clips: ClipCount = 64,
) -> Report:
    """Measure what the paper's spectrogram keeps of sounds: Griffin-Lim and a vocoder."""
    from foleyflow.experiments.measure_vocoder import measure_vocoder

    return measure_vocoder(model, data, clips=clips)
