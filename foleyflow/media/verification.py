"""Reads a finished copy back and compares it with its source.

A copy whose pictures are not shown as the source shows them is an error, never a result. What else
its format could not hold becomes a warning. Packets are read, not decoded: this takes as long as
reading the file once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.formats import OutputFormat
from foleyflow.media.probe import is_cover_art, open_input, read_packets, time_base_of
from foleyflow.media.properties import lost_properties, properties_of
from foleyflow.media.shown_pictures import ShownPictures

# Both files round their time stamps, to the millisecond at worst where times are exact.
_ROUNDING_S = 0.0015
_LARGEST_TICK_S = 0.002
# The last packet of an encoder is filled up, by up to 4,096 samples.
_SOUND_SLACK_S = 0.1


def verify_copy(
    source: InputContainer,
    video: VideoStream,
    shown: ShownPictures,
    copy_path: Path,
    output: Path,
    output_format: OutputFormat,
    *,
    sound_s: float,
    lead_s: float,
) -> list[str]:
    """Compare a copy with its source.

    Args:
        source: the open source.
        video: its video stream.
        shown: which pictures the source shows.
        copy_path: the copy.
        output: name that the copy is going to have, for messages.
        output_format: of the copy.
        sound_s: length of the new sound, seconds.
        lead_s: silence before it, where the format does not stamp sound.

    Returns:
        What the copy lacks, in words.

    Raises:
        MediaError: the copy does not show the same pictures at the same times, can't be read, or
            its sound does not begin with the pictures and end as it should.
    """
    with _reopened(copy_path, output) as copy:
        copied = _only_video(copy, output)
        if copied.codec_context.name != video.codec_context.name:
            raise _wrong(output, f"its video would be read as {copied.codec_context.name}")
        found = ShownPictures(by_decoding_time=copy.format.name == "avi")
        sound_start_s, sound_end_s = _read(copy, copied, found)
        tolerance_s = _ROUNDING_S + sum(
            min(float(time_base_of(stream)), _LARGEST_TICK_S) / 2 for stream in (video, copied)
        )
        difference = shown.difference(found, tolerance_s=tolerance_s)
        if difference is not None:
            raise _wrong(output, str(difference))
        start_s = (found.first_s or 0.0) if output_format.stamps_sound else lead_s
        if output_format.stamps_sound and abs(sound_start_s - start_s) > _SOUND_SLACK_S:
            late_s = sound_start_s - start_s
            raise _wrong(output, f"sound would begin {late_s:.3f} s after the pictures")
        if abs(sound_end_s - start_s - sound_s) > _SOUND_SLACK_S:
            lasting_s = sound_end_s - start_s
            raise _wrong(output, f"sound would last {lasting_s:.3f} s, not {sound_s:.3f} s")
        return lost_properties(
            properties_of(source, video), properties_of(copy, copied), muxer=output_format.muxer
        )


@contextmanager
def _reopened(copy_path: Path, output: Path) -> Iterator[InputContainer]:
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(open_input(copy_path))
        except MediaError as error:
            raise _wrong(output, "no player could open it") from error
        yield copy


def _only_video(copy: InputContainer, output: Path) -> VideoStream:
    streams = [s for s in copy.streams.video if not is_cover_art(s)]
    if len(streams) != 1 or streams[0].codec_context is None:
        raise _wrong(output, f"it would hold {len(streams)} video streams that can be read")
    return streams[0]


def _read(copy: InputContainer, video: VideoStream, shown: ShownPictures) -> tuple[float, float]:
    """Record the shown pictures of a copy; where its first sound track starts and ends."""
    sound = copy.streams.audio[0]
    start_s, end_s = float("inf"), 0.0
    for packet in read_packets(copy, [video, sound]):
        if packet.stream.index == video.index:
            shown.add(packet)
        elif packet.size and packet.pts is not None:
            time_s = float(packet.pts * packet.time_base)
            start_s = min(start_s, time_s)
            end_s = max(end_s, time_s + float((packet.duration or 0) * packet.time_base))
    return start_s, end_s


def _wrong(output: Path, what: str) -> MediaError:
    return MediaError(
        f"{output}: this video can't be copied into that format without a change: {what}",
        hint="choose another format with -o, or convert the video first",
    )
