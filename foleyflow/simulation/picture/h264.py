"""H.264 video of simulated clips: one silent mp4 stream with exact time stamps.

The same frames give the same bytes in every run on one machine.
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
    """How strongly a clip is compressed.

    Attributes:
        crf: libx264's quality, 0 (best) to 51.
        keyframe_every: longest distance between key frames, frames.
        b_frames: largest number of consecutive B-frames.
        preset: libx264's preset.
        first_size: (width, height) of an earlier, stronger compression; None for none.
        first_crf: the quality of that compression.
    """

    crf: int
    keyframe_every: int = 48
    b_frames: int = 0
    preset: str = "veryfast"
    first_size: tuple[int, int] | None = None
    first_crf: int = 34


def sample_compression(rng: np.random.Generator, *, height: int) -> Compression:
    """Sample the compression of a clip whose stored frames are `height` pixels high."""
    compress_twice = rng.random() < 0.1
    first = 2 * int(rng.integers(round(0.28 * height), round(0.6 * height)))
    return Compression(
        crf=round(rng.triangular(16.0, 20.0, 36.0)),
        keyframe_every=int(rng.choice([12, 25, 48, 125, 250])),
        b_frames=int(rng.choice([0, 2, 3])),
        first_size=(first, first) if compress_twice else None,
        first_crf=int(rng.integers(22, 38)),
    )


def encode(
    frames: NDArray[np.uint8], ticks: NDArray[np.int64], rate: Fraction, *, compression: Compression
) -> bytes:
    """Compress frames to an mp4 file in memory.

    Args:
        frames: (T, H, W, 3) uint8 RGB, even H and W.
        ticks: (T,) time stamps in 1/90000 s, increasing from 0.
    """
    if compression.first_size is not None:
        width, height = compression.first_size
        small = np.empty((len(frames), height, width, 3), np.uint8)
        for index, frame in enumerate(frames):
            full = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
            small[index] = full.reformat(width, height, interpolation="AREA").to_ndarray()
        first = Compression(crf=compression.first_crf, keyframe_every=250)
        packed = _encode_once(small, ticks, rate, first)
        frames = decode(BytesIO(packed), size=(frames.shape[2], frames.shape[1])).pixels
    return _encode_once(frames, ticks, rate, compression)


def decode(file: Path | BytesIO, *, size: tuple[int, int] | None = None) -> Frames:
    """Return all frames of an mp4 file, scaled to `size` (width, height) unless it is None."""
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


def _encode_once(
    frames: NDArray[np.uint8], ticks: NDArray[np.int64], rate: Fraction, compression: Compression
) -> bytes:
    """Run libx264 on one thread, so that the same frames give the same bytes."""
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
