"""Clips on disk, read back: one by one with their labels, or all from a memory map.

Needs only PyAV, none of the simulation's own packages, so that a training machine can do without
them. How the files are made and laid out is `physics/dataset.py`'s matter; how clips become
batches is the loader's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.errors import DataError
from foleyflow.media.reader import read_frames
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.signals import INT16_FULL_SCALE, Event, Frames, Waveform

SHARDS_FORMAT = "foleyflow-shards-1"  # in the manifest of a data set of real clips


@dataclass(frozen=True, kw_only=True)
class ClipEvent(Event):
    """An impact, with what is known of it.

    Attributes:
        kind: "impact".
        material: of the struck body.
        other_material: of the striking body.
        impulse_ns: newton seconds.
    """

    kind: str
    material: str
    other_material: str
    impulse_ns: float


@dataclass(frozen=True, kw_only=True)
class ClipFriction:
    """A contact that lasts.

    Attributes:
        kind: "roll" or "scrape".
        start_s: seconds on the clip's clock.
        end_s: seconds on the clip's clock.
        material: of the body that sounds.
        other_material: of what it moves on.
    """

    kind: str
    start_s: float
    end_s: float
    material: str
    other_material: str


@dataclass(frozen=True, kw_only=True)
class ClipLabels:
    """What a clip's JSON file says.

    Attributes:
        name: "train/clip_000000".
        kind: the family of its scene.
        duration_s: seconds.
        material: the struck material that dominates; None in a silent clip.
        striker_material: the striking one.
        events: impacts in order of time.
        frictions: rolling and scraping.
    """

    name: str
    kind: str
    duration_s: float
    material: str | None
    striker_material: str | None
    events: tuple[ClipEvent, ...]
    frictions: tuple[ClipFriction, ...]

    @property
    def event_times_s(self) -> NDArray[np.float64]:
        """Times of the impacts, (K,)."""
        return np.array([event.time_s for event in self.events], np.float64)

    @property
    def event_strengths(self) -> NDArray[np.float64]:
        """Strengths of the impacts, (K,), 0..1."""
        return np.array([event.strength for event in self.events], np.float64)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip with everything.

    Attributes:
        labels: what happens in it.
        frames: with their time stamps.
        waveform: mono, as long as the clip.
    """

    labels: ClipLabels
    frames: Frames
    waveform: Waveform


class SimulatedClips:
    """One split of a data set made by `foleyflow data simulate`."""

    def __init__(self, root: str | Path, split: str) -> None:
        """List the clips.

        Args:
            root: folder of the data set.
            split: "train", "validation" or "test".

        Raises:
            DataError: there is no such data set or split, or clips are missing.
        """
        self.root = Path(root)
        self.split = split
        self.manifest = read_manifest(self.root)
        wanted = self.manifest["splits"].get(split)
        if wanted is None:
            there = ", ".join(self.manifest["splits"]) or "none"
            raise DataError(
                f"{root} has no split {split!r}, only: {there}",
                hint=f"foleyflow data simulate --split {split} --out {root} makes it",
            )
        self.paths = sorted((self.root / split).glob("[0-9]*/clip_*.json"))
        if len(self.paths) < wanted:
            raise DataError(
                f"{root}: {len(self.paths)} of {wanted} clips of {split!r} are there",
                hint="the same `foleyflow data simulate` command again makes the rest",
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

    @property
    def duration_s(self) -> float:
        """Length of every clip."""
        return float(self.manifest["duration_s"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the manifest's settings and of all files' names and sizes, 16 hex digits."""
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
        """A clip's labels as they are stored."""
        found: dict[str, Any] = json.loads(self.paths[index].read_text(encoding="utf-8"))
        return found

    def labels(self, index: int) -> ClipLabels:
        """What happens in a clip, without decoding it.

        Raises:
            DataError: its JSON file is damaged.
        """
        path = self.paths[index]
        try:
            return labels_from(self.entry(index))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is damaged: {error!r}", hint="delete its folder and simulate again"
            ) from error

    @contextmanager
    def files(self, index: int) -> Iterator[tuple[Path, Path]]:
        """The files of a clip's pictures and of its sound."""
        path = self.paths[index]
        yield path.with_suffix(".mp4"), path.with_suffix(".flac")

    def load(self, index: int) -> Clip:
        """Decode a clip.

        Args:
            index: 0 .. len - 1.

        Returns:
            The clip; its sound is mono and exactly as long as the clip.

        Source: ours.
        """
        path = self.paths[index]
        labels = self.labels(index)
        return clip_from_files(
            labels,
            video=path.with_suffix(".mp4"),
            sound=path.with_suffix(".flac"),
            size=self.frame_size_px,
            rate_hz=self.rate_hz,
            samples=count_at(labels.duration_s, self.rate_hz),
        )


class Clips(Protocol):
    """One split of a data set: simulated clips, or shards of real ones."""

    root: Path

    def __len__(self) -> int: ...

    @property
    def frame_size_px(self) -> int:
        """Width and height of the frames."""

    @property
    def rate_hz(self) -> int:
        """Sample rate of the sound."""

    @property
    def duration_s(self) -> float:
        """Length of every clip."""

    @property
    def fingerprint(self) -> str:
        """Hash of what the split holds."""

    def entry(self, index: int) -> dict[str, Any]:
        """A clip's labels as they are stored."""

    def files(self, index: int) -> AbstractContextManager[tuple[Path, Path]]:
        """The files of a clip's pictures and of its sound, while the context lasts."""

    def load(self, index: int) -> Clip:
        """A clip, decoded."""


def open_split(root: str | Path, split: str) -> Clips:
    """A split of a data set of either kind.

    Args:
        root: folder of the data set.
        split: "train", "validation" or "test".

    Raises:
        DataError: there is no such data set or split, or clips are missing.

    Source: ours.
    """
    if is_of_real_clips(Path(root)):
        from foleyflow.data.shards import ShardClips

        return ShardClips(root, split)
    return SimulatedClips(root, split)


def is_of_real_clips(root: Path) -> bool:
    """Whether a data set is one of shards, whose clips have no labels of events.

    Raises:
        DataError: no data set is there.

    Source: ours.
    """
    return bool(read_manifest(root).get("format") == SHARDS_FORMAT)


def clip_from_files(
    labels: ClipLabels, *, video: Path, sound: Path, size: int, rate_hz: int, samples: int
) -> Clip:
    """A clip decoded from its files.

    Args:
        labels: what happens in it.
        video: file of the pictures; all are taken.
        sound: file of the sound; may be the same.
        size: side of the pictures, pixels.
        rate_hz: of the sound.
        samples: length of the sound, to which it is cut or filled.

    Raises:
        MediaError: a file can't be read.

    Source: ours.
    """
    pairs = list(read_frames(video, size=size, max_rate_hz=1000.0))
    waveform = read_waveform(sound, rate_hz=rate_hz).mono()
    return Clip(
        labels=labels,
        frames=Frames(
            pixels=np.stack([picture for _, picture in pairs]),
            times_s=np.array([time_s for time_s, _ in pairs]),
        ),
        waveform=Waveform(samples=fit_length(waveform, samples)[None], rate_hz=rate_hz),
    )


@dataclass(frozen=True, kw_only=True)
class FrameCache:
    """All clips of a split, decoded, in memory-mapped arrays.

    Attributes:
        frames: (sum of T, size, size, 3) uint8, RGB: the frames of all clips, one after the other.
        times_s: (sum of T,) float64, time stamps, from 0 in each clip.
        offsets: (N + 1,) int64; clip n has the frames offsets[n] .. offsets[n + 1] - 1.
        sounds: (N, samples) int16, mono, full scale at 32767.
        rate_hz: of the sounds.
        labels: (N,) what happens in them.
        fingerprint: of the data set that it was made from.
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
        """Their time stamps, (T,)."""
        return self.times_s[self.offsets[index] : self.offsets[index + 1]]


def cache_frames(
    root: str | Path,
    split: str,
    *,
    workers: int | None = None,
    parallel_map: ParallelMap | None = None,
) -> FrameCache:
    """Decode a split of either kind once into a folder beside it, and open that from then on.

    A training loader then reads crops through the page cache instead of decoding. One clip of 4 s
    takes 4 MB. The cache is made anew when the clips have changed, and may be deleted at any time.

    Args:
        root: folder of the data set.
        split: "train", "validation" or "test".
        workers: decoding threads; None for one per core.
        spread: who decodes clips instead of these threads.

    Raises:
        DataError: the data set is missing or damaged.

    Source: ours.
    """
    clips = open_split(root, split)
    folder = clips.root / f".cache-{split}"
    stamp = folder / "fingerprint"
    if not (stamp.exists() and stamp.read_text() == clips.fingerprint):
        if parallel_map is None:
            decoded = _loaded(clips, workers or len(os.sched_getaffinity(0)))
        else:
            decoded = parallel_map(functools.partial(_load, clips.root, split), range(len(clips)))
        _make_cache(clips, folder, decoded)
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


def read_manifest(root: Path) -> dict[str, Any]:
    """What the manifest of a data set says.

    Raises:
        DataError: it is missing or damaged.

    Source: ours.
    """
    path = root / "manifest.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{root} holds no manifest.json", hint="make clips with: foleyflow data simulate"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}", hint="simulate into a new folder") from error
    if not isinstance(found, dict) or not isinstance(found.get("splits"), dict):
        raise DataError(f"{path} is no manifest of simulated clips", hint="choose another folder")
    return found


def labels_from(entry: dict[str, Any]) -> ClipLabels:
    """A clip's labels from what its JSON file says.

    Raises:
        KeyError: something is missing.

    Source: ours.
    """
    return ClipLabels(
        name=entry["id"],
        kind=entry["kind"],
        duration_s=float(entry["duration_s"]),
        material=entry["material"],
        striker_material=entry["striker_material"],
        events=tuple(
            ClipEvent(
                time_s=event["time_s"],
                strength=event["strength"],
                kind=event["kind"],
                material=event["material"],
                other_material=event["other_material"],
                impulse_ns=event["impulse_ns"],
            )
            for event in entry["events"]
        ),
        frictions=tuple(
            ClipFriction(
                kind=friction["kind"],
                start_s=friction["start_s"],
                end_s=friction["end_s"],
                material=friction["material"],
                other_material=friction["other_material"],
            )
            for friction in entry["frictions"]
        ),
    )


def _make_cache(clips: Clips, folder: Path, decoded: Iterator[Clip]) -> None:
    """Decode all clips into a new folder, which takes the old one's place when it is complete."""
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
    """A clip in a worker, which opens the data set once."""
    return _opened(root, split).load(index)


def _loaded(clips: Clips, workers: int) -> Iterator[Clip]:
    """All clips in order, a few decoded ahead."""
    block = 8 * workers
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(clips), block):
            yield from pool.map(clips.load, range(start, min(start + block, len(clips))))
