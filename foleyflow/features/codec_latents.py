"""From a data set and a codec to training windows: what align and flow recipes share."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.autoencoder import Codec
from foleyflow.data.clips import ClipLabels, FrameCache, cache_frames
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.errors import DataError
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import load_codec
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.simulation.contacts import MATERIALS
from foleyflow.weights import read_record

# Strengths are logarithms of force (0.1 is 7 dB): what lies so far below a clip's strongest is no
# event. Those that are found sound about equally loud: a faint touch would become a hit.
AUDIBLE_RANGE = 0.2
FAINTEST = 0.12
BATCH = 16  # sounds encoded together


def window_source(
    data: Path,
    split: str,
    *,
    codec_folder: Path,
    config: WindowConfig,
    parallel_map: ParallelMap | None = None,
) -> WindowSource:
    """Windows of a split, with codec latents computed once and kept beside the clips.

    Args:
        data: folder made by `foleyflow data`.
        split: "train", "validation" or "test".
        codec_folder: model folder that holds the codec.
        config: how windows are cut.
        spread: who decodes and encodes what is missing; None for this process.
    """
    cache = cache_frames(data, split, parallel_map=parallel_map)
    clips = clip_arrays(cache)
    path = latents_path(data, split, codec_folder, cache.fingerprint)
    if parallel_map is not None and not path.exists():
        work = functools.partial(_latents_of, data, split, codec_folder)
        _save(path, np.concatenate(list(parallel_map(work, range(0, len(clips), BATCH)))))
    return WindowSource(clips, stored_latents(path, codec_folder, clips), config)


def latents_path(data: Path, split: str, codec_folder: Path, fingerprint: str) -> Path:
    """Where the codec's latents of a split lie, or are to lie; named by codec and clips.

    Raises:
        CheckpointError: there is no codec in the folder.
    """
    codec_hash = read_record(codec_folder, "codec").sha256
    key = hashlib.sha256(f"{codec_hash} {fingerprint}".encode()).hexdigest()[:16]
    return data / f".latents-{split}-{key}.npy"


def stored_latents(path: Path, codec_folder: Path, clips: ClipArrays) -> NDArray[np.float16]:
    """Codec latents of all clips, (N, L, C) float16, computed first where they are missing.

    Args:
        path: see `latents_path`.
        codec_folder: model folder that holds the codec.
        clips: the split.

    Raises:
        DataError: the codec takes sound at another rate.
    """
    if not path.exists():
        codec = load_codec(codec_folder)
        if codec.config.rate_hz != clips.rate_hz:
            raise DataError(
                f"{codec_folder}: its codec takes {codec.config.rate_hz} Hz, the clips have "
                f"{clips.rate_hz} Hz",
                hint="train a codec for this rate",
            )
        _save(path, encode_all(codec, clips))
    latents: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return latents


def _save(path: Path, latents: NDArray[np.float16]) -> None:
    temporary = path.with_suffix(".part.npy")
    np.save(temporary, latents)
    os.replace(temporary, path)


def clip_arrays(cache: FrameCache) -> ClipArrays:
    """A cached split as arrays; events that a listener would not hear are left out."""
    return ClipArrays(
        frames=cache.frames,
        times_s=cache.times_s,
        offsets=cache.offsets,
        sounds=cache.sounds,
        rate_hz=cache.rate_hz,
        event_times_s=[audible_events(labels) for labels in cache.labels],
        materials=known_materials(cache.labels),
    )


def known_materials(labels: Sequence[ClipLabels]) -> NDArray[np.int64]:
    """Of each clip, the class of the struck material or -1, (N,)."""
    classes = [-1 if x.material is None else MATERIALS.index(x.material) for x in labels]
    return np.array(classes, np.int64)


def audible_events(labels: ClipLabels) -> NDArray[np.float64]:
    """Times of a clip's impacts that are not masked by louder ones, (E,) seconds."""
    strengths = labels.event_strengths
    if not len(strengths):
        return np.zeros(0)
    return labels.event_times_s[strengths >= max(FAINTEST, strengths.max() - AUDIBLE_RANGE)]


@torch.no_grad()
def encode_all(codec: Codec, clips: ClipArrays, batch: int = BATCH) -> NDArray[np.float16]:
    """Codec latents of all clips, (N, L, C) float16."""
    starts = range(0, len(clips), batch)
    return np.concatenate([_encoded(codec, clips.sounds[s : s + batch]) for s in starts])


def _encoded(codec: Codec, sounds: NDArray[np.int16]) -> NDArray[np.float16]:
    hop = codec.config.hop_samples
    samples = sounds.shape[1] // hop * hop
    scaled = sounds[:, :samples].astype(np.float32) / INT16_FULL_SCALE
    return codec.encode(torch.from_numpy(scaled)).numpy().astype(np.float16)


@torch.no_grad()
def _latents_of(data: Path, split: str, codec_folder: Path, start: int) -> NDArray[np.float16]:
    """One batch of `encode_all` in a worker, which loads the codec and opens the clips once."""
    codec, cache = _opened(data, split, codec_folder)
    return _encoded(codec, cache.sounds[start : start + BATCH])


@functools.lru_cache(maxsize=1)
def _opened(data: Path, split: str, codec_folder: Path) -> tuple[Codec, FrameCache]:
    return load_codec(codec_folder), cache_frames(data, split)
