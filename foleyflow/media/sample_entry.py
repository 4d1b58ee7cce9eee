"""Descriptions of the picture in the sample entry of mp4 and mov video tracks.

libavformat's muxers write some of them only into mp4, and some not at all. They are boxes that
describe the packets, which are copied, so that they can be copied as well.
"""

from __future__ import annotations

import struct
from pathlib import Path

from foleyflow.media.boxes import Box, BoxError, parse_boxes, read_index, track_of, write_index

# Boxes that are copied where the muxer left them out, and what a user calls them.
DESCRIPTIONS = {
    b"dvcC": "the Dolby Vision description",
    b"dvvC": "the Dolby Vision description",
    b"dvwC": "the Dolby Vision description",
    b"hvcE": "the Dolby Vision enhancement layer",
    b"avcE": "the Dolby Vision enhancement layer",
    b"st3d": "the description of stereo pictures",
    b"sv3d": "the 360-degree description",
    b"vexu": "the description of spatial video",
    b"hfov": "the field of view",
    b"lhvC": "the second eye's decoder settings",
    b"mdcv": "the mastering display",
    b"clli": "the content light level",
    b"amve": "the ambient viewing environment",
    b"clap": "the clean aperture",
}
# What libavformat's muxer of Matroska writes by itself.
KEPT_IN_MATROSKA = frozenset({b"dvcC", b"dvvC", b"dvwC", b"hvcE", b"avcE", b"st3d", b"sv3d"})

_ENTRY_START = 8  # version, flags and number of entries
_FIELDS_BYTES = 86  # header and fixed fields of a video sample entry


def descriptions_of(index: Box, track_id: int) -> tuple[Box, ...]:
    """The boxes of `DESCRIPTIONS` that a video track has; empty where they can't be read.

    Args:
        index: the `moov` box of an mp4 or mov file.
        track_id: number of the track (libavformat's `stream.id`).
    """
    try:
        extensions = _extensions(_description(track_of(index, track_id)))
    except BoxError:
        return ()
    return tuple(box for box in extensions if box.kind in DESCRIPTIONS)


def add_descriptions(path: Path, boxes: tuple[Box, ...], *, track_index: int) -> None:
    """Add boxes to a video track's sample entry, if it doesn't have boxes of their kind.

    Args:
        path: an mp4 or mov file with one index, changed in place.
        boxes: from `descriptions_of` the source.
        track_index: which track, counted from 0 in the order of the file.

    Raises:
        BoxError: the file has no such track, or it has several sample entries.
    """
    index, place = read_index(path)
    description = _description(index.all(b"trak")[track_index])
    there = _extensions(description)
    wanted = {box.kind for box in boxes}
    if b"vexu" not in wanted and wanted & {b"st3d", b"sv3d"}:
        # The mov muxer translates these two; a file with both is refused by libavformat.
        there = [box for box in there if box.kind != b"vexu"]
    kinds = {box.kind for box in there}
    added = [box for box in boxes if box.kind not in kinds]
    if not added:
        return
    extensions = b"".join(box.to_bytes() for box in [*there, *added])
    fields = description.body[_ENTRY_START + 4 : _ENTRY_START + _FIELDS_BYTES]
    size = struct.pack(">I", _FIELDS_BYTES + len(extensions))
    description.body = description.body[:_ENTRY_START] + size + fields + extensions
    write_index(path, index, place)


def entry_kind(index: Box, track_id: int) -> bytes:
    """The four letters of a track's first sample entry, b"gpmd" for instance; empty if unknown."""
    try:
        return _description(track_of(index, track_id)).body[12:16]
    except BoxError:
        return b""


def _description(track: Box) -> Box:
    return track.find(b"mdia", b"minf", b"stbl", b"stsd")


def _extensions(description: Box) -> list[Box]:
    """The boxes behind the fixed fields of the only sample entry."""
    body = description.body
    if len(body) < _ENTRY_START + _FIELDS_BYTES or body[4:8] != b"\0\0\0\1":
        raise BoxError("expected one sample entry")
    (size,) = struct.unpack_from(">I", body, _ENTRY_START)
    return parse_boxes(body[_ENTRY_START + _FIELDS_BYTES : _ENTRY_START + size])
