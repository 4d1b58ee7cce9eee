"""Record when a file shows its frames, and compare two such records.

Packets are not decoded: a packet holds one frame, its time stamp is the time of its presentation,
and the demuxer marks packets that an edit list hides. Long records are kept in a temporary file, so
memory does not grow with the length of a video.
"""

from __future__ import annotations

import array
import math
import tempfile
import weakref
from collections.abc import Iterator

from av.packet import Packet

_MEMORY_BYTES = 1 << 20
_READ_COUNT = 1 << 15


class PresentationTimes:
    """Times of the shown packets of a video stream, in file order."""

    def __init__(self, *, by_decoding_time: bool = False) -> None:
        """Start an empty record; decoding times are for containers that store no others."""
        self._by_decoding_time = by_decoding_time
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)
        weakref.finalize(self, self._file.close)
        self.first_s: float | None = None  # the earliest time stamp
        self.end_s: float | None = None  # the latest end of a packet

    def add(self, packet: Packet) -> None:
        """Record a packet of the demuxer; empty and hidden ones are ignored."""
        if not packet.size or packet.is_discard:
            return
        stamp = packet.dts if self._by_decoding_time else packet.pts
        time_s = math.nan if stamp is None else float(stamp * packet.time_base)
        self._file.write(array.array("d", [time_s]).tobytes())
        if stamp is not None:
            self.first_s = time_s if self.first_s is None else min(self.first_s, time_s)
            end_s = time_s + float((packet.duration or 0) * packet.time_base)
            self.end_s = end_s if self.end_s is None else max(self.end_s, end_s)

    @property
    def span_s(self) -> float:
        """From the first shown frame to the end of the last one."""
        return (self.end_s or 0.0) - (self.first_s or 0.0)

    def times_s(self) -> Iterator[float]:
        """Yield seconds after the first shown frame, in file order; nan if unknown."""
        self._file.seek(0)
        origin_s = self.first_s or 0.0
        while data := self._file.read(8 * _READ_COUNT):
            yield from (time_s - origin_s for time_s in array.array("d", data))
        self._file.seek(0, 2)

    def difference(self, other: PresentationTimes, *, tolerance_s: float) -> str | None:
        """Describe the first difference from another record; None if there is none.

        A frame whose time is unknown in this record may have any time in the other one. Differences
        of time up to `tolerance_s` are rounding. Frames are numbered from 0 in file order.
        """
        other_times_s = other.times_s()
        frame = -1
        for frame, expected_s in enumerate(self.times_s()):
            found_s = next(other_times_s, None)
            if found_s is None:
                return f"frame {frame}, at {expected_s:.3f} s, would be missing"
            if abs(found_s - expected_s) > tolerance_s:
                return (
                    f"frame {frame} would be shown at {found_s:.3f} s instead of {expected_s:.3f} s"
                )
        extra_s = next(other_times_s, None)
        if extra_s is None:
            return None
        return f"frame {frame + 1} would be shown in addition, at {extra_s:.3f} s"
