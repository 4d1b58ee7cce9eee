"""Reads and writes files of cue sheets; the suffix chooses the format.

To add a format, write a function that parses its bytes and one that makes them, and add both to
`FORMATS`. What all formats share is checked here: known fields, valid values, known materials,
times within the clip, and distinct hits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from foleyflow.cues.csv_format import csv_bytes, parse_csv
from foleyflow.cues.fields import StoredCues, cue_from_fields, located
from foleyflow.cues.json_format import json_bytes, parse_json
from foleyflow.cues.sheet import CueSheet, check_within, checked_duration_s, coinciding_hits
from foleyflow.errors import ConfigError
from foleyflow.system.atomic_files import draft_of


@dataclass(frozen=True, kw_only=True)
class CueFormat:
    """How cue sheets are stored in one format.

    Attributes:
        parse: (bytes of a file, its name for errors) -> what the file contains.
        make_bytes: the content of a file with a cue sheet.
    """

    parse: Callable[[bytes, str], StoredCues]
    make_bytes: Callable[[CueSheet], bytes]


# Suffix, which may contain dots -> format
FORMATS: dict[str, CueFormat] = {
    ".json": CueFormat(parse=parse_json, make_bytes=json_bytes),
    ".csv": CueFormat(parse=parse_csv, make_bytes=csv_bytes),
}


def read_cues(
    path: Path, *, duration_s: float | None, materials: Collection[str] | None
) -> CueSheet:
    """Read a cue sheet.

    Args:
        path: file with a suffix of `FORMATS`.
        duration_s: length of the clip; None takes that of the file, if it has one.
        materials: known names of materials and strikers; None accepts every name.

    Raises:
        ConfigError: the file can't be read or is not a valid cue sheet for this clip. The message
            is one line that names the file and the line or cue.
    """
    # Content of the file
    file_format = format_of(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be read ({error.strerror or error})", hint="give a file of cues"
        ) from error
    stored = file_format.parse(data, str(path))
    # Duration of the clip
    if stored.duration_s is not None:
        try:
            stored_s = checked_duration_s(stored.duration_s)
        except ConfigError as error:
            raise located(error, str(path)) from error
        duration_s = stored_s if duration_s is None else duration_s
    # Cues
    cues = []
    for place, fields in stored.rows:
        try:
            cue = cue_from_fields(fields, materials)
            check_within(cue, duration_s)
        except ConfigError as error:
            raise located(error, f"{path}, {place}") from error
        cues.append(cue)
    if pair := coinciding_hits(cues):
        first, second = sorted(pair)
        raise ConfigError(
            f"{path}, {stored.rows[second][0]}: the hit at {cues[second].time_s} s is closer than "
            f"1 ms to the hit of {stored.rows[first][0]}",
            hint="remove or move one of them",
        )
    return CueSheet(cues=tuple(cues), duration_s=duration_s)


def write_cues(path: Path, sheet: CueSheet) -> None:
    """Write a cue sheet. The file appears complete or not at all, and replaces an existing one.

    `read_cues` reads an equal sheet; from CSV it needs the duration, which CSV does not store.

    Args:
        path: file with a suffix of `FORMATS`.

    Raises:
        ConfigError: the suffix is unknown.
        OSError: the file can't be written.
    """
    content = format_of(path).make_bytes(sheet)
    with draft_of(path) as draft:
        draft.write_bytes(content)


def format_of(path: Path) -> CueFormat:
    """The format of a file by its suffix, in upper or lower case.

    Raises:
        ConfigError: the suffix is unknown.
    """
    # The longest suffix first: .b.txt before .txt
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return FORMATS[suffix]
    raise ConfigError(
        f"{path}: unknown suffix {path.suffix!r}, expected {' or '.join(FORMATS)}",
        hint="the suffix chooses the format of a cue sheet",
    )
