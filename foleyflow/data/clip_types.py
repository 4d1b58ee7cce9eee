"""Clips and their labels: what simulated clips and clips in shards have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.errors import DataError
from foleyflow.media.reader import read_frames
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.signals import Event, Frames, Waveform

SHARDS_FORMAT = "foleyflow-shards-1"  # in the manifest of a data set of real clips
MANIFEST_NAME = "manifest.json"  # of a data set


@dataclass(frozen=True, kw_only=True)
class ClipEvent(Event):
    """An impact ("impact").

    Attributes:
        material: of the struck body.
        other_material: of the striking body.
        impulse_ns: newton seconds.
        level_db: peak level of its dry sound, dB relative to the nominal peak of the simulation
            (0.45 of full scale); at least -60.
        pitch_hz: frequency of the struck body's lowest mode.
        decay_s: time in which this mode falls by 60 dB.
    """

    kind: str
    material: str
    other_material: str
    impulse_ns: float
    level_db: float
    pitch_hz: float
    decay_s: float


@dataclass(frozen=True, kw_only=True)
class ClipFriction:
    """A contact that lasts ("roll" or "scrape").

    Attributes:
        material: of the body that sounds.
        other_material: of the body that it moves on.
        level_db: RMS levels of its dry sound, on the scale of `ClipEvent.level_db`; value i is that
            of the time from start_s + i * step_s on, smoothed over about 120 ms.
        step_s: time between the levels.
        pitch_hz: frequency of the lowest mode of the body that sounds.
        decay_s: time in which this mode falls by 60 dB.
    """

    kind: str
    start_s: float
    end_s: float
    material: str
    other_material: str
    level_db: tuple[float, ...]
    step_s: float
    pitch_hz: float
    decay_s: float


@dataclass(frozen=True, kw_only=True)
class ClipLabels:
    """The labels of a clip.

    Attributes:
        name: such as "train/clip_000000".
        kind: the family of its scene, or the label of a real clip.
        material, striker_material: dominant struck and striking materials; None in a silent clip.
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
    """A decoded clip; the waveform is mono and as long as the clip."""

    labels: ClipLabels
    frames: Frames
    waveform: Waveform


class Clips(ABC):
    """One split ("train", "validation" or "test") of a data set."""

    def __init__(self, root: str | Path, split: str) -> None:
        self.root = Path(root)
        self.split = split
        self.manifest = read_manifest(self.root)

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def frame_size_px(self) -> int:
        """Width and height that frames are decoded to."""

    @property
    @abstractmethod
    def rate_hz(self) -> int:
        """Sample rate that sound is decoded to."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the split's settings, file names and file sizes, 16 hex digits."""

    @property
    def has_frames(self) -> bool:
        """Whether the clips have videos, not only sounds."""
        return True

    @abstractmethod
    def entry(self, index: int) -> dict[str, Any]:
        """The labels of a clip as they are stored."""

    @abstractmethod
    def files(self, index: int) -> AbstractContextManager[tuple[Path, Path]]:
        """The files with a clip's frames and sound, which exist while the context lasts.

        If the clips have no frames, the first file is missing.
        """

    @property
    def duration_s(self) -> float:
        """Length of every clip."""
        return float(self.manifest["duration_s"])

    def labels(self, index: int) -> ClipLabels:
        """The labels of a clip, which is not decoded."""
        return labels_from(self.entry(index))

    def load(self, index: int) -> Clip:
        """Decode a clip; frames are squashed to squares.

        Raises:
            DataError: its labels are damaged, or the clips have no frames.
            MediaError: a file can't be read.
        """
        self.require_frames()
        labels = self.labels(index)
        with self.files(index) as (video, sound):
            pairs = list(read_frames(video, size=self.frame_size_px, max_rate_hz=1000.0))
            waveform = self._decode_sound(sound)
        return Clip(
            labels=labels,
            frames=Frames(
                pixels=np.stack([picture for _, picture in pairs]),
                times_s=np.array([time_s for time_s, _ in pairs]),
            ),
            waveform=waveform,
        )

    def load_sound(self, index: int) -> Waveform:
        """Decode the sound of a clip: mono and as long as the clip.

        Raises:
            MediaError: its file can't be read.
        """
        with self.files(index) as (_, sound):
            return self._decode_sound(sound)

    def require_frames(self) -> None:
        """Check that the clips have frames.

        Raises:
            DataError: they have only sounds.
        """
        if not self.has_frames:
            raise DataError(
                f"{self.root} has sounds without frames, expected clips with videos",
                hint="simulate into another folder without --audio-only",
            )

    def _decode_sound(self, path: Path) -> Waveform:
        samples = read_waveform(path, rate_hz=self.rate_hz).mono()
        samples = fit_length(samples, count_at(self.duration_s, self.rate_hz))
        return Waveform(samples=samples[None], rate_hz=self.rate_hz)


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a data set.

    Raises:
        DataError: it is missing or damaged.
    """
    path = root / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{root} has no manifest.json",
            hint="create simulated clips with: foleyflow data simulate",
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}", hint="simulate into a new folder") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("splits"), dict):
        raise DataError(f"{path} is not the manifest of a data set", hint="choose another folder")
    return manifest


def labels_from(entry: dict[str, Any]) -> ClipLabels:
    """The labels of a clip from its stored JSON.

    Raises:
        KeyError: a key is missing.
    """
    return ClipLabels(
        name=entry["id"],
        kind=entry["kind"],
        duration_s=float(entry["duration_s"]),
        material=entry["material"],
        striker_material=entry["striker_material"],
        events=tuple(_of_fields(ClipEvent, event) for event in entry["events"]),
        frictions=tuple(_of_fields(ClipFriction, friction) for friction in entry["frictions"]),
    )


def _of_fields(kind: Any, entry: dict[str, Any]) -> Any:
    """A dataclass from the entries of a JSON object that are its fields; lists become tuples."""
    values = {name: entry[name] for name in kind.__dataclass_fields__}
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
