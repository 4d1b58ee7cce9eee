"""Recipes for both stages at the paper's scale, over frozen published encoders.

The video encoder is a frozen image network with a trained adapter, and hidden segments are
recovered as features of a frozen audio network. Both are computed once for a data set. The student
that encodes the visible segments runs in every step, because stored features of a complete sound
would reveal the hidden segments. It is AudioMAE with adapters, or a small network without
pretraining.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.alignment.targets import CLEAR_RISE, LOG_MEL_DEVIATION, MelPatches, StoredTeacher
from foleyflow.data.joining import join_windows
from foleyflow.data.mixture import DataMixture, clip_sampling
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders import catalogue
from foleyflow.encoders.frame_adapter import FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.frozen import TOKENS
from foleyflow.encoders.kaldi_fbank import RATE_HZ, FbankLevels
from foleyflow.encoders.visible_audio_mae import FRAMES, VisibleAudioMae, VisibleAudioMaeConfig
from foleyflow.errors import ConfigError
from foleyflow.features.encoder_features import (
    Weights,
    feature_arrays,
    segment_features,
    weights_folder,
)
from foleyflow.features.frames import Split
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.recipes import scales
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.recipes.sizes import TEACHER_CLIPS
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask

VGGSOUND_STEPS = 1430  # of one epoch: 183,000 training clips in batches of 128


@dataclass(frozen=True, kw_only=True)
class PublishedRecipe(Recipe):
    """Configuration of an aligner over published encoders.

    Attributes:
        model: `latent_channels` is the width of the sound encoder, `latents_per_segment` the number
            of frequency bands that its features are pooled to.
        video: name of the frozen video encoder, see `encoders.catalogue`.
        sound: name of the frozen sound encoder whose features are recovered.
        weights_dir: folder of published weights; "" means ~/.cache/foleyflow/encoders.
        student: encoder of the visible segments: the model's "own" small network, or "audiomae".
        sound_rate_hz: sample rate of the sound for the log-mel patches.
        bottleneck: width of the adapters.
        trains_trunk: whether AudioMAE as the student is trained as a complete network, from the
            published weights.
        label_balance: see `data.mixture.clip_sampling`; 0 or None samples all clips equally often.
    """

    task: ClassVar[str] = "align"
    component: ClassVar[str] = "align"
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
    trains_trunk: bool = False
    label_balance: float | None = None

    def build_joined(self, mixture: DataMixture) -> AlignTask:
        """The task on several data sets, validated on the first one."""
        return self._task(mixture)

    def build(
        self, data: Path, *, held_out: str = "validation", aligner: Alignment | None = None
    ) -> AlignTask:
        """The task on a data set, see `AlignRecipe.build`; computes features that are missing."""
        return self._task(DataMixture.of(data), held_out=held_out, aligner=aligner)

    def _task(
        self,
        mixture: DataMixture,
        *,
        held_out: str = "validation",
        aligner: Alignment | None = None,
    ) -> AlignTask:
        model = aligner or self.random_aligner()
        if aligner is None and isinstance(model.student, VisibleAudioMae):
            encoder = catalogue.sound_encoder(self.student)
            path = catalogue.weights_path(encoder, weights_folder(self.weights_dir))
            catalogue.fill_trunk(encoder, model.student.trunk, path)
        sampling = clip_sampling(mixture, label_balance=self.label_balance)
        sources = [self.source(data, "train") for data in mixture.folders]
        windows = join_windows(sources, sampling.probabilities)
        latents = windows.latents[: min(TEACHER_CLIPS, len(windows.clips))]
        task = AlignTask(
            model,
            self.losses,
            windows=windows,
            held_out_windows=self.source(mixture.folders[0], held_out),
            target=StoredTeacher(torch.from_numpy(np.asarray(latents, np.float32))),
            patches=self._patches(),
        )
        task.shares = sampling.shares
        return task

    def prepare(self, data: Path, split: str, parallel_map: ParallelMap | None) -> int:
        """Computes the encoders' features of a split; see `Recipe.prepare`."""
        return len(self.source(data, split, parallel_map=parallel_map).clips)

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

    def source(
        self, data: Path, split: str, *, parallel_map: ParallelMap | None = None
    ) -> WindowSource:
        """Windows of one split, with stored features in place of frames and codec latents."""
        video = Weights.of(catalogue.video_encoder(self.video), self.weights_dir)
        sound = Weights.of(catalogue.sound_encoder(self.sound), self.weights_dir)
        clips = Split.at(data, split)
        features = segment_features(
            clips,
            sound,
            segment_s=self.model.segment_s,
            bands=self.model.latents_per_segment,
            parallel_map=parallel_map,
        )
        arrays = feature_arrays(clips, video, rate_hz=self.sound_rate_hz, parallel_map=parallel_map)
        return WindowSource(arrays, features, self.windows)

    def _random_student(self) -> VisibleAudioMae | None:
        if self.student == "own":
            return None
        frames, bands = self.model.mel_frames_per_segment, self.model.mel_bands
        shape = (self.model.segment_s, frames, bands)
        stretched = frames < FRAMES and FRAMES % frames == 0 and bands == 128
        if not stretched and (shape != (0.16, FRAMES, 128) or self.sound_rate_hz != RATE_HZ):
            raise ConfigError(
                f"student={self.student}: segments of {shape[0]} s with {shape[1]} frames of "
                f"{shape[2]} bands at {self.sound_rate_hz} Hz: expected 0.16 s, {FRAMES}, 128 and "
                f"{RATE_HZ} Hz, as in its training, or 2, 4 or 8 frames of 128 bands",
                hint="set student=own, or change model.* and sound_rate_hz accordingly",
            )
        config = VisibleAudioMaeConfig(
            published=self.student,
            dim=self.model.width,
            bottleneck=self.bottleneck,
            frames_per_segment=frames,
            trains_trunk=self.trains_trunk,
        )
        return VisibleAudioMae(catalogue.sound_encoder(self.student).trunk(), config)

    def _patches(self) -> MelPatches | None:
        """Spectra of AudioMAE's front end, as the student's input and as the target.

        None for those of `SegmentLogMel`, which fewer frames per segment have as well.
        """
        if self.student == "own" or self.model.mel_frames_per_segment < FRAMES:
            return None
        rule = catalogue.AUDIOMAE_SOUND
        # Logarithms of powers are twice those of magnitudes, and the scales differ.
        clear_rise = CLEAR_RISE * LOG_MEL_DEVIATION * 2 / rule.deviation
        front = FbankLevels(mean=rule.mean, deviation=rule.deviation)
        return MelPatches(self.model, front, clear_rise=clear_rise)


_MODEL = AlignmentConfig(
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
)


def literal() -> PublishedRecipe:
    """The paper's settings, without additions: EVA-CLIP g/14 and AudioMAE, 8 kHz, 128 x 128
    log-mel, mask ratio 0.8, 100 epochs of VGGSound with Adam at 1e-4 in batches of 128.

    128 frames in 10 s are hops of 78 ms, two in each of 64 segments. AudioMAE receives 16 kHz, as
    in its training. Its features are frozen targets, since they would collapse otherwise.

    Command: foleyflow train align --recipe literal --data data/vggsound --out runs/literal
    """
    segment_s = 10.0 / 64
    return PublishedRecipe(
        model=replace(_MODEL, audio_layers=2, segment_s=segment_s, mel_frames_per_segment=2),
        video="eva-clip-g",
        sound="audiomae",
        losses=AlignLossConfig(
            masks_per_clip=1, fully_masked_fraction=0.0, mel=0.0, energy=0.0, onset=0.0
        ),
        windows=WindowConfig(
            segments=64, segment_s=segment_s, latents_per_segment=8, neighbours=0, augment=False
        ),
        train=TrainConfig(
            steps=100 * VGGSOUND_STEPS,
            batch_clips=128,
            learning_rate=1e-4,
            warmup_steps=0,
            decay_fraction=0.0,
            weight_decay=0.0,
            beta2=0.999,
            ema=0.0,
            validate_every=VGGSOUND_STEPS,
            save_every=500,
        ),
        sound_rate_hz=8000,
    )


def literal_audiomae() -> PublishedRecipe:
    """`literal` with AudioMAE as the initial student, as the paper has it.

    The 128 x 128 spectrogram, each frame repeated eight times, has the size of AudioMAE's input,
    and a column of its patches is a segment. All weights are trained, since scale and times differ
    from those of its training.

    Command: foleyflow train align --recipe literal-audiomae --data data/vggsound10
        --out runs/literal
    """
    return replace(literal(), student="audiomae", trains_trunk=True)


def published() -> PublishedRecipe:
    """VAMA over published encoders with our additions: mel patches, energy and onsets as further
    targets, masks that hide everything, and segments of 160 ms, the length of AudioMAE's patches.

    Command: foleyflow train align --recipe published --data data/vggsound --out runs/published
    """
    return PublishedRecipe(
        model=_MODEL,
        video="eva-clip-l",
        sound="audiomae",
        student="audiomae",
        sound_rate_hz=16_000,
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


def published_audioset() -> PublishedRecipe:
    """`published` on VGGSound and AudioSet: a third of the clips are AudioSet's, and clips with
    rare labels are sampled more often.

    The weights of clips are the square roots of those of balanced labels: music and speech are in
    most clips of AudioSet, and some labels in fewer than a hundred.

    Command: foleyflow train align --recipe published-audioset --data data/vggsound
        --data data/audioset=0.5 --out runs/published-audioset
    """
    recipe = published()
    return replace(recipe, label_balance=0.5, train=replace(recipe.train, steps=120_000))


def published_flow() -> FlowRecipe:
    """GVAF of base size over the aligner of `published`.

    The windows are the aligner's, 6.4 s, so that no time exceeds those of either training.

    Command: foleyflow train flow --recipe published --data data/vggsound --out runs/published-flow
    """
    recipe, aligner = scales.flow_base(), published()
    return replace(
        recipe,
        model=replace(
            recipe.model,
            condition_width=aligner.model.width,
            latents_per_segment=aligner.model.latents_per_segment,
        ),
        windows=aligner.windows,
        codec="runs/codec-clips/model",
        align="runs/published/model",
    )


def published_audioset_flow() -> FlowRecipe:
    """`published_flow` over the aligner of `published_audioset`, on the same clips.

    Command: foleyflow train flow --recipe published-audioset --data data/vggsound
        --data data/audioset=0.5 --out runs/published-audioset-flow
    """
    return replace(
        published_flow(),
        align="runs/published-audioset/model",
        label_balance=published_audioset().label_balance,
    )
