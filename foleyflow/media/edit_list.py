"""Edit lists of mp4 and mov tracks: which parts of a track are shown, and when.

An edit shows a stretch of the track's media at the next place of the movie's time line; an empty
edit shows nothing for a while. libavformat's muxer writes at most one stretch, and ends it with the
last packet. Where a source has more, the output's list is set here, after the packets are written.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from foleyflow.media.boxes import (
    Box,
    BoxError,
    pack,
    read_index,
    timescale_of,
    track_of,
    unpack,
    write_index,
)

_LARGEST_EDITS = 100_000


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One entry of an edit list.

    Attributes:
        duration_s: how long it lasts on the movie's time line.
        media_s: where it begins in the track's media, on the time stamps that the demuxer gives
            when it ignores edit lists; None for an empty edit.
        rate: speed of playing; 1 for normal.
    """

    duration_s: Fraction
    media_s: Fraction | None
    rate: Fraction


def read_edits(path: Path, *, track_id: int) -> tuple[Edit, ...]:
    """The edit list of a track; empty where the track has none.

    Args:
        path: an mp4 or mov file.
        track_id: number of the track (libavformat's `stream.id`).

    Raises:
        BoxError: the index can't be read.

    ISO/IEC 14496-12, 8.6.6.
    """
    index, _ = read_index(path)
    track = track_of(index, track_id)
    try:
        body = track.find(b"edts", b"elst").body
    except BoxError:
        return ()
    movie = timescale_of(index.find(b"mvhd"))
    media = timescale_of(track.find(b"mdia", b"mdhd"))
    wide = body[:1] == b"\1"
    form, size = (">Qqhh", 20) if wide else (">Iihh", 12)
    (count,) = unpack(">I", body, 4)
    if count > _LARGEST_EDITS:
        raise BoxError(f"an edit list of {count} entries")
    edits = []
    for entry in range(count):
        duration, start, rate_integer, rate_fraction = unpack(form, body, 8 + entry * size)
        edits.append(
            Edit(
                duration_s=Fraction(duration, movie),
                media_s=None if start == -1 else Fraction(start, media),
                rate=Fraction(rate_integer) + Fraction(rate_fraction, 1 << 16),
            )
        )
    return tuple(edits)


def is_ordinary(edits: Sequence[Edit]) -> bool:
    """Whether libavformat's muxer can write an edit list by itself.

    It can where one stretch is shown at normal speed, either from the start of the time line, or
    after a pause and from the first packet on.
    """
    stretches = [edit for edit in edits if edit.media_s is not None]
    if len(stretches) > 1 or any(edit.rate != 1 for edit in stretches):
        return False
    delayed = bool(stretches) and edits[0] is not stretches[0]
    return not (delayed and stretches[0].media_s)


def write_edits(
    path: Path, edits: Sequence[Edit], *, track_index: int, first_packet_s: Fraction
) -> None:
    """Set the edit list of a track in a finished file.

    Args:
        path: an mp4 or mov file with one index (not fragmented), changed in place.
        edits: the list, from `read_edits` of the source.
        track_index: which track, counted from 0 in the order of the file.
        first_packet_s: decoding time of the track's first packet, on the same time stamps as
            `Edit.media_s`; the media of the output begin there.

    Raises:
        BoxError: the file has no such track.
    """
    index, place = read_index(path)
    track = _track(index, track_index, path)
    movie = timescale_of(index.find(b"mvhd"))
    media = timescale_of(track.find(b"mdia", b"mdhd"))
    entries = b""
    total = 0
    for edit in edits:
        duration = round(edit.duration_s * movie)
        total += duration
        start = -1 if edit.media_s is None else round((edit.media_s - first_packet_s) * media)
        entries += pack(">Qqhh", duration, start, 1, 0)
    edit_list = Box(b"elst", body=struct.pack(">II", 1 << 24, len(edits)) + entries)
    children = track.children or []
    children[:] = [box for box in children if box.kind != b"edts"]
    children.insert(1, Box(b"edts", children=[edit_list]))
    _set_duration(track, total)
    _set_movie_duration(index)
    write_index(path, index, place)


def limit_shown_duration(path: Path, *, track_index: int, duration_s: float) -> None:
    """Shorten the last edit of a track so that it ends after `duration_s`.

    A clip that was cut without re-encoding hides frames at its end, and only its edit list says so.

    Args:
        path: an mp4 or mov file with one index (not fragmented), changed in place.
        track_index: which track, counted from 0 in the order of the file.
        duration_s: what its last edit shows at most.

    Raises:
        BoxError: the file has no such track, or the track has no edit list.

    ISO/IEC 14496-12, 8.2.2, 8.3.2 and 8.6.6.
    """
    index, place = read_index(path)
    track = _track(index, track_index, path)
    timescale = timescale_of(index.find(b"mvhd"))
    edit_list = track.find(b"edts", b"elst")
    body = bytearray(edit_list.body)
    form, size = (">Q", 20) if body[0] == 1 else (">I", 12)
    (count,) = unpack(">I", edit_list.body, 4)
    places = [8 + entry * size for entry in range(count)]
    durations = [unpack(form, edit_list.body, place)[0] for place in places]
    durations[-1] = min(durations[-1], round(duration_s * timescale))
    body[places[-1] : places[-1] + struct.calcsize(form)] = pack(form, durations[-1])
    edit_list.body = bytes(body)
    _set_duration(track, sum(durations))
    _set_movie_duration(index)
    write_index(path, index, place)


def _track(index: Box, track_index: int, path: Path) -> Box:
    tracks = index.all(b"trak")
    if track_index >= len(tracks):
        raise BoxError(f"{path}: {len(tracks)} tracks, expected one of index {track_index}")
    return tracks[track_index]


def _duration_field(header: Box, *, after_times: int) -> tuple[str, int]:
    """Format and place of the duration in a header box, `after_times` bytes behind its times."""
    if header.body[:1] == b"\1":
        return ">Q", 20 + after_times
    return ">I", 12 + after_times


def _set_duration(track: Box, duration: int) -> None:
    header = track.find(b"tkhd")
    form, offset = _duration_field(header, after_times=8)
    _put(header, form, offset, duration)


def _set_movie_duration(index: Box) -> None:
    """The movie lasts as long as its longest track."""
    longest = 0
    for track in index.all(b"trak"):
        header = track.find(b"tkhd")
        form, offset = _duration_field(header, after_times=8)
        longest = max(longest, unpack(form, header.body, offset)[0])
    header = index.find(b"mvhd")
    form, offset = _duration_field(header, after_times=4)
    _put(header, form, offset, longest)


def _put(header: Box, form: str, offset: int, value: int) -> None:
    body = bytearray(header.body)
    size = struct.calcsize(form)
    body[offset : offset + size] = pack(form, min(value, 2 ** (8 * size) - 1))
    header.body = bytes(body)
