"""Recipes for GVAF, stage two."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from foleyflow.data.windows import WindowConfig
from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import FlowConditions
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.transformer import LATENT_TENSORS, FlowConfig, FlowTransformer
from foleyflow.pretrained import load_codec, load_flow
from foleyflow.recipes.align import SMALL_WIDTH
from foleyflow.simulation.contacts import MATERIALS
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.flow import FlowStageConfig, FlowTask
from foleyflow.training.tasks.pair_distillation import DistilTask, PairConfig, Pairs, open_pairs
from foleyflow.weights import file_sha256


@dataclass(frozen=True, kw_only=True)
class FlowRecipe:
    """All that decides a flow.

    Attributes:
        views: looks at every training clip; the first one is not augmented.
        codec, align: model folders.
        weights_dir: where published weights lie, for an aligner over a published encoder; "" for
            ~/.cache/foleyflow/encoders.
        fine_power: latents that move a sound's levels less than the one that moves them most are
            shown to the network smaller, by this power of the ratio, so that it learns what is
            heard first; 0 for all alike.
        new_latents: for --init: the model that it begins with knows another codec's latents, so
            that what touches them begins anew.
    """

    model: FlowConfig = field(
        default_factory=lambda: FlowConfig(material_names=MATERIALS, prior_path="linear")
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
    new_latents: bool = False

    def build(self, data: Path) -> FlowTask:
        """The task; the aligner's features are computed first where they are missing.

        Raises:
            ConfigError: the network adds to the answer on another path than it is trained on.
        """
        noise = self.model.predicts == "noise"
        path = DIFFUSION_PATH if noise else self.objective.path
        if self.model.prior_path not in ("", path):
            raise ConfigError(
                f"model.prior_path={self.model.prior_path!r}: expected that of the training, "
                f"{path!r}, or nothing",
                hint=f"--set model.prior_path={path}",
            )
        moved = load_codec(Path(self.codec)).level_deviations()
        guides = self.guides(data)
        task = FlowTask(
            FlowTransformer(self.model),
            self.objective,
            self.stages,
            steps=self.train.steps,
            windows=guides.guided("train", self.views),
            validation_windows=guides.guided("validation", 1),
            scale=(moved / moved.max()) ** self.fine_power,
        )
        if self.new_latents:
            task.reinitialised_prefixes = LATENT_TENSORS
        return task

    def guides(self, data: Path) -> FlowConditions:
        """What makes the windows."""
        return FlowConditions(
            data=data,
            windows=self.windows,
            codec=self.codec,
            align=self.align,
            weights_dir=self.weights_dir,
        )


@dataclass(frozen=True, kw_only=True)
class DistilRecipe:
    """All that decides a flow that is taught one step by pairs."""

    pairs: PairConfig = field(default_factory=PairConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    views: int = 1
    codec: str = "runs/codec/model"
    align: str = "runs/align/model"
    teacher: str = "runs/flow/model"  # whose velocity is solved, and what the student begins as

    def build(self, data: Path) -> DistilTask:
        """The task; pairs are solved first where they are missing."""
        teacher = load_flow(Path(self.teacher)).eval()
        validation = replace(self.pairs, count=min(self.pairs.count, 192))
        return DistilTask(
            copy.deepcopy(teacher),
            self.objective,
            pairs=self._pairs(data, "train", teacher, self.pairs, self.views),
            validation_pairs=self._pairs(data, "validation", teacher, validation, 1),
        )

    def _pairs(
        self, data: Path, split: str, teacher: FlowTransformer, config: PairConfig, views: int
    ) -> Pairs:
        guides = FlowConditions(data=data, windows=self.windows, codec=self.codec, align=self.align)
        windows, made_from = guides.guided(split, views), guides.key(split, views)
        weights = file_sha256(Path(self.teacher) / "flow.safetensors")
        flow_path = self.objective.path
        parts = f"{made_from} {weights} {config} {flow_path}"
        key = hashlib.sha256(parts.encode()).hexdigest()[:16]
        store = data / f".pairs-{split}-{key}.npy"
        return open_pairs(store, teacher, windows, config, flow_path=flow_path)


def tiny() -> FlowRecipe:
    """The embedded model's flow: 3.4 M parameters, DCF first, then GDCF. `merge` goes on with it.

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
            decay_share=0.4,
            validate_every=500,
            save_every=100,
        ),
    )


def merge() -> FlowRecipe:
    """Goes on from a trained flow map: one jump learns what its four do.

    A recipe of its own, since it needs a second network: `tiny` alone may be sharded or adapted.

    Command: foleyflow train flow --recipe merge --init runs/flow/model --data data/sim
        --out runs/flow-merged
    """
    recipe = tiny()
    return replace(
        recipe,
        stages=replace(recipe.stages, dcf_steps=0, merge_steps=500),
        train=replace(
            recipe.train,
            steps=500,
            learning_rate=3e-4,
            warmup_steps=30,
            decay_share=0.5,
            ema=0.99,
            validate_every=100,
        ),
    )


def polish() -> FlowRecipe:
    """Goes on from a trained flow with distribution matching (eq. 7): more of the fine noise.

    Not part of `tiny`: a step costs 3.5 of the flow map's (on a CPU), and whether it pays is to be
    measured. Begin with a flow that has its one-step map; the judges start as what `--init` gives.

    Command: foleyflow train flow --recipe polish --init runs/flow/model --data data/sim
        --out runs/flow-polished
    """
    recipe = tiny()
    return replace(
        recipe,
        stages=replace(recipe.stages, dcf_steps=0, polish_steps=300),
        train=replace(
            recipe.train,
            steps=300,
            learning_rate=1e-4,
            warmup_steps=20,
            decay_share=0.3,
            ema=0.99,
            validate_every=100,
        ),
    )


def distil() -> DistilRecipe:
    """The one-step map taught by stored pairs: the fallback, and what the flow map must beat.

    Command: foleyflow train flow --recipe distil --data data/sim --out runs/flow-distilled
    """
    return DistilRecipe(
        train=TrainConfig(
            steps=700,
            batch_clips=20,
            learning_rate=5e-4,
            warmup_steps=50,
            weight_decay=0.0,
            beta2=0.95,
            ema=0.998,
            decay_share=0.5,
            validate_every=200,
            save_every=100,
        )
    )


def diffusion() -> FlowRecipe:
    """The baseline of table 2's row "neither": DDPM, the clip's mean condition, no one-step map.

    The network, data and steps of `tiny`. Sampled by DPM-Solver++ in about 25 steps.

    Command: foleyflow train flow --recipe diffusion --data data/sim --out runs/diffusion
    """
    recipe = tiny()
    model = replace(recipe.model, static=True, predicts="noise", prior_path=DIFFUSION_PATH)
    return replace(recipe, model=model)


def small(recipe: FlowRecipe) -> FlowRecipe:
    """A recipe at the ablation tables' size: a tenth of the embedded model's work per step.

    Timing is left to the features, as in the paper: told the events, a flow would hear of them
    from the aligner's own head, and not from what the rows differ in. In float32, since a table
    must not depend on whether a processor has bfloat16 (where it has not, steps take ten times as
    long).
    """
    return replace(
        recipe,
        model=replace(
            recipe.model, width=96, layers=3, heads=4, guide_width=SMALL_WIDTH, events=False
        ),
        windows=replace(recipe.windows, segments=30),
        train=replace(recipe.train, batch_clips=12, ema=0.995, validate_every=400, save_every=100),
    )


def smoke() -> FlowRecipe:
    """Seconds on a CPU; shows that everything runs, learns nothing worth keeping."""
    return FlowRecipe(
        model=FlowConfig(
            width=16,
            layers=1,
            heads=2,
            guide_width=16,
            material_names=MATERIALS,
            prior_path="linear",
        ),
        stages=FlowStageConfig(dcf_steps=2, longest_context=10, shortest_context=4),
        windows=WindowConfig(segments=10),
        views=1,
        train=TrainConfig(
            steps=4, batch_clips=2, warmup_steps=1, log_every=1, validate_every=4, save_every=2
        ),
    )
