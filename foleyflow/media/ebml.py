"""Reads elements of Matroska and WebM files, and sets how wide a video's pixels are.

libavformat's muxer takes the pixel aspect ratio from a place that PyAV can't reach. The two numbers
it would write are put into the finished file, at the cost of the empty space before them.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

SEGMENT, SEEK_HEAD, SEEK, VOID, INFO = 0x18538067, 0x114D9B74, 0x4DBB, 0xEC, 0x1549A966
TRACKS, TRACK_ENTRY, VIDEO, CHECKSUM = 0x1654AE6B, 0xAE, 0xE0, 0xBF
SEEK_ID, SEEK_POSITION = 0x53AB, 0x53AC
PIXEL_WIDTH, PIXEL_HEIGHT, DISPLAY_WIDTH, DISPLAY_HEIGHT = 0xB0, 0xBA, 0x54B0, 0x54BA
DISPLAY_UNIT = 0x54B2  # of width and height; 0 is pixels, and libavformat writes 4, "unknown"
CONTENT_ENCODINGS, CONTENT_ENCODING, CONTENT_ENCRYPTION = 0x6D80, 0x6240, 0x5035
_HEADER_BYTES = 1 << 16


class EbmlError(ValueError):
    """The file is not laid out as expected."""


@dataclass(frozen=True, kw_only=True)
class Element:
    """Where an element lies.

    Attributes:
        number: which element.
        start: first byte of its header.
        content: first byte of its content.
        end: behind its last byte.
    """

    number: int
    start: int
    content: int
    end: int


def elements(data: bytes, start: int, end: int) -> list[Element]:
    """The elements in a stretch of bytes; the last one may be cut short."""
    found = []
    while start < end:
        begin = start
        number_bytes = _length_of_number(data[start], 4)
        number = int.from_bytes(data[start : start + number_bytes], "big")
        start += number_bytes
        if start >= end or not number_bytes:
            break
        size_bytes = _length_of_number(data[start], 8)
        if not size_bytes or start + size_bytes > end:
            break
        size = int.from_bytes(data[start : start + size_bytes], "big") - (1 << 7 * size_bytes)
        start += size_bytes
        unknown = size == (1 << 7 * size_bytes) - 1
        content_end = end if unknown else min(end, start + size)
        found.append(Element(number=number, start=begin, content=start, end=content_end))
        start = content_end
    return found


def descend(data: bytes, path: Sequence[int]) -> list[Element]:
    """All elements that a path of numbers leads to, from the top of a file."""
    found = elements(data, 0, len(data))
    for step, number in enumerate(path):
        found = [element for element in found if element.number == number]
        if step + 1 < len(path):
            found = [
                inner for element in found for inner in elements(data, element.content, element.end)
            ]
    return found


def set_pixel_aspect(path: Path, aspect: Fraction) -> None:
    """Say how wide the pixels of the first video track are.

    Args:
        path: a file written by libavformat, changed in place.
        aspect: width of a pixel over its height.

    Raises:
        EbmlError: the file has no empty space before its tracks, or says it already.

    Matroska: DisplayWidth and DisplayHeight.
    """
    with open(path, "r+b") as file:
        data = file.read(_HEADER_BYTES)
        (segment,) = descend(data, [SEGMENT])
        parts = elements(data, segment.content, segment.end)
        tracks = _only(parts, TRACKS)
        void = _only([part for part in parts if part.end <= tracks.start], VOID)
        entry, video = _first_video(data, tracks)
        settings = elements(data, video.content, video.end)
        numbers = {
            inner.number: int.from_bytes(data[inner.content : inner.end], "big")
            for inner in settings
        }
        if DISPLAY_WIDTH in numbers:
            raise EbmlError("the track says how it is displayed already")
        shown_width = round(numbers[PIXEL_WIDTH] * aspect)
        added = _number(DISPLAY_WIDTH, shown_width) + _number(DISPLAY_HEIGHT, numbers[PIXEL_HEIGHT])
        count = len(added)
        room = void.end - void.content - count
        if room < 0:
            raise EbmlError(f"{void.end - void.content} empty bytes, expected {count}")
        # The elements around the new ones grow; everything from the empty space up to them moves.
        header = bytearray(data)
        for outer in (video, entry, tracks):
            _set_size(header, outer, outer.end - outer.content + count)
        for unit in settings:
            if unit.number == DISPLAY_UNIT:
                header[unit.content : unit.end] = bytes(unit.end - unit.content)
        begin = void.end - count
        header[begin : video.end] = header[void.end : video.end] + added
        _set_size(header, void, room)
        moved = [part.start for part in parts if void.end <= part.start <= tracks.start]
        for seek_head in (part for part in parts if part.number == SEEK_HEAD):
            _move_seeks(header, seek_head, {p - segment.content for p in moved}, by=-count)
            _set_checksum(header, seek_head.content, seek_head.end)
        _set_checksum(header, tracks.content - count, tracks.end)
        file.seek(0)
        file.write(header)


def _only(parts: Sequence[Element], number: int) -> Element:
    found = [part for part in parts if part.number == number]
    if not found:
        raise EbmlError(f"no element {number:#x} where it is expected")
    return found[-1]


def _first_video(data: bytes, tracks: Element) -> tuple[Element, Element]:
    for entry in elements(data, tracks.content, tracks.end):
        for inner in elements(data, entry.content, entry.end):
            if entry.number == TRACK_ENTRY and inner.number == VIDEO:
                return entry, inner
    raise EbmlError("no video track")


def _number(number: int, value: int) -> bytes:
    """An element that holds an unsigned number."""
    content = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + bytes([0x80 | len(content)]) + content


def _set_size(header: bytearray, element: Element, size: int) -> None:
    """Write another size into an element's header, in as many bytes."""
    first = element.start + (element.number.bit_length() + 7) // 8
    count = element.content - first
    if size >= (1 << 7 * count) - 1:
        raise EbmlError(f"a size of {size} does not fit in {count} bytes")
    header[first : element.content] = (size | 1 << 7 * count).to_bytes(count, "big")


def _move_seeks(header: bytearray, seek_head: Element, places: set[int], *, by: int) -> None:
    """Change the positions in a seek head that point to elements that moved."""
    data = bytes(header)
    for seek in elements(data, seek_head.content, seek_head.end):
        for inner in elements(data, seek.content, seek.end):
            if seek.number == SEEK and inner.number == SEEK_POSITION:
                place = int.from_bytes(data[inner.content : inner.end], "big")
                if place in places:
                    length = inner.end - inner.content
                    header[inner.content : inner.end] = (place + by).to_bytes(length, "big")


def _set_checksum(header: bytearray, start: int, end: int) -> None:
    """Compute the CRC-32 that an element's content begins with, if it does."""
    if header[start] == CHECKSUM and header[start + 1] == 0x84:
        checksum = binascii.crc32(header[start + 6 : end])
        header[start + 2 : start + 6] = checksum.to_bytes(4, "little")


def _length_of_number(first: int, longest: int) -> int:
    """Bytes of an EBML number by its first byte; 0 where there is no such number."""
    length = 9 - first.bit_length()
    return length if first and length <= longest else 0
