"""Finds out whether the video of a file is encrypted, from its headers alone.

Encrypted packets can be copied but the keys' names and initialisation vectors would be lost, so
that nobody could ever play the copy. Headers are looked at because the first pictures of a
protected file are often in the clear.
"""

from __future__ import annotations

from pathlib import Path

from foleyflow.media.boxes import Box, BoxError, read_index, track_of
from foleyflow.media.ebml import (
    CONTENT_ENCODING,
    CONTENT_ENCODINGS,
    CONTENT_ENCRYPTION,
    SEGMENT,
    TRACK_ENTRY,
    TRACKS,
    descend,
)

# Sample entries of protected video: Common Encryption and FairPlay.
_PROTECTED_ENTRIES = frozenset({b"encv", b"drmi", b"resv"})
_PROTECTION_SCHEMES = (b"cenc", b"cens", b"cbc1", b"cbcs", b"piff", b"itun", b"adkm")
_TRANSPORT_PACKET_BYTES = 188
_TRANSPORT_LOOKED_AT_BYTES = 1 << 19
_MATROSKA_LOOKED_AT_BYTES = 1 << 20
_ENCRYPTION_OF_A_TRACK = (
    SEGMENT,
    TRACKS,
    TRACK_ENTRY,
    CONTENT_ENCODINGS,
    CONTENT_ENCODING,
    CONTENT_ENCRYPTION,
)


def is_encrypted(path: Path, container: str, stream_id: int) -> bool:
    """Whether the video of a file is encrypted.

    Args:
        path: the file.
        container: name of its format, as libavformat calls it.
        stream_id: of the video stream, as libavformat gives it (`stream.id`).

    ISO/IEC 23001-7 (mp4), Matroska's ContentEncryption, ISO/IEC 13818-1 (transport streams).
    """
    names = set(container.split(","))
    if "mov" in names:
        try:
            index, _ = read_index(path)
            return _is_protected(track_of(index, stream_id))
        except BoxError:
            return False
    if "matroska" in names:
        with open(path, "rb") as file:
            data = file.read(_MATROSKA_LOOKED_AT_BYTES)
        return bool(descend(data, _ENCRYPTION_OF_A_TRACK))
    if "mpegts" in names:
        with open(path, "rb") as file:
            return _is_scrambled(file.read(_TRANSPORT_LOOKED_AT_BYTES), stream_id)
    return False


def _is_protected(track: Box) -> bool:
    description = track.find(b"mdia", b"minf", b"stbl", b"stsd").body
    if description[12:16] in _PROTECTED_ENTRIES:
        # `resv` is also used for stereo and padding; those schemes are no protection.
        schemes = description.split(b"schm")[1:]
        return not schemes or any(scheme[4:8] in _PROTECTION_SCHEMES for scheme in schemes)
    return False


def _is_scrambled(data: bytes, packet_id: int) -> bool:
    """Whether most packets of a transport stream's video carry the mark of scrambling."""
    start = next(
        (
            offset
            for offset in range(min(len(data), 2 * _TRANSPORT_PACKET_BYTES))
            if data[offset : offset + 1] == b"G"
            and any(
                data[offset + size : offset + size + 1] == b"G"
                and data[offset + 2 * size : offset + 2 * size + 1] == b"G"
                for size in (_TRANSPORT_PACKET_BYTES, _TRANSPORT_PACKET_BYTES + 4)
            )
        ),
        None,
    )
    if start is None:
        return False
    wide = data[start + _TRANSPORT_PACKET_BYTES : start + _TRANSPORT_PACKET_BYTES + 1] != b"G"
    marked = seen = 0
    for offset in range(start, len(data) - 4, _TRANSPORT_PACKET_BYTES + 4 * wide):
        if data[offset] == 0x47 and (data[offset + 1] & 0x1F) << 8 | data[offset + 2] == packet_id:
            seen += 1
            marked += data[offset + 3] >= 0x80
    return marked > seen / 2
