"""An h264 stream of an mp4 file, whose frames keep their times."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from foleyflow.media.reproducible import reproducible_x264

TICK = Fraction(1, 90_000)
_HIGHEST_RATE_HZ = 240.0


def add_h264_stream(
    sink: OutputContainer,
    picture: NDArray[np.uint8],
    *,
    rate_hz: float,
    options: Mapping[str, str],
) -> VideoStream:
    """Add a stream for pictures like this one, (H, W, 3) uint8 RGB; sides are rounded to even.

    Args:
        sink: to be written.
        picture: any of the pictures.
        rate_hz: nominal frame rate.
        options: of x264.
    """
    stream = sink.add_stream(
        "libx264",
        rate=round(min(rate_hz, _HIGHEST_RATE_HZ)) or 1,
        options=reproducible_x264(dict(options)),
    )
    stream.height, stream.width = (2 * (side // 2) for side in picture.shape[:2])
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = TICK
    stream.codec_context.thread_count = 1
    return stream


def encode_picture(
    stream: VideoStream, picture: NDArray[np.uint8], time_s: float
) -> list[Packet[VideoStream]]:
    """Encode a picture (H, W, 3) that is shown at `time_s`; the first one is at 0."""
    even = np.ascontiguousarray(picture[: stream.height, : stream.width])
    frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = round(time_s / TICK), TICK
    return stream.encode(frame)
