"""Writes frames as h264 in mp4 with exact time stamps, and reads them back.

It makes only what a simulated clip needs: one silent video stream, the same bytes for the same
frames in every run on one machine. Users' files are read and written by `foleyflow.media`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from foleyflow.media.reproducible import reproducible_x264
from foleyflow.signals import Frames

TICKS_PER_S = 90_000


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How hard a clip is compressed.

    Attributes:
        crf: libx264's quality, 0 (best) to 51.
        keyframe_every: longest distance between key frames.
        b_frames: most B-frames in a row.
        preset: libx264's preset.
        first_size: (width, height) of an earlier, harsher encoding; None for none.
        first_crf: its quality.
    """

    crf: int
    keyframe_every: int = 48
    b_frames: int = 0
    preset: str = "veryfast"
    first_size: tuple[int, int] | None = None
    first_crf: int = 34


def draw_compression(rng: np.random.Generator, *, size: int) -> Compression:
    """Choose how hard a clip is compressed.

    Args:
        rng: the clip's random stream.
        size: side of the stored frames, pixels.

    Source: ours.
    """
    twice = rng.random() < 0.1
    first = 2 * int(rng.integers(round(0.28 * size), round(0.6 * size)))
    return Compression(
        crf=round(rng.triangular(16.0, 20.0, 36.0)),
        keyframe_every=int(rng.choice([12, 25, 48, 125, 250])),
        b_frames=int(rng.choice([0, 2, 3])),
        first_size=(first, first) if twice else None,
        first_crf=int(rng.integers(22, 38)),
    )


def encode(
    frames: NDArray[np.uint8],
    ticks: NDArray[np.int64],
    rate: Fraction,
    *,
    compression: Compression,
) -> bytes:
    """Compress frames to an mp4 file in memory.

    Args:
        frames: (T, H, W, 3) uint8 RGB, even H and W.
        ticks: (T,) time stamps in 1/90000 s, increasing from 0.
        rate: nominal frames per second.
        compression: how hard.

    Source: ours.
    """
    if compression.first_size is not None:
        width, height = compression.first_size
        rough = Compression(crf=compression.first_crf, keyframe_every=250)
        small = np.empty((len(frames), height, width, 3), np.uint8)
        for row, frame in enumerate(frames):
            full = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
            small[row] = full.reformat(width, height, interpolation="AREA").to_ndarray()
        packed = _encode(small, ticks, rate, rough)
        frames = decode(BytesIO(packed), size=(frames.shape[2], frames.shape[1])).pixels
    return _encode(frames, ticks, rate, compression)


def decode(file: Path | BytesIO, *, size: tuple[int, int] | None = None) -> Frames:
    """All frames of an mp4 file with their time stamps.

    Args:
        file: path, or a file in memory.
        size: (width, height) to scale to; None keeps the stored one.

    Source: ours.
    """
    source = str(file) if isinstance(file, Path) else file
    pixels, times_s = [], []
    with av.open(source, "r") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            if size is not None:
                frame = frame.reformat(*size)
            pixels.append(frame.to_ndarray(format="rgb24"))
            times_s.append(frame.time)
    return Frames(pixels=np.stack(pixels), times_s=np.array(times_s))


def _encode(
    frames: NDArray[np.uint8],
    ticks: NDArray[np.int64],
    rate: Fraction,
    compression: Compression,
) -> bytes:
    """One pass through libx264, on one thread: the same frames give the same bytes."""
    file = BytesIO()
    options = {"video_track_timescale": str(TICKS_PER_S)}
    settings = {
        "preset": compression.preset,
        "crf": str(compression.crf),
        "g": str(compression.keyframe_every),
        "bf": str(compression.b_frames),
        "threads": "1",
    }
    with av.open(file, "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options=reproducible_x264(settings))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        stream.thread_count = 1
        for pixels, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts = int(tick)
            frame.time_base = Fraction(1, TICKS_PER_S)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
