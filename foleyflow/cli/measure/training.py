"""Commands that measure the cost of training."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from foleyflow.cli.console import print_status
from foleyflow.cli.measure.report import Report
from foleyflow.cli.options import Recipe, SimulatedData, Threads


def scales(
    task: Annotated[
        list[str] | None,
        Option(metavar="align|flow", help="Trained part; repeatable. Default: both."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        Option(metavar="tiny|base|large", help="Size of the network; repeatable. Default: all."),
    ] = None,
    clips: Annotated[int, Option(min=1, help="Number of clips per training step.")] = 1,
    threads: Threads = 0,
) -> Report:
    """Measure operations, time and memory of a training step."""
    from foleyflow.experiments.measure_training import RECIPES, TASKS, measure_scales

    results = measure_scales(
        task or TASKS,
        recipe or RECIPES,
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
