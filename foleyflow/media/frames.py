"""Picks frames by their time stamps and stacks them.

Works on (time, anything) pairs and knows no files: which frames a model sees is a rule about
times, tested as such. Nothing is ever duplicated or moved in time: a kept frame keeps its stamp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foleyflow.signals import Frames

Picture = TypeVar("Picture")

# Time stamps of many containers are rounded to the millisecond.
STAMP_SLACK_S = 0.001


def keep_at_rate(
    timed: Iterable[tuple[float, Picture]], *, max_rate_hz: float
) -> Iterator[tuple[float, Picture]]:
    """Thin frames out to at most `max_rate_hz`, by time.

    A frame is kept when it comes at least 1 / max_rate_hz - 1 ms after the last kept one: at 32 Hz
    a video of 60 fps keeps every second frame, 50 fps becomes 25, and 30 or 25 fps stay whole.

    Args:
        timed: (seconds, picture) pairs in order of time.
        max_rate_hz: positive, frames per second.

    Returns:
        The kept pairs, unchanged.

    Raises:
        ValueError: a rate that is not positive.

    Source: ours.
    """
    if not max_rate_hz > 0:
        raise ValueError(f"max_rate_hz: got {max_rate_hz}, expected a positive rate")
    shortest_step_s = 1.0 / max_rate_hz - STAMP_SLACK_S
    last_kept_s = -np.inf
    for time_s, picture in timed:
        if time_s - last_kept_s >= shortest_step_s:
            last_kept_s = time_s
            yield time_s, picture


def stack_frames(timed: Iterable[tuple[float, NDArray[np.uint8]]], *, size: int) -> Frames:
    """All pictures of an iterable in one array.

    Args:
        timed: (seconds, (size, size, 3) uint8) pairs in order of time.
        size: side of the pictures, pixels; needed where there is none.

    Returns:
        Frames with pixels (T, size, size, 3).

    Source: ours.
    """
    pairs = list(timed)
    pixels = np.empty((len(pairs), size, size, 3), np.uint8)
    for row, (_, picture) in zip(pixels, pairs, strict=True):
        row[:] = picture
    return Frames(pixels=pixels, times_s=np.array([time_s for time_s, _ in pairs], np.float64))


def frame_blocks(
    timed: Iterable[tuple[float, NDArray[np.uint8]]], *, size: int, length: int
) -> Iterator[Frames]:
    """Runs of at most `length` frames, so that a video of any length passes in constant memory.

    Args:
        timed: (seconds, (size, size, 3) uint8) pairs in order of time.
        size: side of the pictures, pixels.
        length: frames per block, at least 1.

    Returns:
        Frames of `length` pictures, the last one shorter; none for an empty iterable.

    Raises:
        ValueError: a length below 1.

    Source: ours.
    """
    if length < 1:
        raise ValueError(f"length: got {length}, expected at least 1")
    block: list[tuple[float, NDArray[np.uint8]]] = []
    for pair in timed:
        block.append(pair)
        if len(block) == length:
            yield stack_frames(block, size=size)
            block = []
    if block:
        yield stack_frames(block, size=size)
