"""Clips in WebDataset shards: tar files in which each clip is KEY.mp4 and KEY.json.

    ROOT/manifest.json               settings, and the number of clips of each split
    ROOT/manifest.csv                every row of the list: kept, or rejected with the reason
    ROOT/train/shard-000000.tar      readable by any WebDataset loader
    ROOT/train/shard-000000.json     the offset and the labels of each clip in the tar

`ShardClips` has the interface of `SimulatedClips`, so trainings accept either.
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

from foleyflow.data.clip_types import Clips
from foleyflow.errors import DataError
from foleyflow.weights import write_atomically

FRAME_SIZE_PX, RATE_HZ = 112, 48_000  # as in simulated clips


def write_shard(path: Path, clips: Iterable[tuple[str, bytes, dict[str, Any]]], plan: str) -> None:
    """Write a shard and its index; each file appears complete or not at all.

    The tar has neither times nor owners, so that the same clips give the same bytes.

    Args:
        clips: (key, mp4 file, labels) in order.
        plan: identifies the planned content of the shard; see `is_finished`.
    """
    draft = path.with_suffix(".tar.part")
    index = []
    with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
        for key, video, labels in clips:
            _add(tar, f"{key}.mp4", video)
            # The content fills entire blocks, which end where the next member begins.
            padded = -(-len(video) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            index.append(
                {"key": key, "offset": tar.offset - padded, "size": len(video), "labels": labels}
            )
            _add(tar, f"{key}.json", (json.dumps(labels, sort_keys=True) + "\n").encode())
    size = draft.stat().st_size
    os.replace(draft, path)
    text = json.dumps({"plan": plan, "bytes": size, "clips": index}, sort_keys=True)
    write_atomically(path.with_suffix(".json"), text + "\n")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def is_finished(path: Path, plan: str) -> bool:
    """Whether a shard exists and has the planned content."""
    index_path = path.with_suffix(".json")
    if not (path.is_file() and index_path.is_file()):
        return False
    index = json.loads(index_path.read_text(encoding="utf-8"))
    return bool(index["plan"] == plan and index["bytes"] == path.stat().st_size)


class ShardClips(Clips):
    """One split of a data set of shards."""

    frame_size_px = FRAME_SIZE_PX
    rate_hz = RATE_HZ

    def __init__(self, root: str | Path, split: str) -> None:
        """List the clips.

        Raises:
            DataError: there is no such data set or split, or shards are missing or damaged.
        """
        super().__init__(root, split)
        splits = self.manifest["splits"]
        if not splits.get(split):
            available = ", ".join(name for name, count in splits.items() if count)
            raise DataError(
                f"{root} has no split {split!r}, only: {available or 'none'}",
                hint="build it from a list that has such clips",
            )
        self._members: list[tuple[Path, dict[str, Any]]] = []
        for path in sorted((self.root / split).glob("shard-*.json")):
            index = json.loads(path.read_text(encoding="utf-8"))
            tar = path.with_suffix(".tar")
            if not tar.is_file() or tar.stat().st_size != index["bytes"]:
                raise DataError(
                    f"{tar} is missing, or has another size than its index states",
                    hint="rerun the same `foleyflow data` command to write it again",
                )
            self._members += [(tar, member) for member in index["clips"]]
        if len(self._members) != splits[split]:
            raise DataError(
                f"{root} has {len(self._members)} of {splits[split]} clips of {split!r}",
                hint="rerun the same `foleyflow data` command to write the rest",
            )

    def __len__(self) -> int:
        return len(self._members)

    @property
    def duration_s(self) -> float:
        """Length of every clip. Those of a test split as published may be shorter."""
        durations_s = self.manifest.get("split_durations_s", {})
        return float(durations_s.get(self.split, super().duration_s))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings and of all clips' keys, shards and sizes, 16 hex digits."""
        digest = hashlib.sha256(json.dumps(self.manifest["settings"], sort_keys=True).encode())
        for tar, member in self._members:
            digest.update(f"{tar.name} {member['key']} {member['size']}\n".encode())
        return digest.hexdigest()[:16]

    def entry(self, index: int) -> dict[str, Any]:
        """The labels of a clip as they are stored."""
        labels: dict[str, Any] = self._members[index][1]["labels"]
        return labels

    def content(self, index: int) -> bytes:
        """The mp4 file of a clip."""
        tar, member = self._members[index]
        with tar.open("rb") as stream:
            stream.seek(member["offset"])
            return stream.read(member["size"])

    @contextmanager
    def files(self, index: int) -> Iterator[tuple[Path, Path]]:
        """The clip's mp4 file twice, for frames and sound; it is temporary."""
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            file.write(self.content(index))
            file.flush()
            yield Path(file.name), Path(file.name)
