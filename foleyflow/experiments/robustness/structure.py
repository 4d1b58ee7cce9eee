"""Find the parts of a container file: boxes, elements, chunks, tags, packets, objects.

Each parser accepts a possibly damaged file, returns the parts that it recognises, and never fails.
A part has the places of its bytes, size, name and time stamp, so that the same mutations work for
every container. The parsers are independent of `foleyflow.media`, whose output they help to verify.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Field = tuple[int, int]  # offset in the file, width in bytes
ByteOrder = Literal["big", "little"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a container file; offsets in bytes."""

    start: int  # first byte of the header
    body: int  # first byte after the header
    end: int  # after the last byte
    order: ByteOrder = "big"  # of its integers
    size: Field | None = None
    name: Field | None = None  # of its type
    time: Field | None = None  # a time stamp
    is_leaf: bool = True  # its body contains no parts


def parts_of(data: bytes | bytearray) -> list[Part]:
    """Return the parts of a file whose type is recognised by its first bytes; else none."""
    head = bytes(data[:16])
    if head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"styp"):
        return list(_boxes(data, 0, len(data)))
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return list(_elements(data, 0, len(data)))
    if head[:4] == b"RIFF":
        return list(_chunks(data, 0, len(data)))
    if head[:3] == b"FLV":
        return list(_tags(data))
    if head[:3] == b"\0\0\1":
        return list(_pack_parts(data))
    if head[:4] == b"\x30\x26\xb2\x75":
        return list(_objects(data, 0, len(data)))
    if head[:1] == b"\x47":
        return list(_transport_packets(data))
    return []


_BOXES_OF_BOXES = frozenset(
    b"moov trak mdia minf stbl edts udta mvex moof traf dinf mfra stsd avc1 mp4v mp4a".split()
)
# Bytes between the header of a box and the first box in it.
_BOX_PREFACE = {b"stsd": 8, b"avc1": 78, b"mp4v": 78, b"mp4a": 28}


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[Part]:
    """ISO/IEC 14496-12: size, name, content."""
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        name = bytes(data[start + 4 : start + 8])
        body, size_field = start + 8, (start, 4)
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
            body, size_field = start + 16, (start + 8, 8)
        stop = start + size
        if stop < body or stop > end:
            return
        inner = body + _BOX_PREFACE.get(name, 0)
        has_parts = name in _BOXES_OF_BOXES
        yield Part(
            start=start,
            body=body,
            end=stop,
            size=size_field,
            name=(start + 4, 4),
            # Tables of times; any of their numbers can be changed.
            time=(body + 8, 4) if name in (b"stts", b"ctts", b"elst", b"tfdt") else None,
            is_leaf=not has_parts,
        )
        if has_parts:
            yield from _boxes(data, inner, stop)
        start = stop


_ELEMENTS_OF_ELEMENTS = frozenset(
    bytes.fromhex(name)
    for name in (
        "1a45dfa3 18538067 1549a966 1654ae6b ae e0 e1 1f43b675 a0 1c53bb6b bb b7 114d9b74 4dbb"
        " 1043a770 45b9 b6 80 1254c367 7373 63c0 67c8"
    ).split()
)


def _elements(data: bytes | bytearray, start: int, end: int) -> Iterator[Part]:
    """EBML (RFC 8794): name and size of variable width, content."""
    while start + 2 <= end:
        name_width = _vint_width(data[start])
        if start + name_width >= end:
            return
        size_at = start + name_width
        size_width = _vint_width(data[size_at])
        body = size_at + size_width
        size = int.from_bytes(data[size_at:body], "big") & ((1 << 7 * size_width) - 1)
        stop = body + size
        if size == (1 << 7 * size_width) - 1:
            stop = end  # unknown size
        if stop > end:
            return
        name = bytes(data[start:size_at])
        has_parts = name in _ELEMENTS_OF_ELEMENTS
        time: Field | None = None
        if name == b"\xe7":
            time = (body, stop - body)
        elif name in (b"\xa1", b"\xa3"):
            time = (body + 1, 2)
        yield Part(
            start=start,
            body=body,
            end=stop,
            size=(size_at, size_width),
            name=(start, name_width),
            time=time,
            is_leaf=not has_parts,
        )
        if has_parts:
            yield from _elements(data, body, stop)
        start = stop


def _vint_width(first: int) -> int:
    return min(9 - first.bit_length(), 8)


def _chunks(data: bytes | bytearray, start: int, end: int) -> Iterator[Part]:
    """RIFF: name, size, content padded to two bytes."""
    while start + 8 <= end:
        name = bytes(data[start : start + 4])
        stop = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        stop = min(stop, end)
        has_parts = name in (b"RIFF", b"LIST")
        yield Part(
            start=start,
            body=start + 8,
            end=stop,
            order="little",
            size=(start + 4, 4),
            name=(start, 4),
            # Scale, rate, start and length of a stream.
            time=(start + 8 + 20, 4) if name == b"strh" else None,
            is_leaf=not has_parts,
        )
        if has_parts:
            yield from _chunks(data, start + 12, stop)
        start = stop + stop % 2


def _tags(data: bytes | bytearray) -> Iterator[Part]:
    """FLV: type, size, time stamp, stream, content, size of the tag."""
    start = 13
    while start + 15 <= len(data):
        stop = start + 11 + int.from_bytes(data[start + 1 : start + 4], "big") + 4
        if stop > len(data):
            return
        yield Part(
            start=start,
            body=start + 11,
            end=stop,
            size=(start + 1, 3),
            name=(start, 1),
            time=(start + 4, 3),
        )
        start = stop


def _pack_parts(data: bytes | bytearray) -> Iterator[Part]:
    """MPEG program stream: packs and packets, separated by start codes."""
    starts = [m.start() for m in re.finditer(rb"\x00\x00\x01[\xb9-\xff]", data)]
    for start, stop in zip(starts, [*starts[1:], len(data)], strict=True):
        is_packet = data[start + 3] >= 0xBC
        yield Part(
            start=start,
            body=min(start + 4 + 2 * is_packet, stop),
            end=stop,
            size=(start + 4, 2) if is_packet and stop - start >= 6 else None,
            name=(start + 3, 1),
            time=_packet_time(data, start, stop),
        )


def _packet_time(data: bytes | bytearray, start: int, stop: int) -> Field | None:
    """The field of the presentation time stamp in a packet of an elementary stream."""
    is_media = stop - start >= 14 and (data[start + 3] == 0xBD or 0xC0 <= data[start + 3] < 0xF0)
    if is_media and data[start + 7] & 0x80:
        return (start + 9, 5)
    return None


def _transport_packets(data: bytes | bytearray) -> Iterator[Part]:
    """MPEG transport stream: packets of 188 bytes."""
    for start in range(0, len(data) - 187, 188):
        has_field, has_payload = data[start + 3] & 0x20, data[start + 3] & 0x10
        body = start + 4 + (1 + data[start + 4] if has_field else 0)
        body = min(body, start + 188)
        begins = has_payload and data[start + 1] & 0x40 and data[body : body + 3] == b"\0\0\1"
        yield Part(
            start=start,
            body=body,
            end=start + 188,
            size=(start + 4, 1) if has_field else None,
            name=(start + 1, 2),
            time=_packet_time(data, body, start + 188) if begins else None,
        )


_HEADER_OBJECT = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def _objects(data: bytes | bytearray, start: int, end: int) -> Iterator[Part]:
    """ASF: name of 16 bytes, size, content."""
    while start + 24 <= end:
        stop = start + int.from_bytes(data[start + 16 : start + 24], "little")
        if stop < start + 24 or stop > end:
            return
        is_header = data[start : start + 16] == _HEADER_OBJECT
        yield Part(
            start=start,
            body=start + 24,
            end=stop,
            order="little",
            size=(start + 16, 8),
            name=(start, 16),
            is_leaf=not is_header,
        )
        if is_header:
            yield from _objects(data, start + 30, stop)
        start = stop
