"""The command that measures stems, mixes and recorded sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from foleyflow.cli.console import check_writable
from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import EMBEDDED, Model, Out, Recordings, Seed


def delivery(
    recordings: Recordings,
    model: Model = EMBEDDED,
    clips: Annotated[int, Option(min=1, help="Maximum number of clips.")] = 10,
    plot: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Plot cues, stems and a mix of the first clip, whose hits are changed to wood and "
            "metal, to a PNG file.",
        ),
    ] = None,
    seed: Seed = 0,
    out: Out = None,
) -> Report:
    """Measure stems, mixes and recorded sounds.

    The sum of stems is compared with the sound, the loudness of mixes with their target, the copied
    picture with its source, and the place of recorded sounds with their cues.
    """
    check_writable(plot)
    from foleyflow.experiments.measure_delivery import measure_delivery
    from foleyflow.experiments.measure_real_cues import recordings_of

    return measure_delivery(model, recordings_of(recordings)[:clips], seed=seed, plot=plot)
