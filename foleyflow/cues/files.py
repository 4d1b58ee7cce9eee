"""Reads and writes files of cue sheets; the suffix chooses the format.

To add a format, write a function that parses its bytes and one that makes them, and add both to
`FORMATS`. What all formats share is checked here: known fields, valid values, known materials,
times within the clip, and distinct hits.
"""

from __future__ import annotations

import importlib.util
import logging
import reprlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from foleyflow.cues.audacity_format import labels_bytes, parse_labels
from foleyflow.cues.csv_format import csv_bytes, parse_csv
from foleyflow.cues.edl_format import edl_bytes, parse_edl
from foleyflow.cues.fields import StoredCues, cue_from_fields, located
from foleyflow.cues.json_format import json_bytes, parse_json
from foleyflow.cues.labels import material_named
from foleyflow.cues.midi_format import midi_bytes, parse_midi
from foleyflow.cues.otio_format import otio_bytes, parse_otio
from foleyflow.cues.readable_sheet import readable_csv_bytes, readable_html_bytes
from foleyflow.cues.reaper_format import parse_reaper_csv, reaper_csv_bytes
from foleyflow.cues.sheet import (
    CueSheet,
    check_within,
    checked_duration_s,
    coinciding_hits,
    without_coinciding_hits,
)
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError, MissingExtra
from foleyflow.system.atomic_files import draft_of

logger = logging.getLogger(__name__)

# For formats that store seconds, which use none of it
_ANY_VIDEO = VideoReference(frame_rate=Fraction(25))
# (bytes of a file, its name for errors, its video) -> what the file contains
Parser = Callable[[bytes, str, VideoReference], StoredCues]


@dataclass(frozen=True, kw_only=True)
class CueFormat:
    """How cue sheets are stored in one format.

    Attributes:
        parse: reads a file; None if the format is only written.
        make_bytes: (cue sheet, its video) -> the content of a file.
        is_shared: other programs write it, too. Names that are not materials are ignored, and hits
            at the same time are joined, both with a warning.
        needs_video: its times are frames or time code of the video.
        package, extra: the package that it needs, and the extra of foleyflow that installs it.
    """

    parse: Parser | None
    make_bytes: Callable[[CueSheet, VideoReference], bytes]
    is_shared: bool = False
    needs_video: bool = False
    package: str = ""
    extra: str = ""


# Suffix, which may contain dots -> format
FORMATS: dict[str, CueFormat] = {
    ".json": CueFormat(parse=parse_json, make_bytes=json_bytes),
    ".csv": CueFormat(parse=parse_csv, make_bytes=csv_bytes),
    ".txt": CueFormat(parse=parse_labels, make_bytes=labels_bytes, is_shared=True),
    ".mid": CueFormat(parse=parse_midi, make_bytes=midi_bytes, is_shared=True),
    ".reaper.csv": CueFormat(parse=parse_reaper_csv, make_bytes=reaper_csv_bytes, is_shared=True),
    ".edl": CueFormat(parse=parse_edl, make_bytes=edl_bytes, is_shared=True, needs_video=True),
    ".otio": CueFormat(
        parse=parse_otio,
        make_bytes=otio_bytes,
        is_shared=True,
        needs_video=True,
        package="opentimelineio",
        extra="edit",
    ),
    ".sheet.csv": CueFormat(parse=None, make_bytes=readable_csv_bytes, needs_video=True),
    ".html": CueFormat(parse=None, make_bytes=readable_html_bytes, needs_video=True),
}


def read_cues(
    path: Path,
    *,
    duration_s: float | None,
    materials: Collection[str] | None,
    video: VideoReference | None = None,
) -> CueSheet:
    """Read a cue sheet.

    Args:
        path: file with a suffix of `FORMATS`.
        duration_s: length of the clip; None takes that of the file, if it has one.
        materials: known names of materials and strikers; None accepts every name.
        video: required by formats whose times are frames or time code.

    Raises:
        ConfigError: the file can't be read or is not a valid cue sheet for this clip. The message
            is one line that names the file and the line or cue.
    """
    sheet, warnings = _read(path, duration_s, materials, _video_for(path, video))
    for text in warnings:
        logger.warning("%s: %s", path, text)
    return sheet


def check_cues(path: Path) -> None:
    """Check a file as far as it is possible without its clip; it logs no warnings.

    Raises:
        ConfigError: as `read_cues`. Formats that need the video are only checked to be readable.
    """
    parser_of(path)
    if format_of(path).needs_video:
        _content(path)
    else:
        _read(path, None, None, _ANY_VIDEO)


def write_cues(path: Path, sheet: CueSheet, *, video: VideoReference | None = None) -> None:
    """Write a cue sheet. The file appears complete or not at all, and replaces an existing one.

    From JSON and CSV, `read_cues` reads an equal sheet; from CSV it needs the duration, which CSV
    does not store. What other formats keep is listed in docs/cues.md.

    Args:
        path: file with a suffix of `FORMATS`.
        video: required by formats whose times are frames or time code.

    Raises:
        ConfigError: the suffix is unknown, or the video is missing.
        OSError: the file can't be written.
    """
    content = format_of(path).make_bytes(sheet, _video_for(path, video))
    with draft_of(path) as draft:
        draft.write_bytes(content)


def format_of(path: Path) -> CueFormat:
    """The format of a file by its suffix, in upper or lower case.

    Raises:
        ConfigError: the suffix is unknown.
        MissingExtra: the package that the format needs is not installed.
    """
    # The longest suffix first: .b.txt before .txt
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            found = FORMATS[suffix]
            if found.package and importlib.util.find_spec(found.package) is None:
                raise MissingExtra(found.package, found.extra)
            return found
    raise ConfigError(
        f"{path}: unknown suffix {path.suffix!r}, expected {', '.join(FORMATS)}",
        hint="the suffix chooses the format of a cue sheet",
    )


def parser_of(path: Path) -> Parser:
    """The function that parses the format of a file.

    Raises:
        ConfigError: the suffix is unknown, or files of this format are only written.
    """
    parse = format_of(path).parse
    if parse is None:
        readable = ", ".join(suffix for suffix, each in FORMATS.items() if each.parse)
        raise ConfigError(
            f"{path}: a table for people, expected {readable}",
            hint="write the cues in one of these formats, for instance by `foleyflow spot -o`",
        )
    return parse


def _video_for(path: Path, video: VideoReference | None) -> VideoReference:
    if video is None and format_of(path).needs_video:
        raise ConfigError(
            f"{path}: no video given, expected its frame rate and start time code",
            hint="give video=VideoReference(frame_rate=..., start_time_code=...)",
        )
    return video or _ANY_VIDEO


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be read ({error.strerror or error})", hint="give a file of cues"
        ) from error


def _read(
    path: Path,
    duration_s: float | None,
    materials: Collection[str] | None,
    video: VideoReference,
) -> tuple[CueSheet, list[str]]:
    """The cue sheet of a file, and warnings about what was not used of it."""
    # Content of the file
    parse, is_shared = parser_of(path), format_of(path).is_shared
    stored = parse(_content(path), str(path), video)
    # Duration of the clip
    if stored.duration_s is not None:
        try:
            stored_s = checked_duration_s(stored.duration_s)
        except ConfigError as error:
            raise located(error, str(path)) from error
        duration_s = stored_s if duration_s is None else duration_s
    # Names that are not materials
    warnings: list[str] = []
    if is_shared and materials is not None:
        warnings += _resolve_materials(stored, materials)
    # Cues
    cues = []
    for place, fields in stored.rows:
        _remove_slack(fields, duration_s, stored.slack_s)
        try:
            cue = cue_from_fields(fields, materials)
            check_within(cue, duration_s)
        except ConfigError as error:
            raise located(error, f"{path}, {place}") from error
        cues.append(cue)
    # Distinct hits
    if is_shared:
        distinct = without_coinciding_hits(cues)
        if len(distinct) < len(cues):
            count = len(cues) - len(distinct)
            hits = "hit is" if count == 1 else "hits are"
            warnings.append(f"{count} {hits} left out: another one has the same time")
        cues = distinct
    elif pair := coinciding_hits(cues):
        first, second = sorted(pair)
        raise ConfigError(
            f"{path}, {stored.rows[second][0]}: the hit at {cues[second].time_s} s is closer than "
            f"1 ms to the hit of {stored.rows[first][0]}",
            hint="remove or move one of them",
        )
    return CueSheet(cues=tuple(cues), duration_s=duration_s), warnings


def _resolve_materials(stored: StoredCues, materials: Collection[str]) -> list[str]:
    """Replaces names by the materials that they name, and removes the others, with a warning."""
    ignored = []
    for _, fields in stored.rows:
        if isinstance(text := fields.get("material"), str):
            fields["material"] = material_named(text, materials)
            if fields["material"] is None:
                ignored.append(text)
    if not ignored:
        return []
    names = "name" if len(ignored) == 1 else "names"
    return [
        f"{len(ignored)} {names} without a known material, such as {reprlib.repr(ignored[0])}: "
        "the model chooses the material"
    ]


def _remove_slack(fields: dict[str, Any], duration_s: float | None, slack_s: float) -> None:
    """Moves times that are beyond the end of the clip by rounding alone to the end."""
    if duration_s is None:
        return
    for name in ("time_s", "end_s"):
        time_s = fields.get(name)
        if isinstance(time_s, float) and duration_s < time_s <= duration_s + slack_s:
            fields[name] = duration_s
