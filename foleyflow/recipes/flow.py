"""Recipes for stage two, the flow (GVAF)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.arrays import CueArrays
from foleyflow.cues.variation import CueVariation
from foleyflow.data.clips import is_of_real_clips
from foleyflow.data.mixture import DataMixture, clip_sampling
from foleyflow.data.windows import WindowConfig
from foleyflow.errors import ConfigError
from foleyflow.features.cue_labels import cues_of_labels
from foleyflow.features.flow_conditions import FlowConditions, join_condition_windows
from foleyflow.features.frames import Split
from foleyflow.features.sound_windows import open_sounds
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
from foleyflow.training.tasks.flow_batches import ContextConfig, FlowData
from foleyflow.training.tasks.pair_distillation import DistilTask, PairConfig, Pairs, open_pairs
from foleyflow.weights import file_sha256


@dataclass(frozen=True, kw_only=True)
class FlowRecipe(Recipe):
    """Configuration of a flow.

    Attributes:
        context: known latents of the training windows.
        cues: variation of the cues, for a model with cue materials.
        views: number of views of each training clip; the first one is not augmented.
        sounds: data set of clips without videos, for `stages.sound_fraction`; "" for none.
        codec, align: model folders.
        weights_dir: folder of published weights, for an aligner over a published encoder; "" means
            ~/.cache/foleyflow/encoders.
        fine_power: latents with a smaller effect on a sound's levels than the strongest one are
            scaled down for the network by this power of the ratio, so that it learns the audible
            ones first; 0 for none.
        real: model folder of the flow that stands for real data in the polish, such as the one
            before distillation; "" for the flow as it is at the start of the polish.
        reinitialise_latents: with --init, tensors that depend on the codec's latents start from
            random weights, because the initial model was trained with another codec.
        label_balance: see `data.mixture.clip_sampling`; 0 or None samples all clips equally often.
    """

    task: ClassVar[str] = "flow"
    component: ClassVar[str] = "flow"
    model: FlowConfig = field(default_factory=lambda: FlowConfig(prior_path="linear"))
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    stages: FlowStageConfig = field(default_factory=FlowStageConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    cues: CueVariation = field(default_factory=CueVariation)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    views: int = 1
    sounds: str = ""
    codec: str = "runs/codec/model"
    align: str = "runs/align/model"
    weights_dir: str = ""
    fine_power: float = 0.25
    real: str = ""
    reinitialise_latents: bool = False
    label_balance: float | None = None

    def build(self, data: Path) -> FlowTask:
        """The task on a data set; the aligner's features are computed first if missing.

        Raises:
            ConfigError: the network's prior belongs to another path than the training's, or the
                recipe needs cues, which real clips do not have, or sounds that it has not.
        """
        return self.build_joined(DataMixture.of(data))

    def build_joined(self, mixture: DataMixture) -> FlowTask:
        """The task on several data sets, see `build`; validated on the first one."""
        real = [data for data in mixture.folders if is_of_real_clips(data)]
        if self.model.cue_materials and real:
            raise ConfigError(
                f"{real[0]}: real clips have no labels of cues", hint="--set model.cue_materials="
            )
        if self.stages.sound_fraction and not self.sounds:
            raise ConfigError(
                f"stages.sound_fraction={self.stages.sound_fraction}: expected a data set of "
                "sounds",
                hint="--set sounds=FOLDER, created by: foleyflow data simulate --audio-only",
            )
        noise = self.model.predicts == "noise"
        path = DIFFUSION_PATH if noise else self.objective.path
        if self.model.prior_path not in ("", path):
            raise ConfigError(
                f"model.prior_path={self.model.prior_path!r}: expected the path of the training, "
                f"{path!r}, or nothing",
                hint=f"--set model.prior_path={path}",
            )
        codec = load_codec(Path(self.codec))
        effects = codec.level_deviations()
        sampling = clip_sampling(mixture, label_balance=self.label_balance)
        task = FlowTask(
            FlowTransformer(replace(self.model, channels=codec.config.channels)),
            self.objective,
            self.stages,
            steps=self.train.steps,
            data=self._data(mixture.folders, "train", sampling.probabilities),
            validation_data=self._data(mixture.folders[:1], "validation"),
            context=self.context,
            variation=self.cues,
            scale=(effects / effects.max()) ** self.fine_power,
            real=load_flow(Path(self.real)).eval() if self.real else None,
        )
        task.shares = sampling.shares
        if self.reinitialise_latents:
            task.reinitialised_prefixes = LATENT_TENSORS
        return task

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Computes the aligner's features of a split, and the latents of its sounds.

        See `Recipe.prepare`.
        """
        if self.sounds and split == "train":
            folder = Path(self.codec)
            open_sounds(Path(self.sounds), split, codec_folder=folder, parallel_map=parallel_map)
        views = self.views if split == "train" else 1
        windows = self.conditions(data).open_windows(split, views, parallel_map=parallel_map)
        return len(windows.clip)

    def _data(
        self,
        folders: Sequence[Path],
        split: str,
        probabilities: NDArray[np.float64] | None = None,
    ) -> FlowData:
        """Windows, cues and sounds of one split of some data sets; validation uses no sounds."""
        training = split == "train"
        views = self.views if training else 1
        cues: tuple[CueArrays, ...] = ()
        if self.model.cue_materials:
            labels = [each for data in folders for each in Split.at(data, split).labels()]
            cues = tuple(cues_of_labels(each) for each in labels)
        sounds = None
        if self.sounds and training:
            sounds = open_sounds(Path(self.sounds), split, codec_folder=Path(self.codec))
        parts = [self.conditions(data).open_windows(split, views) for data in folders]
        windows = join_condition_windows(parts, [len(part.clip) // views for part in parts])
        if probabilities is not None:
            probabilities = probabilities[windows.clip] / views
        return FlowData(windows=windows, cues=cues, sounds=sounds, probabilities=probabilities)

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
        """The task on a data set; pairs are solved first if missing.

        Raises:
            ConfigError: the teacher is conditioned on cues, which pairs do not have.
        """
        teacher = load_flow(Path(self.teacher)).eval()
        if teacher.config.cue_materials:
            raise ConfigError(
                f"teacher={self.teacher}: expected a flow without cue tracks",
                hint="use a flow of the recipe paper, or the recipes quarters and merge",
            )
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
    """The embedded model's flow: 9 M parameters, conditioned on cues and video; flow matching.

    `quarters` and `merge` then distil it into four steps and into one. Most windows are cut from
    sounds without pictures, which are simulated nine times as fast.

    Command: foleyflow data simulate --audio-only --clips 8000 --seed 5 --out data/sounds;
        foleyflow train flow --data data/sim --set sounds=data/sounds --out runs/flow
    """
    return FlowRecipe(
        model=FlowConfig(
            width=256,
            layers=6,
            heads=4,
            frames_per_token=2,
            cue_materials=MATERIAL_NAMES,
            default_guidance=1.3,
            prior_path="linear",
        ),
        objective=ObjectiveConfig(drop_timing=0.02, largest_guidance=2.5),
        stages=FlowStageConfig(
            dcf_steps=12_000,
            latent_noise=0.05,
            sound_fraction=0.75,
            no_video_fraction=0.2,
        ),
        context=ContextConfig(tail_fraction=0.2),
        train=TrainConfig(
            steps=12_000,
            batch_clips=32,
            learning_rate=1.2e-3,
            muon=True,
            warmup_steps=100,
            weight_decay=0.0,
            beta2=0.95,
            ema=0.998,
            decay_fraction=0.4,
            validate_every=1000,
            save_every=100,
        ),
    )


def quarters() -> FlowRecipe:
    """Distils a flow of flow matching into four steps: six guided Euler steps in each of them.

    Command: foleyflow train flow --recipe quarters --init runs/flow/model --data data/sim
        --set sounds=data/sounds --out runs/flow-4
    """
    recipe = _refinement(steps=1500, learning_rate=4e-4, warmup_steps=30, decay_fraction=0.6)
    stages = replace(recipe.stages, merge_steps=1500, merged_jumps=6, merged_steps=4)
    return replace(recipe, stages=stages)


def merge() -> FlowRecipe:
    """Distils a flow of four steps into one step.

    Command: foleyflow train flow --recipe merge --init runs/flow-4/model --data data/sim
        --set sounds=data/sounds --out runs/flow-1
    """
    recipe = _refinement(steps=1500, learning_rate=4e-4, warmup_steps=30, decay_fraction=0.6)
    return replace(recipe, stages=replace(recipe.stages, merge_steps=1500))


def paper() -> FlowRecipe:
    """The paper's dynamic conditional flow: the features of the video alone are the condition.

    3.4 M parameters; flow matching, then the one-step map.

    Command: foleyflow train flow --recipe paper --data data/sim --out runs/flow-paper
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


def polish() -> FlowRecipe:
    """Refines a trained flow with a one-step map by distribution matching (eq. 7).

    A step costs 3.5 times as much as one of the one-step map (on a CPU). The critic starts from the
    model of `--init`, and so does the flow of real data without `real`.

    Command: foleyflow train flow --recipe polish --init runs/flow-1/model --data data/sim
        --set sounds=data/sounds --set real=runs/flow/model --out runs/flow-polished
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
            paper().train,
            steps=700,
            learning_rate=5e-4,
            warmup_steps=50,
            decay_fraction=0.5,
            validate_every=200,
        )
    )


def diffusion() -> FlowRecipe:
    """The baseline of table 2's row "neither": DDPM, the clip's mean condition, no one-step map.

    It has the network, data and steps of `paper`, and is sampled by DPM-Solver++ in about 25 steps.

    Command: foleyflow train flow --recipe diffusion --data data/sim --out runs/diffusion
    """
    recipe = paper()
    model = replace(recipe.model, static=True, predicts="noise", prior_path=DIFFUSION_PATH)
    return replace(recipe, model=model)


def small(recipe: FlowRecipe) -> FlowRecipe:
    """A recipe like `paper` at the ablation tables' size: a tenth of its work per step."""
    return replace(
        recipe,
        model=replace(recipe.model, width=96, layers=3, heads=4, condition_width=SMALL_WIDTH),
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
            cue_materials=MATERIAL_NAMES,
            prior_path="linear",
        ),
        stages=FlowStageConfig(dcf_steps=2),
        context=ContextConfig(longest_context=10, shortest_context=4),
        windows=WindowConfig(segments=10),
        train=SMOKE_TRAIN,
    )
