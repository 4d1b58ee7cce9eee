"""Sets, in a finished mp4 or mov file, how long a track is shown.

The muxer shows all frames it was given; a clip that was cut without re-encoding hides some at its
end, and only its edit list says so. This writes that one number, and the two totals that follow
from it, in place; nothing moves in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def limit_shown_duration(path: Path, *, track_index: int, duration_s: float) -> None:
    """Shorten the last edit of a track so that it ends after `duration_s`.

    Args:
        path: an mp4 or mov file with one index (not fragmented), changed in place.
        track_index: which track, counted from 0 in order of the file.
        duration_s: what its last edit shows at most.

    Raises:
        ValueError: the file has no such track or the track has no edit list.

    Source: ISO/IEC 14496-12, 8.2.2, 8.3.2 and 8.6.6.
    """
    with open(path, "r+b") as file:
        start, end = _index_of(file)
        file.seek(start)
        index = bytearray(file.read(end - start))
        boxes = list(_boxes(index, 0, len(index)))
        tracks = [span for name, *span in boxes if name == b"trak"]
        header = next(span for name, *span in boxes if name == b"mvhd")
        if track_index >= len(tracks):
            raise ValueError(f"{path}: {len(tracks)} tracks, expected one of index {track_index}")
        timescale = _timescale_of(index, header[0])
        _shorten(index, tracks[track_index], round(duration_s * timescale), path)
        longest = max(_track_duration(index, track) for track in tracks)
        _put_duration(index, header[0], longest, after_times=4)
        file.seek(start)
        file.write(index)


def _index_of(file) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    """Where the content of the file's `moov` box lies."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            raise ValueError(f"{file.name}: no moov box")
        size, name = struct.unpack(">I4s", head[:8])
        head_size = 8
        if size == 1:
            (size,) = struct.unpack(">Q", head[8:16])
            head_size = 16
        if name == b"moov":
            return position + head_size, position + size
        if size < 8:
            raise ValueError(f"{file.name}: no moov box")
        position += size


def _boxes(data: bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each box in a stretch of bytes."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        yield name, start + 8, start + size
        start += max(size, 8)


def _child(data: bytearray, span: list[int], name: bytes) -> list[int]:
    for found, *inner in _boxes(data, *span):
        if found == name:
            return inner
    raise ValueError(f"no {name.decode()} box")


def _timescale_of(data: bytearray, header: int) -> int:
    (timescale,) = struct.unpack_from(">I", data, header + (20 if data[header] == 1 else 12))
    return int(timescale)


def _put_duration(data: bytearray, header: int, duration: int, *, after_times: int) -> None:
    """Write the duration of an mvhd or tkhd box, `after_times` bytes behind its two times."""
    if data[header] == 1:
        struct.pack_into(">Q", data, header + 20 + after_times, duration)
    else:
        struct.pack_into(">I", data, header + 12 + after_times, duration)


def _track_duration(data: bytearray, track: list[int]) -> int:
    header = _child(data, track, b"tkhd")[0]
    if data[header] == 1:
        return int(struct.unpack_from(">Q", data, header + 28)[0])
    return int(struct.unpack_from(">I", data, header + 20)[0])


def _shorten(data: bytearray, track: list[int], duration: int, path: Path) -> None:
    try:
        edits = _child(data, _child(data, track, b"edts"), b"elst")[0]
    except ValueError as error:
        raise ValueError(f"{path}: the track has no edit list") from error
    wide = data[edits] == 1
    form, entry_size = (">Q", 20) if wide else (">I", 12)
    (count,) = struct.unpack_from(">I", data, edits + 4)
    places = [edits + 8 + entry * entry_size for entry in range(count)]
    durations = [int(struct.unpack_from(form, data, place)[0]) for place in places]
    durations[-1] = min(durations[-1], duration)
    struct.pack_into(form, data, places[-1], durations[-1])
    _put_duration(data, _child(data, track, b"tkhd")[0], sum(durations), after_times=8)
