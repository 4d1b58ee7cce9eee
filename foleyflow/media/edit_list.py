"""Read and write the edit lists of mp4 and mov tracks.

An edit list defines which parts of a track are shown, and when: each edit shows one part of the
track's media, or nothing for a while if it is empty. libavformat's muxer writes at most one part
and ends it with the last packet. This module adds other lists to the finished file. A missing
track, a damaged list, or a number that does not fit its field raises `ContainerError`.

Reference: ISO/IEC 14496-12, 8.2.2, 8.3.2 and 8.6.6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from foleyflow.media.boxes import Box, find_track, pack, timescale_of, unpack
from foleyflow.media.container_error import ContainerError

_MOST_EDITS = 100_000


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One entry of an edit list."""

    duration_s: Fraction  # on the movie's time line
    # Start in the track's media, on the time stamps that the demuxer gives when it ignores edit
    # lists; None for an empty edit
    media_s: Fraction | None
    rate: Fraction  # playback speed; 1 is normal


def read_edits(index: Box, *, track_id: int) -> tuple[Edit, ...]:
    """Read the edit list of the track with libavformat's `stream.id`; empty if it has none."""
    track = find_track(index, track_id)
    try:
        body = track.find(b"edts", b"elst").body
    except ContainerError:
        return ()
    movie_timescale = timescale_of(index.find(b"mvhd"))
    media_timescale = timescale_of(track.find(b"mdia", b"mdhd"))
    form, size = (">Qqhh", 20) if body[:1] == b"\1" else (">Iihh", 12)
    (count,) = unpack(">I", body, 4)
    if count > _MOST_EDITS:
        raise ContainerError(f"an edit list of {count} entries, expected at most {_MOST_EDITS}")
    edits = []
    for number in range(count):
        duration, start, rate_integer, rate_fraction = unpack(form, body, 8 + number * size)
        edits.append(
            Edit(
                duration_s=Fraction(duration, movie_timescale),
                media_s=None if start == -1 else Fraction(start, media_timescale),
                rate=Fraction(rate_integer) + Fraction(rate_fraction, 1 << 16),
            )
        )
    return tuple(edits)


def is_written_by_muxer(edits: Sequence[Edit]) -> bool:
    """Return whether libavformat's muxer can write an edit list.

    It can if one part is shown at normal speed, and if that part either starts the time line, or
    follows an empty edit and begins with the first packet.
    """
    parts = [edit for edit in edits if edit.media_s is not None]
    if len(parts) > 1 or any(edit.rate != 1 for edit in parts):
        return False
    is_delayed = bool(parts) and edits[0] is not parts[0]
    return not (is_delayed and parts[0].media_s)


def write_edits(
    index: Box, edits: Sequence[Edit], *, track_index: int, first_packet_s: Fraction
) -> None:
    """Set the edit list of a track in an index, which is changed in place.

    Args:
        index: the `moov` box of a file that is not fragmented.
        edits: the list, from `read_edits` of the source.
        track_index: number of the track in the order of the file, from 0.
        first_packet_s: decoding time of the track's first packet, on the time stamps of
            `Edit.media_s`; the media of the new file begins there.
    """
    track = _track_at(index, track_index)
    movie_timescale = timescale_of(index.find(b"mvhd"))
    media_timescale = timescale_of(track.find(b"mdia", b"mdhd"))
    entries = b""
    total = 0
    for edit in edits:
        duration = round(edit.duration_s * movie_timescale)
        total += duration
        media_s = None if edit.media_s is None else edit.media_s - first_packet_s
        start = -1 if media_s is None else round(media_s * media_timescale)
        entries += pack(">Qqhh", duration, start, 1, 0)
    edit_list = Box(b"elst", body=struct.pack(">II", 1 << 24, len(edits)) + entries)
    children = [box for box in track.children or [] if box.kind != b"edts"]
    children.insert(1, Box(b"edts", children=[edit_list]))
    track.children = children
    _set_track_duration(index, track, total)


def limit_shown_duration(index: Box, *, track_index: int, duration_s: float) -> None:
    """Shorten the last edit of a track to at most `duration_s`; arguments as in `write_edits`.

    A clip that was cut without re-encoding may hide frames at its end by its edit list alone. The
    track must have an edit list.
    """
    track = _track_at(index, track_index)
    timescale = timescale_of(index.find(b"mvhd"))
    edit_list = track.find(b"edts", b"elst")
    form, size = (">Q", 20) if edit_list.body[:1] == b"\1" else (">I", 12)
    (count,) = unpack(">I", edit_list.body, 4)
    durations = [unpack(form, edit_list.body, 8 + k * size)[0] for k in range(count)]
    durations[-1] = min(durations[-1], round(duration_s * timescale))
    _replace(edit_list, 8 + (count - 1) * size, pack(form, durations[-1]))
    _set_track_duration(index, track, sum(durations))


def _track_at(index: Box, track_index: int) -> Box:
    tracks = index.all(b"trak")
    if track_index >= len(tracks):
        raise ContainerError(f"{len(tracks)} tracks, expected at least {track_index + 1}")
    return tracks[track_index]


def _set_track_duration(index: Box, track: Box, duration: int) -> None:
    """Set the duration of a track, and that of the movie to its longest track."""
    _set_duration(track.find(b"tkhd"), duration)
    longest = 0
    for other in index.all(b"trak"):
        header = other.find(b"tkhd")
        form, offset = _duration_field(header)
        longest = max(longest, unpack(form, header.body, offset)[0])
    _set_duration(index.find(b"mvhd"), longest)


def _set_duration(header: Box, duration: int) -> None:
    form, offset = _duration_field(header)
    highest = 2 ** (8 * struct.calcsize(form)) - 1
    _replace(header, offset, pack(form, min(duration, highest)))


def _duration_field(header: Box) -> tuple[str, int]:
    """Format and offset of the duration in a tkhd or mvhd box."""
    skipped = 8 if header.kind == b"tkhd" else 4
    return (">Q", 20 + skipped) if header.body[:1] == b"\1" else (">I", 12 + skipped)


def _replace(box: Box, offset: int, content: bytes) -> None:
    box.body = box.body[:offset] + content + box.body[offset + len(content) :]
