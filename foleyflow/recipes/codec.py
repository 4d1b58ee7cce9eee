"""Recipes for the codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foleyflow.codec.autoencoder import AnyCodecConfig, Codec, CodecConfig
from foleyflow.codec.discriminators import DiscriminatorConfig
from foleyflow.data.joining import join_shortened
from foleyflow.data.mixture import DataMixture, clip_sampling
from foleyflow.errors import ConfigError
from foleyflow.features.frames import Split, mono_sounds
from foleyflow.features.sound_bank import SoundBankConfig, open_sound_bank
from foleyflow.features.sound_folder import folder_sounds, is_plain_folder
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.recipes.sizes import SMOKE_TRAIN
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.adversarial_codec import AdversarialCodecTask, AdversarialConfig
from foleyflow.training.tasks.codec import CodecLossConfig, CodecTask

SPLITS = ("train", "validation")
# For CPUs; 0.1 M parameters
SMALL_DISCRIMINATORS = DiscriminatorConfig(
    period_channels=(8, 16, 32, 64, 64), windows_samples=(1024, 512, 256), spectral_channels=4
)


@dataclass(frozen=True, kw_only=True)
class CodecRecipe(Recipe):
    """Configuration of a codec.

    Attributes:
        decoder_only: with --init, the encoder and the latents are kept.
        from_clips: trains on the sounds of a data set's clips instead of a sound bank.
        bank_fraction: with `from_clips`, the fraction of the training sounds that come from a sound
            bank, which is stored in the data set; None for none.
        adversarial: discriminators; None trains by reconstruction losses alone.
        label_balance: with `from_clips`, see `data.mixture.clip_sampling`; 0 or None samples all
            clips equally often.
    """

    task: ClassVar[str] = "codec"
    component: ClassVar[str] = "codec"
    model: AnyCodecConfig = field(default_factory=CodecConfig)
    losses: CodecLossConfig = field(default_factory=CodecLossConfig)
    bank: SoundBankConfig = field(default_factory=SoundBankConfig)
    train: TrainConfig
    decoder_only: bool = False
    from_clips: bool = False
    bank_fraction: float | None = None
    adversarial: AdversarialConfig | None = None
    label_balance: float | None = None

    def build_joined(self, mixture: DataMixture) -> CodecTask:
        """The task on the sounds of several data sets, validated on the first one.

        Raises:
            ConfigError: the recipe trains on a sound bank.
        """
        if not self.from_clips or self.bank_fraction:
            raise ConfigError(
                f"{len(mixture.folders)} data sets: expected one folder for the sound bank",
                hint="--set from_clips=true trains on the sounds of clips",
            )
        return self._task_on_clips(mixture)

    def build(self, data: Path) -> CodecTask:
        """The task on the sounds of the clips in `data`, or on a bank that is stored there.

        Without a manifest, `data` is a folder of sound files and videos.
        """
        bank = open_sound_bank(data, self.bank) if self.bank_fraction else None
        if self.from_clips:
            if not is_plain_folder(data):
                return self._task_on_clips(DataMixture.of(data), bank)
            train, validation = (self._clip_sounds(data, split) for split in SPLITS)
        else:
            train = open_sound_bank(data, self.bank)
            validation = open_sound_bank(data, replace(self.bank, split="validation", items=100))
        if self.label_balance:
            raise ConfigError(
                f"label_balance={self.label_balance}: these sounds have no labels",
                hint="--set from_clips=true trains on the sounds of clips",
            )
        return self.task_on(train, validation, bank=bank)

    def task_on(
        self,
        train: NDArray[np.int16],
        validation: NDArray[np.int16],
        *,
        bank: NDArray[np.int16] | None = None,
        probabilities: NDArray[np.float64] | None = None,
    ) -> CodecTask:
        """The task on sounds, each (N, samples) int16, with random weights."""
        make: Callable[..., CodecTask] = CodecTask
        if self.adversarial is not None:
            make = partial(AdversarialCodecTask, self.adversarial)
        return make(
            codec=Codec(self.model),
            losses=self.losses,
            sounds=train,
            validation_sounds=validation,
            probabilities=probabilities,
            decoder_only=self.decoder_only,
            bank=bank,
            bank_fraction=self.bank_fraction or 0.0,
        )

    def _task_on_clips(
        self, mixture: DataMixture, bank: NDArray[np.int16] | None = None
    ) -> CodecTask:
        sampling = clip_sampling(mixture, label_balance=self.label_balance)
        sounds = [self._clip_sounds(data, "train") for data in mixture.folders]
        validation = self._clip_sounds(mixture.folders[0], "validation")
        joined = join_shortened(sounds, what="sounds")
        task = self.task_on(joined, validation, bank=bank, probabilities=sampling.probabilities)
        task.shares = sampling.shares
        return task

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Decodes the sounds of a split, see `Recipe.prepare`; returns the number of sounds."""
        if not self.from_clips:
            return super().prepare(data, split, parallel_map)
        return len(self._clip_sounds(data, split, parallel_map))

    def _clip_sounds(
        self, data: Path, split: str, parallel_map: ParallelMap | None = None
    ) -> NDArray[np.int16]:
        """The sounds of a split of a data set, or of a folder of sound files."""
        rate_hz = self.model.rate_hz
        if is_plain_folder(data):
            # Pieces of two crops, so that a crop may begin anywhere in a sound
            piece_s = 2 * self.losses.crop_s
            return folder_sounds(
                data, split, rate_hz=rate_hz, piece_s=piece_s, parallel_map=parallel_map
            )
        return mono_sounds(Split.at(data, split), rate_hz, parallel_map=parallel_map)


def tiny() -> CodecRecipe:
    """The embedded model's codec: 48 kHz, 50 Hz x 64, 8.5 M parameters.

    Command: foleyflow train codec --data data/codec --out runs/codec
    """
    return CodecRecipe(
        bank=SoundBankConfig(items=4000),
        train=TrainConfig(steps=6000, batch_clips=8, learning_rate=1e-3, decay_fraction=0.4),
    )


def polish() -> CodecRecipe:
    """More steps for the decoder of a trained codec. Models of its latents stay valid.

    Command: foleyflow train codec --recipe polish --init runs/codec/model --data data/codec
    --out runs/codec-polish
    """
    return replace(
        tiny(),
        decoder_only=True,
        train=TrainConfig(
            steps=1800,
            batch_clips=8,
            learning_rate=5e-4,
            warmup_steps=100,
            decay_fraction=0.8,
            ema=0.998,
        ),
    )


def sharpen() -> CodecRecipe:
    """More steps for the decoder of a trained codec, against small discriminators.

    Half of the sounds are those of a data set's clips, the others are sampled. A step takes a CPU
    one or two seconds. `--set adversarial.from_step=1000000` trains without discriminators.

    Command: foleyflow train codec --recipe sharpen --init runs/codec/model --data data/sim
    --out runs/codec-sharpen
    """
    return CodecRecipe(
        bank=SoundBankConfig(items=4000),
        from_clips=True,
        bank_fraction=0.5,
        decoder_only=True,
        losses=CodecLossConfig(crop_s=0.5),
        adversarial=AdversarialConfig(networks=SMALL_DISCRIMINATORS),
        train=TrainConfig(
            steps=1200,
            batch_clips=4,
            learning_rate=5e-4,
            warmup_steps=50,
            decay_fraction=0.5,
            ema=0.99,
            bf16=False,
            validate_every=300,
            save_every=50,
        ),
    )


def clips() -> CodecRecipe:
    """The same codec for the sounds of your own clips or of VGGSound: longer, in larger batches.

    It starts from the embedded codec (`--init`) or from random weights.

    Command: foleyflow train codec --recipe clips --data data/vggsound --out runs/codec-clips
    """
    return replace(
        tiny(),
        from_clips=True,
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


def smoke() -> CodecRecipe:
    """A test of all parts in seconds on a CPU."""
    return CodecRecipe(
        model=CodecConfig(
            encoder_width=32,
            encoder_blocks=1,
            decoder_width=32,
            decoder_blocks=1,
            fine_blocks=1,
            mel_pca_bands=0,
        ),
        losses=CodecLossConfig(crop_s=0.2),
        bank=SoundBankConfig(items=8, duration_s=0.5),
        train=SMOKE_TRAIN,
    )
