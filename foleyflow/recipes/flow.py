"""Recipes for stage two, the flow (GVAF)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from foleyflow.data.windows import WindowConfig
from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import FlowConditions
from foleyflow.features.store import store_folder
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.transformer import LATENT_TENSORS, FlowConfig, FlowTransformer
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import load_codec, load_flow
from foleyflow.recipes.sizes import SMALL_WIDTH, SMOKE_TRAIN
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.flow import VALIDATION_WINDOWS, FlowStageConfig, FlowTask
from foleyflow.training.tasks.pair_distillation import DistilTask, PairConfig, Pairs, open_pairs
from foleyflow.weights import file_sha256


@dataclass(frozen=True, kw_only=True)
class FlowRecipe(Recipe):
    """Configuration of a flow.

    Attributes:
        views: number of views of each training clip; the first one is not augmented.
        codec, align: model folders.
        weights_dir: folder of published weights, for an aligner over a published encoder; "" means
            ~/.cache/foleyflow/encoders.
        fine_power: latents with a smaller effect on a sound's levels than the strongest one are
            scaled down for the network by this power of the ratio, so that it learns the audible
            ones first; 0 for none.
        reinitialise_latents: with --init, tensors that depend on the codec's latents start from
            random weights, because the initial model was trained with another codec.
    """

    task: ClassVar[str] = "flow"
    component: ClassVar[str] = "flow"
    model: FlowConfig = field(
        default_factory=lambda: FlowConfig(material_names=MATERIAL_NAMES, prior_path="linear")
    )
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    stages: FlowStageConfig = field(default_factory=FlowStageConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    views: int = 1
    codec: str = "runs/codec/model"
    align: str = "runs/align/model"
    weights_dir: str = ""
    fine_power: float = 0.25
    reinitialise_latents: bool = False

    def build(self, data: Path) -> FlowTask:
        """The task on a data set; the aligner's features are computed first if missing.

        Raises:
            ConfigError: the network's prior belongs to another path than the training's.
        """
        noise = self.model.predicts == "noise"
        path = DIFFUSION_PATH if noise else self.objective.path
        if self.model.prior_path not in ("", path):
            raise ConfigError(
                f"model.prior_path={self.model.prior_path!r}: expected the path of the training, "
                f"{path!r}, or nothing",
                hint=f"--set model.prior_path={path}",
            )
        effects = load_codec(Path(self.codec)).level_deviations()
        conditions = self.conditions(data)
        task = FlowTask(
            FlowTransformer(self.model),
            self.objective,
            self.stages,
            steps=self.train.steps,
            windows=conditions.open_windows("train", self.views),
            validation_windows=conditions.open_windows("validation", 1),
            scale=(effects / effects.max()) ** self.fine_power,
        )
        if self.reinitialise_latents:
            task.reinitialised_prefixes = LATENT_TENSORS
        return task

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Computes the aligner's features of a split; see `Recipe.prepare`."""
        views = self.views if split == "train" else 1
        windows = self.conditions(data).open_windows(split, views, parallel_map=parallel_map)
        return len(windows.clip)

    def conditions(self, data: Path) -> FlowConditions:
        """Sources of the windows."""
        return FlowConditions(
            data=data,
            windows=self.windows,
            codec=self.codec,
            align=self.align,
            weights_dir=self.weights_dir,
        )


@dataclass(frozen=True, kw_only=True)
class DistilRecipe(Recipe):
    """Configuration of a flow that learns one step from pairs.

    Attributes:
        views: number of views of each training clip; the first one is not augmented.
        codec, align: model folders.
        weights_dir: as in `FlowRecipe`.
        teacher: model folder of the flow that solves the pairs and initialises the student.
    """

    task: ClassVar[str] = "flow"
    component: ClassVar[str] = "flow"
    pairs: PairConfig = field(default_factory=PairConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    views: int = 1
    codec: str = "runs/codec/model"
    align: str = "runs/align/model"
    weights_dir: str = ""
    teacher: str = "runs/flow/model"

    def build(self, data: Path) -> DistilTask:
        """The task on a data set; pairs are solved first if missing."""
        teacher = load_flow(Path(self.teacher)).eval()
        validation = replace(self.pairs, count=min(self.pairs.count, VALIDATION_WINDOWS))
        return DistilTask(
            copy.deepcopy(teacher),
            self.objective,
            pairs=self._pairs(data, "train", teacher, self.pairs, self.views),
            validation_pairs=self._pairs(data, "validation", teacher, validation, 1),
        )

    def _pairs(
        self, data: Path, split: str, teacher: FlowTransformer, config: PairConfig, views: int
    ) -> Pairs:
        conditions = FlowConditions(
            data=data,
            windows=self.windows,
            codec=self.codec,
            align=self.align,
            weights_dir=self.weights_dir,
        )
        folder = store_folder(
            data,
            f"pairs-{split}",
            conditions.key(split, views),
            file_sha256(Path(self.teacher) / "flow.safetensors"),
            config,
            self.objective.path,
        )
        windows = conditions.open_windows(split, views)
        return open_pairs(folder, teacher, windows, config, flow_path=self.objective.path)


def tiny() -> FlowRecipe:
    """The embedded model's flow: 3.4 M parameters, flow matching, then the one-step map.

    `merge` refines it.

    Command: foleyflow train flow --data data/sim --out runs/flow
    """
    return FlowRecipe(
        stages=FlowStageConfig(latent_noise=0.05),
        train=TrainConfig(
            steps=1700,
            batch_clips=20,
            learning_rate=8e-4,
            warmup_steps=100,
            weight_decay=0.0,
            beta2=0.95,
            ema=0.998,
            decay_fraction=0.4,
            validate_every=500,
            save_every=100,
        ),
    )


def merge() -> FlowRecipe:
    """Refines a trained one-step map by progressive distillation of four steps into one.

    Command: foleyflow train flow --recipe merge --init runs/flow/model --data data/sim
        --out runs/flow-merged
    """
    recipe = _refinement(steps=500, learning_rate=3e-4, warmup_steps=30, decay_fraction=0.5)
    return replace(recipe, stages=replace(recipe.stages, merge_steps=500))


def polish() -> FlowRecipe:
    """Refines a trained flow with a one-step map by distribution matching (eq. 7).

    A step costs 3.5 times as much as one of the one-step map (on a CPU). The critic starts from the
    model of `--init`.

    Command: foleyflow train flow --recipe polish --init runs/flow/model --data data/sim
        --out runs/flow-polished
    """
    recipe = _refinement(steps=300, learning_rate=1e-4, warmup_steps=20, decay_fraction=0.3)
    return replace(recipe, stages=replace(recipe.stages, polish_steps=300))


def _refinement(**train: Any) -> FlowRecipe:
    """A recipe that starts from a trained flow, without the stages of `tiny`."""
    recipe = tiny()
    return replace(
        recipe,
        stages=replace(recipe.stages, dcf_steps=0),
        train=replace(recipe.train, ema=0.99, validate_every=100, **train),
    )


def distil() -> DistilRecipe:
    """A one-step map learned from stored pairs: the baseline of the one-step loss.

    Command: foleyflow train flow --recipe distil --data data/sim --out runs/flow-distilled
    """
    return DistilRecipe(
        train=replace(
            tiny().train,
            steps=700,
            learning_rate=5e-4,
            warmup_steps=50,
            decay_fraction=0.5,
            validate_every=200,
        )
    )


def diffusion() -> FlowRecipe:
    """The baseline of table 2's row "neither": DDPM, the clip's mean condition, no one-step map.

    It has the network, data and steps of `tiny`, and is sampled by DPM-Solver++ in about 25 steps.

    Command: foleyflow train flow --recipe diffusion --data data/sim --out runs/diffusion
    """
    recipe = tiny()
    model = replace(recipe.model, static=True, predicts="noise", prior_path=DIFFUSION_PATH)
    return replace(recipe, model=model)


def small(recipe: FlowRecipe) -> FlowRecipe:
    """A recipe at the ablation tables' size: a tenth of the embedded model's work per step.

    As in the paper, there is no event condition. With it, a flow would learn the times of events
    from the aligner's event head instead of the features that the table compares.
    """
    return replace(
        recipe,
        model=replace(
            recipe.model, width=96, layers=3, heads=4, condition_width=SMALL_WIDTH, events=False
        ),
        windows=replace(recipe.windows, segments=30),
        train=replace(recipe.train, batch_clips=12, ema=0.995, validate_every=400, save_every=100),
    )


def smoke() -> FlowRecipe:
    """A test of all parts in seconds on a CPU."""
    return FlowRecipe(
        model=FlowConfig(
            width=16,
            layers=1,
            heads=2,
            condition_width=16,
            material_names=MATERIAL_NAMES,
            prior_path="linear",
        ),
        stages=FlowStageConfig(dcf_steps=2, longest_context=10, shortest_context=4),
        windows=WindowConfig(segments=10),
        train=SMOKE_TRAIN,
    )
