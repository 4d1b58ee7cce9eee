"""Reads and rewrites the index (`moov`) of mp4 and mov files as a tree of boxes.

libavformat copies packets, but not everything that an index says: several edits, or descriptions
of the picture that its mov muxer does not know. This finds such boxes in a source, and puts them
into a finished output. Media data is moved where the index grows, never changed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"})
# An index of 24 h of video at 60 frames per second takes about 100 MB.
_LARGEST_INDEX_BYTES = 1 << 29
_MOVED_AT_ONCE_BYTES = 1 << 23


class BoxError(ValueError):
    """The file has no index, or one that can't be read as boxes."""


@dataclass
class Box:
    """One box: a leaf with its bytes, or a container with its children.

    Attributes:
        kind: its four letters.
        body: content of a leaf; empty for a container.
        children: of a container; None for a leaf.
    """

    kind: bytes
    body: bytes = b""
    children: list[Box] | None = None

    def find(self, *kinds: bytes) -> Box:
        """The first box that a path of kinds leads to.

        Raises:
            BoxError: there is none.
        """
        found = self
        for kind in kinds:
            match = next((box for box in found.children or [] if box.kind == kind), None)
            if match is None:
                outer, missing = found.kind.decode("latin-1"), kind.decode("latin-1")
                raise BoxError(f"no {missing} box in {outer}")
            found = match
        return found

    def all(self, kind: bytes) -> list[Box]:
        """The children of one kind, in order."""
        return [box for box in self.children or [] if box.kind == kind]

    def to_bytes(self) -> bytes:
        """The box as it stands in a file, with a header of 8 bytes."""
        if self.children is None:
            content = self.body
        else:
            content = b"".join(child.to_bytes() for child in self.children)
        return struct.pack(">I4s", 8 + len(content), self.kind) + content


@dataclass(frozen=True, kw_only=True)
class IndexPlace:
    """Where the index of a file lies, header included, in bytes."""

    start: int
    end: int


def parse_boxes(data: bytes) -> list[Box]:
    """The boxes in a stretch of bytes; what follows the last complete box is left out."""
    boxes = []
    for kind, start, end in _spans(data):
        content = data[start:end]
        if kind in _CONTAINERS:
            boxes.append(Box(kind, children=parse_boxes(content)))
        else:
            boxes.append(Box(kind, body=content))
    return boxes


def read_index(path: Path) -> tuple[Box, IndexPlace]:
    """The `moov` box of a file, and where it lies.

    Args:
        path: an mp4 or mov file.

    Raises:
        BoxError: there is no index, or it is damaged.
    """
    with open(path, "rb") as file:
        place = _find_index(file, os.fstat(file.fileno()).st_size)
        file.seek(place.start)
        boxes = parse_boxes(file.read(place.end - place.start))
    if len(boxes) != 1 or boxes[0].kind != b"moov":
        raise BoxError("the moov box is damaged")
    return boxes[0], place


def write_index(path: Path, index: Box, place: IndexPlace) -> None:
    """Replace the `moov` box of a file.

    Args:
        path: the file, changed in place.
        index: the new content.
        place: where `read_index` found the old one.

    Raises:
        BoxError: the file would become too large for its chunk tables.
    """
    old_size = place.end - place.start
    size = len(index.to_bytes())
    if 0 < old_size - size < 8:  # less than a box: the rest can't be filled, so the index grows
        index.children = [*(index.children or []), Box(b"free")]
        size += 8
    padding = b""
    if size < old_size:
        padding = struct.pack(">I4s", old_size - size, b"free") + bytes(old_size - size - 8)
    grown = max(0, size - old_size)
    with open(path, "r+b") as file:
        if grown and place.end < os.fstat(file.fileno()).st_size:
            _move_tail(file, place.end, grown)
            _shift_chunks(index, beyond=place.end, by=grown)
        file.seek(place.start)
        file.write(index.to_bytes() + padding)


def track_of(index: Box, track_id: int) -> Box:
    """The `trak` box of a track by its number (libavformat's `stream.id`).

    Raises:
        BoxError: there is none.
    """
    for track in index.all(b"trak"):
        header = track.find(b"tkhd").body
        offset = 20 if header[:1] == b"\1" else 12
        if header[offset : offset + 4] == struct.pack(">I", track_id & 0xFFFFFFFF):
            return track
    raise BoxError(f"no track of number {track_id}")


def timescale_of(header: Box) -> int:
    """Ticks per second of an mvhd or mdhd box.

    Raises:
        BoxError: the box is too short, or says 0.
    """
    (timescale,) = unpack(">I", header.body, 20 if header.body[:1] == b"\1" else 12)
    if not timescale:
        raise BoxError("a timescale of 0")
    return int(timescale)


def unpack(form: str, data: bytes, offset: int) -> tuple[int, ...]:
    """`struct.unpack_from`, with the error of this module where the bytes end early."""
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error as error:
        raise BoxError(f"a box ends early: {error}") from error


def pack(form: str, *values: int) -> bytes:
    """`struct.pack`, with the error of this module where a number does not fit."""
    try:
        return struct.pack(form, *values)
    except struct.error as error:
        raise BoxError(f"a number does not fit: {error}") from error


def _spans(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the content of each box in a stretch of bytes."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1 and start + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        elif size == 0:
            size = len(data) - start
        if size < header or start + size > len(data):
            return
        yield kind, start + header, start + size
        start += size


def _find_index(file: BinaryIO, file_size: int) -> IndexPlace:
    """Where the `moov` box lies among the boxes at the top of a file."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            raise BoxError("no moov box")
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack(">Q", head[8:16])
        elif size == 0:
            size = file_size - position
        if kind == b"moov":
            if size > _LARGEST_INDEX_BYTES or position + size > file_size:
                raise BoxError(f"a moov box of {size} bytes in a file of {file_size}")
            return IndexPlace(start=position, end=position + size)
        if size < 8:
            raise BoxError("no moov box")
        position += size


def _move_tail(file: BinaryIO, start: int, by: int) -> None:
    """Move everything from `start` on towards the end, the last block first."""
    end = os.fstat(file.fileno()).st_size
    while end > start:
        begin = max(start, end - _MOVED_AT_ONCE_BYTES)
        file.seek(begin)
        block = file.read(end - begin)
        file.seek(begin + by)
        file.write(block)
        end = begin


def _shift_chunks(index: Box, *, beyond: int, by: int) -> None:
    """Add to the places of all chunks of media data that lie behind the index."""
    for track in index.all(b"trak"):
        tables = track.find(b"mdia", b"minf", b"stbl")
        for kind, form in ((b"stco", "I"), (b"co64", "Q")):
            for table in tables.all(kind):
                (count,) = unpack(">I", table.body, 4)
                places = unpack(f">{count}{form}", table.body, 8)
                moved = [place + by if place >= beyond else place for place in places]
                try:
                    table.body = table.body[:8] + struct.pack(f">{count}{form}", *moved)
                except struct.error as error:
                    raise BoxError("the file would exceed the 4 GiB of its chunk table") from error
