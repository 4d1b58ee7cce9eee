"""Recipes that end the paper's own representation with sound: `literal` of codec and flow.

    features of AudioMAE --mel decoder--> 8 kHz, 128 mel bands every 25 ms --vocoder--> sound

The flow generates the features that the aligner of `literal` recovers, so both stages use the
features that are stored for a data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from foleyflow.codec.feature_codec import FeatureCodec, FeatureCodecConfig
from foleyflow.codec.paper_mel import RATE_HZ
from foleyflow.codec.vocoder import GriffinLim, Vocoder
from foleyflow.encoders import catalogue
from foleyflow.features.encoder_features import Weights, segment_features
from foleyflow.features.frames import Split, mono_sounds
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import load_vocoder
from foleyflow.recipes import published, scales
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.mel_decoder import FeaturesAndSounds, MelDecoderTask, MelLossConfig


@dataclass(frozen=True, kw_only=True)
class FeatureCodecRecipe(Recipe):
    """Configuration of a codec of published features.

    Attributes:
        model: `channels` is set to the width of the encoder.
        vocoder: model folder of a vocoder; "" for Griffin-Lim, which needs no training.
        weights_dir: folder of published weights; "" means ~/.cache/foleyflow/encoders.
    """

    task: ClassVar[str] = "codec"
    component: ClassVar[str] = "codec"
    model: FeatureCodecConfig
    losses: MelLossConfig = field(default_factory=MelLossConfig)
    train: TrainConfig
    vocoder: str = ""
    weights_dir: str = ""

    def build(self, data: Path) -> MelDecoderTask:
        """The task on a data set; computes the features that are missing."""
        width = catalogue.sound_encoder(self.model.published).width
        vocoder: Vocoder = load_vocoder(Path(self.vocoder)) if self.vocoder else GriffinLim()
        return MelDecoderTask(
            FeatureCodec(replace(self.model, channels=width), vocoder),
            self.losses,
            data=self._split(data, "train"),
            validation_data=self._split(data, "validation"),
        )

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Computes the encoder's features of a split; see `Recipe.prepare`."""
        return len(self._split(data, split, parallel_map).features)

    def _split(
        self, data: Path, split: str, parallel_map: ParallelMap | None = None
    ) -> FeaturesAndSounds:
        clips = Split.at(data, split)
        weights = Weights.of(catalogue.sound_encoder(self.model.published), self.weights_dir)
        features = segment_features(
            clips,
            weights,
            segment_s=self.model.segment_s,
            bands=self.model.bands,
            parallel_map=parallel_map,
        )
        sounds = mono_sounds(clips, RATE_HZ, parallel_map=parallel_map)
        return FeaturesAndSounds(features=features, sounds=sounds)


def literal_codec() -> FeatureCodecRecipe:
    """Decodes the targets of the aligner of `literal` to the paper's spectrogram and to sound.

    Command: foleyflow train codec --recipe literal --data data/vggsound10
        --set vocoder=runs/vocoder/model --out runs/literal-codec
    """
    aligner = published.literal()
    return FeatureCodecRecipe(
        model=FeatureCodecConfig(
            published=aligner.sound,
            channels=aligner.model.latent_channels,
            bands=aligner.model.latents_per_segment,
            segment_s=aligner.model.segment_s,
        ),
        vocoder="runs/vocoder/model",
        train=TrainConfig(
            steps=60_000,
            batch_clips=128,
            learning_rate=5e-4,
            warmup_steps=1000,
            log_every=50,
            validate_every=1000,
            save_every=500,
        ),
    )


def literal_flow() -> FlowRecipe:
    """GVAF over the aligner of `literal`, in the space of AudioMAE's features.

    It has the size of `base`, and the paper's 100 epochs with Adam at 1e-4 in batches of 128. The
    last third of the steps is for the one-step map.

    Command: foleyflow train flow --recipe literal --data data/vggsound10 --out runs/literal-flow
    """
    aligner, recipe = published.literal(), scales.flow_base()
    steps = aligner.train.steps
    return replace(
        recipe,
        model=replace(
            recipe.model,
            condition_width=aligner.model.width,
            latents_per_segment=aligner.model.latents_per_segment,
            latent_rate_hz=aligner.model.latent_rate_hz,
        ),
        stages=replace(recipe.stages, dcf_steps=2 * steps // 3),
        windows=aligner.windows,
        codec="runs/literal-codec/model",
        align="runs/literal/model",
        train=replace(recipe.train, steps=steps, batch_clips=128, learning_rate=1e-4),
    )
