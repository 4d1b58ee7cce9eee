"""Cue sheets as timelines of OpenTimelineIO: a marker for each cue.

A marker has the whole frames and the label of its cue, and in its metadata all fields. What an
editing program moved or renamed is taken from the marker, and everything else from the metadata.
"""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any

from foleyflow.cues.cue import Cue
from foleyflow.cues.fields import StoredCues, cue_from_fields, decode_utf8, fields_of, located
from foleyflow.cues.labels import label_text, marker_fields
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

if TYPE_CHECKING:
    import opentimelineio as otio

_METADATA_KEY = "foleyflow"  # JSON text: OpenTimelineIO rounds the numbers that it reads
# Fields that the frames and the label of a marker have; the others are in its metadata alone.
_VISIBLE = ("time_s", "end_s", "kind", "material", "level_db", "level_curve_db", "enabled")


def parse_otio(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse all markers of a timeline; `file` names them in errors.

    If the timeline and the video both have a start, times are converted from one to the other.

    Raises:
        ConfigError: it is not a timeline, or the metadata of a marker is not that of a cue.
    """
    import opentimelineio as otio

    hint = "export a timeline as .otio"
    try:
        timeline = otio.adapters.read_from_string(decode_utf8(data, file), "otio_json")
    except (otio.exceptions.OTIOError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["empty"])[0]
        raise ConfigError(f"{file}: damaged timeline ({reason})", hint=hint) from error
    if not isinstance(timeline, otio.schema.Timeline):
        raise ConfigError(f"{file}: {type(timeline).__name__}: expected a Timeline", hint=hint)
    # Seconds from the start of the video to that of the timeline
    offset_s = 0.0
    if timeline.global_start_time is not None and video.start_time_code is not None:
        offset_s = timeline.global_start_time.to_seconds() - video.time_s(video.first_count)
    stack, rows = timeline.tracks, []
    items = [stack, *stack.find_children(descended_from_type=otio.core.Item)]
    markers = [(item, marker) for item in items for marker in item.markers]
    for number, (item, marker) in enumerate(markers, start=1):
        span = item.transformed_time_range(marker.marked_range, stack)
        place = f"marker {number}"
        try:
            rows.append((place, _fields(marker, span, offset_s, video)))
        except ConfigError as error:
            raise located(error, f"{file}, {place}") from error
    return StoredCues(rows=rows, slack_s=video.time_s(1))


def otio_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A timeline with the video as its only clip, and with the cues as markers."""
    import opentimelineio as otio

    rate = float(video.frame_rate)

    def span(start: int, end: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(end - start, rate)
        )

    # The video
    frames = [video.frames_of(cue, sheet.duration_s) for cue in sheet]
    length = max((end for _, end in frames), default=1)
    if sheet.duration_s is not None:
        length = max(video.nearest_frame(sheet.duration_s), 1)
    first, name = video.first_count, video.name or "foleyflow cues"
    clip = otio.schema.Clip(name=name, source_range=span(first, first + length))
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video, children=[clip])
    timeline = otio.schema.Timeline(
        name=name, global_start_time=otio.opentime.RationalTime(first, rate)
    )
    timeline.tracks.append(track)
    # The cues
    for cue, (start, end) in zip(sheet, frames, strict=True):
        timeline.tracks.markers.append(
            otio.schema.Marker(
                name=label_text(cue),
                marked_range=span(start, end),
                metadata={_METADATA_KEY: json.dumps(fields_of(cue))},
            )
        )
    return (otio.adapters.write_to_string(timeline, "otio_json") + "\n").encode("utf-8")


def _fields(
    marker: otio.schema.Marker,
    span: otio.opentime.TimeRange,
    offset_s: float,
    video: VideoReference,
) -> dict[str, Any]:
    """The fields of the cue of a marker, from what it shows and from its metadata."""
    frame_s = video.time_s(1)
    start_s = span.start_time.to_seconds() + offset_s
    length_s = span.duration.to_seconds()
    is_point = length_s < 1.5 * frame_s
    stored = marker.metadata.get(_METADATA_KEY)
    if stored is None:
        return marker_fields(marker.name, start_s, None if is_point else start_s + length_s)
    cue = _stored_cue(stored)
    # Times
    if abs(start_s - cue.time_s) < 0.6 * frame_s:
        start_s, end_s = cue.time_s, start_s + length_s
    else:
        end_s = start_s + length_s
    if cue.end_s is not None and abs(end_s - cue.end_s) < 0.6 * frame_s:
        end_s = cue.end_s
    # Label
    if marker.name.strip() == label_text(cue):
        moved = {"time_s": start_s} | ({} if cue.end_s is None else {"end_s": end_s})
        return fields_of(cue) | moved
    hidden = {key: value for key, value in fields_of(cue).items() if key not in _VISIBLE}
    return hidden | marker_fields(marker.name, start_s, end_s, unnamed_region=cue.kind)


def _stored_cue(text: Any) -> Cue:
    """The cue in the metadata of a marker."""
    try:
        fields = json.loads(text)
    except (TypeError, ValueError):
        fields = None
    if not isinstance(fields, dict):
        raise ConfigError(
            f"metadata {_METADATA_KEY}={reprlib.repr(text)}: expected the JSON of a cue",
            hint="remove this metadata, or write the cue sheet again",
        )
    return cue_from_fields(fields, None)
