"""Recipes for VAMA, stage one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.data.windows import WindowConfig
from foleyflow.encoders.motion import MotionEncoder, MotionEncoderConfig
from foleyflow.recipes.dataset import window_source
from foleyflow.training.align_task import AlignLossConfig, AlignTask
from foleyflow.training.task import TrainConfig


@dataclass(frozen=True, kw_only=True)
class AlignRecipe:
    """All that decides an aligner."""

    model: AlignmentConfig = field(default_factory=AlignmentConfig)
    encoder: MotionEncoderConfig = field(default_factory=MotionEncoderConfig)
    losses: AlignLossConfig = field(default_factory=AlignLossConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    train: TrainConfig
    codec: str = "runs/codec/model"

    def build(self, data: Path) -> AlignTask:
        """The task, on the simulated clips under `data`."""
        codec = Path(self.codec)
        return AlignTask(
            Alignment(self.model, encoder=MotionEncoder(self.encoder)),
            self.losses,
            windows=window_source(data, "train", codec_folder=codec, config=self.windows),
            validation_windows=window_source(
                data, "validation", codec_folder=codec, config=self.windows
            ),
        )


def tiny() -> AlignRecipe:
    """The embedded model's aligner: VAMA with the exact onsets that simulation knows beside it.

    Command: foleyflow train align --data data/sim --out runs/align
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


def literal() -> AlignRecipe:
    """The paper's method: no labels, no fully hidden samples."""
    recipe = tiny()
    losses = replace(recipe.losses, full_draws=0, masked_draws=2, onset=0.0, material=0.0)
    return replace(recipe, losses=losses)


def smoke() -> AlignRecipe:
    """Seconds on a CPU; shows that everything runs, learns nothing worth keeping."""
    return AlignRecipe(
        model=AlignmentConfig(width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1),
        encoder=MotionEncoderConfig(widths=(4, 4, 8), dim=16),
        windows=WindowConfig(segments=10),
        train=TrainConfig(
            steps=4, batch_clips=2, warmup_steps=1, log_every=1, validate_every=4, save_every=2
        ),
    )
