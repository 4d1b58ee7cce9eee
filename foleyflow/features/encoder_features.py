"""What frozen published encoders say of a data set's clips, computed once and kept beside them.

A store's name says all that it depends on: encoder, weights, clips. The precision is no part of it:
encoders compute in fp32 under every setting (`encoders.published`). Clips can be shared out to many
machines (`Spread`); a worker loads its encoder once.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import interpolate_in_time
from foleyflow.clock import count_at
from foleyflow.data.clips import Clips, labels_from, open_split
from foleyflow.data.windows import ClipArrays
from foleyflow.encoders import catalogue
from foleyflow.encoders.frozen import FrozenSound, FrozenVideo
from foleyflow.encoders.kaldi_fbank import RATE_HZ
from foleyflow.features.codec_latents import audible_events, known_materials
from foleyflow.features.store import Rows, StoredRows, stored_rows
from foleyflow.media.reader import read_shaped_frames
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.weights import file_sha256

FRAMES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a data set, as it was when it was opened.

    Attributes:
        data: folder of the data set.
        name: "train", "validation" or "test".
        fingerprint: of its clips.
    """

    data: Path
    name: str
    fingerprint: str

    @classmethod
    def at(cls, data: Path, name: str) -> Split:
        """The split as it is now."""
        return cls(data=data, name=name, fingerprint=open_split(data, name).fingerprint)

    @property
    def clips(self) -> Clips:
        """Its clips; each process opens them once."""
        return _opened(self)


@functools.lru_cache(maxsize=4)
def _opened(split: Split) -> Clips:
    return open_split(split.data, split.name)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one published encoder.

    Attributes:
        encoder: its name in `encoders.catalogue`.
        folder: where they lie.
        sha256: of the file.
    """

    encoder: str
    folder: Path
    sha256: str

    @classmethod
    def of(cls, encoder: catalogue.Encoder[Any], folder: str) -> Weights:
        """The file that is there now; "" stands for ~/.cache/foleyflow/encoders.

        Raises:
            CheckpointError: it is not there.
        """
        place = weights_folder(folder)
        path = catalogue.weights_path(encoder, place)
        about = path.stat()
        sha256 = _sha256(path, about.st_size, about.st_mtime_ns)
        return cls(encoder=encoder.name, folder=place, sha256=sha256)


@functools.lru_cache(maxsize=8)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Hash of a file of gigabytes, which several splits and stages ask for; anew if it changed."""
    return file_sha256(path)


def weights_folder(named: str) -> Path:
    """Where published weights lie, as a recipe says it: "" for ~/.cache/foleyflow/encoders."""
    return Path(named) if named else catalogue.default_folder()


def seen_arrays(
    split: Split, video: Weights, *, rate_hz: int, parallel_map: ParallelMap | None = None
) -> ClipArrays:
    """A split as arrays, a frozen encoder's features in the place of its pictures.

    Args:
        split: of either kind of data set.
        video: the encoder.
        rate_hz: of the sound.
        spread: who computes what is missing; None for this process.

    Raises:
        CheckpointError: the weights don't fit.
    """
    seen = video_features(split, video, parallel_map=parallel_map)
    labels = [labels_from(split.clips.entry(index)) for index in range(len(split.clips))]
    return ClipArrays(
        frames=seen.values,
        times_s=seen.times_s,
        offsets=seen.offsets,
        sounds=mono_sounds(split, rate_hz, parallel_map=parallel_map),
        rate_hz=rate_hz,
        event_times_s=[audible_events(each) for each in labels],
        materials=known_materials(labels),
    )


def video_features(
    split: Split, video: Weights, *, parallel_map: ParallelMap | None = None
) -> StoredRows:
    """A frozen video encoder's features of all frames that it is shown, (sum of T, K, W) float16.

    Args:
        split: of either kind of data set.
        video: the encoder.
        spread: who computes what is missing; None for this process.

    Raises:
        CheckpointError: the weights don't fit.
    """
    return _stored(
        f".seen-{split.name}-{video.encoder}",
        (video.sha256,),
        split,
        functools.partial(_seen_rows, split, video),
        parallel_map,
    )


def _seen_rows(split: Split, video: Weights, clip: int) -> Rows:
    encoder = catalogue.video_encoder(video.encoder)
    frozen = _loaded_video(video)
    times_s, features = [], []
    with split.clips.files(clip) as (path, _):
        block: list[Tensor] = []
        for time_s, picture in read_shaped_frames(path, max_rate_hz=encoder.rate_hz):
            times_s.append(time_s)
            block.append(frozen.squares(torch.from_numpy(picture).permute(2, 0, 1)[None]))
            if len(block) == FRAMES_AT_ONCE:
                features.append(_seen(frozen, block))
                block = []
        if block:
            features.append(_seen(frozen, block))
    return np.array(times_s), np.concatenate(features)


def _seen(frozen: FrozenVideo, block: list[Tensor]) -> NDArray[np.float16]:
    found: NDArray[np.float16] = frozen(torch.cat(block).to(_device())).cpu().numpy()
    return found.astype(np.float16)


def segment_features(
    split: Split,
    sound: Weights,
    *,
    segment_s: float,
    bands: int,
    parallel_map: ParallelMap | None = None,
) -> NDArray[np.float16]:
    """A frozen sound encoder's features at the segments of all clips.

    Args:
        split: of either kind of data set.
        sound: the encoder.
        segment_s: length of a segment; features are interpolated to its centre.
        bands: of frequency, to which the encoder's rows are pooled.
        spread: who computes what is missing; None for this process.

    Returns:
        (N, segments * bands, W) float16; whole segments only.

    Raises:
        CheckpointError: the weights are missing or don't fit.
    """
    found: NDArray[np.float16] = _stored(
        f".heard-{split.name}-{sound.encoder}",
        (sound.sha256, segment_s, bands),
        split,
        functools.partial(_heard_rows, split, sound, segment_s, bands),
        parallel_map,
    ).by_clip()
    return found


def _heard_rows(split: Split, sound: Weights, segment_s: float, bands: int, clip: int) -> Rows:
    frozen, clips = _loaded_sound(sound), split.clips
    segments = int(clips.duration_s / segment_s + 1e-6)
    samples = _mono(clips, clip, RATE_HZ)
    grid = frozen(torch.from_numpy(samples).to(_device())).cpu()
    values = at_segments(grid, frozen, segments=segments, segment_s=segment_s, bands=bands)
    times_s = np.repeat((np.arange(segments) + 0.5) * segment_s, bands)
    return times_s, values.numpy().astype(np.float16)


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


def mono_sounds(
    split: Split, rate_hz: int, *, parallel_map: ParallelMap | None = None
) -> NDArray[np.int16]:
    """All clips' sounds at a rate, (N, samples) int16.

    Args:
        split: of either kind of data set.
        rate_hz: wanted.
        spread: who decodes what is missing; None for this process.
    """
    found: NDArray[np.int16] = _stored(
        f".sounds-{split.name}-{rate_hz}",
        (),
        split,
        functools.partial(_sound_row, split, rate_hz),
        parallel_map,
    ).values
    return found


def _sound_row(split: Split, rate_hz: int, clip: int) -> Rows:
    samples = _mono(split.clips, clip, rate_hz)
    scaled = np.round(np.clip(samples, -1.0, 1.0) * INT16_FULL_SCALE).astype(np.int16)
    return np.zeros(1), scaled[None]


def _mono(clips: Clips, clip: int, rate_hz: int) -> NDArray[np.float32]:
    """A clip's sound, exactly as long as the clip."""
    with clips.files(clip) as (_, path):
        samples = read_waveform(path, rate_hz=rate_hz).mono()
    return fit_length(samples, count_at(clips.duration_s, rate_hz))


def _stored(
    start: str,
    parts: tuple[object, ...],
    split: Split,
    rows_of: Callable[[int], Rows],
    parallel_map: ParallelMap | None,
) -> StoredRows:
    """The store whose name starts so and depends on `parts` and the clips."""
    key = hashlib.sha256(" ".join(map(str, (*parts, split.fingerprint))).encode()).hexdigest()
    return stored_rows(
        split.data / f"{start}-{key[:16]}",
        rows_of,
        clips=len(split.clips),
        parallel_map=parallel_map or map,
    )


@functools.lru_cache(maxsize=1)
def _loaded_video(video: Weights) -> FrozenVideo:
    return catalogue.load_encoder(catalogue.video_encoder(video.encoder), video.folder).to(
        _device()
    )


@functools.lru_cache(maxsize=1)
def _loaded_sound(sound: Weights) -> FrozenSound:
    return catalogue.load_encoder(catalogue.sound_encoder(sound.encoder), sound.folder).to(
        _device()
    )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
