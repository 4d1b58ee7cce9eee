"""Recipes for both stages at the paper's scale: published encoders, frozen, seen through their
stored features.

The video encoder is a frozen picture network with a trained adapter; hidden segments are recovered
as the features of a frozen audio network. Both are computed once for a data set. The student that
hears the visible segments runs in every step, for stored features of a whole sound would tell it
what is hidden: AudioMAE with adapters, or a small network trained from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.alignment.targets import CLEAR_RISE, LOG_MEL_DEVIATION, MelPatches, StoredTeacher
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders import catalogue
from foleyflow.encoders.frame_adapter import FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.frozen import TOKENS
from foleyflow.encoders.kaldi_fbank import RATE_HZ, FbankLevels
from foleyflow.encoders.visible_audio_mae import FRAMES, VisibleSound, VisibleSoundConfig
from foleyflow.errors import ConfigError
from foleyflow.features.encoder_features import (
    Split,
    Weights,
    seen_arrays,
    segment_features,
    weights_folder,
)
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.recipes import scales
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask

TEACHER_CLIPS = 64  # by which the teacher's features are standardised
VGGSOUND_STEPS = 1430  # of one epoch: 183,000 training clips in batches of 128


@dataclass(frozen=True, kw_only=True)
class PublishedRecipe:
    """All that decides an aligner over published encoders.

    Attributes:
        model: `latent_channels` is the sound encoder's width, `latents_per_segment` the number of
            frequency bands that its features are pooled to.
        video: name of the frozen video encoder, see `encoders.catalogue`.
        sound: name of the frozen sound encoder whose features are recovered.
        weights_dir: where published weights lie; "" for ~/.cache/foleyflow/encoders.
        student: what hears visible segments: a small network of its "own", or "audiomae".
        sound_rate_hz: of the sound that the log-mel patches are made from.
        bottleneck: width of the adapters.
    """

    model: AlignmentConfig
    video: str
    sound: str
    losses: AlignLossConfig = field(default_factory=AlignLossConfig)
    windows: WindowConfig
    train: TrainConfig
    weights_dir: str = ""
    student: Literal["own", "audiomae"] = "own"
    sound_rate_hz: int = 48_000
    bottleneck: int = 64

    def build(
        self, data: Path, *, held_out: str = "validation", aligner: Alignment | None = None
    ) -> AlignTask:
        """The task, on clips of either kind under `data`; features are computed first.

        Args:
            data: folder with the splits.
            held_out: the split that is measured.
            aligner: a trained one, to be measured; None for one with random weights.
        """
        model = aligner or self.random_aligner()
        if aligner is None and isinstance(model.student, VisibleSound):
            encoder = catalogue.sound_encoder(self.student)
            path = catalogue.weights_path(encoder, weights_folder(self.weights_dir))
            catalogue.fill_trunk(encoder, model.student.trunk, path)
        windows = self.source(data, "train")
        some = windows.latents[: min(TEACHER_CLIPS, len(windows.clips))]
        return AlignTask(
            model,
            self.losses,
            windows=windows,
            held_out_windows=self.source(data, held_out),
            target=StoredTeacher(torch.from_numpy(np.asarray(some, np.float32))),
            patches=self._patches(),
        )

    def random_aligner(self) -> Alignment:
        """An aligner of the recipe's shape with random weights.

        Raises:
            ConfigError: AudioMAE as the student does not fit the segments or the sound.
        """
        adapter = FrameAdapterConfig(
            published=self.video,
            tokens=TOKENS,
            token_width=catalogue.video_encoder(self.video).width,
            dim=self.model.width,
            bottleneck=self.bottleneck,
        )
        channels = catalogue.sound_encoder(self.sound).width
        model = replace(self.model, latent_channels=channels)
        return Alignment(model, encoder=FrameAdapter(adapter), student=self._random_student())

    def _random_student(self) -> VisibleSound | None:
        if self.student == "own":
            return None
        shape = (self.model.segment_s, self.model.mel_frames_per_segment, self.model.mel_bands)
        if shape != (0.16, FRAMES, 128) or self.sound_rate_hz != RATE_HZ:
            raise ConfigError(
                f"student={self.student}: segments of {shape[0]} s with {shape[1]} frames of "
                f"{shape[2]} bands at {self.sound_rate_hz} Hz: expected 0.16 s, {FRAMES}, 128 and "
                f"{RATE_HZ} Hz, as it was trained",
                hint="set student=own, or model.* and sound_rate_hz so",
            )
        config = VisibleSoundConfig(
            published=self.student, dim=self.model.width, bottleneck=self.bottleneck
        )
        return VisibleSound(catalogue.sound_encoder(self.student).trunk(), config)

    def _patches(self) -> MelPatches | None:
        """Spectra as AudioMAE hears them, for the student and as what is recovered."""
        if self.student == "own":
            return None
        rule = catalogue.AUDIOMAE_SOUND
        # Logarithms of powers are twice those of magnitudes, and the scales differ.
        clear_rise = CLEAR_RISE * LOG_MEL_DEVIATION * 2 / rule.deviation
        front = FbankLevels(mean=rule.mean, deviation=rule.deviation)
        return MelPatches(self.model, front, clear_rise=clear_rise)

    def source(
        self, data: Path, split: str, *, parallel_map: ParallelMap | None = None
    ) -> WindowSource:
        """Windows of one split: stored features in the place of pictures and codec latents.

        Args:
            data: folder with the splits.
            split: the name of one.
            spread: who computes features that are missing; None for this process.
        """
        video = Weights.of(catalogue.video_encoder(self.video), self.weights_dir)
        sound = Weights.of(catalogue.sound_encoder(self.sound), self.weights_dir)
        clips = Split.at(data, split)
        heard = segment_features(
            clips,
            sound,
            segment_s=self.model.segment_s,
            bands=self.model.latents_per_segment,
            parallel_map=parallel_map,
        )
        arrays = seen_arrays(clips, video, rate_hz=self.sound_rate_hz, parallel_map=parallel_map)
        return WindowSource(arrays, heard, self.windows)


def literal() -> PublishedRecipe:
    """The paper's words: EVA-CLIP g/14 and AudioMAE, 8 kHz, 128 x 128 log-mel, mask 0.8, 100
    epochs of VGGSound with Adam at 1e-4 in batches of 128; nothing of ours beside it.

    128 frames in 10 s make hops of 78 ms, two in each of 64 segments. AudioMAE hears 16 kHz, for
    which it was made. Its features are frozen targets, or they would collapse.

    Command: foleyflow train align --recipe literal --data data/vggsound --out runs/literal
    """
    segment_s = 10.0 / 64
    return PublishedRecipe(
        model=AlignmentConfig(
            width=512,
            heads=8,
            video_layers=2,
            audio_layers=2,
            decoder_layers=4,
            segment_s=segment_s,
            latents_per_segment=8,
            latent_channels=768,
            mel_frames_per_segment=2,
            mel_bands=128,
        ),
        video="eva-clip-g",
        sound="audiomae",
        losses=AlignLossConfig(draws=1, fully_masked_fraction=0.0, mel=0.0, energy=0.0, onset=0.0),
        windows=WindowConfig(
            segments=64, segment_s=segment_s, latents_per_segment=8, neighbours=0, augment=False
        ),
        train=TrainConfig(
            steps=100 * VGGSOUND_STEPS,
            batch_clips=128,
            learning_rate=1e-4,
            warmup_steps=0,
            decay_share=0.0,
            weight_decay=0.0,
            beta2=0.999,
            ema=0.0,
            validate_every=VGGSOUND_STEPS,
            save_every=500,
        ),
        sound_rate_hz=8000,
    )


def published() -> PublishedRecipe:
    """VAMA over published encoders with what we added: mel patches, energy and rises beside the
    features, a part of the masks complete, segments of 160 ms as AudioMAE's patches have.

    Command: foleyflow train align --recipe published --data data/vggsound --out runs/published
    """
    return PublishedRecipe(
        model=AlignmentConfig(
            width=512,
            heads=8,
            video_layers=2,
            audio_layers=4,
            decoder_layers=4,
            segment_s=0.16,
            latents_per_segment=8,
            latent_channels=768,
            mel_frames_per_segment=16,
            mel_bands=128,
        ),
        video="eva-clip-l",
        sound="audiomae",
        student="audiomae",
        sound_rate_hz=16_000,
        losses=AlignLossConfig(draws=2, fully_masked_fraction=0.5),
        windows=WindowConfig(
            segments=40, segment_s=0.16, latents_per_segment=8, neighbours=0, augment=False
        ),
        train=TrainConfig(
            steps=60_000,
            batch_clips=128,
            learning_rate=1e-4,
            warmup_steps=2000,
            weight_decay=0.05,
            validate_every=1000,
            save_every=500,
        ),
    )


def published_flow() -> FlowRecipe:
    """GVAF of base size over the aligner of `published`; timing is left to the features, for real
    clips have no labels of events or materials.

    Windows are the aligner's, 6.4 s, so that times never go beyond what either has learnt.

    Command: foleyflow train flow --recipe published --data data/vggsound --out runs/published-flow
    """
    recipe, aligner = scales.flow_base(), published()
    return replace(
        recipe,
        model=replace(
            recipe.model,
            guide_width=aligner.model.width,
            latents_per_segment=aligner.model.latents_per_segment,
            material_names=(),
            events=False,
        ),
        windows=aligner.windows,
        codec="runs/codec-clips/model",
        align="runs/published/model",
    )
