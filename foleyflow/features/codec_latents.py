"""Codec latents of all clips of a split, and the training windows that are cut from them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.interface import SoundCodec
from foleyflow.data.clips import ClipLabels
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.errors import DataError
from foleyflow.features.cue_labels import cues_of_labels
from foleyflow.features.frames import FrameCache, Split, cache_frames, mono_sounds
from foleyflow.features.store import Arrays, open_store, store_folder
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import load_codec, load_codec_config
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.weights import read_record

# Strengths are logarithms of force (0.1 is 7 dB). An impact this far below the strongest one of its
# clip is not audible. As an event, it would be generated about as loud as the others.
AUDIBLE_RANGE = 0.2
FAINTEST = 0.12
BATCH = 16  # sounds that are encoded together


def window_source(
    data: Path,
    split: str,
    *,
    codec_folder: Path,
    config: WindowConfig,
    parallel_map: ParallelMap | None = None,
) -> WindowSource:
    """Windows of a split with their codec latents; decodes and encodes what is missing.

    Raises:
        CheckpointError: the folder contains no codec.
        DataError: the codec has another sample rate.
    """
    cache = cache_frames(data, split, parallel_map=parallel_map)
    opened = Split(data=data, name=split, fingerprint=cache.fingerprint)
    latents = codec_latents(opened, codec_folder, parallel_map=parallel_map)
    return WindowSource(clip_arrays(cache), latents, config)


def codec_latents(
    split: Split,
    codec_folder: Path,
    *,
    resampled: bool = False,
    parallel_map: ParallelMap | None = None,
) -> NDArray[np.float16]:
    """Latents of all clips, (N, L, C) float16, cached for each codec.

    `resampled` reads the sounds at the codec's sample rate instead of using the decoded clips.

    Raises:
        CheckpointError: the folder contains no codec.
        DataError: the codec has another sample rate than the clips and `resampled` is False.
    """
    rate_hz = load_codec_config(codec_folder).rate_hz
    if not resampled and rate_hz != split.clips.rate_hz:
        raise DataError(
            f"{codec_folder}: the codec expects {rate_hz} Hz, the clips have "
            f"{split.clips.rate_hz} Hz",
            hint="train a codec for this rate",
        )
    sha256 = read_record(codec_folder, "codec").sha256
    resampled_hz = rate_hz if resampled else None
    try:
        return open_store(
            store_folder(
                split.data, f"latents-{split.name}", sha256, split.fingerprint, resampled_hz
            ),
            functools.partial(_encode_block, split, codec_folder, sha256, resampled_hz),
            range(0, len(split.clips), BATCH),
            parallel_map=parallel_map,
        )["latents"]
    finally:
        _opened.cache_clear()


def encode_sounds(codec: SoundCodec, sounds: NDArray[np.int16]) -> NDArray[np.float16]:
    """Latents (N, L, C) float16 of (N, samples) int16 sounds."""
    hop = codec.config.hop_samples
    samples = sounds.shape[1] // hop * hop
    scaled = sounds[:, :samples].astype(np.float32) / INT16_FULL_SCALE
    with torch.no_grad():
        return codec.encode(torch.from_numpy(scaled)).numpy().astype(np.float16)


def clip_arrays(cache: FrameCache) -> ClipArrays:
    """Decoded clips as arrays; inaudible events are left out."""
    return ClipArrays(
        frames=cache.frames,
        times_s=cache.times_s,
        offsets=cache.offsets,
        sounds=cache.sounds,
        rate_hz=cache.rate_hz,
        event_times_s=[audible_events(labels) for labels in cache.labels],
        materials=material_classes(cache.labels),
        cues=[cues_of_labels(labels) for labels in cache.labels],
    )


def material_classes(labels: Sequence[ClipLabels]) -> NDArray[np.int64]:
    """The class of each clip's struck material, or -1, (N,)."""
    classes = [-1 if x.material is None else MATERIAL_NAMES.index(x.material) for x in labels]
    return np.array(classes, np.int64)


def audible_events(labels: ClipLabels) -> NDArray[np.float64]:
    """Times of the impacts that are not masked by louder ones, (E,) seconds."""
    strengths = labels.event_strengths
    if not len(strengths):
        return np.zeros(0)
    return labels.event_times_s[strengths >= max(FAINTEST, strengths.max() - AUDIBLE_RANGE)]


def _encode_block(
    split: Split, codec_folder: Path, sha256: str, resampled_hz: int | None, start: int
) -> Arrays:
    codec, sounds = _opened(split, codec_folder, sha256, resampled_hz)
    return {"latents": encode_sounds(codec, sounds[start : start + BATCH])}


@functools.lru_cache(maxsize=1)
def _opened(
    split: Split, codec_folder: Path, sha256: str, resampled_hz: int | None
) -> tuple[SoundCodec, NDArray[np.int16]]:
    """The codec and the sounds, which each process opens once; `sha256` is of the codec."""
    if resampled_hz is None:
        sounds = cache_frames(split.data, split.name).sounds
    else:
        sounds = mono_sounds(split, resampled_hz)
    return load_codec(codec_folder), sounds
