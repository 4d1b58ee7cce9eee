"""Chunks of wave files: the description of Broadcast Wave, and markers.

References: EBU Tech 3285 and its supplements; Microsoft's Multimedia Data Standards Update for
`cue ` and `adtl`.
"""

from __future__ import annotations

import math
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from foleyflow import clock
from foleyflow.media.loudness_report import LoudnessReport
from foleyflow.media.wave_file import Chunk
from foleyflow.signals import Marker

# The same in every run, for callers that give no date.
_NO_DATE = datetime(1970, 1, 1)
_BEXT = struct.Struct("<256s32s32s10s8sQH64s5h180x")
_BEXT_VERSION = 2  # with loudness
_UNKNOWN_LOUDNESS = 0x7FFF
_LARGEST_POSITION = 2**32 - 1  # of a marker, samples


@dataclass(frozen=True, kw_only=True)
class BroadcastInfo:
    """What a Broadcast Wave file says about its sound. Text is stored in ASCII.

    Attributes:
        description: up to 256 characters.
        originator: of the file, up to 32 characters.
        originator_reference: an identifier of the file, up to 32 characters.
        recorded_at: date and time of the file; the default is the same in every run.
        time_reference_samples: from midnight to the first sample, by the video's time code.
        loudness: of the sound, if it is known.
    """

    description: str = ""
    originator: str = "foleyflow"
    originator_reference: str = ""
    recorded_at: datetime = _NO_DATE
    time_reference_samples: int = 0
    loudness: LoudnessReport | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.time_reference_samples < 2**64:
            raise ValueError(
                f"time_reference_samples: got {self.time_reference_samples}, "
                "expected 0 to 2**64 - 1"
            )


def broadcast_chunk(info: BroadcastInfo, *, rate_hz: int, bits: int, channels: int) -> Chunk:
    """The chunk `bext`. Text beyond the length of its field is cut."""
    report = info.loudness
    loudness = [math.nan] * 5
    if report is not None:
        loudness = [
            report.integrated_lufs,
            report.loudness_range_lu,
            report.true_peak_dbtp,
            report.largest_momentary_lufs,
            report.largest_short_term_lufs,
        ]
    layout = {1: "mono", 2: "stereo"}.get(channels, "multi")
    history = f"A=PCM,F={rate_hz},W={bits},M={layout},T=foleyflow\r\n"
    fixed = _BEXT.pack(
        _ascii(info.description),
        _ascii(info.originator),
        _ascii(info.originator_reference),
        info.recorded_at.strftime("%Y-%m-%d").encode(),
        info.recorded_at.strftime("%H:%M:%S").encode(),
        info.time_reference_samples,
        _BEXT_VERSION,
        b"",
        *map(_hundredths, loudness),
    )
    return b"bext", fixed + history.encode()


def marker_chunks(markers: Sequence[Marker], rate_hz: int) -> list[Chunk]:
    """The chunks `cue ` and `LIST adtl` for markers and regions; none without markers.

    A marker beyond 2**32 samples, which is a day at 48 kHz, is left out.
    """
    points: list[bytes] = []
    texts: list[Chunk] = []
    for marker in sorted(markers, key=lambda marker: marker.time_s):
        position = clock.count_at(marker.time_s, rate_hz)
        if position > _LARGEST_POSITION:
            continue
        number = len(points) + 1
        points.append(struct.pack("<II4sIII", number, position, b"data", 0, 0, position))
        texts.append((b"labl", struct.pack("<I", number) + marker.name.encode() + b"\0"))
        if marker.end_s is not None:
            length = clock.count_at(marker.end_s, rate_hz) - position
            region = struct.pack("<II4sHHHH", number, length, b"rgn ", 0, 0, 0, 0)
            texts.append((b"ltxt", region))
    if not points:
        return []
    listed = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for kind, content in texts
    )
    return [
        (b"cue ", struct.pack("<I", len(points)) + b"".join(points)),
        (b"LIST", b"adtl" + listed),
    ]


def _ascii(text: str) -> bytes:
    """Text without accents, and with question marks for other letters that ASCII lacks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.encode("ascii", errors="replace")


def _hundredths(value: float) -> int:
    """A loudness in hundredths, as supplement 6 of EBU Tech 3285 stores it."""
    if not math.isfinite(value) or abs(value) > 99.99:
        return _UNKNOWN_LOUDNESS
    return round(100 * value)
