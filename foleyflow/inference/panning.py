"""Pans a mono sound, in parts, to two channels.

The law has equal power: the squares of both gains add up to 1. Its angle is limited, so that the
sum of both channels, (L + R) / sqrt(2), is at most 0.5 dB below the mono sound at every frequency.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from foleyflow.inference.stems import Reference, split_blocks_into_stems

LARGEST_LOSS_DB = 0.5  # of the sum of both channels
LARGEST_ANGLE = math.acos(10 ** (-LARGEST_LOSS_DB / 20))  # 19.3 degrees from the centre
STEPS = 4  # positions on each side; sounds at one position need not be separated

Gains = tuple[float, float]  # left, right


def nearest_position(pan: float | None) -> float:
    """The nearest of the positions that sounds are panned to; the centre for None."""
    return round((pan or 0.0) * STEPS) / STEPS


def channel_gains(position: float) -> Gains:
    """Gains of a position from -1 (left) to 1 (right); at 1 the right channel is 6.3 dB louder."""
    angle = position * LARGEST_ANGLE
    middle, side = math.cos(angle), math.sin(angle)
    return (middle - side) / math.sqrt(2), (middle + side) / math.sqrt(2)


def panned_blocks(
    mix: Iterable[NDArray[np.float32]], references: Sequence[Reference], positions: Sequence[float]
) -> Iterator[NDArray[np.float32]]:
    """Yield the (2, n) blocks of a sound whose parts have positions.

    Args:
        mix: (1, n) float32 blocks.
        references: of the parts. They are not used if all positions are equal.
        positions: of the parts, each -1..1; without any, the sound is in the centre.
    """
    gains = [_column(channel_gains(position)) for position in positions]
    if len(set(positions)) <= 1:
        everything = gains[0] if gains else _column(channel_gains(0.0))
        for block in mix:
            yield everything * block
        return
    for split in split_blocks_into_stems(mix, references):
        panned = np.zeros((2, split.mix.shape[1]), np.float32)
        for index, samples in split.stems.items():
            panned += gains[index] * samples
        yield panned


def _column(gains: Gains) -> NDArray[np.float32]:
    return np.array(gains, np.float32)[:, None]
