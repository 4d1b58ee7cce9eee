"""Train and measure all cells of an ablation table, and write the table as Markdown and JSON.

The run of a cell with a seed is in the folder `OUT/CELL/seed-K`, whichever table needs it, and
begins with the weights of the run that it depends on. A rerun keeps finished runs and resumes an
interrupted one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foleyflow.errors import CheckpointError, ConfigError, FoleyflowError, UsageError
from foleyflow.evaluation.metric import Interval, seed_interval
from foleyflow.experiments.measure_aligner import (
    PROBE_CLIPS,
    RealClip,
    measure_aligner,
    read_real_clips,
)
from foleyflow.experiments.measure_flow import HeldOutWindows, held_out_windows, measure_flow
from foleyflow.experiments.tables.definitions import (
    WITH_DENSITY,
    AlignerCell,
    Cell,
    FlowCell,
    Row,
    Table,
    aligner_cell,
    part_of,
)
from foleyflow.experiments.tables.recipes import aligner_recipe, check_settings, flow_recipe
from foleyflow.features.codec_latents import window_source
from foleyflow.judges.adapters import TaggerJudge
from foleyflow.judges.interface import MaterialJudge
from foleyflow.judges.networks.trained import load_tagger
from foleyflow.pretrained import load_aligner, load_codec, load_flow
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.recipes.published import PublishedRecipe
from foleyflow.training import loop
from foleyflow.training.run import run_config, train
from foleyflow.weights import CONFIG_NAME, read_record, save_component, write_atomically

DENSITY_CLIPS = 24  # maximum: a likelihood takes as long as thousands of samples
ALIGNER_PREFIX = "aligner."  # of settings for the aligners of a flow table
Paths = Mapping[str, tuple[str, ...]]
TrainingProgress = Callable[[str, int], AbstractContextManager[loop.Progress]]
# Column -> its path in the figures of an aligner, of a flow's samples and of its likelihood.
ALIGNER_COLUMNS: Paths = {
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
FLOW_COLUMNS: Paths = {
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
DENSITY_COLUMNS: Paths = {
    "bits/dim": ("bits_per_dimension", "mean"),
    "bits/dim, other video": ("bits_per_dimension_other", "mean"),
    "own video likelier": ("matched_likelier", "mean"),
    "round trip": ("round_trip_error",),
}
SPEED, SPEED_UP = "s per 10 s", "times faster"


@dataclass(frozen=True, kw_only=True)
class TableRun:
    """What to run, and where.

    Attributes:
        name: of the table.
        stage: "alignment" or "flow"; None for the table's first one.
        data: simulated clips with train, validation and test splits.
        out: folder of the runs and tables.
        seeds: runs of each cell.
        settings: changes for all cells, as for `--set`; in a flow table those that begin with
            "aligner." are for its aligners.
        real: alignment: folder of real clips that are only measured, or None.
        probe_clips: alignment: maximum number of training clips of the probes.
        clips: flow: maximum number of test clips.
        judge_folder: flow: model folder of a tagger, which classifies materials, or None.
        aligners: flow: folder of aligner runs; missing ones are trained there. None for `out`.
        without: flow: aligners whose rows are left out.
        threads: processor threads; 0 keeps torch's default.
    """

    name: str
    data: Path
    out: Path
    stage: str | None = None
    seeds: int = 3
    settings: tuple[str, ...] = ()
    real: Path | None = None
    probe_clips: int = PROBE_CLIPS
    clips: int = 96
    judge_folder: Path | None = None
    aligners: Path | None = None
    without: tuple[str, ...] = ()
    threads: int = 1
    device: str = "auto"


def plan_table(run: TableRun) -> dict[str, Any]:
    """The recipes of all cells, without running anything.

    Raises:
        ConfigError: no such table, setting or aligner.
    """
    runner = _Runner(run)
    cells = {
        cell.name: dataclasses.asdict(runner.recipe(cell, 0)) | {"meaning": cell.meaning}
        for cell in runner.table.cells
    }
    return {"title": runner.table.title, "seeds": run.seeds, "cells": cells}


def run_table(
    run: TableRun,
    progress: Callable[[str], None] = lambda text: None,
    training_progress: TrainingProgress | None = None,
) -> tuple[dict[str, Any], str]:
    """Train and measure what is missing, and write `OUT/TABLE-STAGE.json` and `.md`.

    Args:
        progress: called with a line before each cell.
        training_progress: called with the name and the number of steps of each training; the
            context's value is called after each logged step, with the step and its figures.

    Returns:
        the table as JSON (see `table_result`) and as Markdown.

    Raises:
        ConfigError: no such table, setting or aligner.
        FoleyflowError: a cell can't be trained or measured; the message begins with its name.
    """
    runner = _Runner(run, progress, training_progress)
    runner.load_inputs()
    table = runner.table
    jobs = [(cell, seed) for seed in range(run.seeds) for cell in table.cells]
    figures: dict[str, list[dict[str, Any]]] = {cell.name: [] for cell in table.cells}
    for number, (cell, seed) in enumerate(jobs, start=1):
        progress(f"{number} of {len(jobs)}: {cell.name}, seed {seed}")
        try:
            figures[cell.name].append(runner.figures(cell, seed))
        except FoleyflowError as error:
            kind = UsageError if isinstance(error, UsageError) else FoleyflowError
            message = f"cell {cell.name}, seed {seed}: {error}"
            raise kind(message, hint=error.hint) from error
    result = table_result(table, figures) | runner.conditions()
    text = markdown(result)
    path = run.out / f"{run.name}-{runner.stage}"
    write_atomically(path.with_suffix(".json"), json.dumps(result, indent=1) + "\n")
    write_atomically(path.with_suffix(".md"), text)
    return result, text


class _Runner:
    """Trains and measures the cells of one table."""

    def __init__(
        self,
        run: TableRun,
        progress: Callable[[str], None] = lambda text: None,
        training_progress: TrainingProgress | None = None,
    ) -> None:
        """Check the table and all settings."""
        self.run = run
        self.progress = progress
        self.training_progress = training_progress
        self.stage, self.table = part_of(run.name, run.stage)
        self.aligner_settings = self.flow_settings = run.settings
        if self.stage == "flow":
            if run.without:
                self.table = self.table.without(run.without)
            prefix = ALIGNER_PREFIX
            self.flow_settings = tuple(s for s in run.settings if not s.startswith(prefix))
            self.aligner_settings = tuple(
                s.removeprefix(prefix) for s in run.settings if s.startswith(prefix)
            )
            check_settings(self.table, self.flow_settings)
        for name in sorted({cell.aligner for cell in self.table.cells}):
            aligner_recipe(aligner_cell(name), seed=0, settings=self.aligner_settings)
        self.judge: MaterialJudge | None = None
        if run.judge_folder is not None:
            sha256 = read_record(run.judge_folder, "tagger").sha256
            self.judge = TaggerJudge(load_tagger(run.judge_folder), sha256)
        self.real: list[RealClip] = []
        self._windows = functools.lru_cache(maxsize=1)(self._load_windows)

    def load_inputs(self) -> None:
        """Decode real clips and set the number of threads."""
        if self.run.threads:
            torch.set_num_threads(self.run.threads)
        if self.run.real is None:
            return
        recipe = self.recipe(self.table.cells[0], 0)
        if isinstance(recipe, PublishedRecipe):
            raise ConfigError(
                f"table {self.run.name}: real clips can't be measured with published encoders",
                hint="leave out --real",
            )
        self.real = read_real_clips(self.run.real, size=recipe.encoder.size)

    def conditions(self) -> dict[str, Any]:
        """Settings of the measurement, for the table's JSON."""
        run = self.run
        if self.stage == "alignment":
            return {"settings": list(run.settings), "probe_clips": run.probe_clips}
        return {
            "settings": list(run.settings),
            "without": list(run.without),
            "clips": run.clips,
            "judge": None if self.judge is None else self.judge.weights_sha256,
        }

    def recipe(self, cell: Cell, seed: int, *, condition_width: int | None = None) -> Any:
        """The complete recipe of a cell."""
        if isinstance(cell, AlignerCell):
            settings = self.aligner_settings
            if self.stage == "flow":
                flow = FlowCell(aligner=cell.name, kind="dcf")
                settings = (f"codec={self.recipe(flow, seed).codec}", *settings)
            return aligner_recipe(cell, seed=seed, settings=settings)
        before = cell.begins_with
        return flow_recipe(
            cell,
            seed=seed,
            settings=self.flow_settings,
            align=self._folder(aligner_cell(cell.aligner), seed) / "model",
            begin=None if before is None else self._folder(before, seed) / "model",
            condition_width=condition_width,
        )

    def figures(self, cell: Cell, seed: int) -> dict[str, Any]:
        """The figures of a cell; stored ones if nothing that they depend on has changed."""
        if isinstance(cell, AlignerCell):
            recipe = self.recipe(cell, seed)
            inputs = {
                "trained": cell.trained,
                "probe_clips": self.run.probe_clips,
                "real_clips": len(self.real),
            }
            init, name = None, cell.recipe
        else:
            recipe, init, inputs = self._flow_inputs(cell, seed)
            name = cell.name
        config = run_config(recipe, recipe_name=name, data=self.run.data, init=init)
        path = self._folder(cell, seed) / "figures.json"
        if path.exists():
            stored = _read_figures(path)
            if stored["asked"] == inputs and stored["config"] == config:
                return dict(stored["figures"])
        self._train(cell, seed, recipe, name, init)
        if isinstance(cell, AlignerCell):
            figures = measure_aligner(
                load_aligner(self._folder(cell, seed) / "model"),
                recipe,
                self.run.data,
                real=self.real,
                probe_clips=self.run.probe_clips,
            )
        else:
            figures = self._measure_flow(cell, seed, recipe)
        record = {"config": config, "asked": inputs, "figures": figures}
        write_atomically(path, json.dumps(record, indent=1) + "\n")
        return figures

    def _flow_inputs(self, cell: FlowCell, seed: int) -> tuple[Any, Path | None, dict[str, Any]]:
        """Recipe and initial weights of a flow, and what else its figures depend on."""
        # The aligner, trained if it is missing
        aligner = aligner_cell(cell.aligner)
        folder = self._folder(aligner, seed)
        if not (folder / "model" / CONFIG_NAME).is_file():
            self.progress(f"aligner {aligner.name}, seed {seed}, into {folder}")
            recipe = self.recipe(aligner, seed)
            self._train(aligner, seed, recipe, aligner.recipe, None)
        record = read_record(folder / "model", "align")
        # The flow that this one begins with
        before = cell.begins_with
        begin = None if before is None else self._folder(before, seed) / "model"
        recipe = self.recipe(cell, seed, condition_width=int(record.config["model"]["width"]))
        inputs = {
            "clips": self.run.clips,
            "judge": None if self.judge is None else self.judge.weights_sha256,
            "align": record.sha256,
            "codec": read_record(Path(recipe.codec), "codec").sha256,
            "begin": None if begin is None else read_record(begin, "flow").sha256,
        }
        # A distilled student is initialised from its teacher by its own task.
        return recipe, begin if isinstance(recipe, FlowRecipe) else None, inputs

    def _train(self, cell: Cell, seed: int, recipe: Any, name: str, init: Path | None) -> None:
        """Train a cell to its last step, from the checkpoint in its folder if there is one."""
        run, folder = self.run, self._folder(cell, seed)
        if not isinstance(cell, AlignerCell) or cell.trained:
            start = self.training_progress
            with nullcontext() if start is None else start(cell.name, recipe.train.steps) as show:
                train(
                    recipe,
                    data=run.data,
                    out=folder,
                    recipe_name=name,
                    init=init,
                    threads=run.threads,
                    device=run.device,
                    progress=show,
                )
            return
        torch.manual_seed(recipe.train.seed)
        task = recipe.build(run.data)
        config = run_config(recipe, recipe_name=name, data=run.data, init=init)
        for part, (module, settings) in task.export(task.modules).items():
            save_component(
                folder / "model", part, module=module, config=settings, provenance=config
            )

    def _measure_flow(self, cell: FlowCell, seed: int, recipe: Any) -> dict[str, Any]:
        before, clips = cell.begins_with, self.run.clips
        # The recipe of a student has no stages: it has learnt what its teacher has.
        learnt = recipe if before is None else self.recipe(before, seed)
        return measure_flow(
            load_flow(self._folder(cell, seed) / "model"),
            load_codec(Path(recipe.codec)),
            self._windows(cell.aligner, recipe.codec, seed),
            cell.samplings,
            path=cell.path,
            judge=self.judge,
            latent_noise=learnt.stages.latent_noise,
            density_clips=min(DENSITY_CLIPS, clips) if cell.kind in WITH_DENSITY else 0,
        )

    def _load_windows(self, aligner: str, codec: str, seed: int) -> HeldOutWindows:
        """The test windows as one aligner encodes them; cells of the same seed share them."""
        config = self.recipe(FlowCell(aligner=aligner, kind="dcf"), seed).windows
        source = window_source(self.run.data, "test", codec_folder=Path(codec), config=config)
        model = load_aligner(self._folder(aligner_cell(aligner), seed) / "model")
        return held_out_windows(model, source, clips=min(self.run.clips, len(source.clips)))

    def _folder(self, cell: Cell, seed: int) -> Path:
        """Of a cell's run."""
        folder = self.run.out
        if isinstance(cell, AlignerCell) and self.stage == "flow":
            folder = self.run.aligners or folder
        return folder / cell.name / f"seed-{seed}"


def _read_figures(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {key: stored[key] for key in ("config", "asked", "figures")}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {error})",
            hint="delete it; its run is then measured again",
        ) from error


def table_result(
    table: Table, figures: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Rows, likelihoods and comparisons of a table, from the figures of each cell and seed.

    Returns:
        "title"; "rows": row -> "meaning", "evaluations" and "columns" (column -> fields of the
        interval over seeds, by Student's t; columns that a run lacks are left out); for a flow
        table "density": the same for cells, and "true": the columns of the decoded true latents;
        "comparisons": question -> the same columns, as differences of the rows for each seed, and
        "times faster"; "runs": the figures.
    """
    is_flow = any(row.evaluations is not None for row in table.rows)
    paths = FLOW_COLUMNS if is_flow else ALIGNER_COLUMNS

    def runs_of(row: Row) -> list[Mapping[str, Any]]:
        runs = figures[row.cell.name]
        if row.evaluations is None:
            return list(runs)
        return [run["samples"][str(row.evaluations)] for run in runs]

    result: dict[str, Any] = {
        "title": table.title,
        "rows": {
            row.name: {
                "meaning": row.cell.meaning,
                "evaluations": row.evaluations,
                "columns": _columns(runs_of(row), paths),
            }
            for row in table.rows
        },
    }
    if is_flow:
        with_density = [
            cell for cell in table.cells if isinstance(cell, FlowCell) and cell.kind in WITH_DENSITY
        ]
        result["density"] = {
            cell.name: {
                "meaning": cell.meaning,
                "columns": _columns(
                    [run["density"] for run in figures[cell.name]], DENSITY_COLUMNS
                ),
            }
            for cell in with_density
        }
        result["true"] = _columns([next(iter(figures.values()))[0]["true"]], paths)
    result["comparisons"] = {
        each.question: _difference_columns(runs_of(each.first), runs_of(each.second), paths)
        for each in table.comparisons
    }
    return result | {"runs": {name: list(runs) for name, runs in figures.items()}}


def _columns(runs: Sequence[Mapping[str, Any]], paths: Paths) -> dict[str, dict[str, Any]]:
    """Intervals over runs, for columns that all runs have."""
    columns = {}
    for column, path in paths.items():
        values = [figure_at(run, path) for run in runs]
        if all(value is not None for value in values):
            columns[column] = dataclasses.asdict(seed_interval(values))
    return columns


def _difference_columns(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], paths: Paths
) -> dict[str, dict[str, Any]]:
    differences: list[dict[str, Any]] = []
    for pair in zip(first, second, strict=True):
        values = {name: [figure_at(run, path) for run in pair] for name, path in paths.items()}
        differences.append(
            {
                name: None if None in (one, other) else one - other
                for name, (one, other) in values.items()
                if name != SPEED
            }
        )
        if SPEED in values:
            differences[-1][SPEED_UP] = values[SPEED][1] / values[SPEED][0]
    return _columns(differences, {name: (name,) for name in differences[0]})


def figure_at(figures: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path of keys, None if it does not exist."""
    value: Any = figures
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def markdown(result: Mapping[str, Any]) -> str:
    """A result of `table_result` as Markdown: rows, likelihoods and differences.

    Values are the mean ± half of the 95 % interval over seeds, or a dash for no value; a
    difference whose interval excludes zero is bold.
    """
    rows = list(result["rows"].values())
    heads, columns = ["", "NFE"], FLOW_COLUMNS
    if "true" in result:
        meaning = "true latents, decoded"
        rows.insert(0, {"meaning": meaning, "evaluations": "–", "columns": result["true"]})
    else:
        heads, columns = [""], ALIGNER_COLUMNS
    lines = [result["title"], ""]
    lines += _markdown_table(
        heads,
        [([row["meaning"], str(row["evaluations"])][: len(heads)], row["columns"]) for row in rows],
        columns,
    )
    if result.get("density"):
        lines += ["", "Likelihood of true latents, and the round trip to noise and back", ""]
        lines += _markdown_table(
            [""],
            [([cell["meaning"]], cell["columns"]) for cell in result["density"].values()],
            DENSITY_COLUMNS,
        )
    if result["comparisons"]:
        lines += ["", "Differences, seed by seed", ""]
        lines += _markdown_table(
            [""],
            [([question], each) for question, each in result["comparisons"].items()],
            [*(name for name in columns if name != SPEED), SPEED_UP],
            bold=True,
        )
    return "\n".join(lines) + "\n"


def _markdown_table(
    heads: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Mapping[str, dict[str, Any]]]],
    columns: Sequence[str] | Paths,
    *,
    bold: bool = False,
) -> list[str]:
    """Lines of a Markdown table; columns that no row has are left out."""
    used = [column for column in columns if any(column in values for _, values in rows)]
    lines = [f"| {' | '.join([*heads, *used])} |", "|---" * (len(heads) + len(used)) + "|"]
    for names, values in rows:
        texts = []
        for column in used:
            if column not in values:
                texts.append("–")
                continue
            interval = Interval(**values[column])
            excludes_zero = interval.low > 0 or interval.high < 0
            text = _interval_text(interval)
            texts.append(f"**{text}**" if bold and excludes_zero and column != SPEED_UP else text)
        lines.append(f"| {' | '.join([*names, *texts])} |")
    return lines


def _interval_text(interval: Interval) -> str:
    """A mean with half of its interval, to three decimals or two digits of the mean."""
    size = abs(interval.mean)
    decimals = min(7, max(3, 1 - math.floor(math.log10(size)))) if size else 3
    if math.isnan(interval.low):
        return f"{interval.mean:.{decimals}f}"
    return f"{interval.mean:.{decimals}f} ± {(interval.high - interval.low) / 2:.{decimals}f}"
