"""Detect encrypted video from a file's headers.

The packets of encrypted video could be copied, but the key identifiers and initialisation vectors
would be lost, and the copy could never be played. Headers are examined because the first frames of
a protected file are often not encrypted.

Reference: ISO/IEC 23001-7 (mp4), ContentEncryption (Matroska), ISO/IEC 13818-1 (transport streams).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from foleyflow.media.boxes import Box, find_track
from foleyflow.media.container_error import ContainerError
from foleyflow.media.ebml import (
    CONTENT_ENCODING,
    CONTENT_ENCODINGS,
    CONTENT_ENCRYPTION,
    SEGMENT,
    TRACK_ENTRY,
    TRACKS,
    find_elements,
)

# Sample entries of protected video: Common Encryption and FairPlay.
_PROTECTED_ENTRIES = frozenset({b"encv", b"drmi", b"resv"})
_PROTECTION_SCHEMES = (b"cenc", b"cens", b"cbc1", b"cbcs", b"piff", b"itun", b"adkm")
_TRANSPORT_PACKET_BYTES = 188
_TRANSPORT_HEAD_BYTES = 1 << 19
_MATROSKA_HEAD_BYTES = 1 << 20
_TRACK_ENCRYPTION = (
    SEGMENT,
    TRACKS,
    TRACK_ENTRY,
    CONTENT_ENCODINGS,
    CONTENT_ENCODING,
    CONTENT_ENCRYPTION,
)


def is_encrypted(
    path: Path, formats: Collection[str], stream_id: int, *, index: Box | None
) -> bool:
    """Return whether the video stream with libavformat's `stream.id` is encrypted.

    Args:
        formats: libavformat's names of the file's container format.
        index: the `moov` box of an mp4 or mov file; None if it can't be read.
    """
    if index is not None:
        try:
            return _is_protected(find_track(index, stream_id))
        except ContainerError:
            return False
    if "matroska" in formats:
        with open(path, "rb") as file:
            return bool(find_elements(file.read(_MATROSKA_HEAD_BYTES), _TRACK_ENCRYPTION))
    if "mpegts" in formats:
        with open(path, "rb") as file:
            return _is_scrambled(file.read(_TRANSPORT_HEAD_BYTES), stream_id)
    return False


def _is_protected(track: Box) -> bool:
    description = track.find(b"mdia", b"minf", b"stbl", b"stsd").body
    if description[12:16] not in _PROTECTED_ENTRIES:
        return False
    # `resv` is also used for stereo and padding; those schemes do not encrypt.
    schemes = description.split(b"schm")[1:]
    return not schemes or any(scheme[4:8] in _PROTECTION_SCHEMES for scheme in schemes)


def _is_scrambled(data: bytes, packet_id: int) -> bool:
    """Whether most video packets of a transport stream are marked as scrambled."""
    size = _TRANSPORT_PACKET_BYTES
    # Three sync bytes at the distance of packets; those of discs have a prefix of four bytes
    steps = [
        (start, step)
        for start in range(min(len(data), 2 * size))
        for step in (size, size + 4)
        if data[start : start + 2 * step + 1 : step] == b"GGG"
    ]
    if not steps:
        return False
    start, step = steps[0]
    packets = scrambled = 0
    for offset in range(start, len(data) - 4, step):
        if data[offset] == 0x47 and (data[offset + 1] & 0x1F) << 8 | data[offset + 2] == packet_id:
            packets += 1
            scrambled += data[offset + 3] >= 0x80
    return scrambled > packets / 2
