"""Recipes for stage one at the paper's scale: published encoders, frozen, seen through their
stored features.

The video encoder is a frozen picture network with a trained adapter; hidden segments are recovered
as the features of a frozen audio network. Both are computed once for a data set. The student that
hears the visible segments is trained from nothing on log-mel patches: stored features of a whole
sound would tell it what is hidden.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import Alignment, AlignmentConfig, interpolate_in_time
from foleyflow.alignment.targets import StoredTeacher
from foleyflow.clock import count_at
from foleyflow.data.base import Clips, labels_from, open_split
from foleyflow.data.stored_rows import StoredRows, stored_rows
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.encoders import catalogue
from foleyflow.encoders.adapter import FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.fbank import RATE_HZ
from foleyflow.encoders.published import TOKENS, FrozenSound, FrozenVideo
from foleyflow.media.reader import read_shaped_frames
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.recipes.dataset import audible_events, known_materials
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.training.align_task import AlignLossConfig, AlignTask
from foleyflow.training.task import TrainConfig
from foleyflow.weights import file_sha256

TEACHER_CLIPS = 64  # by which the teacher's features are standardised
FRAMES_AT_ONCE = 32
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
        sound_rate_hz: of the sound that the log-mel patches are made from.
        bottleneck: width of the video adapter.
    """

    model: AlignmentConfig
    video: str
    sound: str
    losses: AlignLossConfig = field(default_factory=AlignLossConfig)
    windows: WindowConfig
    train: TrainConfig
    weights_dir: str = ""
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
        windows = self.source(data, "train")
        some = windows.latents[: min(TEACHER_CLIPS, len(windows.clips))]
        return AlignTask(
            model,
            self.losses,
            windows=windows,
            held_out_windows=self.source(data, held_out),
            target=StoredTeacher(torch.from_numpy(np.asarray(some, np.float32))),
        )

    def random_aligner(self) -> Alignment:
        """An aligner of the recipe's shape with random weights."""
        adapter = FrameAdapterConfig(
            published=self.video,
            tokens=TOKENS,
            token_width=catalogue.video_encoder(self.video).width,
            dim=self.model.width,
            bottleneck=self.bottleneck,
        )
        channels = catalogue.sound_encoder(self.sound).width
        model = replace(self.model, latent_channels=channels)
        return Alignment(model, encoder=FrameAdapter(adapter))

    def source(self, data: Path, split: str) -> WindowSource:
        """Windows of one split: stored features in the place of pictures and codec latents."""
        clips = open_split(data, split)
        folder = Path(self.weights_dir) if self.weights_dir else catalogue.default_folder()
        seen = video_features(clips, data, split, self.video, folder)
        heard = segment_features(
            clips,
            data,
            split,
            self.sound,
            folder,
            segment_s=self.model.segment_s,
            bands=self.model.latents_per_segment,
        )
        sounds = mono_sounds(clips, data, split, self.sound_rate_hz)
        labels = [labels_from(clips.entry(index)) for index in range(len(clips))]
        arrays = ClipArrays(
            frames=seen.values,
            times_s=seen.times_s,
            offsets=seen.offsets,
            sounds=sounds,
            rate_hz=self.sound_rate_hz,
            event_times_s=[audible_events(each) for each in labels],
            materials=known_materials(labels),
        )
        return WindowSource(arrays, heard, self.windows)


def video_features(clips: Clips, data: Path, split: str, name: str, weights: Path) -> StoredRows:
    """A frozen video encoder's features of all frames that it is shown, (sum of T, K, W) float16.

    Args:
        clips: the split.
        data: its data set's folder, where they are stored.
        split: its name.
        name: of the encoder.
        weights: folder of published weights.

    Raises:
        CheckpointError: the weights are missing or don't fit.
    """
    encoder = catalogue.video_encoder(name)
    hashed = file_sha256(catalogue.weights_path(encoder, weights))
    folder = data / f".seen-{split}-{name}-{_key(hashed, clips.fingerprint)}"
    loaded: list[FrozenVideo] = []

    def rows_of(clip: int) -> tuple[NDArray[np.float64], NDArray[np.generic]]:
        if not loaded:  # only where something is to be computed
            loaded.append(catalogue.load_encoder(encoder, weights).to(_device()))
        times_s, features = [], []
        with clips.files(clip) as (video, _):
            block: list[NDArray[np.uint8]] = []
            for time_s, pixels in read_shaped_frames(video, max_rate_hz=encoder.rate_hz):
                times_s.append(time_s)
                block.append(pixels)
                if len(block) == FRAMES_AT_ONCE:
                    features.append(_seen(loaded[0], block))
                    block = []
            if block:
                features.append(_seen(loaded[0], block))
        return np.array(times_s), np.concatenate(features)

    return stored_rows(folder, rows_of, clips=len(clips))


def segment_features(
    clips: Clips,
    data: Path,
    split: str,
    name: str,
    weights: Path,
    *,
    segment_s: float,
    bands: int,
) -> NDArray[np.float16]:
    """A frozen sound encoder's features at the segments of all clips.

    Args:
        clips, data, split, name, weights: as `video_features`.
        segment_s: length of a segment; features are interpolated to its centre.
        bands: of frequency, to which the encoder's rows are pooled.

    Returns:
        (N, segments * bands, W) float16; whole segments only.
    """
    encoder = catalogue.sound_encoder(name)
    hashed = file_sha256(catalogue.weights_path(encoder, weights))
    key = _key(hashed, clips.fingerprint, segment_s, bands)
    loaded: list[FrozenSound] = []
    segments = int(clips.duration_s / segment_s + 1e-6)

    def rows_of(clip: int) -> tuple[NDArray[np.float64], NDArray[np.generic]]:
        if not loaded:
            loaded.append(catalogue.load_encoder(encoder, weights).to(_device()))
        with clips.files(clip) as (_, sound):
            samples = read_waveform(sound, rate_hz=RATE_HZ).mono()
        fitted = fit_length(samples, count_at(clips.duration_s, RATE_HZ))
        grid = loaded[0](torch.from_numpy(fitted).to(_device())).cpu()
        values = at_segments(grid, loaded[0], segments=segments, segment_s=segment_s, bands=bands)
        times_s = np.repeat((np.arange(segments) + 0.5) * segment_s, bands)
        return times_s, values.numpy().astype(np.float16)

    folder = data / f".heard-{split}-{name}-{key}"
    found: NDArray[np.float16] = stored_rows(folder, rows_of, clips=len(clips)).by_clip()
    return found


def at_segments(
    grid: Tensor, encoder: FrozenSound, *, segments: int, segment_s: float, bands: int
) -> Tensor:
    """Features of columns and rows to those of segments and bands.

    Args:
        grid: (C, R, W) of `FrozenSound`.
        encoder: that made them.
        segments: S.
        segment_s: length of one.
        bands: rows wanted.

    Returns:
        (S * bands, W): the bands of the first segment, then of the second.

    Source: method section F.2 (features are resampled to one rate).
    """
    pooled = functional.adaptive_avg_pool1d(grid.transpose(1, 2), bands).transpose(1, 2)
    rule = encoder.rule
    times_s = rule.first_s + rule.column_s * torch.arange(len(grid), dtype=torch.float64)
    wanted_s = (torch.arange(segments, dtype=torch.float64) + 0.5) * segment_s
    at = interpolate_in_time(pooled.flatten(1)[None], times_s[None], wanted_s)
    return at[0].unflatten(1, (bands, -1)).flatten(0, 1)


def mono_sounds(clips: Clips, data: Path, split: str, rate_hz: int) -> NDArray[np.int16]:
    """All clips' sounds at a rate, (N, samples) int16, stored once."""
    count = count_at(clips.duration_s, rate_hz)

    def rows_of(clip: int) -> tuple[NDArray[np.float64], NDArray[np.generic]]:
        with clips.files(clip) as (_, sound):
            samples = fit_length(read_waveform(sound, rate_hz=rate_hz).mono(), count)
        scaled = np.round(np.clip(samples, -1.0, 1.0) * INT16_FULL_SCALE).astype(np.int16)
        return np.zeros(1), scaled[None]

    folder = data / f".sounds-{split}-{rate_hz}-{_key(clips.fingerprint)}"
    found: NDArray[np.int16] = stored_rows(folder, rows_of, clips=len(clips)).values
    return found


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
        losses=AlignLossConfig(draws=1, full_share=0.0, mel=0.0, energy=0.0, onset=0.0),
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
        losses=AlignLossConfig(draws=2, full_share=0.5),
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


def _seen(encoder: FrozenVideo, block: list[NDArray[np.uint8]]) -> NDArray[np.float16]:
    pixels = torch.from_numpy(np.stack(block)).permute(0, 3, 1, 2).to(_device())
    found: NDArray[np.float16] = encoder(pixels).cpu().numpy().astype(np.float16)
    return found


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _key(*parts: object) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]
