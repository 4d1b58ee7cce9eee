"""Commands that measure the cost of training, and adaptations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from foleyflow.cli.adapt import (
    SimulatedFolder,
    SimulatedFraction,
    Steps,
    UnclearLags,
    keeps_unclear,
)
from foleyflow.cli.console import print_status, stages_on_stderr
from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import (
    EMBEDDED,
    Model,
    Out,
    Recipe,
    Recordings,
    Seed,
    SimulatedData,
    Threads,
)


def scales(
    task: Annotated[
        list[str] | None,
        Option(metavar="align|flow|codec", help="Trained part; repeatable. Default: all."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Recipe of the size; repeatable. Default: tiny, base and large; of the codec "
            "tiny, general and general-mel.",
        ),
    ] = None,
    clips: Annotated[int, Option(min=1, help="Number of clips per training step.")] = 1,
    threads: Threads = 0,
) -> Report:
    """Measure operations, time and memory of a training step."""
    from foleyflow.experiments.measure_training import SIZES, measure_scales

    results = measure_scales(
        task or tuple(SIZES),
        recipe or (),
        clips=clips,
        threads=threads,
        on_result=lambda result: print_status(
            f"{result['recipe']} {result['stage']}: {result['step_s']} s"
        ),
    )
    return {"scales": results}


def training(
    data: SimulatedData,
    task: Annotated[str, Option(metavar="codec|align|flow|judge", help="Trained part.")] = "align",
    recipe: Recipe = "tiny",
    threads: Threads = 0,
) -> Report:
    """Profile training steps: time per operation, and matrix rate."""
    from foleyflow.experiments.measure_training import measure_training

    return measure_training(data, task_name=task, recipe_name=recipe, threads=threads)


def adaptation(
    recordings: Recordings,
    model: Model = EMBEDDED,
    folds: Annotated[int, Option(min=2, help="Number of blocks of the recordings.")] = 2,
    fold: Annotated[
        int | None, Option(min=1, help="Only measure on this block. Default: on all.")
    ] = None,
    work: Annotated[Path, Option(help="Folder of the adaptations, which are resumed.")] = Path(
        "runs/adaptation"
    ),
    simulated: SimulatedFolder = None,
    simulated_fraction: SimulatedFraction = 0.5,
    unclear_lags: UnclearLags = "skip",
    steps: Steps = 300,
    seed: Seed = 0,
    threads: Threads = 1,
    out: Out = None,
) -> Report:
    """Cross-validate `foleyflow adapt`: learn from some recordings, and measure on the others."""
    from foleyflow.adaptation.adapting import AdaptSettings
    from foleyflow.experiments.measure_adaptation import measure_adaptation
    from foleyflow.experiments.measure_real_cues import recordings_of
    from foleyflow.pretrained import model_folder

    settings = AdaptSettings(
        steps=steps,
        simulated_fraction=simulated_fraction,
        keep_unclear=keeps_unclear(unclear_lags),
        seed=seed,
        threads=threads,
    )
    with stages_on_stderr() as show:
        return measure_adaptation(
            model_folder(model),
            recordings_of(recordings),
            work,
            folds=folds,
            only=fold,
            simulated=simulated,
            settings=settings,
            progress=show,
        )
