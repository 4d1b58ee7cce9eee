"""Copy the video of a file without its sound; frames are not encoded again."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.boxes import edit_index
from foleyflow.media.container_error import ContainerError
from foleyflow.media.edit_list import limit_shown_duration
from foleyflow.media.input_file import open_input, read_packets, time_base_of
from foleyflow.media.presentation_times import PresentationTimes
from foleyflow.media.probe import MediaInfo

_OPTIONS = {"fflags": "+bitexact"}  # no version of the muxer in the file


def copy_without_sound(info: MediaInfo, target: Path) -> None:
    """Write an mp4 file with the video stream of a file and nothing else.

    An existing target is replaced.

    Raises:
        MediaError: the video can't be copied into mp4 with the same frames at the same times.
    """
    shown, copied = PresentationTimes(), PresentationTimes()
    shown_end_s, hides_end = info.start_s + info.duration_s, False
    try:
        # Copy the packets
        with (
            open_input(info.path) as source,
            av.open(f"file:{target}", "w", format="mp4", options=_OPTIONS) as sink,
        ):
            video = cast(VideoStream, source.streams[info.video_index])
            tick_s = float(time_base_of(video))
            copy = sink.add_stream_from_template(video, opaque=True)
            for packet in read_packets(source, [video]):
                shown.add(packet)
                if packet.is_discard and packet.pts is not None:
                    hides_end |= float(packet.pts * packet.time_base) >= shown_end_s - 1e-6
                if packet.size:
                    packet.stream = copy
                    sink.mux(packet)
        # Hide frames after the last shown one, which others may need
        if hides_end:
            with edit_index(target) as index:
                limit_shown_duration(index, track_index=0, duration_s=info.duration_s)
        # Compare the times of the frames
        with open_input(target) as written:
            video = written.streams.video[0]
            for packet in read_packets(written, [video]):
                copied.add(packet)
            tick_s += float(time_base_of(video))
    except (av.FFmpegError, ContainerError, ValueError) as error:
        raise MediaError(
            f"{info.path}: its video can't be copied into mp4 ({error})",
            hint="convert it to h264 in mp4 first",
        ) from error
    difference = shown.difference(copied, tolerance_s=1e-3 + tick_s)
    if difference is not None:
        raise MediaError(
            f"{info.path}: a copy of its video in mp4 would differ: {difference}",
            hint="convert it to h264 in mp4 first",
        )
