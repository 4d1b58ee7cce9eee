"""Synthetic clips for benchmarks, and plain decoding for comparison.

The clips take as long to decode as real video (texture, slow pan, a bouncing disc), but have no
sound events.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.media.input_file import open_input
from foleyflow.media.probe import probe

PAN_PIXELS = 64
BOUNCE_S = 0.8


def write_test_clip(
    path: Path,
    *,
    duration_s: float = 10.0,
    width: int = 1280,
    height: int = 720,
    rate_hz: int = 30,
) -> Path:
    """Write a silent h264 clip of a bouncing disc on a textured, slowly panned background.

    An existing file is replaced; width and height must be even.
    """
    ground = _ground(width + PAN_PIXELS, height)
    radius = height // 10
    rows, columns = np.mgrid[-radius:radius, -radius:radius]
    disc = (rows**2 + columns**2 < radius**2)[..., None]
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=rate_hz, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(count_at(duration_s, rate_hz)):
            time_s = index / rate_hz
            shift = round(PAN_PIXELS / 2 * (1 + np.sin(0.5 * time_s)))
            pixels = ground[:, shift : shift + width].copy()
            phase = (time_s % BOUNCE_S) / BOUNCE_S
            top = round((height - 3 * radius) * (1 - 4 * phase * (1 - phase)))
            left = round((width - 2 * radius) * (0.5 + 0.4 * np.sin(0.3 * time_s)))
            patch = pixels[top : top + 2 * radius, left : left + 2 * radius]
            patch[:] = np.where(disc, np.uint8(225), patch)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            frame.time_base = Fraction(1, rate_hz)
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return path


def repeat_clip(source: Path, path: Path, *, times: int) -> Path:
    """Write a clip that repeats the video of a clip of `write_test_clip`; packets are copied."""
    length_s = Fraction(probe(source).duration_s).limit_denominator(90_000)
    with av.open(str(path), "w") as sink:
        stream = None
        for number in range(times):
            with open_input(source) as container:
                video = container.streams.video[0]
                stream = stream or sink.add_stream_from_template(video)
                shift = round(number * length_s / (video.time_base or 1))
                for packet in container.demux(video):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = stream
                    sink.mux(packet)
    return path


def decode_with_pyav(path: Path, *, size: int) -> int:
    """Decode all frames with PyAV alone, scale them to squares, and return their number.

    This is the baseline for `read_frames`; `size` is the side of the squares in pixels.
    """
    count = 0
    scaler = VideoReformatter()
    with open_input(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            small = scaler.reformat(
                frame, width=size, height=size, format="rgb24", interpolation=Interpolation.AREA
            )
            count += len(small.to_ndarray()) > 0
    return count


def _ground(width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3): noise at several scales, like stone or wood."""
    rng = np.random.default_rng(0)
    ground = np.full((height, width, 3), 110.0, np.float32)
    for cell, amplitude in ((2, 6.0), (8, 12.0), (64, 25.0)):
        coarse = rng.normal(size=(height // cell + 1, width // cell + 1, 3)).astype(np.float32)
        fine = np.repeat(np.repeat(coarse, cell, axis=0), cell, axis=1)
        ground += amplitude * fine[:height, :width]
    return np.clip(ground, 0, 255).astype(np.uint8)
