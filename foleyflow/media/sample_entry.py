"""Copy boxes that describe the picture in the sample entry of mp4 and mov video tracks.

libavformat writes some of these boxes into mp4 alone and others not at all. They describe the
packets, which are copied unchanged, so the boxes can be copied as well.
"""

from __future__ import annotations

import struct

from foleyflow.media.boxes import Box, find_track, parse_boxes
from foleyflow.media.container_error import ContainerError

# Boxes that are copied if the muxer leaves them out, with their names in warnings.
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
# Boxes whose content libavformat's Matroska muxer writes.
KEPT_IN_MATROSKA = frozenset({b"dvcC", b"dvvC", b"dvwC", b"hvcE", b"avcE", b"st3d", b"sv3d"})

_ENTRY_START = 8  # after version, flags and the number of entries
_FIELDS_BYTES = 86  # header and fixed fields of a video sample entry


def descriptions_of(index: Box, track_id: int) -> tuple[Box, ...]:
    """Return a video track's boxes of the types in `DESCRIPTIONS`; empty if it can't be read."""
    try:
        extensions = _extensions(_description(find_track(index, track_id)))
    except ContainerError:
        return ()
    return tuple(box for box in extensions if box.kind in DESCRIPTIONS)


def add_descriptions(index: Box, boxes: tuple[Box, ...], *, track_index: int) -> None:
    """Add boxes to a video track's sample entry unless it has boxes of their types.

    The index is changed in place; `track_index` counts tracks in the order of the file, from 0.
    A track with several sample entries raises `ContainerError`.
    """
    description = _description(index.all(b"trak")[track_index])
    present = _extensions(description)
    wanted = {box.kind for box in boxes}
    if b"vexu" not in wanted and wanted & {b"st3d", b"sv3d"}:
        # The mov muxer writes vexu for these two; libavformat refuses a file with both forms.
        present = [box for box in present if box.kind != b"vexu"]
    kinds = {box.kind for box in present}
    added = [box for box in boxes if box.kind not in kinds]
    if not added:
        return
    extensions = b"".join(box.to_bytes() for box in [*present, *added])
    fields = description.body[_ENTRY_START + 4 : _ENTRY_START + _FIELDS_BYTES]
    size = struct.pack(">I", _FIELDS_BYTES + len(extensions))
    description.body = description.body[:_ENTRY_START] + size + fields + extensions


def entry_kind(index: Box, track_id: int) -> bytes:
    """Return the type of a track's first sample entry, such as b"gpmd"; empty if unknown."""
    try:
        return _description(find_track(index, track_id)).body[12:16]
    except ContainerError:
        return b""


def _description(track: Box) -> Box:
    return track.find(b"mdia", b"minf", b"stbl", b"stsd")


def _extensions(description: Box) -> list[Box]:
    """The boxes after the fixed fields of the only sample entry."""
    body = description.body
    if len(body) < _ENTRY_START + _FIELDS_BYTES or body[4:8] != b"\0\0\0\1":
        raise ContainerError("expected one sample entry")
    (size,) = struct.unpack_from(">I", body, _ENTRY_START)
    return parse_boxes(body[_ENTRY_START + _FIELDS_BYTES : _ENTRY_START + size])
