"""Cue sheets as the CSV files that REAPER's Region/Marker Manager exports and imports.

Hits are markers, rolls and scrapes are regions. The video has to begin at the start of the project.

Reference: exports of REAPER have the columns #, Name, Start, End, Length and often Color; the
numbers of markers begin with M, those of regions with R. No official description is known.
"""

from __future__ import annotations

import csv
import io
import re

from foleyflow.cues.csv_format import csv_lines
from foleyflow.cues.fields import StoredCues, decode_utf8
from foleyflow.cues.labels import label_text, marker_fields
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

COLUMNS = ("#", "Name", "Start", "End", "Length")
_REQUIRED = ("Name", "Start")
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)")
_TIME_HINT = 'set the ruler of REAPER to "Minutes:Seconds" and export again'


def parse_reaper_csv(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse markers and regions; `file` names them in errors.

    Raises:
        ConfigError: the columns are not those of REAPER, or a time is not in seconds or in minutes
            and seconds.
    """
    text = decode_utf8(data, file)
    lines = csv_lines(text, ",", file)
    number, header = next(lines, (1, []))
    names = [cell.strip() for cell in header]
    if missing := [name for name in _REQUIRED if name not in names]:
        raise ConfigError(
            f"{file}, line {number}: no column {missing[0]!r}",
            hint=f"REAPER exports the columns {', '.join(COLUMNS)}",
        )
    rows = []
    for number, cells in lines:
        place = f"line {number}"
        values = dict(zip(names, (cell.strip() for cell in cells), strict=False))
        start_s = _seconds(values.get("Start", ""), f"{file}, {place}")
        end = values.get("End", "")
        end_s = _seconds(end, f"{file}, {place}") if end else None
        rows.append((place, marker_fields(values.get("Name", ""), start_s, end_s)))
    return StoredCues(rows=rows, slack_s=0.001)


def reaper_csv_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A line for each cue with times in minutes and seconds."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    counts = {"M": 0, "R": 0}
    for cue in sheet:
        letter = "M" if cue.end_s is None else "R"
        counts[letter] += 1
        start = round(1e6 * cue.time_s)
        times = [_minutes(start), "", ""]
        if cue.end_s is not None:
            end = max(round(1e6 * cue.end_s), start + 1)
            times[1:] = _minutes(end), _minutes(end - start)
        writer.writerow((f"{letter}{counts[letter]}", label_text(cue), *times))
    return stream.getvalue().encode("utf-8")


def _minutes(microseconds: int) -> str:
    minutes, microseconds = divmod(microseconds, 60_000_000)
    return f"{minutes}:{microseconds // 1_000_000:02d}.{microseconds % 1_000_000:06d}"


def _seconds(text: str, place: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ConfigError(f"{place}: {text!r}: expected a time such as 0:01.250", hint=_TIME_HINT)
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
