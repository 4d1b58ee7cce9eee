"""`foleyflow ablate`: trains and measures every row of a table with several seeds, and writes it.

Each row and seed is a run in a folder of its own. What is finished is kept, what was cut off is
resumed: the same command again goes on.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from foleyflow.cli.console import print_result, print_status
from foleyflow.cli.train import training_progress
from foleyflow.errors import ConfigError
from foleyflow.evaluation.metric import Interval, seed_interval
from foleyflow.experiments.alignment_tables import TABLES, Table, TableRow, recipe_of
from foleyflow.experiments.flow_tables import FLOW_TABLES
from foleyflow.experiments.measure_aligner import RealClip, measure, read_real_clips
from foleyflow.inference.pipeline import pick_device
from foleyflow.pretrained import load_aligner
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.published import PublishedRecipe
from foleyflow.training.run import run_config, train
from foleyflow.weights import save_component, write_atomically

# Column -> where a run's figures have it.
COLUMNS = {
    "R² hidden": ("recovery", "r2"),
    "video gain": ("recovery", "r2_gain"),
    "R² at the ratio": ("recovery", "r2_masked"),
    "gain at the ratio": ("recovery", "r2_gain_masked"),
    "gain of energy": ("recovery", "r2_gain_energy"),
    "shift peak, s": ("recovery", "shift_peak_s"),
    "event F1": ("probe", "event_f1", "mean"),
    "material": ("probe", "material_accuracy", "mean"),
    "real F1": ("real", "f1", "mean"),
    "real gain": ("real", "gain", "mean"),
}


def run(
    table_name: str,
    *,
    data: Path,
    out: Path,
    seeds: int,
    real: Path | None,
    assignments: Sequence[str],
    probe_clips: int,
    threads: int,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Fills a table of stage one and writes `OUT/table.json` and `OUT/table.md`.

    Raises:
        ConfigError: no such table or setting.
    """
    if table_name not in TABLES:
        known = ", ".join([*TABLES, *FLOW_TABLES])
        raise ConfigError(f"table {table_name!r}: expected one of {known}")
    table = TABLES[table_name]
    settings = tuple(assignments)
    cells = [(row, seed) for seed in range(seeds) for row in table.rows]
    recipes = {
        (row.name, seed): recipe_of(row, seed=seed, settings=settings) for row, seed in cells
    }
    if dry_run:
        plan = {
            row.name: dataclasses.asdict(recipes[row.name, 0]) | {"meaning": row.meaning}
            for row in table.rows
        }
        print_result({"title": table.title, "seeds": seeds, "rows": plan}, as_json=True, text="")
        return
    clips: list[RealClip] = []
    if real is not None:
        first = next(iter(recipes.values()))
        if isinstance(first, PublishedRecipe):
            raise ConfigError(
                f"table {table_name}: real clips can't be measured with published encoders",
                hint="leave --real out",
            )
        size = first.encoder.size
        clips = read_real_clips(real, size=size)
    figures: dict[str, list[dict[str, Any]]] = {row.name: [] for row in table.rows}
    for number, (row, seed) in enumerate(cells, start=1):
        print_status(f"{number} of {len(cells)}: {row.name}, seed {seed}")
        figures[row.name].append(
            _cell(
                out / row.name / f"seed-{seed}",
                row,
                recipes[row.name, seed],
                data=data,
                real=clips,
                probe_clips=probe_clips,
                threads=threads,
                device=device,
            )
        )
    result = _result(table, figures, settings=settings, probe_clips=probe_clips)
    text = markdown(table, result["rows"])
    write_atomically(out / "table.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "table.md", text)
    print_result(result, as_json=as_json, text=text)


def _cell(
    folder: Path,
    row: TableRow,
    recipe: AlignRecipe | PublishedRecipe,
    *,
    data: Path,
    real: Sequence[RealClip],
    probe_clips: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """A run's figures, computed where they are not there yet."""
    config = run_config(recipe, recipe_name=row.recipe, data=data)
    asked = {"trained": row.trained, "probe_clips": probe_clips, "real_clips": len(real)}
    done = folder / "figures.json"
    if done.exists():
        found = json.loads(done.read_text(encoding="utf-8"))
        if found["asked"] == asked and found["config"] == config:
            return dict(found["figures"])
    train_row(folder, row, recipe, data=data, threads=threads, device=device)
    if threads:
        torch.set_num_threads(threads)
    aligner = load_aligner(folder / "model")
    figures = measure(aligner, recipe, data, real=real, probe_clips=probe_clips)
    record = {"config": config, "asked": asked, "figures": figures}
    write_atomically(done, json.dumps(record, indent=1) + "\n")
    return figures


def train_row(
    folder: Path,
    row: TableRow,
    recipe: AlignRecipe | PublishedRecipe,
    *,
    data: Path,
    threads: int,
    device: str,
) -> None:
    """Trains a row's aligner to its last step, from where its folder stands."""
    if row.trained:
        with training_progress("align", recipe.train.steps) as progress:
            train(
                recipe,
                recipe_name=row.recipe,
                data=data,
                out=folder,
                threads=threads,
                device=pick_device(device),
                progress=progress,
            )
        return
    config = run_config(recipe, recipe_name=row.recipe, data=data)
    torch.manual_seed(recipe.train.seed)
    task = recipe.build(data)
    for name, (module, settings) in task.export(task.modules).items():
        save_component(folder / "model", name, module=module, config=settings, provenance=config)


def _result(
    table: Table,
    figures: dict[str, list[dict[str, Any]]],
    *,
    settings: tuple[str, ...],
    probe_clips: int,
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for row in table.rows:
        runs = figures[row.name]
        columns = {}
        for column, path in COLUMNS.items():
            values = [figure_at(run, path) for run in runs]
            if all(value is not None for value in values):
                columns[column] = dataclasses.asdict(seed_interval(values))
        rows[row.name] = {"meaning": row.meaning, "columns": columns, "runs": runs}
    return {
        "title": table.title,
        "settings": list(settings),
        "probe_clips": probe_clips,
        "rows": rows,
    }


def figure_at(figures: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What lies at a path of keys, None where it ends early."""
    value: Any = figures
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def markdown(table: Table, rows: dict[str, Any]) -> str:
    """The table as Markdown: mean ± half of the 95 % interval over seeds, a dash for "not said".

    Args:
        table: which one.
        rows: row name -> "meaning", "columns" (column -> an interval's fields).

    Source: ours.
    """
    shown = [c for c in COLUMNS if any(c in row["columns"] for row in rows.values())]
    lines = [f"{table.title}", "", f"| | {' | '.join(shown)} |", "|---" * (1 + len(shown)) + "|"]
    for row in rows.values():
        cells = [
            _cell_text(Interval(**row["columns"][c])) if c in row["columns"] else "–" for c in shown
        ]
        lines.append(f"| {row['meaning']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell_text(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{interval.mean:.3f}"
    return f"{interval.mean:.3f} ± {(interval.high - interval.low) / 2:.3f}"
