"""What a file says about its content, and what of it a copy has lost.

A copy is read back and compared with its source, so that whatever a format could not hold is named,
whichever it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from foleyflow.media.probe import is_cover_art

# Metadata that describes the old file, not its content.
_STALE_METADATA = frozenset(
    "major_brand minor_version compatible_brands encoder duration vendor_id handler_name".split()
)
_STALE_PREFIXES = ("_statistics", "bps", "number_of_", "duration-")
# Tags that are copied, but that nobody misses: of the program that wrote the file, or compared
# in another way.
_NOT_MISSED = frozenset(
    "timecode rotate software encoded_by creation_time itunsmpb gapless_playback".split()
)


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What a file says about its content.

    Attributes:
        sample_aspect: width of a pixel over its height; None where the file doesn't say, which
            means 1.
        timecode: of the first picture, hh:mm:ss:ff; None without one.
        covers: pictures attached to the file.
        chapters: number of chapters.
        tags: metadata of the file by its key in lower case.
    """

    sample_aspect: Fraction | None
    timecode: str | None
    covers: int
    chapters: int
    tags: Mapping[str, str]


def properties_of(container: InputContainer, video: VideoStream) -> Properties:
    """What an open file says about its content."""
    aspect = video.sample_aspect_ratio
    covers = sum(is_cover_art(stream) for stream in container.streams.video)
    covers += sum(
        str(stream.metadata.get("mimetype", "")).startswith("image/")
        for stream in container.streams.attachments
    )
    return Properties(
        sample_aspect=aspect if aspect and aspect != 1 else None,
        timecode=timecode_of(container, video),
        covers=covers,
        chapters=len(container.chapters()),
        tags={
            key.lower(): value
            for key, value in content_metadata(container.metadata).items()
            if key.lower() not in _NOT_MISSED
        },
    )


def lost_properties(source: Properties, copy: Properties, *, muxer: str) -> list[str]:
    """What a copy lacks, in words.

    Args:
        source: of the file that was copied.
        copy: of the new file.
        muxer: libavformat's name of the new file's format, for the text.
    """
    lost = []
    if source.sample_aspect and not _is_near(source.sample_aspect, copy.sample_aspect):
        lost.append(
            f"the pixel aspect ratio {source.sample_aspect.numerator}:"
            f"{source.sample_aspect.denominator}"
        )
    if source.timecode and source.timecode != copy.timecode:
        lost.append(f"the time code {source.timecode}")
    if source.covers > copy.covers:
        lost.append("the cover picture")
    if source.chapters > copy.chapters:
        lost.append(f"{source.chapters - copy.chapters} of {source.chapters} chapters")
    missing = [key for key in source.tags if not _is_kept(key, source.tags, copy.tags)]
    if missing:
        lost.append("the tags " + ", ".join(sorted(missing)))
    return [f"{muxer} can't hold {what}" for what in lost]


def timecode_of(container: InputContainer, video: VideoStream) -> str | None:
    """The time code of the first picture: of the video, of a time code track, or of the file."""
    sources: list[Mapping[str, str]] = [video.metadata]
    sources += [stream.metadata for stream in container.streams if stream.type == "data"]
    sources.append(container.metadata)
    for metadata in sources:
        for key, value in metadata.items():
            if key.lower() == "timecode":
                return value
    return None


def content_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata without what describes the old file."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE_METADATA and not key.lower().startswith(_STALE_PREFIXES)
    }


def stream_name(stream: Stream) -> str:
    """A stream in words: its kind, number and codec."""
    codec = stream.codec_context
    name = codec.name if codec is not None else getattr(stream, "name", None) or "unknown codec"
    return f"{stream.type} track {stream.index} ({name})"


def _is_near(aspect: Fraction, other: Fraction | None) -> bool:
    """Whether two ratios are equal but for the rounding of a width in pixels, as in Matroska."""
    return other is not None and abs(float(other / aspect) - 1.0) < 0.01


def _is_kept(key: str, source: Mapping[str, str], copy: Mapping[str, str]) -> bool:
    """Whether a tag is in a copy, under its key, with a language, or as the value of another key.

    Formats rename tags (`date` is `year` in some), and QuickTime repeats them with a language.
    """
    if key in copy or not source[key].strip():
        return True
    base = key.rpartition("-")[0]
    if base and base in copy:
        return True
    return source[key] in copy.values()
