"""Read and rewrite the index (`moov` box) of mp4 and mov files.

libavformat copies packets, but its mov muxer loses some of a source's index: edit lists with
several entries and some boxes that describe the picture. This module reads an index as a tree of
boxes and writes a changed tree back. Media data is moved if the index grows, and never changed.
A damaged file, or a number that does not fit its field, raises `ContainerError`.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from foleyflow.media.container_error import ContainerError

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"})
# The index of 24 h of video at 60 frames per second takes about 100 MB.
_LARGEST_INDEX_BYTES = 1 << 29
_MOVE_BLOCK_BYTES = 1 << 23


@dataclass
class Box:
    """A box: a leaf with a body, or a container with children (None for a leaf)."""

    kind: bytes
    body: bytes = b""
    children: list[Box] | None = None

    def find(self, *kinds: bytes) -> Box:
        """Return the first box at the end of a path of types; an error if it is missing."""
        found = self
        for kind in kinds:
            match = next(iter(found.all(kind)), None)
            if match is None:
                outer, missing = found.kind.decode("latin-1"), kind.decode("latin-1")
                raise ContainerError(f"no {missing} box in {outer}")
            found = match
        return found

    def all(self, kind: bytes) -> list[Box]:
        """Return the children of one type, in order."""
        return [box for box in self.children or [] if box.kind == kind]

    def to_bytes(self) -> bytes:
        """Serialise the box with a header of 8 bytes."""
        content = self.body
        if self.children is not None:
            content = b"".join(child.to_bytes() for child in self.children)
        return struct.pack(">I4s", 8 + len(content), self.kind) + content


def parse_boxes(data: bytes) -> list[Box]:
    """Parse consecutive boxes; bytes after the last complete box are ignored."""
    boxes = []
    start = 0
    while start + 8 <= len(data):
        kind, header_bytes, size = _parse_header(data[start : start + 16], len(data) - start)
        if size < header_bytes or start + size > len(data):
            break
        content = data[start + header_bytes : start + size]
        if kind in _CONTAINERS:
            boxes.append(Box(kind, children=parse_boxes(content)))
        else:
            boxes.append(Box(kind, body=content))
        start += size
    return boxes


def read_index(path: Path) -> tuple[Box, range]:
    """Read the `moov` box of an mp4 or mov file, and find its bytes in the file."""
    with open(path, "rb") as file:
        place = _find_index(file, os.fstat(file.fileno()).st_size)
        file.seek(place.start)
        boxes = parse_boxes(file.read(len(place)))
    if len(boxes) != 1 or boxes[0].kind != b"moov":
        raise ContainerError("the moov box is damaged")
    return boxes[0], place


def write_index(path: Path, index: Box, place: range) -> None:
    """Replace the `moov` box of a file, whose bytes are at `place` (see `read_index`)."""
    old_size = len(place)
    size = len(index.to_bytes())
    if 0 < old_size - size < 8:  # no free box fits into the gap, so the index grows instead
        index.children = [*(index.children or []), Box(b"free")]
        size += 8
    padding = b""
    if size < old_size:
        padding = struct.pack(">I4s", old_size - size, b"free") + bytes(old_size - size - 8)
    growth = max(0, size - old_size)
    with open(path, "r+b") as file:
        if growth and place.stop < os.fstat(file.fileno()).st_size:
            _move_tail(file, place.stop, growth)
            _shift_chunk_offsets(index, beyond=place.stop, by=growth)
        file.seek(place.start)
        file.write(index.to_bytes() + padding)


@contextlib.contextmanager
def edit_index(path: Path) -> Iterator[Box]:
    """Read the index of a file, and write it back after the `with` block has changed it."""
    index, place = read_index(path)
    yield index
    write_index(path, index, place)


def find_track(index: Box, track_id: int) -> Box:
    """Return the track with libavformat's `stream.id`; an error if it is missing."""
    for track in index.all(b"trak"):
        header = track.find(b"tkhd").body
        offset = 20 if header[:1] == b"\1" else 12
        if header[offset : offset + 4] == struct.pack(">I", track_id & 0xFFFFFFFF):
            return track
    raise ContainerError(f"no track with the identifier {track_id}")


def timescale_of(header: Box) -> int:
    """Return the ticks per second of an mvhd or mdhd box; an error if they are 0."""
    (timescale,) = unpack(">I", header.body, 20 if header.body[:1] == b"\1" else 12)
    if not timescale:
        raise ContainerError("the timescale is 0")
    return int(timescale)


def unpack(form: str, data: bytes, offset: int) -> tuple[int, ...]:
    """Call `struct.unpack_from`; missing bytes raise `ContainerError`."""
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error as error:
        raise ContainerError(f"a box is too short: {error}") from error


def pack(form: str, *values: int) -> bytes:
    """Call `struct.pack`; a number that does not fit raises `ContainerError`."""
    try:
        return struct.pack(form, *values)
    except struct.error as error:
        raise ContainerError(f"a number does not fit its field: {error}") from error


def _parse_header(head: bytes, remaining_bytes: int) -> tuple[bytes, int, int]:
    """(type, bytes of the header, bytes of the box) from the first 8 to 16 bytes of a box."""
    size, kind = struct.unpack_from(">I4s", head)
    if size == 1 and len(head) == 16:
        return kind, 16, struct.unpack_from(">Q", head, 8)[0]
    return kind, 8, size or remaining_bytes


def _find_index(file: BinaryIO, file_size: int) -> range:
    """Byte range of the `moov` box at the top level of a file."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            raise ContainerError("no moov box")
        kind, _, size = _parse_header(head, file_size - position)
        if kind == b"moov":
            if size > _LARGEST_INDEX_BYTES or position + size > file_size:
                raise ContainerError(f"a moov box of {size} bytes in a file of {file_size}")
            return range(position, position + size)
        if size < 8:
            raise ContainerError("no moov box")
        position += size


def _move_tail(file: BinaryIO, start: int, by: int) -> None:
    """Move everything from `start` towards the end, beginning with the last block."""
    end = os.fstat(file.fileno()).st_size
    while end > start:
        begin = max(start, end - _MOVE_BLOCK_BYTES)
        file.seek(begin)
        block = file.read(end - begin)
        file.seek(begin + by)
        file.write(block)
        end = begin


def _shift_chunk_offsets(index: Box, *, beyond: int, by: int) -> None:
    """Increase the offsets of all chunks that lie behind the index."""
    for track in index.all(b"trak"):
        tables = track.find(b"mdia", b"minf", b"stbl")
        for kind, form in ((b"stco", "I"), (b"co64", "Q")):
            for table in tables.all(kind):
                (count,) = unpack(">I", table.body, 4)
                offsets = unpack(f">{count}{form}", table.body, 8)
                moved = [offset + by if offset >= beyond else offset for offset in offsets]
                try:
                    table.body = table.body[:8] + struct.pack(f">{count}{form}", *moved)
                except struct.error as error:
                    raise ContainerError(
                        "the file would exceed the 4 GiB that its chunk table can address"
                    ) from error
