"""Trains and measures the cells of one table; finished runs are kept.

The run of a cell with a seed is in the folder `OUT/CELL/seed-K`, whichever table needs it, and
begins with the weights of the run that it depends on. Its figures are stored there with everything
that they depend on.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foleyflow.data.clips import open_split
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.experiments.judged_sounds import ColumnJudges, SoundScores, load_column_judges
from foleyflow.experiments.measure_aligner import (
    PROBE_CLIPS,
    RealClip,
    measure_aligner,
    read_real_clips,
)
from foleyflow.experiments.measure_flow import HeldOutWindows, held_out_windows, measure_flow
from foleyflow.experiments.tables.cells import AlignerCell, Cell, FlowCell
from foleyflow.experiments.tables.definitions import aligner_cell, part_of
from foleyflow.experiments.tables.recipes import (
    aligner_recipe,
    check_settings,
    flow_recipe,
    has_published_encoders,
)
from foleyflow.pretrained import load_aligner, load_codec, load_flow
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.recipes.published import PublishedRecipe
from foleyflow.training import loop
from foleyflow.training.run import run_config, train
from foleyflow.weights import CONFIG_NAME, read_record, save_component, write_atomically

DENSITY_CLIPS = 12  # maximum: a likelihood takes as long as thousands of samples
ALIGNER_PREFIX = "aligner."  # of settings for the aligners of a flow table
TrainingProgress = Callable[[str, int], AbstractContextManager[loop.Progress]]


@dataclass(frozen=True, kw_only=True)
class TableRun:
    """What to run, and where.

    Attributes:
        name: of the table.
        stage: "alignment" or "flow"; None for the table's first one.
        encoders: "own", or "published" for the same cells over frozen published encoders.
        data: clips with train, validation and test splits.
        out: folder of the runs and tables.
        seeds: runs of each cell.
        settings: changes for all cells, as for `--set`; in a flow table those that begin with
            "aligner." are for its aligners.
        real: alignment: folder of real clips that are only measured, or None.
        probe_clips: alignment: maximum number of training clips of the probes.
        clips: flow: maximum number of test clips.
        judge_folder: flow: where the judges' weights are; None for the default folder.
        aligners: flow: folder of aligner runs; missing ones are trained there. None for `out`.
        without: aligners whose rows are left out.
        threads: processor threads; 0 keeps torch's default.
    """

    name: str
    data: Path
    out: Path
    stage: str | None = None
    encoders: str = "own"
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


class CellRuns:
    """The runs of one table."""

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
        self.stage, self.table = part_of(
            run.name, run.stage, encoders=run.encoders, without=run.without
        )
        self.aligner_settings = self.flow_settings = run.settings
        if self.stage == "flow":
            prefix = ALIGNER_PREFIX
            self.flow_settings = tuple(s for s in run.settings if not s.startswith(prefix))
            self.aligner_settings = tuple(
                s.removeprefix(prefix) for s in run.settings if s.startswith(prefix)
            )
            check_settings(self.table, self.flow_settings)
        for name in sorted({cell.aligner for cell in self.table.cells}):
            aligner_recipe(aligner_cell(name), seed=0, settings=self.aligner_settings)
        self.judges = ColumnJudges(judges={}, missing={})
        self.real: list[RealClip] = []
        self._fingerprints: list[str] = []
        self._true_scores: SoundScores | None = None
        self._windows = functools.lru_cache(maxsize=1)(self._load_windows)

    def load_inputs(self) -> None:
        """Load judges, decode real clips and set the number of threads."""
        run = self.run
        if run.threads:
            torch.set_num_threads(run.threads)
        splits = ("train", "validation", "test")
        self._fingerprints = [open_split(run.data, split).fingerprint for split in splits]
        if self.stage == "flow":
            self.judges = load_column_judges(run.judge_folder)
            for column, error in self.judges.missing.items():
                hint = f"; {error.hint}" if error.hint else ""
                self.progress(f"column {column} is left out: {error}{hint}")
        if run.real is None:
            return
        recipe = self.recipe(self.table.cells[0], 0)
        if isinstance(recipe, PublishedRecipe):
            raise ConfigError(
                f"table {run.name}: real clips can't be measured with published encoders",
                hint="leave out --real",
            )
        self.real = read_real_clips(run.real, size=recipe.encoder.size)

    def conditions(self) -> dict[str, Any]:
        """Settings of the measurement, for the table's JSON."""
        run = self.run
        settings = {"encoders": run.encoders, "settings": list(run.settings)}
        if self.stage == "alignment":
            return {**settings, "probe_clips": run.probe_clips}
        return {
            **settings,
            "without": list(run.without),
            "clips": run.clips,
            "judges": self.judges.weights_sha256,
            "left_out": {column: str(error) for column, error in self.judges.missing.items()},
        }

    def recipe(self, cell: Cell, seed: int, *, condition_width: int | None = None) -> Any:
        """The complete recipe of a cell."""
        if isinstance(cell, AlignerCell):
            settings = self.aligner_settings
            flow = FlowCell(aligner=cell.name, kind="dcf")
            # An aligner over published encoders recovers no latents of a codec
            if self.stage == "flow" and not has_published_encoders(flow):
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
        """The figures of a cell; stored ones if nothing that they depend on has changed.

        The first part of a flow's training is no row, and has no figures.
        """
        # Everything that the figures depend on
        if isinstance(cell, AlignerCell):
            recipe = self.recipe(cell, seed)
            inputs: dict[str, Any] = {
                "trained": cell.trained,
                "probe_clips": self.run.probe_clips,
                "real_clips": len(self.real),
            }
            init, name = None, cell.recipe
        else:
            recipe, init, inputs = self._flow_inputs(cell, seed)
            name = cell.name
        inputs["splits"] = self._fingerprints
        config = run_config(recipe, recipe_name=name, data=self.run.data, init=init)

        # Stored figures
        path = self._folder(cell, seed) / "figures.json"
        if path.exists():
            stored = _read_figures(path)
            if stored["asked"] == inputs and stored["config"] == config:
                return dict(stored["figures"])

        # Training and measurement
        self._train(cell, seed, recipe, name, init)
        figures: dict[str, Any] = {}
        if isinstance(cell, AlignerCell):
            figures = measure_aligner(
                load_aligner(self._folder(cell, seed) / "model"),
                recipe,
                self.run.data,
                real=self.real,
                probe_clips=self.run.probe_clips,
            )
        elif cell.samplings:
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
        inputs: dict[str, Any] = {
            "align": record.sha256,
            "codec": read_record(Path(recipe.codec), "codec").sha256,
            "begin": None if begin is None else read_record(begin, "flow").sha256,
        }
        if cell.samplings:
            inputs |= {"clips": self.run.clips, "judges": self.judges.weights_sha256}
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
        windows = self._windows(cell.aligner, recipe.codec, seed)
        # All cells are measured on the same windows, so that their true sounds are scored once.
        if self._true_scores is None:
            self._true_scores = windows.scores(self.judges, self.run.data)
        figures = measure_flow(
            load_flow(self._folder(cell, seed) / "model"),
            load_codec(Path(recipe.codec)),
            windows,
            cell.samplings,
            path=cell.path,
            scores=self._true_scores,
            latent_noise=learnt.stages.latent_noise,
            density_clips=min(DENSITY_CLIPS, clips) if cell.has_likelihood else 0,
        )
        for column, why in figures["true"]["not_measured"].items():
            self.progress(f"column {column} is left out: {why}")
        return figures

    def _load_windows(self, aligner: str, codec: str, seed: int) -> HeldOutWindows:
        """The test windows as one aligner encodes them; cells of the same seed share them."""
        recipe = self.recipe(FlowCell(aligner=aligner, kind="dcf"), seed)
        source = recipe.conditions(self.run.data).source("test")
        model = load_aligner(self._folder(aligner_cell(aligner), seed) / "model")
        return held_out_windows(model, source, clips=min(self.run.clips, len(source.clips)))

    def _folder(self, cell: Cell, seed: int) -> Path:
        """Of a cell's run."""
        folder = self.run.out
        if isinstance(cell, AlignerCell) and self.stage == "flow":
            folder = self.run.aligners or folder
        return folder / cell.name / f"seed-{seed}"


def _read_figures(path: Path) -> Mapping[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {key: stored[key] for key in ("config", "asked", "figures")}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {error})",
            hint="delete it; its run is then measured again",
        ) from error
