"""Recipes for stage one: VAMA, and baselines with the same size, data and number of steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from foleyflow.alignment.model import (
    ATTRIBUTE_TENSORS,
    DEEPER_TENSORS,
    LATENT_TENSORS,
    MIDDLE_TENSORS,
    Alignment,
    AlignmentConfig,
)
from foleyflow.alignment.targets import (
    FeatureTarget,
    MelPatches,
    SegmentLogMel,
    SlowStudent,
    TeacherFeatures,
)
from foleyflow.data.clips import is_of_real_clips
from foleyflow.data.joining import join_windows
from foleyflow.data.mixture import DataMixture, clip_sampling
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError
from foleyflow.features.codec_latents import window_source
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import load_aligner, load_codec_config
from foleyflow.recipes.sizes import SMALL_WIDTH, SMOKE_TRAIN, TEACHER_CLIPS
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask


@dataclass(frozen=True, kw_only=True)
class AlignRecipe(Recipe):
    """Configuration of an aligner.

    Attributes:
        codec: model folder of the codec.
        target: what is recovered: the codec's "latents", features of a moving average of the
            "student", or features of the audio encoder of a frozen "teacher".
        teacher: model folder of the teacher, an aligner.
        reinitialise_latents: with --init, tensors that depend on the codec's latents start from
            random weights, because the initial model was trained with another codec.
        reinitialise_middle: with --init, the mix of neighbouring maps at an eighth of the side is
            new (at first the identity), because the initial model has none.
        reinitialise_deeper: the same for `encoder.middle_pairs` and `encoder.rounds`.
        reinitialise_attributes: with --init, the network of the attributes of cues starts from
            random weights, because the initial model has none.
        label_balance: see `data.mixture.clip_sampling`; 0 or None samples all clips equally often.
    """

    task: ClassVar[str] = "align"
    component: ClassVar[str] = "align"
    model: AlignmentConfig = field(default_factory=AlignmentConfig)
    encoder: MotionEncoderConfig = field(default_factory=MotionEncoderConfig)
    losses: AlignLossConfig = field(default_factory=AlignLossConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    codec: str = "runs/codec/model"
    target: Literal["latents", "student", "teacher"] = "latents"
    teacher: str = "runs/cavp/model"
    reinitialise_latents: bool = False
    reinitialise_attributes: bool = False
    reinitialise_middle: bool = False
    reinitialise_deeper: bool = False
    label_balance: float | None = None

    def build_joined(self, mixture: DataMixture) -> AlignTask:
        """The task on several data sets, see `build`; validated on the first one."""
        return self._task(mixture)

    def build(
        self, data: Path, *, held_out: str = "validation", aligner: Alignment | None = None
    ) -> AlignTask:
        """The task on a data set, validated on the split `held_out`.

        `aligner` is a trained model to be measured; None creates one with random weights.

        Raises:
            ConfigError: the recipe needs labels, which real clips do not have.
        """
        return self._task(DataMixture.of(data), held_out=held_out, aligner=aligner)

    def _task(
        self,
        mixture: DataMixture,
        *,
        held_out: str = "validation",
        aligner: Alignment | None = None,
    ) -> AlignTask:
        real = [data for data in mixture.folders if is_of_real_clips(data)]
        if self.losses.onset_from == "labels" and real:
            raise ConfigError(
                f"{real[0]}: real clips have no labels of events",
                hint="--recipe vama, or --set losses.onset_from=sound --set losses.material=0",
            )
        sampling = clip_sampling(mixture, label_balance=self.label_balance)
        sources = [self.source(data, "train") for data in mixture.folders]
        windows = join_windows(sources, sampling.probabilities)
        shape = self.model
        if self.target == "latents":
            channels = load_codec_config(Path(self.codec)).channels
            shape = replace(shape, latent_channels=channels)
        model = aligner or Alignment(shape, encoder=MotionEncoder(self.encoder))
        task = AlignTask(
            model,
            self.losses,
            windows=windows,
            held_out_windows=self.source(mixture.folders[0], held_out),
            target=self._target(model, windows),
        )
        task.shares = sampling.shares
        task.reinitialised_prefixes = (
            *(LATENT_TENSORS if self.reinitialise_latents else ()),
            *(ATTRIBUTE_TENSORS if self.reinitialise_attributes else ()),
            *(MIDDLE_TENSORS if self.reinitialise_middle else ()),
            *(DEEPER_TENSORS if self.reinitialise_deeper else ()),
        )
        return task

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Decodes the clips of a split and encodes their sounds; see `Recipe.prepare`."""
        return len(self.source(data, split, parallel_map=parallel_map).clips)

    def source(
        self, data: Path, split: str, *, parallel_map: ParallelMap | None = None
    ) -> WindowSource:
        """Windows of one split."""
        return window_source(
            data,
            split,
            codec_folder=Path(self.codec),
            config=replace(self.windows, neighbours=self.encoder.window // 2),
            parallel_map=parallel_map,
        )

    def _target(self, model: Alignment, windows: WindowSource) -> FeatureTarget | None:
        if self.target == "latents":
            return None
        if self.target == "student":
            return SlowStudent(model)
        clips = np.arange(min(TEACHER_CLIPS, len(windows.clips)))
        sound = windows.cut(clips, np.zeros_like(clips), None)["sound"]
        mel = MelPatches(model.config, SegmentLogMel(model.config, rate_hz=windows.rate_hz))(sound)
        return TeacherFeatures(AudioTower(load_aligner(Path(self.teacher))), model.config, mel)


class AudioTower(nn.Module):
    """The audio encoder of an aligner as a teacher, which receives the complete sound."""

    def __init__(self, aligner: Alignment) -> None:
        super().__init__()
        self.aligner = aligner
        self.aligner.encoder = nn.Identity()  # the video encoder is not needed

    def forward(self, mel: Tensor) -> Tensor:
        """(B, S * frames, bands) log-mel to (B, S, D)."""
        return self.aligner.encode_audio(mel)


def vama() -> AlignRecipe:
    """The paper's method at the embedded model's size, without labels or contrast.

    Hidden segments are recovered as codec latents, log-mel patches and their energy, together with
    the onsets of the sound. Half of the masks hide everything, as in stage two (none in the paper;
    see `latents-only`).

    Command: foleyflow train align --recipe vama --data data/sim --out runs/vama
    """
    return AlignRecipe(
        train=TrainConfig(
            steps=2200,
            batch_clips=12,
            learning_rate=1e-3,
            warmup_steps=100,
            decay_fraction=0.4,
            weight_decay=0.05,
            ema=0.998,
            validate_every=300,
            save_every=50,
        )
    )


def tiny() -> AlignRecipe:
    """The embedded model's aligner: VAMA with the exact cues and materials of the simulation.

    Command: foleyflow train align --data data/sim --out runs/align
    """
    recipe = _with_losses(
        vama(), onset_from="labels", material=0.1, cue_level=0.5, cue_material=0.3, friction=0.2
    )
    return replace(recipe, model=replace(recipe.model, predicts_attributes=True))


def latents_only() -> AlignRecipe:
    """The paper's loss at this size: only codec latents, in place of its features."""
    return _with_losses(vama(), fully_masked_fraction=0.0, mel=0.0, energy=0.0, onset=0.0)


def vama_no_onset() -> AlignRecipe:
    """Masked reconstruction alone: `vama` without the term of the onsets of the sound."""
    return _with_losses(vama(), onset=0.0)


def onset() -> AlignRecipe:
    """The onset term of `vama` alone, with its masks: nothing is reconstructed or contrasted."""
    return _with_losses(vama(), latent=0.0, mel=0.0, energy=0.0)


def cavp() -> AlignRecipe:
    """The paper's baseline: semantic and temporal contrast, as in Diff-Foley.

    The negatives are all parts of the batch. docs/decisions/005-baselines-and-probes.md has the
    reasons against a memory of negatives and larger batches.
    """
    recipe = _with_losses(onset(), onset=0.0, contrast=1.0, stretches=1.0)
    return replace(recipe, model=replace(recipe.model, contrast_width=128))


def cavp_onset() -> AlignRecipe:
    """CAVP with the onset term of `vama`: the same weight, masks and targets."""
    return _with_losses(cavp(), onset=vama().losses.onset)


def vama_contrast() -> AlignRecipe:
    """VAMA with a small contrast term between clips, weighted as in CAV-MAE."""
    recipe = _with_losses(vama(), contrast=0.01, contrast_parts=1, contrast_pooling="mean")
    return replace(recipe, model=replace(recipe.model, contrast_width=128))


def supervised() -> AlignRecipe:
    """An upper bound: the video encoder is trained on the labels and recovers nothing."""
    return _with_losses(
        vama(),
        masks_per_clip=1,
        fully_masked_fraction=1.0,
        latent=0.0,
        mel=0.0,
        energy=0.0,
        onset=3.0,
        onset_from="labels",
        material=1.0,
    )


def slow_student() -> AlignRecipe:
    """VAMA that recovers features of a moving average of its own audio encoder."""
    recipe = vama()
    channels = recipe.model.width // recipe.model.latents_per_segment
    return replace(recipe, target="student", model=replace(recipe.model, latent_channels=channels))


def teacher() -> AlignRecipe:
    """VAMA that recovers features of a frozen audio encoder, here that of a CAVP run."""
    return replace(slow_student(), target="teacher")


def small(recipe: AlignRecipe) -> AlignRecipe:
    """A recipe at the ablation tables' size: a sixth of the embedded model's work per step."""
    model = replace(recipe.model, width=SMALL_WIDTH, heads=4, video_layers=2, decoder_layers=2)
    if recipe.target != "latents":
        model = replace(model, latent_channels=SMALL_WIDTH // model.latents_per_segment)
    return replace(
        recipe,
        model=model,
        encoder=replace(recipe.encoder, widths=(32, 32, 64), dim=SMALL_WIDTH),
        windows=replace(recipe.windows, segments=30),
        train=replace(
            recipe.train,
            steps=300,
            batch_clips=8,
            warmup_steps=30,
            ema=0.99,
            validate_every=300,
            save_every=100,
        ),
    )


def vama_small() -> AlignRecipe:
    """VAMA without labels at the ablation tables' size, trained nine times as long.

    Command: foleyflow train align --recipe vama-small --data data/sim --out runs/vama-small
    """
    recipe = small(vama())
    train = replace(recipe.train, steps=2600, warmup_steps=100, ema=0.998, validate_every=500)
    return replace(recipe, train=train)


def smoke() -> AlignRecipe:
    """A test of all parts in seconds on a CPU."""
    return AlignRecipe(
        model=AlignmentConfig(width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1),
        encoder=MotionEncoderConfig(widths=(4, 4, 8), dim=16),
        losses=AlignLossConfig(onset_from="labels", material=0.1),
        windows=WindowConfig(segments=10),
        train=SMOKE_TRAIN,
    )


def _with_losses(recipe: AlignRecipe, **losses: Any) -> AlignRecipe:
    return replace(recipe, losses=replace(recipe.losses, **losses))
