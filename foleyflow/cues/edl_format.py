"""Cue sheets as edit decision lists in the CMX 3600 format: an audio event for each cue.

The record times are the time code of the video. Each event names its cue twice: as the clip name,
and in the comment by which marker lists of DaVinci Resolve name a marker.

The columns are event number, reel, channel, transition, source in and out, record in and out.

Reference: DaVinci Resolve 18 manual, "Conforming EDL Files"; reader of otio-cmx3600-adapter (Avid).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from foleyflow.cues.fields import StoredCues, decode_utf8, located
from foleyflow.cues.labels import label_text, marker_fields
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

_CODE = r"(\d{1,2}:\d{2}:\d{2}[:;.,]\d{2,3})"
_EVENT = re.compile(rf"\d+\s+.*\s{_CODE}\s+{_CODE}\s+{_CODE}\s+{_CODE}")
_LOCATOR = re.compile(rf"\*\s*LOC:\s*{_CODE}\s*(\S*)\s*(.*)")
_CLIP_NAME = re.compile(r"\*\s*FROM CLIP NAME:\s*(.*)")
_MARKER = re.compile(r".*\|M:([^|]*)(?:\|D:(\d+))?.*")
_FIRST_WORDS = ("TITLE:", "FCM:", "*", ">>>", "M2", "AUD", "SPLIT", "EFFECTS")


def parse_edl(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse events at their record times; `file` names them in errors.

    An event whose name is that of a roll or scrape lasts as long as the event, any other is a hit.
    If the list has locators of Avid (`* LOC:`), they are the cues, and its events are not.

    Raises:
        ConfigError: it is not an edit decision list, or the video has no frame of a time code.
    """
    # Events and locators, with the lines that belong to an event
    drops: bool | None = None
    events: list[tuple[str, dict[str, Any]]] = []  # place, and what is known of the event
    locators: list[tuple[str, dict[str, Any]]] = []
    lines = [line.strip() for line in decode_utf8(data, file).splitlines()]
    for number, line in enumerate(lines, start=1):
        place = f"line {number}"

        def frame(code: str, place: str = place, drops: bool | None = drops) -> int:
            try:
                return video.frame_of(code, drops=drops)
            except ConfigError as error:
                raise located(error, f"{file}, {place}") from error

        if match := _EVENT.fullmatch(line):
            events.append((place, {"start": frame(match[3]), "end": frame(match[4]), "name": ""}))
        elif match := _LOCATOR.fullmatch(line):
            start = frame(match[1])
            locators.append((place, {"start": start, "end": start, "name": match[3]}))
        elif line.startswith("FCM:"):
            drops = "NON" not in line
        elif line[:1].isdigit():
            raise ConfigError(
                f"{file}, {place}: {line!r}: expected an event with four time codes",
                hint="export the list in the CMX 3600 format",
            )
        elif events and (match := _CLIP_NAME.fullmatch(line)):
            events[-1][1]["name"] = match[1]
        elif events and (match := _MARKER.fullmatch(line)):
            event = events[-1][1]
            event["name"] = match[1].strip()
            event["end"] = event["start"] + max(int(match[2] or 0), event["end"] - event["start"])
    if not events and not any(line.startswith(_FIRST_WORDS) for line in lines):
        raise ConfigError(
            f"{file}: no edit decision list", hint="export the list in the CMX 3600 format"
        )
    # Their cues
    rows = []
    for place, event in locators or events:
        # The first line of a dissolve has no length
        if event["end"] > event["start"] or locators:
            end_s = video.time_s(event["end"])
            start_s = video.time_s(event["start"])
            fields = marker_fields(event["name"], start_s, end_s, unnamed_region="hit")
            rows.append((place, fields))
    return StoredCues(rows=rows, slack_s=video.time_s(1))


def edl_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A list of one event for each cue; those that overlap are on different audio channels."""
    mode = "DROP FRAME" if video.drops_frames else "NON-DROP FRAME"
    lines = [f"TITLE: {video.name or 'foleyflow cues'}", f"FCM: {mode}", ""]
    source = _source_code(video)
    free_from: list[int] = []  # the frame from which each channel is free
    for number, cue in enumerate(sheet, start=1):
        start, end = video.frames_of(cue, sheet.duration_s)
        free = [channel for channel, frame in enumerate(free_from) if frame <= start]
        channel = free[0] if free else len(free_from)
        free_from[channel : channel + 1] = [end]
        name = "A" if channel == 0 else f"A{channel + 1}"
        codes = (source(0), source(end - start), video.time_code(start), video.time_code(end))
        label = label_text(cue).replace("|", "/")
        lines += [
            f"{number:03d}  {'AX':<8} {name:<6}C        {' '.join(codes)}",
            f"* FROM CLIP NAME: {label}",
            f" |C:ResolveColorBlue |M:{label} |D:{end - start}",
            "",
        ]
    return "\n".join(lines).encode("utf-8")


def _source_code(video: VideoReference) -> Callable[[int], str]:
    """The time code of a sound from zero, which drops frame numbers as that of the video."""
    separator = ";" if video.drops_frames else ":"
    zero = VideoReference(frame_rate=video.frame_rate, start_time_code=f"00:00:00{separator}00")
    return zero.time_code
