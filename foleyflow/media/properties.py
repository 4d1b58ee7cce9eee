"""Compare the descriptive properties of a file and its copy, to name what a format can't hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from foleyflow.media.input_file import is_cover_art

# Metadata that describes the old file rather than its content.
_STALE_METADATA = frozenset(
    "major_brand minor_version compatible_brands encoder duration vendor_id handler_name".split()
)
_STALE_PREFIXES = ("_statistics", "bps", "number_of_", "duration-")
# Tags that are copied, but whose loss is not reported: they describe the program that wrote the
# file, or are compared separately.
_UNREPORTED_TAGS = frozenset(
    "timecode rotate software encoded_by creation_time itunsmpb gapless_playback".split()
)


@dataclass(frozen=True, kw_only=True)
class Properties:
    """Descriptive properties of a file."""

    sample_aspect: Fraction | None  # width of a pixel over its height; None if 1 or not given
    timecode: str | None  # of the first frame, hh:mm:ss:ff
    covers: int  # number of attached pictures
    chapters: int  # number of chapters
    tags: Mapping[str, str]  # metadata; the keys are in lower case


def properties_of(container: InputContainer, video: VideoStream) -> Properties:
    """Read the descriptive properties of an open file."""
    aspect = video.sample_aspect_ratio
    covers = sum(is_cover_art(stream) for stream in container.streams.video)
    covers += sum(
        str(stream.metadata.get("mimetype", "")).startswith("image/")
        for stream in container.streams.attachments
    )
    return Properties(
        sample_aspect=aspect if aspect and aspect != 1 else None,
        timecode=start_time_code(container, video),
        covers=covers,
        chapters=len(container.chapters()),
        tags={
            key.lower(): value
            for key, value in content_metadata(container.metadata).items()
            if key.lower() not in _UNREPORTED_TAGS
        },
    )


def lost_properties(source: Properties, copy: Properties, *, muxer: str) -> list[str]:
    """Describe what a copy lacks; `muxer` names its format in the text."""
    lost = []
    if source.sample_aspect and not _is_near(source.sample_aspect, copy.sample_aspect):
        width, height = source.sample_aspect.as_integer_ratio()
        lost.append(f"the pixel aspect ratio {width}:{height}")
    if source.timecode and source.timecode != copy.timecode:
        lost.append(f"the time code {source.timecode}")
    if source.covers > copy.covers:
        lost.append("the cover picture")
    if source.chapters > copy.chapters:
        lost.append(f"{source.chapters - copy.chapters} of {source.chapters} chapters")
    missing = [key for key in source.tags if not _is_kept(key, source.tags, copy.tags)]
    if missing:
        lost.append("the tags " + ", ".join(sorted(missing)))
    return [f"{muxer} can't hold {name}" for name in lost]


def start_time_code(container: InputContainer, video: VideoStream) -> str | None:
    """The time code of the first frame: of the video, of a time code track, or of the file."""
    sources: list[Mapping[str, str]] = [video.metadata]
    sources += [stream.metadata for stream in container.streams if stream.type == "data"]
    sources.append(container.metadata)
    codes = (v for metadata in sources for k, v in metadata.items() if k.lower() == "timecode")
    return next(codes, None)


def content_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata without entries that describe the old file."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE_METADATA and not key.lower().startswith(_STALE_PREFIXES)
    }


def stream_name(stream: Stream) -> str:
    """Describe a stream by its type, number and codec."""
    codec = stream.codec_context
    name = codec.name if codec is not None else getattr(stream, "name", None) or "unknown codec"
    return f"{stream.type} track {stream.index} ({name})"


def _is_near(aspect: Fraction, other: Fraction | None) -> bool:
    """Whether two ratios are equal up to rounding the width to pixels, as in Matroska."""
    return other is not None and abs(float(other / aspect) - 1.0) < 0.01


def _is_kept(key: str, source: Mapping[str, str], copy: Mapping[str, str]) -> bool:
    """Whether a copy has a tag under its key, without its language, or under another key.

    Formats rename tags (some store `date` as `year`), and QuickTime repeats them with a language.
    """
    base = key.rpartition("-")[0]
    return (
        key in copy
        or not source[key].strip()
        or bool(base and base in copy)
        or source[key] in copy.values()
    )
