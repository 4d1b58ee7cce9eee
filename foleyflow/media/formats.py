"""Which sound, subtitles and extras each output format takes, by file suffix.

A table and its lookup; nothing is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foleyflow.errors import MediaError


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """What is written into files of one suffix.

    Attributes:
        muxer: libavformat's name of the format.
        sound_codec: encoder of the new sound.
        bit_rate: of two channels, bits per second; None for lossless sound.
        text_codec: encoder of text subtitles of another kind; None if the format takes none.
        takes_attachments: whether files (fonts, say) can be attached.
        has_edit_lists: whether tracks say by an edit list what of them is shown.
        stamps_sound: whether sound carries time stamps; without, it begins with the file.
    """

    muxer: str
    sound_codec: str
    bit_rate: int | None = None
    text_codec: str | None = None
    takes_attachments: bool = False
    has_edit_lists: bool = False
    stamps_sound: bool = True


_MP4 = OutputFormat(
    muxer="mp4", sound_codec="aac", bit_rate=192_000, text_codec="mov_text", has_edit_lists=True
)
_MOV = OutputFormat(
    muxer="mov", sound_codec="aac", bit_rate=192_000, text_codec="mov_text", has_edit_lists=True
)
_3GP = OutputFormat(muxer="3gp", sound_codec="aac", bit_rate=128_000, has_edit_lists=True)
_MATROSKA = OutputFormat(
    muxer="matroska", sound_codec="flac", text_codec="srt", takes_attachments=True
)
_WEBM = OutputFormat(muxer="webm", sound_codec="libopus", bit_rate=160_000, text_codec="webvtt")
_AVI = OutputFormat(muxer="avi", sound_codec="pcm_s16le", stamps_sound=False)
_TS = OutputFormat(muxer="mpegts", sound_codec="aac", bit_rate=192_000)
_FLV = OutputFormat(muxer="flv", sound_codec="aac", bit_rate=192_000)
_MPEG = OutputFormat(muxer="mpeg", sound_codec="mp2", bit_rate=256_000)
_ASF = OutputFormat(muxer="asf", sound_codec="wmav2", bit_rate=192_000)
_OGG = OutputFormat(muxer="ogg", sound_codec="flac")

FORMATS: dict[str, OutputFormat] = {
    ".3gp": _3GP,
    ".asf": _ASF,
    ".avi": _AVI,
    ".flv": _FLV,
    ".m2ts": _TS,
    ".m4v": _MP4,
    ".mkv": _MATROSKA,
    ".mov": _MOV,
    ".mp4": _MP4,
    ".mpeg": _MPEG,
    ".mpg": _MPEG,
    ".mts": _TS,
    ".ogv": _OGG,
    ".ts": _TS,
    ".webm": _WEBM,
    ".wmv": _ASF,
}


def format_of(path: Path) -> OutputFormat:
    """The output format that a file's suffix asks for.

    Args:
        path: a file name.

    Raises:
        MediaError: no format is known by that suffix.

    Source: ours.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise MediaError(
            f"{path}: no video format is known by the suffix {path.suffix!r}",
            hint="use one of " + " ".join(FORMATS),
        )
    return found
