"""Recipes for the codec."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.data.joining import join_shortened
from foleyflow.data.mixture import DataMixture, clip_sampling
from foleyflow.errors import ConfigError
from foleyflow.features.frames import Split, mono_sounds
from foleyflow.features.sound_bank import SoundBankConfig, open_sound_bank
from foleyflow.recipes.sizes import SMOKE_TRAIN
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.codec import CodecLossConfig, CodecTask


@dataclass(frozen=True, kw_only=True)
class CodecRecipe(Recipe):
    """Configuration of a codec.

    Attributes:
        decoder_only: with --init, the encoder and the latents are kept.
        from_clips: trains on the sounds of a data set's clips instead of a sound bank.
        label_balance: with `from_clips`, see `data.mixture.clip_sampling`; 0 or None samples all
            clips equally often.
    """

    task: ClassVar[str] = "codec"
    component: ClassVar[str] = "codec"
    model: CodecConfig = field(default_factory=CodecConfig)
    losses: CodecLossConfig = field(default_factory=CodecLossConfig)
    bank: SoundBankConfig = field(default_factory=SoundBankConfig)
    train: TrainConfig
    decoder_only: bool = False
    from_clips: bool = False
    label_balance: float | None = None

    def build_joined(self, mixture: DataMixture) -> CodecTask:
        """The task on the sounds of several data sets, validated on the first one.

        Raises:
            ConfigError: the recipe trains on a sound bank.
        """
        if not self.from_clips:
            raise ConfigError(
                f"{len(mixture.folders)} data sets: expected one folder for the sound bank",
                hint="--set from_clips=true trains on the sounds of clips",
            )
        return self._task_on_clips(mixture)

    def build(self, data: Path) -> CodecTask:
        """The task on the sounds of the clips in `data`, or on a bank that is stored there."""
        if self.from_clips:
            return self._task_on_clips(DataMixture.of(data))
        if self.label_balance:
            raise ConfigError(
                f"label_balance={self.label_balance}: a sound bank has no labels",
                hint="--set from_clips=true trains on the sounds of clips",
            )
        validation = replace(self.bank, split="validation", items=100)
        return CodecTask(
            Codec(self.model),
            self.losses,
            sounds=open_sound_bank(data, self.bank),
            validation_sounds=open_sound_bank(data, validation),
            decoder_only=self.decoder_only,
        )

    def _task_on_clips(self, mixture: DataMixture) -> CodecTask:
        sampling = clip_sampling(mixture, label_balance=self.label_balance)
        rate_hz = self.model.rate_hz
        sounds = [mono_sounds(Split.at(data, "train"), rate_hz) for data in mixture.folders]
        task = CodecTask(
            Codec(self.model),
            self.losses,
            sounds=join_shortened(sounds, what="sounds"),
            validation_sounds=mono_sounds(Split.at(mixture.folders[0], "validation"), rate_hz),
            decoder_only=self.decoder_only,
            probabilities=sampling.probabilities,
        )
        task.shares = sampling.shares
        return task


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
