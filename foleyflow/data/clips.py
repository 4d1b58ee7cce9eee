"""Read back the clips of a data set, one by one with labels, or all from memory-mapped arrays.

Only PyAV is needed, no package of the simulation. `foleyflow.simulation.dataset.clip_files`
describes the files of simulated clips.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.data.clip_types import (
    SHARDS_FORMAT,
    Clip,
    ClipLabels,
    Clips,
    labels_from,
    read_manifest,
)
from foleyflow.data.shards import ShardClips
from foleyflow.errors import DataError
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.signals import INT16_FULL_SCALE


class SimulatedClips(Clips):
    """One split of a data set created by `foleyflow data simulate`."""

    def __init__(self, root: str | Path, split: str) -> None:
        """List the clips.

        Raises:
            DataError: there is no such data set or split, or clips are missing.
        """
        super().__init__(root, split)
        expected = self.manifest["splits"].get(split)
        if expected is None:
            available = ", ".join(self.manifest["splits"]) or "none"
            raise DataError(
                f"{root} has no split {split!r}, only: {available}",
                hint=f"foleyflow data simulate --split {split} --out {root} creates it",
            )
        self.paths = sorted((self.root / split).glob("[0-9]*/clip_*.json"))
        if len(self.paths) < expected:
            raise DataError(
                f"{root} has {len(self.paths)} of {expected} clips of {split!r}",
                hint="rerun the same `foleyflow data simulate` command to create the rest",
            )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def frame_size_px(self) -> int:
        """Width and height of the frames."""
        return int(self.manifest["frame_size_px"])

    @property
    def rate_hz(self) -> int:
        """Sample rate of the sound."""
        return int(self.manifest["sound_rate_hz"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the manifest's settings and of all file names and sizes, 16 hex digits."""
        settings = {key: value for key, value in self.manifest.items() if key != "splits"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for path in self.paths:
            for file in (path, path.with_suffix(".mp4"), path.with_suffix(".flac")):
                if not file.exists():
                    raise DataError(
                        f"{file} is missing", hint="delete its folder and simulate again"
                    )
                digest.update(f"{file.relative_to(self.root)} {file.stat().st_size}\n".encode())
        return digest.hexdigest()[:16]

    def entry(self, index: int) -> dict[str, Any]:
        """The labels of a clip as they are stored."""
        entry: dict[str, Any] = json.loads(self.paths[index].read_text(encoding="utf-8"))
        return entry

    def labels(self, index: int) -> ClipLabels:
        """The labels of a clip, which is not decoded.

        Raises:
            DataError: its JSON file is damaged.
        """
        try:
            return super().labels(index)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.paths[index]} is damaged: {error!r}",
                hint="delete its folder and simulate again",
            ) from error

    @contextmanager
    def files(self, index: int) -> Iterator[tuple[Path, Path]]:
        """The files with a clip's frames and sound."""
        path = self.paths[index]
        yield path.with_suffix(".mp4"), path.with_suffix(".flac")


def open_split(root: str | Path, split: str) -> Clips:
    """A split ("train", "validation" or "test") of a data set of simulated or real clips.

    Raises:
        DataError: there is no such data set or split, or clips are missing.
    """
    return ShardClips(root, split) if is_of_real_clips(Path(root)) else SimulatedClips(root, split)


def is_of_real_clips(root: Path) -> bool:
    """Whether a data set consists of shards, whose clips have no labels of events.

    Raises:
        DataError: there is no data set.
    """
    return bool(read_manifest(root).get("format") == SHARDS_FORMAT)


@dataclass(frozen=True, kw_only=True)
class FrameCache:
    """All clips of a split, decoded, in memory-mapped arrays.

    Attributes:
        frames: (sum of T, size, size, 3) uint8, RGB: the frames of all clips in order.
        times_s: (sum of T,) float64, time stamps, from 0 in each clip.
        offsets: (N + 1,) int64; clip n has the frames offsets[n] .. offsets[n + 1] - 1.
        sounds: (N, samples) int16, mono, full scale at 32767.
        rate_hz: sample rate of the sounds.
        labels: (N,) labels of the clips.
        fingerprint: of the data set that was decoded.
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


def cache_frames(
    root: str | Path,
    split: str,
    *,
    workers: int | None = None,
    parallel_map: ParallelMap | None = None,
) -> FrameCache:
    """Decode a split once into the data set's folder `.cache-SPLIT` and memory-map the result.

    A training loader then reads crops through the page cache instead of decoding. One clip of 4 s
    takes 4 MB. The cache is rebuilt when the clips have changed, and can be deleted at any time.

    Args:
        workers: decoding threads; None for one per core.
        parallel_map: decodes clips instead of these threads.

    Raises:
        DataError: the data set is missing or damaged.
    """
    clips = open_split(root, split)
    folder = clips.root / f".cache-{split}"
    stamp = folder / "fingerprint"
    if not (stamp.exists() and stamp.read_text() == clips.fingerprint):
        if parallel_map is None:
            decoded = _decoded(clips, workers or len(os.sched_getaffinity(0)))
        else:
            decoded = parallel_map(functools.partial(_load, clips.root, split), range(len(clips)))
        _write_cache(clips, folder, decoded)
    size = clips.frame_size_px
    offsets = np.load(folder / "offsets.npy")
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    samples = count_at(clips.duration_s, clips.rate_hz)
    return FrameCache(
        frames=np.memmap(
            folder / "frames.u8", np.uint8, mode="r", shape=(int(offsets[-1]), size, size, 3)
        ),
        times_s=np.load(folder / "times_s.npy"),
        offsets=offsets,
        sounds=np.memmap(folder / "sounds.i16", np.int16, mode="r", shape=(len(clips), samples)),
        rate_hz=clips.rate_hz,
        labels=tuple(labels_from(entry) for entry in labels),
        fingerprint=clips.fingerprint,
    )


def _write_cache(clips: Clips, folder: Path, decoded: Iterator[Clip]) -> None:
    """Decode all clips into a new folder, which replaces the old one once it is complete."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    times_s, offsets, entries = [], [0], []
    with (
        open(unfinished / "frames.u8", "wb") as frames_file,
        open(unfinished / "sounds.i16", "wb") as sounds_file,
    ):
        for index, clip in enumerate(decoded):
            frames_file.write(clip.frames.pixels.data)
            scaled = np.clip(clip.waveform.samples[0], -1.0, 1.0) * INT16_FULL_SCALE
            sounds_file.write(np.round(scaled).astype(np.int16).data)
            times_s.append(clip.frames.times_s)
            offsets.append(offsets[-1] + len(clip.frames))
            entries.append(clips.entry(index))
    np.save(unfinished / "times_s.npy", np.concatenate(times_s))
    np.save(unfinished / "offsets.npy", np.array(offsets, np.int64))
    (unfinished / "labels.json").write_text(json.dumps(entries), encoding="utf-8")
    (unfinished / "fingerprint").write_text(clips.fingerprint)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


@functools.lru_cache(maxsize=2)
def _opened(root: Path, split: str) -> Clips:
    return open_split(root, split)


def _load(root: Path, split: str, index: int) -> Clip:
    """A clip in a worker process, which opens the data set once."""
    return _opened(root, split).load(index)


def _decoded(clips: Clips, workers: int) -> Iterator[Clip]:
    """All clips in order, a few decoded ahead."""
    block = 8 * workers
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(clips), block):
            yield from pool.map(clips.load, range(start, min(start + block, len(clips))))
