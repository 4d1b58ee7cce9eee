"""Recipes for stage one: VAMA, and what it is compared with at the same size, data and steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor, nn

from foleyflow.alignment.model import LATENT_TENSORS, Alignment, AlignmentConfig
from foleyflow.alignment.targets import (
    FeatureTarget,
    LogMel,
    MelPatches,
    SlowStudent,
    TeacherFeatures,
)
from foleyflow.data.clips import is_of_real_clips
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError
from foleyflow.features.codec_latents import window_source
from foleyflow.pretrained import load_aligner
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask

SMALL_WIDTH = 128
TEACHER_CLIPS = 64  # by which a teacher's features are standardised


@dataclass(frozen=True, kw_only=True)
class AlignRecipe:
    """All that decides an aligner.

    Attributes:
        target: what is recovered: the codec's "latents", the features of a slow copy of the
            "student", or those of the audio encoder of a frozen "teacher".
        teacher: model folder of that teacher, an aligner.
        new_latents: for --init: the model that it begins with recovers another codec's latents, so
            that what says them begins anew.
    """

    model: AlignmentConfig = field(default_factory=AlignmentConfig)
    encoder: MotionEncoderConfig = field(default_factory=MotionEncoderConfig)
    losses: AlignLossConfig = field(default_factory=AlignLossConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    codec: str = "runs/codec/model"
    target: Literal["latents", "student", "teacher"] = "latents"
    teacher: str = "runs/cavp/model"
    new_latents: bool = False

    def build(
        self, data: Path, *, held_out: str = "validation", aligner: Alignment | None = None
    ) -> AlignTask:
        """The task, on the clips under `data`.

        Args:
            data: folder with the splits.
            held_out: the split that is measured.
            aligner: a trained one, to be measured; None for one with random weights.

        Raises:
            ConfigError: labels are asked for, and the clips are real ones, which have none.
        """
        if self.losses.onset_from == "labels" and is_of_real_clips(data):
            raise ConfigError(
                f"{data}: real clips have no labels of events to learn from",
                hint="--recipe vama, or --set losses.onset_from=sound --set losses.material=0",
            )
        model = aligner or Alignment(self.model, encoder=MotionEncoder(self.encoder))
        windows = self.source(data, "train")
        task = AlignTask(
            model,
            self.losses,
            windows=windows,
            held_out_windows=self.source(data, held_out),
            target=self._target(model, windows),
        )
        if self.new_latents:
            task.reinitialised_prefixes = LATENT_TENSORS
        return task

    def source(self, data: Path, split: str) -> WindowSource:
        """Windows of one split."""
        return window_source(data, split, codec_folder=Path(self.codec), config=self.windows)

    def _target(self, model: Alignment, windows: WindowSource) -> FeatureTarget | None:
        if self.target == "latents":
            return None
        if self.target == "student":
            return SlowStudent(model)
        clips = np.arange(min(TEACHER_CLIPS, len(windows.clips)))
        sound = windows.cut(clips, np.zeros_like(clips), None)["sound"]
        mel = MelPatches(model.config, LogMel(model.config, rate_hz=windows.rate_hz))(sound)
        return TeacherFeatures(AudioTower(load_aligner(Path(self.teacher))), model.config, mel)


class AudioTower(nn.Module):
    """The audio encoder of an aligner as a teacher: it is told the whole sound."""

    def __init__(self, aligner: Alignment) -> None:
        super().__init__()
        self.aligner = aligner
        self.aligner.encoder = nn.Identity()  # it only listens

    def forward(self, mel: Tensor) -> Tensor:
        """(B, S * frames, bands) log-mel to (B, S, D)."""
        return self.aligner.listen(mel)


def vama() -> AlignRecipe:
    """The paper's method at the embedded model's size: no labels, nothing contrasted.

    Hidden segments are recovered as codec latents and log-mel patches with their energy; beside
    them the moments where the sound itself rises. Half of the mask draws hide everything, as in
    stage two (the paper: none; `latents-only`).

    Command: foleyflow train align --recipe vama --data data/sim --out runs/vama
    """
    return AlignRecipe(
        train=TrainConfig(
            steps=2200,
            batch_clips=12,
            learning_rate=1e-3,
            warmup_steps=100,
            decay_share=0.4,
            weight_decay=0.05,
            ema=0.998,
            validate_every=300,
            save_every=50,
        )
    )


def tiny() -> AlignRecipe:
    """The embedded model's aligner: VAMA with the exact onsets that simulation knows beside it.

    Command: foleyflow train align --data data/sim --out runs/align
    """
    recipe = vama()
    losses = replace(recipe.losses, onset_from="labels", material=0.1)
    return replace(recipe, losses=losses)


def latents_only() -> AlignRecipe:
    """The paper's loss at this size: codec latents in the place of its features, nothing beside."""
    recipe = vama()
    losses = replace(recipe.losses, fully_masked_fraction=0.0, mel=0.0, energy=0.0, onset=0.0)
    return replace(recipe, losses=losses)


def cavp() -> AlignRecipe:
    """The paper's rival: semantic and temporal contrast, as in Diff-Foley."""
    recipe = vama()
    losses = replace(
        recipe.losses, latent=0.0, mel=0.0, energy=0.0, onset=0.0, contrast=1.0, stretches=1.0
    )
    return replace(
        recipe,
        losses=losses,
        model=replace(recipe.model, contrast_width=128),
        # At 1e-3 all features became the same, and it took 400 steps to come back from there.
        train=replace(recipe.train, learning_rate=3e-4),
    )


def vama_contrast() -> AlignRecipe:
    """VAMA with a little contrast between clips beside it, weighted as in CAV-MAE."""
    recipe = vama()
    losses = replace(recipe.losses, contrast=0.01)
    return replace(recipe, losses=losses, model=replace(recipe.model, contrast_width=128))


def supervised() -> AlignRecipe:
    """An upper reference: the video encoder is told the labels, and recovers nothing."""
    recipe = vama()
    losses = replace(
        recipe.losses,
        draws=1,
        fully_masked_fraction=1.0,
        latent=0.0,
        mel=0.0,
        energy=0.0,
        onset=3.0,
        onset_from="labels",
        material=1.0,
    )
    return replace(recipe, losses=losses)


def slow_student() -> AlignRecipe:
    """VAMA that recovers the features of a moving average of its own audio encoder."""
    recipe = vama()
    channels = recipe.model.width // recipe.model.latents_per_segment
    return replace(recipe, target="student", model=replace(recipe.model, latent_channels=channels))


def teacher() -> AlignRecipe:
    """VAMA that recovers the features of a frozen audio encoder, here that of a CAVP run."""
    return replace(slow_student(), target="teacher")


def small(recipe: AlignRecipe) -> AlignRecipe:
    """A recipe at the ablation tables' size: a sixth of the embedded model's work per step."""
    model = replace(
        recipe.model,
        width=SMALL_WIDTH,
        heads=4,
        video_layers=2,
        decoder_layers=2,
    )
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
    """VAMA without labels, as small as in the ablation tables but trained nine times as long.

    Command: foleyflow train align --recipe vama-small --data data/sim --out runs/vama-small
    """
    recipe = small(vama())
    train = replace(recipe.train, steps=2600, warmup_steps=100, ema=0.998, validate_every=500)
    return replace(recipe, train=train)


def smoke() -> AlignRecipe:
    """Seconds on a CPU; shows that everything runs, learns nothing worth keeping."""
    return AlignRecipe(
        model=AlignmentConfig(width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1),
        encoder=MotionEncoderConfig(widths=(4, 4, 8), dim=16),
        losses=AlignLossConfig(onset_from="labels", material=0.1),
        windows=WindowConfig(segments=10),
        train=TrainConfig(
            steps=4, batch_clips=2, warmup_steps=1, log_every=1, validate_every=4, save_every=2
        ),
    )
