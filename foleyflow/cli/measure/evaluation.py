"""Commands that measure judges, metrics and generated materials."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from foleyflow.cli.measure.material_judge import load_material_judge
from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import EMBEDDED, Guidance, JudgeFolder, Model, SimulatedData, Videos


def evaluation(
    pairs: Annotated[
        int, Option(min=1, help="Number of pairs of sounds, each of ten seconds.")
    ] = 1000,
    folder: Annotated[
        Path | None,
        Option(help="Folder of the pairs. Default: foleyflow-pairs in the temporary folder."),
    ] = None,
    judges: Annotated[
        bool,
        Option("--judges", help="Also count the operations of published judges, without weights."),
    ] = False,
    tflops: Annotated[
        float,
        Option(min=0.001, help="Reached TFLOP/s, to convert the operations of judges to rates."),
    ] = 23.0,
) -> Report:
    """Measure the core-seconds of each metric, and the operations of judges."""
    from foleyflow.experiments.measure_evaluation import measure_evaluation

    folder = folder or Path(tempfile.gettempdir()) / "foleyflow-pairs"
    report = measure_evaluation(folder, pairs=pairs)
    if judges:
        from foleyflow.experiments.judge_cost import judge_cost

        report["judges"] = judge_cost(reached_tflops=tflops)
    return report


def judges(
    folder: Annotated[
        Path, Argument(metavar="JUDGES", help="Model folder of `foleyflow train judge`.")
    ],
    data: SimulatedData,
    names: Annotated[
        str, Option("--judges", metavar="A,B", help="tagger, sync or both.")
    ] = "tagger,sync",
    split: Annotated[
        str, Option(metavar="validation|test", help="Split of the data set.")
    ] = "test",
    batches: Annotated[int, Option(min=1, help="Number of batches of 16 windows for sync.")] = 40,
) -> Report:
    """Measure the accuracy of the judges that foleyflow trains."""
    from foleyflow.experiments.measure_judges import measure_judges

    return measure_judges(folder, data, names=names.split(","), split=split, batches=batches)


def materials(
    clips: Videos,
    model: Model = EMBEDDED,
    guidance: Guidance = 1.0,
    judge: JudgeFolder = None,
) -> Report:
    """Measure decay time and brightness of each generated material."""
    from foleyflow.experiments.measure_materials import measure_materials

    return measure_materials(
        model, clips, guidance=guidance, judge=None if judge is None else load_material_judge(judge)
    )
