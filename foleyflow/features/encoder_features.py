"""Features of frozen published encoders for all clips of a data set, computed once and cached.

A cache is named by the encoder, its weights and the clips; a cache of audio features also by the
version of the front end. The precision is not part of the name: encoders compute in fp32 under
every setting (see `encoders.frozen`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import interpolate_in_time
from foleyflow.data.windows import ClipArrays
from foleyflow.encoders import catalogue
from foleyflow.encoders.frozen import FRAMES_PER_BATCH, FrozenSound, FrozenVideo
from foleyflow.encoders.kaldi_fbank import RATE_HZ
from foleyflow.features.codec_latents import audible_events, material_classes
from foleyflow.features.frames import Split, mono_sounds, read_mono
from foleyflow.features.store import Arrays, offsets_of, open_store, store_folder
from foleyflow.media.reader import read_frames_with_aspect
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.system.device import pick_device
from foleyflow.weights import file_sha256

# Of the audio encoders; raised whenever the same sound would give them other input
FRONT_END_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one encoder of `encoders.catalogue`: their folder, and the file's hash."""

    encoder: str
    folder: Path
    sha256: str

    @classmethod
    def of(cls, encoder: catalogue.Encoder[Any], folder: str) -> Weights:
        """The weights that are in a folder now; "" means ~/.cache/foleyflow/encoders.

        Raises:
            CheckpointError: the file is missing.
        """
        path = catalogue.weights_path(encoder, weights_folder(folder))
        about = path.stat()
        sha256 = _sha256(path, about.st_size, about.st_mtime_ns)
        return cls(encoder=encoder.name, folder=weights_folder(folder), sha256=sha256)


@functools.lru_cache(maxsize=8)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Hash of a file of gigabytes, which is computed again if the file has changed."""
    return file_sha256(path)


def weights_folder(name: str) -> Path:
    """Folder of published weights as recipes name it: "" means ~/.cache/foleyflow/encoders."""
    return Path(name) if name else catalogue.default_folder()


@dataclass(frozen=True, kw_only=True)
class FrameFeatures:
    """Features of the frames of all clips.

    Attributes:
        values: (sum of T, K, W) float16.
        times_s: (sum of T,) float64 on each clip's clock.
        offsets: (N + 1,) int64; clip n has the rows offsets[n] .. offsets[n + 1] - 1.
    """

    values: NDArray[np.float16]
    times_s: NDArray[np.float64]
    offsets: NDArray[np.int64]


def feature_arrays(
    split: Split, video: Weights, *, rate_hz: int, parallel_map: ParallelMap | None = None
) -> ClipArrays:
    """A split as arrays, with the features of a frozen encoder in place of the frames.

    Raises:
        CheckpointError: the weights do not fit.
    """
    features = video_features(split, video, parallel_map=parallel_map)
    labels = split.labels()
    return ClipArrays(
        frames=features.values,
        times_s=features.times_s,
        offsets=features.offsets,
        sounds=mono_sounds(split, rate_hz, parallel_map=parallel_map),
        rate_hz=rate_hz,
        event_times_s=[audible_events(each) for each in labels],
        materials=material_classes(labels),
    )


def video_features(
    split: Split, video: Weights, *, parallel_map: ParallelMap | None = None
) -> FrameFeatures:
    """Features of a frozen video encoder for the frames of all clips, at the encoder's frame rate.

    Raises:
        CheckpointError: the weights do not fit.
        DataError: the clips have no frames.
    """
    split.clips.require_frames()
    name = f"video_features-{split.name}-{video.encoder}"
    arrays = open_store(
        store_folder(split.data, name, video.sha256, split.fingerprint),
        functools.partial(_video_block, split, video),
        range(len(split.clips)),
        parallel_map=parallel_map,
        uses_gpu=True,
        total=len(split.clips),
    )
    return FrameFeatures(
        values=arrays["values"],
        times_s=np.array(arrays["times_s"]),  # in memory: it is read for every window
        offsets=offsets_of(arrays["counts"]),
    )


def _video_block(split: Split, video: Weights, clip: int) -> Arrays:
    frozen, rate_hz = _loaded_video(video), catalogue.video_encoder(video.encoder).rate_hz
    times_s: list[float] = []
    features: list[NDArray[np.float16]] = []
    batch: list[Tensor] = []

    def encode_batch() -> None:
        encoded = frozen(torch.cat(batch).to(pick_device("auto")))
        features.append(encoded.cpu().numpy().astype(np.float16))
        batch.clear()

    with split.clips.files(clip) as (path, _):
        for time_s, picture in read_frames_with_aspect(path, max_rate_hz=rate_hz):
            times_s.append(time_s)
            batch.append(frozen.resize_and_crop(torch.from_numpy(picture).permute(2, 0, 1)[None]))
            if len(batch) == FRAMES_PER_BATCH:
                encode_batch()
    if batch:
        encode_batch()
    return {
        "values": np.concatenate(features),
        "times_s": np.array(times_s, np.float64),
        "counts": np.array([len(times_s)], np.int64),
    }


def segment_features(
    split: Split,
    sound: Weights,
    *,
    segment_s: float,
    bands: int,
    parallel_map: ParallelMap | None = None,
) -> NDArray[np.float16]:
    """Features of a frozen sound encoder at the segments of all clips.

    Args:
        split: of a data set.
        sound: the encoder.
        segment_s: length of a segment; features are interpolated to its centre.
        bands: number of frequency bands that the encoder's rows are pooled to.
        parallel_map: computes missing features; None for this process.

    Returns:
        (N, segments * bands, W) float16; complete segments only.

    Raises:
        CheckpointError: the weights are missing or do not fit.
    """
    name = f"sound_features-{split.name}-{sound.encoder}"
    depends_on = (sound.sha256, FRONT_END_VERSION, segment_s, bands, split.fingerprint)
    return open_store(
        store_folder(split.data, name, *depends_on),
        functools.partial(_segment_block, split, sound, segment_s, bands),
        range(len(split.clips)),
        parallel_map=parallel_map,
        uses_gpu=True,
        total=len(split.clips),
    )["values"]


def _segment_block(split: Split, sound: Weights, segment_s: float, bands: int, clip: int) -> Arrays:
    frozen, clips = _loaded_sound(sound), split.clips
    segments = int(clips.duration_s / segment_s + 1e-6)
    samples = read_mono(clips, clip, RATE_HZ)
    grid = frozen(torch.from_numpy(samples).to(pick_device("auto"))).cpu()
    values = resample_to_segments(grid, frozen, segments=segments, segment_s=segment_s, bands=bands)
    return {"values": values.numpy().astype(np.float16)[None]}


def resample_to_segments(
    grid: Tensor, encoder: FrozenSound, *, segments: int, segment_s: float, bands: int
) -> Tensor:
    """Resamples an encoder's grid of features in time and pools it in frequency.

    Args:
        grid: (C, R, W), columns and rows of `FrozenSound`.

    Returns:
        (segments * bands, W): the bands of the first segment, then those of the second.
    """
    pooled = functional.adaptive_avg_pool1d(grid.transpose(1, 2), bands).transpose(1, 2)
    rule = encoder.rule
    times_s = rule.first_s + rule.column_s * torch.arange(len(grid), dtype=torch.float64)
    centres_s = (torch.arange(segments, dtype=torch.float64) + 0.5) * segment_s
    at = interpolate_in_time(pooled.flatten(1)[None], times_s[None], centres_s)
    return at[0].unflatten(1, (bands, -1)).flatten(0, 1)


@functools.lru_cache(maxsize=1)
def _loaded_video(video: Weights) -> FrozenVideo:
    encoder = catalogue.video_encoder(video.encoder)
    return catalogue.load_encoder(encoder, video.folder).to(pick_device("auto"))


@functools.lru_cache(maxsize=1)
def _loaded_sound(sound: Weights) -> FrozenSound:
    encoder = catalogue.sound_encoder(sound.encoder)
    return catalogue.load_encoder(encoder, sound.folder).to(pick_device("auto"))
