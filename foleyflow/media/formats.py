"""The output formats by file suffix: which audio codec, subtitles and extras each supports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from foleyflow.errors import MediaError

SIDECAR_SUFFIX = ".json"  # added to the name of an output, for the record of its generation


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """The capabilities of one output format."""

    muxer: str  # libavformat's name of the format
    sound_codec: str  # encoder of the new audio track
    bit_rate: int | None = None  # of two channels, bits per second; None for lossless audio
    text_codec: str | None = None  # encoder to which other text subtitles are converted
    takes_attachments: bool = False  # files such as fonts can be attached
    has_edit_lists: bool = False  # edit lists select the shown parts of a track
    stamps_sound: bool = True  # audio has time stamps; without them it begins with the file
    # Frames have presentation times; without them, they must be stored in presentation order
    stamps_pictures: bool = True
    holds_rotation: bool = False  # the format stores the rotation of the video
    wide_packets: bool = False  # transport packets have an arrival time (192 bytes, as on discs)
    # Names of the video codecs that players support; None if the muxer refuses all others
    video_codecs: frozenset[str] | None = None
    # The same for the codecs of copied audio tracks
    sound_codecs: frozenset[str] | None = None
    holds_more_sounds: bool = True  # players find further audio tracks


# AVI stores no presentation times, and libavformat can't derive them for these codecs.
TIMES_UNKNOWN_IN_AVI = frozenset({"h264", "hevc", "vvc"})

_MP4 = OutputFormat(
    muxer="mp4",
    sound_codec="aac",
    bit_rate=192_000,
    text_codec="mov_text",
    has_edit_lists=True,
    holds_rotation=True,
)
_MOV = replace(_MP4, muxer="mov")
_3GP = OutputFormat(
    muxer="3gp", sound_codec="aac", bit_rate=128_000, has_edit_lists=True, holds_rotation=True
)
_MATROSKA = OutputFormat(
    muxer="matroska",
    sound_codec="flac",
    text_codec="srt",
    takes_attachments=True,
    holds_rotation=True,
)
_WEBM = OutputFormat(
    muxer="webm",
    sound_codec="libopus",
    bit_rate=160_000,
    text_codec="webvtt",
    holds_rotation=True,
)
_AVI = OutputFormat(muxer="avi", sound_codec="pcm_s16le", stamps_sound=False, stamps_pictures=False)
# The muxers of transport and program streams accept any codec, as data that no player supports.
_TS = OutputFormat(
    muxer="mpegts",
    sound_codec="aac",
    bit_rate=192_000,
    video_codecs=frozenset({"mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "cavs"}),
    sound_codecs=frozenset("aac aac_latm ac3 dts eac3 mp1 mp2 mp3 opus truehd".split()),
)
_M2TS = replace(_TS, wide_packets=True)
_FLV = OutputFormat(
    muxer="flv",
    sound_codec="aac",
    bit_rate=192_000,
    video_codecs=frozenset({"flv", "flv1", "h264", "hevc", "av1", "vp9", "vp6", "vp6f", "vp6a"}),
    holds_more_sounds=False,  # since 2023 it can hold several, which few players support
)
_MPEG = OutputFormat(
    muxer="mpeg",
    sound_codec="mp2",
    bit_rate=256_000,
    video_codecs=frozenset({"mpeg1video", "mpeg2video"}),
)
_ASF = OutputFormat(muxer="asf", sound_codec="wmav2", bit_rate=192_000, stamps_pictures=False)
_OGG = OutputFormat(muxer="ogg", sound_codec="flac")

FORMATS: dict[str, OutputFormat] = {
    ".3gp": _3GP,
    ".asf": _ASF,
    ".avi": _AVI,
    ".flv": _FLV,
    ".m2ts": _M2TS,
    ".m4v": _MP4,
    ".mkv": _MATROSKA,
    ".mov": _MOV,
    ".mp4": _MP4,
    ".mpeg": _MPEG,
    ".mpg": _MPEG,
    ".mts": _M2TS,
    ".ogv": _OGG,
    ".ts": _TS,
    ".webm": _WEBM,
    ".wmv": _ASF,
}


def format_of(path: Path) -> OutputFormat:
    """Return the output format for a file's suffix; `MediaError` if there is none."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise MediaError(
            f"{path}: no video format is known by the suffix {path.suffix!r}",
            hint="use one of " + " ".join(FORMATS),
        )
    return found
