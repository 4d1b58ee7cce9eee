"""Recipes for the vocoder of the paper's spectrogram."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from foleyflow.codec.paper_mel import RATE_HZ
from foleyflow.codec.vocoder import NeuralVocoder, VocoderConfig
from foleyflow.features.frames import Split, mono_sounds
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.recipes.sizes import SMOKE_TRAIN
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.vocoder import VocoderLossConfig, VocoderTask


@dataclass(frozen=True, kw_only=True)
class VocoderRecipe(Recipe):
    """Configuration of a vocoder, which is trained on the sounds of any data set."""

    task: ClassVar[str] = "vocoder"
    component: ClassVar[str] = "vocoder"
    model: VocoderConfig = field(default_factory=VocoderConfig)
    losses: VocoderLossConfig = field(default_factory=VocoderLossConfig)
    train: TrainConfig

    def build(self, data: Path) -> VocoderTask:
        """The task on the sounds of a data set, which are converted to 8 kHz once."""
        train, validation = (
            mono_sounds(Split.at(data, split), RATE_HZ) for split in ("train", "validation")
        )
        return VocoderTask(
            NeuralVocoder(self.model), self.losses, sounds=train, validation_sounds=validation
        )

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Converts the sounds of a split; see `Recipe.prepare`."""
        return len(mono_sounds(Split.at(data, split), RATE_HZ, parallel_map=parallel_map))


def tiny() -> VocoderRecipe:
    """2.6 M parameters, for half an hour on one core.

    Command: foleyflow train vocoder --data data/sim --out runs/vocoder
    """
    return VocoderRecipe(
        train=TrainConfig(
            steps=2000,
            batch_clips=8,
            learning_rate=1e-3,
            warmup_steps=100,
            decay_fraction=0.5,
            ema=0.998,
            validate_every=500,
            save_every=100,
        )
    )


def base() -> VocoderRecipe:
    """19 M parameters, for the recipe `literal` on VGGSound.

    Command: foleyflow train vocoder --recipe base --data data/vggsound10 --out runs/vocoder
    """
    return VocoderRecipe(
        model=VocoderConfig(width=512, blocks=8, fine_width=320, fine_blocks=8),
        train=TrainConfig(
            steps=200_000,
            batch_clips=64,
            learning_rate=5e-4,
            warmup_steps=1000,
            decay_fraction=0.4,
            log_every=50,
            validate_every=2000,
            save_every=1000,
        ),
    )


def smoke() -> VocoderRecipe:
    """A test of all parts in seconds on a CPU."""
    return VocoderRecipe(
        model=VocoderConfig(width=16, blocks=1, fine_width=16, fine_blocks=1),
        losses=VocoderLossConfig(crop_s=0.25),
        train=SMOKE_TRAIN,
    )
