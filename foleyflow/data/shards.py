"""Clips in WebDataset shards: tar files in which each clip is KEY.mp4 and KEY.json.

    ROOT/manifest.json               settings, and how many clips each split has
    ROOT/manifest.csv                every row of the list: kept, or the reason why not
    ROOT/train/shard-000000.tar      readable by any WebDataset loader
    ROOT/train/shard-000000.json     where each clip lies in it

`ShardClips` reads them back as `SimulatedClips` reads simulated clips, so that trainings take
either.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from foleyflow.clock import count_at
from foleyflow.data.clips import Clip, ClipLabels, clip_from_files, labels_from, read_manifest
from foleyflow.errors import DataError

FRAME_SIZE_PX, RATE_HZ = 112, 48_000  # as simulated clips have them


def write_shard(path: Path, clips: Iterable[tuple[str, bytes, dict[str, Any]]], plan: str) -> None:
    """Write a shard and its index, each whole or not at all.

    Args:
        path: of the tar.
        clips: (key, mp4 file, labels) in order.
        plan: names what the shard is to hold; see `is_finished`.

    Source: ours; WebDataset's layout. No times and no owners, so that the same clips give the same
        bytes.
    """
    draft = path.with_suffix(".tar.part")
    places = []
    with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
        for key, video, labels in clips:
            text = (json.dumps(labels, sort_keys=True) + "\n").encode()
            for suffix, content in (("mp4", video), ("json", text)):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                if suffix == "mp4":
                    # The content lies in whole blocks before the place where the next one begins.
                    padded = -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    places.append(
                        {
                            "key": key,
                            "offset": tar.offset - padded,
                            "size": len(content),
                            "labels": labels,
                        }
                    )
    size = draft.stat().st_size
    os.replace(draft, path)
    index = {"plan": plan, "bytes": size, "clips": places}
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(index, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(draft, path.with_suffix(".json"))


def is_finished(path: Path, plan: str) -> bool:
    """Whether a shard is there and holds what it is to hold.

    Source: ours.
    """
    index_path = path.with_suffix(".json")
    if not (path.is_file() and index_path.is_file()):
        return False
    index = json.loads(index_path.read_text(encoding="utf-8"))
    return bool(index["plan"] == plan and index["bytes"] == path.stat().st_size)


class ShardClips:
    """One split of a data set of shards."""

    def __init__(self, root: str | Path, split: str) -> None:
        """List the clips.

        Args:
            root: folder of the data set.
            split: "train", "validation" or "test".

        Raises:
            DataError: there is no such data set or split, or shards are missing or damaged.
        """
        self.root = Path(root)
        self.split = split
        self.manifest = read_manifest(self.root)
        wanted = self.manifest["splits"].get(split)
        if not wanted:
            there = ", ".join(name for name, count in self.manifest["splits"].items() if count)
            raise DataError(
                f"{root} has no split {split!r}, only: {there or 'none'}",
                hint="build it from a list that has such clips",
            )
        self._places: list[tuple[Path, dict[str, Any]]] = []
        for path in sorted((self.root / split).glob("shard-*.json")):
            index = json.loads(path.read_text(encoding="utf-8"))
            tar = path.with_suffix(".tar")
            if not tar.is_file() or tar.stat().st_size != index["bytes"]:
                raise DataError(
                    f"{tar} is missing or of another size than its index says",
                    hint="the same `foleyflow data` command again makes it anew",
                )
            self._places += [(tar, place) for place in index["clips"]]
        if len(self._places) != wanted:
            raise DataError(
                f"{root}: {len(self._places)} of {wanted} clips of {split!r} are there",
                hint="the same `foleyflow data` command again makes the rest",
            )

    def __len__(self) -> int:
        return len(self._places)

    @property
    def frame_size_px(self) -> int:
        """Width and height that frames are decoded to."""
        return FRAME_SIZE_PX

    @property
    def rate_hz(self) -> int:
        """Sample rate that sound is decoded to."""
        return RATE_HZ

    @property
    def duration_s(self) -> float:
        """Length of every clip."""
        return float(self.manifest["duration_s"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all clips' names, places and sizes, 16 hex digits."""
        digest = hashlib.sha256(json.dumps(self.manifest["settings"], sort_keys=True).encode())
        for tar, place in self._places:
            digest.update(f"{tar.name} {place['key']} {place['size']}\n".encode())
        return digest.hexdigest()[:16]

    def entry(self, index: int) -> dict[str, Any]:
        """A clip's labels as they are stored."""
        labels: dict[str, Any] = self._places[index][1]["labels"]
        return labels

    def labels(self, index: int) -> ClipLabels:
        """What is known of a clip."""
        return labels_from(self.entry(index))

    def content(self, index: int) -> bytes:
        """A clip's mp4 file."""
        tar, place = self._places[index]
        with tar.open("rb") as stream:
            stream.seek(place["offset"])
            return stream.read(place["size"])

    @contextmanager
    def files(self, index: int) -> Iterator[tuple[Path, Path]]:
        """The file of a clip's pictures, which is that of its sound too, while it is needed."""
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            file.write(self.content(index))
            file.flush()
            yield Path(file.name), Path(file.name)

    def load(self, index: int) -> Clip:
        """Decode a clip.

        Args:
            index: 0 .. len - 1.

        Returns:
            The clip; frames are squashed to squares, its sound is mono and as long as the clip.

        Source: ours.
        """
        with self.files(index) as (video, sound):
            return clip_from_files(
                self.labels(index),
                video=video,
                sound=sound,
                size=self.frame_size_px,
                rate_hz=self.rate_hz,
                samples=count_at(self.duration_s, self.rate_hz),
            )
