"""Recipes for the judges that need no download. No generator is ever trained with a judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from foleyflow.clock import count_at
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import DataError
from foleyflow.features.codec_latents import clip_arrays
from foleyflow.features.frames import FrameCache, cache_frames
from foleyflow.features.mel_levels import compute_levels
from foleyflow.judges.networks.log_mel import RATE_HZ, JudgeLogMel
from foleyflow.judges.networks.sync import Sync, SyncConfig
from foleyflow.judges.networks.tagger import NOTHING, Tagger, TaggerConfig
from foleyflow.recipes.sizes import SMOKE_TRAIN
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.sync import SyncLossConfig, SyncTask
from foleyflow.training.tasks.tagger import TaggedLevels, TaggerLossConfig, TaggerTask

KINDS = ("strike", "drop", "drum", "knock", "roll", "still")
SEGMENT_S = 0.08  # windows of video start at multiples of it


@dataclass(frozen=True, kw_only=True)
class TaggerRecipe(Recipe):
    """Configuration of a judge of sound."""

    task: ClassVar[str] = "judge"
    component: ClassVar[str] = "tagger"
    model: TaggerConfig = field(
        default_factory=lambda: TaggerConfig(materials=(*MATERIAL_NAMES, NOTHING), kinds=KINDS)
    )
    losses: TaggerLossConfig = field(default_factory=TaggerLossConfig)
    train: TrainConfig

    def build(self, data: Path, *, held_out: str = "validation") -> TaggerTask:
        """The task on the sounds of simulated clips; validates on the split `held_out`."""
        return TaggerTask(
            Tagger(self.model),
            self.losses,
            train=self._tagged(cache_frames(data, "train")),
            validation=self._tagged(cache_frames(data, held_out)),
        )

    def _tagged(self, cache: FrameCache) -> TaggedLevels:
        _check_rate(cache)
        classes = {
            "kinds": [labels.kind for labels in cache.labels],
            "materials": [labels.material or NOTHING for labels in cache.labels],
        }
        for name, found in classes.items():
            unknown = sorted(set(found) - set(getattr(self.model, name)))
            if unknown:
                raise DataError(
                    f"clips of {', '.join(unknown)}, which are not among the recipe's {name}",
                    hint="simulate the data set again with this version of foleyflow",
                )
        return TaggedLevels(
            levels=compute_levels(cache.sounds, JudgeLogMel()),
            materials=np.array([self.model.materials.index(m) for m in classes["materials"]]),
            kinds=np.array([self.model.kinds.index(k) for k in classes["kinds"]]),
        )


@dataclass(frozen=True, kw_only=True)
class SyncRecipe(Recipe):
    """Configuration of a judge of synchrony."""

    task: ClassVar[str] = "judge"
    component: ClassVar[str] = "sync"
    model: SyncConfig = field(default_factory=SyncConfig)
    encoder: MotionEncoderConfig = field(
        default_factory=lambda: MotionEncoderConfig(
            size=64, widths=(24, 32, 64), dim=64, changes=4, reach=1
        )
    )
    losses: SyncLossConfig = field(default_factory=SyncLossConfig)
    train: TrainConfig

    def build(self, data: Path, *, held_out: str = "validation") -> SyncTask:
        """The task on simulated clips; validates on the split `held_out`."""
        train, validation = (cache_frames(data, split) for split in ("train", held_out))
        return SyncTask(
            Sync(self.model, encoder=MotionEncoder(self.encoder)),
            self.losses,
            windows=self._windows(train),
            levels=compute_levels(train.sounds, JudgeLogMel()),
            validation_windows=self._windows(validation),
            validation_levels=compute_levels(validation.sounds, JudgeLogMel()),
        )

    def _windows(self, cache: FrameCache) -> WindowSource:
        _check_rate(cache)
        clips = clip_arrays(cache)
        config = WindowConfig(
            segments=count_at(self.model.window_s, 1 / SEGMENT_S),
            segment_s=SEGMENT_S,
            neighbours=self.encoder.window // 2,
            augment=False,
        )
        # Windows are cut along codec latents, which judges do not use: latents of width 0.
        frames = count_at(clips.sounds.shape[1] / clips.rate_hz, 1 / SEGMENT_S)
        latents = np.zeros((len(clips), frames * config.latents_per_segment, 0), np.float16)
        return WindowSource(clips, latents, config)


def _check_rate(cache: FrameCache) -> None:
    if cache.rate_hz != RATE_HZ:
        raise DataError(
            f"sounds at {cache.rate_hz} Hz: the judges expect {RATE_HZ} Hz",
            hint="simulate the data set again with this version of foleyflow",
        )


def tagger() -> TaggerRecipe:
    """The judge of sound in the package: materials and kinds of scenes.

    Command: foleyflow train judge --recipe tagger --data data/sim --out runs/judge-tagger
    """
    return TaggerRecipe(
        train=TrainConfig(
            steps=2500,
            batch_clips=32,
            learning_rate=2e-3,
            warmup_steps=50,
            decay_fraction=0.7,
            weight_decay=0.05,
            ema=0.99,
            validate_every=250,
            save_every=100,
        )
    )


def sync() -> SyncRecipe:
    """The judge of synchrony in the package.

    Command: foleyflow train judge --recipe sync --data data/sim --out runs/judge-sync
    """
    return SyncRecipe(
        train=TrainConfig(
            steps=1000,
            batch_clips=16,
            learning_rate=2e-3,
            warmup_steps=50,
            decay_fraction=0.6,
            weight_decay=0.05,
            ema=0.99,
            validate_every=200,
            save_every=100,
        )
    )


def smoke() -> TaggerRecipe:
    """A test of the tagger in seconds on a CPU."""
    return TaggerRecipe(
        model=TaggerConfig(
            materials=(*MATERIAL_NAMES, NOTHING), kinds=KINDS, widths=(4, 4, 8, 8), embedding=8
        ),
        train=SMOKE_TRAIN,
    )


def smoke_sync() -> SyncRecipe:
    """A test of the judge of synchrony in seconds on a CPU."""
    return SyncRecipe(
        model=SyncConfig(window_s=0.64, hop_s=0.16, longest_lag_s=0.4, width=8, heads=2),
        encoder=MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=8, changes=4, reach=1),
        losses=SyncLossConfig(largest_shift_s=0.5),
        train=SMOKE_TRAIN,
    )
