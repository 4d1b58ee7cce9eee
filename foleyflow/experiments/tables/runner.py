"""Run one of the ablation tables, and write it as Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from foleyflow.errors import FoleyflowError, UsageError
from foleyflow.experiments.tables.cell_runs import CellRuns, TableRun, TrainingProgress
from foleyflow.experiments.tables.rendering import markdown, table_result
from foleyflow.weights import write_atomically


def plan_table(run: TableRun) -> dict[str, Any]:
    """The recipes of all cells, without running anything.

    Raises:
        ConfigError: no such table, setting or aligner.
    """
    runs = CellRuns(run)
    cells = {
        cell.name: dataclasses.asdict(runs.recipe(cell, 0)) | {"meaning": cell.meaning}
        for cell in runs.table.cells
    }
    return {"title": runs.table.title, "seeds": run.seeds, "cells": cells}


def run_table(
    run: TableRun,
    progress: Callable[[str], None] = lambda text: None,
    training_progress: TrainingProgress | None = None,
) -> tuple[dict[str, Any], str]:
    """Train and measure what is missing, and write `OUT/TABLE-STAGE.json` and `.md`.

    A rerun keeps finished runs and resumes an interrupted one. Over published encoders, the files
    are `OUT/TABLE-STAGE-published.json` and `.md`.

    Args:
        run: what to run, and where.
        progress: called with a line before each cell, and for each column that is left out.
        training_progress: called with the name and the number of steps of each training; the
            context's value is called after each logged step, with the step and its figures.

    Returns:
        the table as JSON (see `table_result`) and as Markdown.

    Raises:
        ConfigError: no such table, setting or aligner.
        FoleyflowError: a cell can't be trained or measured; the message begins with its name.
    """
    runs = CellRuns(run, progress, training_progress)
    runs.load_inputs()
    table = runs.table
    jobs = [(cell, seed) for seed in range(run.seeds) for cell in table.cells]
    figures: dict[str, list[dict[str, Any]]] = {cell.name: [] for cell in table.cells}
    for number, (cell, seed) in enumerate(jobs, start=1):
        progress(f"{number} of {len(jobs)}: {cell.name}, seed {seed}")
        try:
            figures[cell.name].append(runs.figures(cell, seed))
        except FoleyflowError as error:
            kind = UsageError if isinstance(error, UsageError) else FoleyflowError
            message = f"cell {cell.name}, seed {seed}: {error}"
            raise kind(message, hint=error.hint) from error
    result = table_result(table, figures) | runs.conditions()
    text = markdown(result)
    suffix = "" if run.encoders == "own" else f"-{run.encoders}"
    path = run.out / f"{run.name}-{runs.stage}{suffix}"
    write_atomically(path.with_suffix(".json"), json.dumps(result, indent=1) + "\n")
    write_atomically(path.with_suffix(".md"), text)
    return result, text
