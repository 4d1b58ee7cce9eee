"""Keep a video's own audio tracks in its copy: whether the format can hold them, and their tags."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.formats import FORMATS, OutputFormat
from foleyflow.media.input_file import open_input
from foleyflow.media.probe import MediaInfo
from foleyflow.media.properties import stream_name
from foleyflow.media.remux import accepts_streams, suffixes_holding

_CONVERT_HINT = "convert the audio track to aac first, or leave it out"
_NO_LANGUAGE = frozenset({None, "", "und"})


def check_keeps_sound(
    info: MediaInfo, source: InputContainer, output: Path, output_format: OutputFormat
) -> list[str]:
    """Refuse a format that can't hold the audio tracks of a video in addition to a new one.

    Returns:
        A warning if the video has no audio track.

    Raises:
        MediaError: the format holds one audio track only, or not the codec of one of them.
    """
    if not source.streams.audio:
        return [f"{info.path.name} has no sound to keep"]
    misfit = _misfit(info, source, output_format)
    if misfit is not None:
        holding = [
            suffix
            for suffix in suffixes_holding(info, source)
            if _misfit(info, source, FORMATS[suffix]) is None
        ]
        hint = f"choose another format: -o NAME{holding[0]}" if holding else _CONVERT_HINT
        raise MediaError(f"{output}: the original sound can't be kept: {misfit}", hint=hint)
    return []


def verify_kept_sound(source: InputContainer, copy_path: Path, output: Path) -> list[str]:
    """Compare the audio tracks after the first one of a copy with those of its source.

    Returns:
        Warnings about languages that the format can't hold.

    Raises:
        MediaError: a track is missing, or would be read as another codec.
    """
    lost = []
    with open_input(copy_path) as copy:
        kept = copy.streams.audio[1:]
        if len(kept) != len(source.streams.audio):
            raise MediaError(
                f"{output}: this format would keep {len(kept)} of"
                f" {len(source.streams.audio)} original audio tracks",
                hint="choose another format with -o",
            )
        for stream, copied in zip(source.streams.audio, kept, strict=True):
            if _codec_names(stream).isdisjoint(_codec_names(copied)):
                raise MediaError(
                    f"{output}: this format would change {stream_name(stream)} to"
                    f" {stream_name(copied)}",
                    hint="choose another format with -o",
                )
            language = stream.metadata.get("language")
            if language not in _NO_LANGUAGE and copied.metadata.get("language") != language:
                lost.append(f"this format can't hold the language {language} of the original sound")
    return lost


def _misfit(info: MediaInfo, source: InputContainer, output_format: OutputFormat) -> str | None:
    """Why a format can't hold the audio tracks of a video; None if it can."""
    muxer = output_format.muxer
    if not output_format.holds_more_sounds:
        return f"players find only one audio track in {muxer}"
    sounds = source.streams.audio
    for stream in sounds:
        names = _codec_names(stream)
        accepted = output_format.sound_codecs
        if not names or (accepted is not None and names.isdisjoint(accepted)):
            return f"{stream_name(stream)} does not fit {muxer}"
    video = cast(VideoStream, source.streams[info.video_index])
    if not accepts_streams(output_format, [video, *sounds]):
        return f"{', '.join(map(stream_name, sounds))} does not fit {muxer}"
    return None


def _codec_names(stream: Stream) -> set[str]:
    """The names of a stream's codec and its decoder; empty without a decoder."""
    codec = stream.codec_context
    return set() if codec is None else {codec.name, codec.codec.canonical_name}
