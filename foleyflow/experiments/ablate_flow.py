"""`foleyflow ablate` for the flow's tables: every cell trained once, measured, and set in lines.

A cell and seed is a run in a folder of its own, `OUT/CELL/seed-K`, whichever table asks for it, and
begins with the weights of the cell and seed before it. What is finished is kept, what was cut off
is resumed: the same command again goes on.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from foleyflow.cli.console import print_result, print_status
from foleyflow.cli.train import training_progress
from foleyflow.errors import CheckpointError, FoleyflowError
from foleyflow.evaluation.metric import Interval, seed_interval
from foleyflow.experiments.ablate_alignment import figure_at, train_row
from foleyflow.experiments.alignment_tables import recipe_of
from foleyflow.experiments.flow_tables import (
    ALIGNER,
    FLOW_TABLES,
    WITH_DENSITY,
    FlowCell,
    FlowTable,
    aligner_row,
    cell_recipe,
    check_settings,
)
from foleyflow.experiments.measure_flow import ShownWindows, measure_flow, show_windows
from foleyflow.features.codec_latents import window_source
from foleyflow.inference.pipeline import pick_device
from foleyflow.judges.adapters import tagger_judge
from foleyflow.judges.interface import MaterialJudge
from foleyflow.judges.networks.trained import load_tagger
from foleyflow.pretrained import load_aligner, load_codec, load_flow
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.run import run_config, train
from foleyflow.weights import CONFIG_NAME, read_record, write_atomically

DENSITY_CLIPS = 24  # of the clips, at most: a likelihood takes as long as thousands of samples
# Column -> where the figures of a cell's samples have it.
COLUMNS = {
    "onset F1": ("onset_f1", "mean"),
    "shuffled": ("shuffled_f1", "mean"),
    "gain": ("gain", "mean"),
    "material": ("material_accuracy", "mean"),
    "Fréchet, judge": ("frechet_tagger-sim",),
    "Fréchet, latents": ("frechet_latent",),
    "variance": ("variance",),
    "noise level": ("noise_level",),
    "spread": ("spread",),
    "s per 10 s": ("flow_s_per_10s",),
}
# The same for what a cell's density has.
DENSITY_COLUMNS = {
    "bits/dim": ("bits_per_dimension", "mean"),
    "bits/dim, other video": ("bits_per_dimension_other", "mean"),
    "own video likelier": ("matched_likelier", "mean"),
    "round trip": ("round_trip_error",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What all cells of a command share.

    Attributes:
        data: folder with the splits.
        out: folder of the cells.
        aligners: folder of the stage-one tables.
        settings: of the cells, as for `--set`.
        aligner_settings: of the aligners.
        clips: test clips that are sounded, at most.
        judge: that hears materials, or None.
        threads: processor threads; 0 leaves them as they are.
        device: that is trained on, as on the command line.
    """

    data: Path
    out: Path
    aligners: Path
    settings: tuple[str, ...]
    aligner_settings: tuple[str, ...]
    clips: int
    judge: MaterialJudge | None
    threads: int
    device: str

    def folder(self, cell: FlowCell, seed: int) -> Path:
        """Of a cell's run."""
        return self.out / cell.name / f"seed-{seed}"

    def aligner_folder(self, name: str, seed: int) -> Path:
        """Of an aligner's run, where `foleyflow ablate 2` and `5` have it."""
        return self.aligners / f"table-{aligner_row(name)[0]}" / name / f"seed-{seed}"

    def recipe(self, cell: FlowCell, seed: int, *, guide_width: int | None = None) -> Any:
        """A cell's complete recipe."""
        before = cell.begins_with
        return cell_recipe(
            cell,
            seed=seed,
            settings=self.settings,
            align=self.aligner_folder(cell.aligner, seed) / "model",
            begin=None if before is None else self.folder(before, seed) / "model",
            guide_width=guide_width,
        )


def run(
    table_name: str,
    *,
    data: Path,
    out: Path,
    seeds: int,
    assignments: Sequence[str],
    without: Sequence[str],
    clips: int,
    judge_folder: Path | None,
    aligners: Path,
    threads: int,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Fills a table of the flow and writes `OUT/table-NAME.json` and `OUT/table-NAME.md`.

    Raises:
        ConfigError: no such setting, or no such aligner to leave out.
        FoleyflowError: a cell can't be trained or measured; the message begins with its name.
    """
    table = FLOW_TABLES[table_name]
    if without:
        table = table.without(without)
    own = tuple(each for each in assignments if not each.startswith(ALIGNER))
    theirs = tuple(each.removeprefix(ALIGNER) for each in assignments if each.startswith(ALIGNER))
    check_settings(table, own)
    for name in {cell.aligner for cell in table.cells}:
        recipe_of(aligner_row(name)[1], seed=0, settings=theirs)  # refuses what does not fit
    setting = Setting(
        data=data,
        out=out,
        aligners=aligners,
        settings=own,
        aligner_settings=theirs,
        clips=clips,
        judge=None if judge_folder is None else _material_judge(judge_folder),
        threads=threads,
        device=device,
    )
    if dry_run:
        plan = {
            cell.name: dataclasses.asdict(setting.recipe(cell, 0)) | {"meaning": cell.meaning}
            for cell in table.cells
        }
        print_result({"title": table.title, "seeds": seeds, "cells": plan}, as_json=True, text="")
        return
    if threads:
        torch.set_num_threads(threads)
    jobs = [(cell, seed) for seed in range(seeds) for cell in table.cells]
    shown = functools.lru_cache(maxsize=1)(functools.partial(_shown, setting))
    figures: dict[str, list[dict[str, Any]]] = {cell.name: [] for cell in table.cells}
    for number, (cell, seed) in enumerate(jobs, start=1):
        print_status(f"{number} of {len(jobs)}: {cell.name}, seed {seed}")
        try:
            figures[cell.name].append(_cell(setting, cell, seed, shown))
        except FoleyflowError as error:
            error.args = (f"cell {cell.name}, seed {seed}: {error}",)
            raise
    result = result_of(table, figures) | {
        "settings": list(assignments),
        "without": list(without),
        "clips": clips,
        "judge": None if setting.judge is None else setting.judge.weights_sha256,
    }
    text = markdown(table, result)
    write_atomically(out / f"table-{table_name}.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / f"table-{table_name}.md", text)
    print_result(result, as_json=as_json, text=text)


def _cell(
    setting: Setting, cell: FlowCell, seed: int, shown: Callable[[str, str, int], ShownWindows]
) -> dict[str, Any]:
    """A cell's figures, computed where they are not there yet."""
    align = _aligner(setting, cell.aligner, seed)
    record = read_record(align, "align")
    recipe = setting.recipe(cell, seed, guide_width=int(record.config["model"]["width"]))
    folder, before = setting.folder(cell, seed), cell.begins_with
    begin = None if before is None else setting.folder(before, seed) / "model"
    init = begin if isinstance(recipe, FlowRecipe) else None  # a student begins as its teacher
    config = run_config(recipe, recipe_name=cell.name, data=setting.data, init=init)
    asked = {
        "clips": setting.clips,
        "judge": None if setting.judge is None else setting.judge.weights_sha256,
        "align": record.sha256,
        "codec": read_record(Path(recipe.codec), "codec").sha256,
        "begin": None if begin is None else read_record(begin, "flow").sha256,
    }
    done = folder / "figures.json"
    if done.exists():
        found = _read_figures(done)
        if found["asked"] == asked and found["config"] == config:
            return dict(found["figures"])
    with training_progress("flow", recipe.train.steps) as progress:
        train(
            recipe,
            recipe_name=cell.name,
            data=setting.data,
            out=folder,
            init=init,
            threads=setting.threads,
            device=pick_device(setting.device),
            progress=progress,
        )
    # A student's recipe has no stages: what it has learned is what its teacher has.
    learned = recipe if before is None else setting.recipe(before, seed)
    figures = measure_flow(
        load_flow(folder / "model"),
        load_codec(Path(recipe.codec)),
        shown(cell.aligner, recipe.codec, seed),
        cell.samplings,
        path=cell.path,
        judge=setting.judge,
        latent_noise=learned.stages.latent_noise,
        density_clips=min(DENSITY_CLIPS, setting.clips) if cell.kind in WITH_DENSITY else 0,
    )
    stored = {"config": config, "asked": asked, "figures": figures}
    write_atomically(done, json.dumps(stored, indent=1) + "\n")
    return figures


def _aligner(setting: Setting, name: str, seed: int) -> Path:
    """Model folder of an aligner, trained first where it is missing."""
    folder = setting.aligner_folder(name, seed)
    if not (folder / "model" / CONFIG_NAME).is_file():
        print_status(f"aligner {name}, seed {seed}, into {folder}")
        _, row = aligner_row(name)
        codec = setting.recipe(FlowCell(aligner=name, kind="dcf"), seed).codec
        settings = (f"codec={codec}", *setting.aligner_settings)
        recipe = recipe_of(row, seed=seed, settings=settings)
        train_row(
            folder, row, recipe, data=setting.data, threads=setting.threads, device=setting.device
        )
    return folder / "model"


def _shown(setting: Setting, aligner: str, codec: str, seed: int) -> ShownWindows:
    """The test windows as one aligner sees them; cells of the same seed share them."""
    recipe = setting.recipe(FlowCell(aligner=aligner, kind="dcf"), seed)
    source = window_source(setting.data, "test", codec_folder=Path(codec), config=recipe.windows)
    model = load_aligner(setting.aligner_folder(aligner, seed) / "model")
    return show_windows(model, source, clips=min(setting.clips, len(source.clips)))


def _material_judge(folder: Path) -> MaterialJudge:
    return tagger_judge(load_tagger(folder), read_record(folder, "tagger").sha256)


def _read_figures(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("config", "asked", "figures")}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {error})",
            hint="delete it; the run beside it is measured again",
        ) from error


def result_of(
    table: FlowTable, figures: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """A table's lines, densities and comparisons.

    Args:
        table: which one.
        figures: cell -> what `measure_flow` said of each seed.

    Returns:
        "title"; "rows": line -> "meaning", "evaluations" and "columns" (column -> fields of the
        interval over seeds; columns that no run has are left out); "density": the same for cells;
        "true": that of the true latents; "comparisons": question -> the same columns, as
        differences of the lines seed by seed, and "times faster"; "runs": the figures.

    Source: ours; Student's t over seeds.
    """
    samples = {
        row.name: [run["samples"][str(row.evaluations)] for run in figures[row.cell.name]]
        for row in table.rows
    }
    comparisons = {}
    for each in table.comparisons:
        pairs = list(zip(samples[each.first.name], samples[each.second.name], strict=True))
        columns = _columns(
            [
                {name: _difference(*pair, path) for name, path in COLUMNS.items()}
                | {"times faster": pair[1]["flow_s_per_10s"] / pair[0]["flow_s_per_10s"]}
                for pair in pairs
            ],
            {name: (name,) for name in (*COLUMNS, "times faster") if name != "s per 10 s"},
        )
        comparisons[each.asks] = columns
    first = next(iter(figures.values()))
    return {
        "title": table.title,
        "rows": {
            row.name: {
                "meaning": row.cell.meaning,
                "evaluations": row.evaluations,
                "columns": _columns(samples[row.name], COLUMNS),
            }
            for row in table.rows
        },
        "density": {
            cell.name: {
                "meaning": cell.meaning,
                "columns": _columns(
                    [run["density"] for run in figures[cell.name]], DENSITY_COLUMNS
                ),
            }
            for cell in table.cells
            if cell.kind in WITH_DENSITY
        },
        "true": _columns([first[0]["true"]], COLUMNS),
        "comparisons": comparisons,
        "runs": {name: list(runs) for name, runs in figures.items()},
    }


def _columns(
    runs: Sequence[Mapping[str, Any]], paths: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, Any]]:
    """Intervals over runs, of what all of them have."""
    columns = {}
    for column, path in paths.items():
        values = [figure_at(dict(run), path) for run in runs]
        if all(value is not None for value in values):
            columns[column] = dataclasses.asdict(seed_interval(values))
    return columns


def _difference(
    first: dict[str, Any], second: dict[str, Any], path: tuple[str, ...]
) -> float | None:
    values = [figure_at(side, path) for side in (first, second)]
    return None if None in values else values[0] - values[1]


def markdown(table: FlowTable, result: Mapping[str, Any]) -> str:
    """A table as Markdown: its lines, the densities of its cells, and what differs.

    Mean ± half of the 95 % interval over seeds, a dash for "not said"; a difference whose interval
    leaves zero out is bold.

    Args:
        table: which one.
        result: of `result_of`.

    Source: ours.
    """
    true = {"meaning": "true latents, decoded", "evaluations": "–", "columns": result["true"]}
    lines = [table.title, ""]
    lines += _table_lines(
        ("", "NFE"),
        [
            ((row["meaning"], str(row["evaluations"])), row["columns"])
            for row in (true, *result["rows"].values())
        ],
        tuple(COLUMNS),
    )
    if result["density"]:
        lines += ["", "Likelihood of true latents, and the way to the noise and back", ""]
        lines += _table_lines(
            ("",),
            [((cell["meaning"],), cell["columns"]) for cell in result["density"].values()],
            tuple(DENSITY_COLUMNS),
        )
    if result["comparisons"]:
        lines += ["", "Differences, seed by seed", ""]
        lines += _table_lines(
            ("",),
            [((asks,), columns) for asks, columns in result["comparisons"].items()],
            (*(name for name in COLUMNS if name != "s per 10 s"), "times faster"),
            bold=True,
        )
    return "\n".join(lines) + "\n"


def _table_lines(
    heads: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Mapping[str, dict[str, Any]]]],
    columns: Sequence[str],
    *,
    bold: bool = False,
) -> list[str]:
    """A Markdown table; columns that no row has are left out."""
    shown = [column for column in columns if any(column in row for _, row in rows)]
    lines = [f"| {' | '.join([*heads, *shown])} |", "|---" * (len(heads) + len(shown)) + "|"]
    for names, row in rows:
        texts = []
        for column in shown:
            if column not in row:
                texts.append("–")
                continue
            interval = Interval(**row[column])
            text = _interval_text(interval)
            sure = interval.low > 0 or interval.high < 0
            texts.append(f"**{text}**" if bold and sure and column != "times faster" else text)
        lines.append(f"| {' | '.join([*names, *texts])} |")
    return lines


def _interval_text(interval: Interval) -> str:
    """A mean with half of its interval, to three decimals or two digits of the mean."""
    size = abs(interval.mean)
    decimals = min(7, max(3, 1 - math.floor(math.log10(size)))) if size else 3
    if math.isnan(interval.low):
        return f"{interval.mean:.{decimals}f}"
    return f"{interval.mean:.{decimals}f} ± {(interval.high - interval.low) / 2:.{decimals}f}"
