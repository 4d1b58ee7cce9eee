"""A stretch of a video, with its sound, as an mp4 of its own.

Where a file is already what is wanted it is taken byte by byte; else pictures and sound are encoded
anew, on one thread and reproducibly, so that the same stretch always gives the same bytes on one
machine.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from foleyflow.clock import count_at
from foleyflow.errors import MediaError
from foleyflow.media.formats import format_of
from foleyflow.media.probe import MediaInfo
from foleyflow.media.reader import read_shaped_frames
from foleyflow.media.reproducible import reproducible_x264
from foleyflow.media.sound_track import SoundTrack
from foleyflow.media.waveform import read_waveform

TICK = Fraction(1, 90_000)
EDGE_S = 0.05  # a file that begins and ends this close to what is wanted is taken as it is
VIDEO_OPTIONS = {
    "preset": "veryfast",
    "crf": "20",
    "x264-params": "threads=1:lookahead_threads=1:sliced_threads=0",
}
RATES_HZ = (44_100, 48_000)  # of sound that is kept at its rate


def can_be_copied(info: MediaInfo, *, start_s: float, duration_s: float) -> bool:
    """Whether a file, byte by byte, is the clip that is wanted.

    Args:
        info: what `probe` said of it.
        start_s: of the clip in the file.
        duration_s: of the clip.

    Source: ours.
    """
    return (
        "mp4" in info.container.split(",")
        and info.video_codec == "h264"
        and info.pixel_format == "yuv420p"
        and info.audio_rate_hz in RATES_HZ
        and start_s <= EDGE_S
        and abs(info.duration_s - start_s - duration_s) <= EDGE_S
    )


def encode_clip(
    info: MediaInfo, target: Path, *, start_s: float, duration_s: float, short_side: int
) -> None:
    """Write a stretch of a video as h264 and aac in mp4.

    Pictures keep their time stamps, counted from the start of the stretch; sound is exactly as
    long as the stretch.

    Args:
        info: what `probe` said of the video.
        target: the mp4; replaced if it is there.
        start_s: of the stretch.
        duration_s: of the stretch.
        short_side: pictures with a longer short side are scaled down to it, pixels.

    Raises:
        MediaError: no picture lies in the stretch, or the file can't be decoded.

    Source: ours.
    """
    # The clip's clock begins with its first picture, up to a frame after `start_s`.
    frames = read_shaped_frames(
        info.path,
        start_s=start_s,
        end_s=start_s + duration_s + 2 / info.rate_hz,
        short_side=short_side,
        info=info,
    )
    first = next(frames, None)
    if first is None:
        raise MediaError(f"{info.path}: no picture from {start_s:g} s on", hint="check its length")
    origin_s = first[0]
    end_s = origin_s + duration_s
    rate_hz = info.audio_rate_hz if info.audio_rate_hz in RATES_HZ else RATES_HZ[-1]
    sound = read_waveform(info.path, rate_hz=rate_hz, start_s=origin_s, end_s=end_s)
    track = SoundTrack(
        [sound.samples],
        rate_hz=sound.rate_hz,
        sample_count=count_at(duration_s, sound.rate_hz),
        output_format=format_of(target),
        start_s=0.0,
    )
    height, width = (2 * (side // 2) for side in first[1].shape[:2])
    # Without it the muxer writes its version into the file.
    with av.open(f"file:{target}", "w", format="mp4", options={"fflags": "+bitexact"}) as sink:
        stream = sink.add_stream(
            "libx264",
            rate=round(min(info.rate_hz, 240.0)) or 1,
            options=reproducible_x264(VIDEO_OPTIONS),
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TICK
        stream.codec_context.thread_count = 1
        audio = track.add_to(sink)
        sink.start_encoding()
        shown = itertools.takewhile(lambda pair: pair[0] < end_s - 1e-6, frames)
        for time_s, pixels in itertools.chain([first], shown):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[:height, :width]), format="rgb24"
            ).reformat(format="yuv420p")
            frame.pts = round((time_s - origin_s) / TICK)
            frame.time_base = TICK
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
        for packet in track.packets(audio):
            sink.mux(packet)
