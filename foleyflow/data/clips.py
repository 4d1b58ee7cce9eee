"""Read back the clips of a data set, one by one with labels.

Only PyAV is needed, no package of the simulation. `foleyflow.simulation.dataset.clip_files`
describes the files of simulated clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from foleyflow.data.clip_types import SHARDS_FORMAT, ClipLabels, Clips, read_manifest
from foleyflow.data.shards import ShardClips
from foleyflow.errors import DataError

OLDEST_GENERATOR = 6  # labels of earlier generator versions have no levels, pitches and decays


class SimulatedClips(Clips):
    """One split of a data set created by `foleyflow data simulate`."""

    def __init__(self, root: str | Path, split: str) -> None:
        """List the clips.

        Raises:
            DataError: there is no such data set or split, clips are missing, or they are of a
                generator version whose labels are incomplete.
        """
        super().__init__(root, split)
        version = self.manifest.get("generator_version", 0)
        if version < OLDEST_GENERATOR:
            raise DataError(
                f"{root} has clips of generator version {version}, whose labels have no levels; "
                f"expected version {OLDEST_GENERATOR} or later",
                hint="simulate again into a new folder: foleyflow data simulate",
            )
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

    @property
    def has_frames(self) -> bool:
        """Whether the clips have videos, not only sounds."""
        return not self.manifest["audio_only"]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of the files of a clip."""
        return (".json", ".mp4", ".flac") if self.has_frames else (".json", ".flac")

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the manifest's settings and of all file names and sizes, 16 hex digits."""
        settings = {key: value for key, value in self.manifest.items() if key != "splits"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for path in self.paths:
            for file in map(path.with_suffix, self.suffixes):
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
        """The files with a clip's frames and sound; without frames, the first file is missing."""
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
