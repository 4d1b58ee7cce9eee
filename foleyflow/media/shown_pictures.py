"""Records which pictures a file shows and when, and compares two such records.

Packets are not decoded: a packet is one picture, its time stamp says when it is shown, and the
demuxer marks those that an edit list hides. A record goes to a temporary file where it is long, so
that a video of any length takes the same memory.
"""

from __future__ import annotations

import array
import math
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet

_HELD_IN_MEMORY_BYTES = 1 << 20
_READ_AT_ONCE = 1 << 15
_UNKNOWN = math.nan


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first place where two records differ.

    Attributes:
        picture: number of the picture in the order of the file, from 0.
        expected_s: when it should be shown, seconds after the first shown picture; None where it
            should not be there.
        found_s: when it is shown; None where it is missing.
    """

    picture: int
    expected_s: float | None
    found_s: float | None

    def __str__(self) -> str:
        if self.expected_s is None:
            return f"picture {self.picture} would be shown in addition, at {self.found_s:.3f} s"
        if self.found_s is None:
            return f"picture {self.picture}, at {self.expected_s:.3f} s, would be missing"
        return (
            f"picture {self.picture} would be shown at {self.found_s:.3f} s instead of"
            f" {self.expected_s:.3f} s"
        )


class ShownPictures:
    """Times of the shown packets of a video stream, in the order of the file.

    Attributes:
        count: shown packets.
        hidden: packets that the demuxer marks as not shown.
        first_s: the earliest time stamp; None before the first shown packet.
        end_s: where the picture that is shown last ends, as far as its packet says so.
    """

    def __init__(self, *, by_decoding_time: bool = False) -> None:
        """Start an empty record.

        Args:
            by_decoding_time: take decoding times; for containers that store no others.
        """
        self._by_decoding_time = by_decoding_time
        self._file = tempfile.SpooledTemporaryFile(max_size=_HELD_IN_MEMORY_BYTES)
        weakref.finalize(self, self._file.close)
        self.count = 0
        self.hidden = 0
        self.first_s: float | None = None
        self.end_s: float | None = None

    def add(self, packet: Packet) -> None:
        """Record a packet as the demuxer gave it; empty ones are ignored."""
        if not packet.size:
            return
        if packet.is_discard:
            self.hidden += 1
            return
        stamp = packet.dts if self._by_decoding_time else packet.pts
        time_s = _UNKNOWN if stamp is None else float(stamp * packet.time_base)
        self._file.write(array.array("d", [time_s]).tobytes())
        self.count += 1
        if stamp is not None:
            self.first_s = time_s if self.first_s is None else min(self.first_s, time_s)
            end_s = time_s + float((packet.duration or 0) * packet.time_base)
            self.end_s = end_s if self.end_s is None else max(self.end_s, end_s)

    @property
    def span_s(self) -> float:
        """From the first shown picture to the end of the last one."""
        return (self.end_s or 0.0) - (self.first_s or 0.0)

    def times_s(self) -> Iterator[float]:
        """Seconds after the first shown picture, in the order of the file; nan where unknown."""
        self._file.seek(0)
        origin_s = self.first_s or 0.0
        while data := self._file.read(8 * _READ_AT_ONCE):
            yield from (time_s - origin_s for time_s in array.array("d", data))
        self._file.seek(0, 2)

    def difference(self, found: ShownPictures, *, tolerance_s: float) -> Difference | None:
        """The first place where another record shows something else than this one.

        Args:
            found: of the other file.
            tolerance_s: differences of times up to this are rounding of time stamps.

        Returns:
            None where both show the same number of pictures at the same times. A picture whose
            time is unknown in this record may have any time in the other one.
        """
        theirs = found.times_s()
        number = -1
        for number, expected_s in enumerate(self.times_s()):
            found_s = next(theirs, None)
            if found_s is None:
                return Difference(picture=number, expected_s=expected_s, found_s=None)
            if abs(found_s - expected_s) > tolerance_s:
                return Difference(picture=number, expected_s=expected_s, found_s=found_s)
        extra_s = next(theirs, None)
        if extra_s is None:
            return None
        return Difference(picture=number + 1, expected_s=None, found_s=extra_s)
