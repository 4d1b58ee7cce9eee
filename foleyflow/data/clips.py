"""Clips on disk, read one by one with their labels.

Reading needs only PyAV and none of the packages of the simulation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
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
from foleyflow.signals import Event, Frames, Waveform

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
