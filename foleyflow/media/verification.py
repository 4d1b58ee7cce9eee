"""Read a finished copy back and compare it with its source.

A copy that does not show the same frames at the same times is an error; anything else that its
format can't hold becomes a warning. Packets are read but not decoded.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.formats import OutputFormat
from foleyflow.media.input_file import is_cover_art, open_input, read_packets, time_base_of
from foleyflow.media.presentation_times import PresentationTimes
from foleyflow.media.properties import lost_properties, properties_of

# Both files round their time stamps, by at most a millisecond.
_ROUNDING_S = 0.0015
_LARGEST_TICK_S = 0.002
# An encoder pads its last packet by at most 4,096 samples.
_SOUND_SLACK_S = 0.1


def verify_copy(
    source: InputContainer,
    video: VideoStream,
    shown: PresentationTimes,
    copy_path: Path,
    output: Path,
    output_format: OutputFormat,
    *,
    sound_s: float,
    lead_s: float,
) -> list[str]:
    """Compare a copy with the video of an open source, and describe what the copy lacks.

    Args:
        source, video: the source and its video stream.
        shown: when the source shows its frames.
        copy_path, output: the copy, and its final name for messages.
        output_format: format of the copy.
        sound_s: length of the new sound, seconds.
        lead_s: silence before it in formats whose sound has no time stamps.

    Raises:
        MediaError: the copy does not show the same frames at the same times, can't be read, or its
            sound does not start and end with the video.
    """
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(open_input(copy_path))
        except MediaError as error:
            raise _copy_error(output, "the new file could not be opened") from error
        copied = _only_video(copy, output)
        if copied.codec_context.name != video.codec_context.name:
            raise _copy_error(output, f"its video would be read as {copied.codec_context.name}")
        # Compare the frames
        found = PresentationTimes(by_decoding_time=copy.format.name == "avi")
        sound_start_s, sound_end_s = _read(copy, copied, found)
        tolerance_s = _ROUNDING_S + sum(
            min(float(time_base_of(stream)), _LARGEST_TICK_S) / 2 for stream in (video, copied)
        )
        difference = shown.difference(found, tolerance_s=tolerance_s)
        if difference is not None:
            raise _copy_error(output, difference)
        # Compare the sound
        start_s = (found.first_s or 0.0) if output_format.stamps_sound else lead_s
        late_s, lasting_s = sound_start_s - start_s, sound_end_s - start_s
        if output_format.stamps_sound and abs(late_s) > _SOUND_SLACK_S:
            raise _copy_error(output, f"the sound would begin {late_s:.3f} s after the video")
        if abs(lasting_s - sound_s) > _SOUND_SLACK_S:
            raise _copy_error(
                output, f"the sound would last {lasting_s:.3f} s instead of {sound_s:.3f} s"
            )
        # Compare everything else
        return lost_properties(
            properties_of(source, video), properties_of(copy, copied), muxer=output_format.muxer
        )


def _only_video(copy: InputContainer, output: Path) -> VideoStream:
    streams = [s for s in copy.streams.video if not is_cover_art(s)]
    if len(streams) != 1 or streams[0].codec_context is None:
        raise _copy_error(
            output, f"the new file would have {len(streams)} readable video streams, expected 1"
        )
    return streams[0]


def _read(
    copy: InputContainer, video: VideoStream, found: PresentationTimes
) -> tuple[float, float]:
    """Record the shown frames of a copy; returns start and end of its first audio track."""
    sound = copy.streams.audio[0]
    start_s, end_s = float("inf"), 0.0
    for packet in read_packets(copy, [video, sound]):
        if packet.stream.index == video.index:
            found.add(packet)
        elif packet.size and packet.pts is not None:
            time_s = float(packet.pts * packet.time_base)
            start_s = min(start_s, time_s)
            end_s = max(end_s, time_s + float((packet.duration or 0) * packet.time_base))
    return start_s, end_s


def _copy_error(output: Path, difference: str) -> MediaError:
    return MediaError(
        f"{output}: this format would change the video: {difference}",
        hint="choose another format with -o, or convert the video to h264 in mp4 first",
    )
