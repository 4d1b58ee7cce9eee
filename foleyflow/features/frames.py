"""Decoded clips: the frames and sounds of a split as memory-mapped arrays."""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.data.clip_types import ClipLabels, Clips
from foleyflow.data.clips import open_split
from foleyflow.features.store import Arrays, offsets_of, open_store, store_folder
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.parallel.ray_cluster import Item, ParallelMap, Result
from foleyflow.parallel.threads import available_cores
from foleyflow.signals import INT16_FULL_SCALE


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a data set ("train", "validation" or "test"), and the hash of its clips."""

    data: Path
    name: str
    fingerprint: str

    @classmethod
    def at(cls, data: Path, name: str) -> Split:
        """The split in its present state."""
        return cls(data=data, name=name, fingerprint=open_split(data, name).fingerprint)

    @property
    def clips(self) -> Clips:
        """The clips, which each process opens once."""
        return _opened(self)

    def labels(self) -> tuple[ClipLabels, ...]:
        """The labels of all clips."""
        return tuple(self.clips.labels(index) for index in range(len(self.clips)))


@functools.lru_cache(maxsize=4)
def _opened(split: Split) -> Clips:
    return open_split(split.data, split.name)


@dataclass(frozen=True, kw_only=True)
class FrameCache:
    """All clips of a split, decoded.

    Attributes:
        frames: (sum of T, size, size, 3) uint8 RGB, the frames of all clips in order.
        times_s: (sum of T,) float64 time stamps, from 0 in each clip.
        offsets: (N + 1,) int64; clip n has the frames offsets[n] .. offsets[n + 1] - 1.
        sounds: (N, samples) int16, mono, full scale at 32767.
        rate_hz: sample rate of the sounds.
        labels: (N,) labels of the clips.
        fingerprint: hash of the clips.
    """

    frames: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    offsets: NDArray[np.int64]
    sounds: NDArray[np.int16]
    rate_hz: int
    labels: tuple[ClipLabels, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    def clip_frames(self, index: int) -> NDArray[np.uint8]:
        """The frames of a clip, (T, size, size, 3), without a copy."""
        return self.frames[self.offsets[index] : self.offsets[index + 1]]

    def clip_times_s(self, index: int) -> NDArray[np.float64]:
        """The time stamps of a clip's frames, (T,)."""
        return self.times_s[self.offsets[index] : self.offsets[index + 1]]


def cache_frames(
    root: str | Path, split: str, *, parallel_map: ParallelMap | None = None
) -> FrameCache:
    """Opens a split's decoded clips, and decodes them first if they are missing or have changed.

    A clip of 4 s takes 4 MB. The decoded clips of an earlier state of the split are removed.

    Args:
        root: folder of the data set.
        split: "train", "validation" or "test".
        parallel_map: decodes the clips; None decodes in one thread per core.

    Raises:
        DataError: the data set is missing or damaged, or has no frames.
    """
    opened = Split.at(Path(root), split)
    opened.clips.require_frames()
    folder = store_folder(opened.data, f"frames-{split}", opened.fingerprint)
    arrays = open_store(
        folder,
        functools.partial(_decode, opened),
        range(len(opened.clips)),
        parallel_map=parallel_map or _map_in_threads,
        total=len(opened.clips),
    )
    for other in opened.data.glob(f".frames-{split}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return FrameCache(
        frames=arrays["frames"],
        times_s=np.array(arrays["times_s"]),  # in memory: it is read for every window
        offsets=offsets_of(arrays["frame_counts"]),
        sounds=arrays["sounds"],
        rate_hz=opened.clips.rate_hz,
        labels=opened.labels(),
        fingerprint=opened.fingerprint,
    )


def mono_sounds(
    split: Split, rate_hz: int, *, parallel_map: ParallelMap | None = None
) -> NDArray[np.int16]:
    """The sounds of all clips at a sample rate, (N, samples) int16; cached like the frames."""
    name = f"mono_sounds-{split.name}-{rate_hz}"
    return open_store(
        store_folder(split.data, name, split.fingerprint),
        functools.partial(_read_sound, split, rate_hz),
        range(len(split.clips)),
        parallel_map=parallel_map,
        total=len(split.clips),
    )["sounds"]


def read_mono(clips: Clips, index: int, rate_hz: int) -> NDArray[np.float32]:
    """A clip's sound at a sample rate, (samples,), exactly as long as the clip."""
    with clips.files(index) as (_, path):
        samples = read_waveform(path, rate_hz=rate_hz).mono()
    return fit_length(samples, count_at(clips.duration_s, rate_hz))


def _decode(split: Split, index: int) -> Arrays:
    clip = split.clips.load(index)
    return {
        "frames": clip.frames.pixels,
        "times_s": clip.frames.times_s.astype(np.float64),
        "frame_counts": np.array([len(clip.frames)], np.int64),
        "sounds": _to_int16(clip.waveform.samples[:1]),
    }


def _read_sound(split: Split, rate_hz: int, index: int) -> Arrays:
    return {"sounds": _to_int16(read_mono(split.clips, index, rate_hz)[None])}


def _to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.round(np.clip(samples, -1.0, 1.0) * INT16_FULL_SCALE).astype(np.int16)


def _map_in_threads(work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    """`map` in one thread per core, a few items ahead."""
    remaining, workers = iter(items), available_cores()
    with ThreadPoolExecutor(workers) as pool:
        while block := list(itertools.islice(remaining, 8 * workers)):
            yield from pool.map(work, block)
