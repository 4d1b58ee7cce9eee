"""Read elements of Matroska and WebM files, and write the pixel aspect ratio.

libavformat's muxer takes the pixel aspect ratio from a field that PyAV can't set. This module
writes its two elements into the finished file, in place of empty space before the tracks.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from foleyflow.media.container_error import ContainerError

SEGMENT, SEEK_HEAD, SEEK, SEEK_POSITION, VOID = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AC, 0xEC
TRACKS, TRACK_ENTRY, VIDEO, CHECKSUM = 0x1654AE6B, 0xAE, 0xE0, 0xBF
PIXEL_WIDTH, PIXEL_HEIGHT, DISPLAY_WIDTH, DISPLAY_HEIGHT = 0xB0, 0xBA, 0x54B0, 0x54BA
DISPLAY_UNIT = 0x54B2  # of width and height; 0 is pixels, and libavformat writes 4, "unknown"
CONTENT_ENCODINGS, CONTENT_ENCODING, CONTENT_ENCRYPTION = 0x6D80, 0x6240, 0x5035
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Element:
    """An element's identifier and place: its first byte, the first byte of its content, its end."""

    element_id: int
    start: int
    content: int
    end: int


def parse_elements(data: bytes, start: int, end: int) -> list[Element]:
    """Parse consecutive elements; the last one may be cut short."""
    found = []
    while start < end:
        id_bytes = _vint_bytes(data[start], 4)
        size_start = start + id_bytes
        if size_start >= end or not id_bytes:
            break
        size_bytes = _vint_bytes(data[size_start], 8)
        content = size_start + size_bytes
        if not size_bytes or content > end:
            break
        size = int.from_bytes(data[size_start:content], "big") - (1 << 7 * size_bytes)
        is_unknown = size == (1 << 7 * size_bytes) - 1
        content_end = end if is_unknown else min(end, content + size)
        element_id = int.from_bytes(data[start:size_start], "big")
        found.append(Element(element_id=element_id, start=start, content=content, end=content_end))
        start = content_end
    return found


def find_elements(data: bytes, path: Sequence[int]) -> list[Element]:
    """Return all elements at the end of a path of identifiers from the top level of a file."""
    found = [Element(element_id=0, start=0, content=0, end=len(data))]
    for element_id in path:
        found = [
            inner
            for element in found
            for inner in parse_elements(data, element.content, element.end)
            if inner.element_id == element_id
        ]
    return found


def set_pixel_aspect(path: Path, aspect: Fraction) -> None:
    """Write the pixel aspect ratio (width over height) of the first video track.

    The file, which libavformat must have written, is changed in place. `ContainerError` is raised
    if too little space is free before the tracks, or if the ratio is already set.
    """
    with open(path, "r+b") as file:
        data = file.read(_HEADER_BYTES)
        (segment,) = find_elements(data, [SEGMENT])
        parts = parse_elements(data, segment.content, segment.end)
        tracks = _last(parts, TRACKS)
        void = _last([part for part in parts if part.end <= tracks.start], VOID)
        entry, video = _first_video(data, tracks)
        # The two new elements: DisplayWidth and DisplayHeight
        settings = parse_elements(data, video.content, video.end)
        numbers = {
            inner.element_id: int.from_bytes(data[inner.content : inner.end], "big")
            for inner in settings
        }
        if DISPLAY_WIDTH in numbers:
            raise ContainerError("the track has a display size already")
        width = round(numbers[PIXEL_WIDTH] * aspect)
        added = _integer(DISPLAY_WIDTH, width) + _integer(DISPLAY_HEIGHT, numbers[PIXEL_HEIGHT])
        count = len(added)
        room = void.end - void.content - count
        if room < 0:
            raise ContainerError(f"{void.end - void.content} empty bytes, expected {count}")
        # Enlarge the elements around them; everything from the empty space up to them moves
        header = bytearray(data)
        for outer in (video, entry, tracks):
            _set_size(header, outer, outer.end - outer.content + count)
        for unit in settings:
            if unit.element_id == DISPLAY_UNIT:
                header[unit.content : unit.end] = bytes(unit.end - unit.content)
        begin = void.end - count
        header[begin : video.end] = header[void.end : video.end] + added
        _set_size(header, void, room)
        # Update positions and checksums
        moved = {
            part.start - segment.content for part in parts if void.end <= part.start <= tracks.start
        }
        for seek_head in (part for part in parts if part.element_id == SEEK_HEAD):
            _shift_positions(header, seek_head, moved, by=-count)
            _set_checksum(header, seek_head.content, seek_head.end)
        _set_checksum(header, tracks.content - count, tracks.end)
        file.seek(0)
        file.write(header)


def _last(parts: Sequence[Element], element_id: int) -> Element:
    found = [part for part in parts if part.element_id == element_id]
    if not found:
        raise ContainerError(f"no element {element_id:#x} in the expected place")
    return found[-1]


def _first_video(data: bytes, tracks: Element) -> tuple[Element, Element]:
    """The entry and the video settings of the first video track."""
    for entry in parse_elements(data, tracks.content, tracks.end):
        for inner in parse_elements(data, entry.content, entry.end):
            if entry.element_id == TRACK_ENTRY and inner.element_id == VIDEO:
                return entry, inner
    raise ContainerError("no video track")


def _integer(element_id: int, value: int) -> bytes:
    """An element that holds an unsigned integer."""
    content = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    name = element_id.to_bytes((element_id.bit_length() + 7) // 8, "big")
    return name + bytes([0x80 | len(content)]) + content


def _set_size(header: bytearray, element: Element, size: int) -> None:
    """Write another size into an element's header, in the same number of bytes."""
    first = element.start + (element.element_id.bit_length() + 7) // 8
    count = element.content - first
    if size >= (1 << 7 * count) - 1:
        raise ContainerError(f"a size of {size} does not fit in {count} bytes")
    header[first : element.content] = (size | 1 << 7 * count).to_bytes(count, "big")


def _shift_positions(header: bytearray, seek_head: Element, moved: set[int], *, by: int) -> None:
    """Change the positions in a seek head that refer to elements that moved."""
    data = bytes(header)
    for seek in parse_elements(data, seek_head.content, seek_head.end):
        for inner in parse_elements(data, seek.content, seek.end):
            position = int.from_bytes(data[inner.content : inner.end], "big")
            if (seek.element_id, inner.element_id) == (SEEK, SEEK_POSITION) and position in moved:
                length = inner.end - inner.content
                header[inner.content : inner.end] = (position + by).to_bytes(length, "big")


def _set_checksum(header: bytearray, start: int, end: int) -> None:
    """Update the CRC-32 at the start of an element's content, if it has one."""
    if header[start] == CHECKSUM and header[start + 1] == 0x84:
        checksum = binascii.crc32(header[start + 6 : end])
        header[start + 2 : start + 6] = checksum.to_bytes(4, "little")


def _vint_bytes(first: int, longest: int) -> int:
    """Length of a variable-size integer by its first byte; 0 if the byte can't start one."""
    length = 9 - first.bit_length()
    return length if first and length <= longest else 0
