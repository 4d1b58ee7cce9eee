"""Reduce frames to a rate and scale them, the same way for files and for frames in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

Frame = TypeVar("Frame")

HIGHEST_RATE_HZ = 32.0  # of the frames that an encoder takes, unless it has a rate of its own
UPRIGHT = (1, 0, 0, 1)  # signs of the display matrix of a frame that is shown as it is stored
# Time stamps of many containers are rounded to the millisecond.
_STAMP_SLACK_S = 0.001


def keep_at_rate(
    timed: Iterable[tuple[float, Frame]], *, max_rate_hz: float
) -> Iterator[tuple[float, Frame]]:
    """Reduce frames to at most `max_rate_hz`, by time.

    A frame is kept if it comes at least 1 / max_rate_hz - 1 ms after the last kept one. At 32 Hz, a
    video of 60 fps keeps every second frame, 50 fps becomes 25, and 30 or 25 fps stay unchanged.
    The (seconds, frame) pairs must be in order of time; a rate that is not positive raises
    `ValueError`.
    """
    if not max_rate_hz > 0:
        raise ValueError(f"max_rate_hz: got {max_rate_hz}, expected a positive rate")
    shortest_step_s = 1.0 / max_rate_hz - _STAMP_SLACK_S
    last_kept_s = -np.inf
    for time_s, frame in timed:
        if time_s - last_kept_s >= shortest_step_s:
            last_kept_s = time_s
            yield time_s, frame


def to_rgb(
    frame: VideoFrame,
    scaler: VideoReformatter,
    width: int,
    height: int,
    orientation: tuple[int, int, int, int],
) -> NDArray[np.uint8]:
    """Return a frame as RGB, scaled to (width, height) as stored and then rotated for display.

    AREA scaling averages all pixels that fall together.
    """
    small = scaler.reformat(
        frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA
    )
    pixels = cast(NDArray[np.uint8], small.to_ndarray())
    # Rotate and mirror by the display matrix (libavutil/display.h)
    a, b, c, d = orientation
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    if flip_x:
        pixels = pixels[:, ::-1]
    if flip_y:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def scale_pictures(
    timed: Iterable[tuple[float, Frame]],
    picture_of: Callable[[Frame], NDArray[np.uint8]],
    *,
    size: int | None,
    max_rate_hz: float = HIGHEST_RATE_HZ,
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Reduce frames in memory to a rate and scale them, as `read_frames` does those of a file.

    Args:
        timed: (seconds, frame) pairs in order of time.
        picture_of: returns the (H, W, 3) uint8 RGB picture of a frame; not called for frames that
            are left out.
        size: side of the square that each picture is scaled to, pixels; None keeps its size.
        max_rate_hz: frames beyond this rate are left out, see `keep_at_rate`.

    Returns:
        (seconds, (size, size, 3) uint8 RGB 0..255) pairs.
    """
    scaler = VideoReformatter()
    for time_s, frame in keep_at_rate(timed, max_rate_hz=max_rate_hz):
        picture = np.ascontiguousarray(picture_of(frame))
        stored = VideoFrame.from_ndarray(picture, format="rgb24")
        width, height = (stored.width, stored.height) if size is None else (size, size)
        yield time_s, to_rgb(stored, scaler, width, height, UPRIGHT)
