"""Where in the picture something moves, and from it the pan of cues.

Changes between consecutive frames are added up for each column of the picture. What changes over
more than half of the width, by a moving camera or a cut, counts as background. The pan of a cue is
the centroid of the other changes around its time.

Dimension letters: T pairs of frames, K columns.
"""

from __future__ import annotations

import array
import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet

COLUMNS = 28
ROW_SAMPLES, COLUMN_SAMPLES = 28, 56  # pixels of a frame that are compared, at most twice as many
NOISE = 8.0  # smaller changes of brightness, 0..255, do not count
BACKGROUND = 2.0  # factor on the median over the columns
FAINTEST = 4.0  # sum over the columns of the mean square change; below it nothing moves
# Around a hit, changes are weighted by a Gaussian of this deviation and up to this distance.
DEVIATION_S, REACH_S = 0.04, 0.15
# Standard deviation of the place of the motion, where the picture is 2 wide. Up to the first value
# the pan is the centroid; from there to the second one it moves towards the centre.
COMPACT, WIDE = 0.1, 0.4
DECIMALS = 2  # of a pan

_CENTRES = (np.arange(COLUMNS) + 0.5) / COLUMNS * 2 - 1


class ColumnMotion:
    """The motion in each column of the picture over a clip; 64 bytes for each frame."""

    def __init__(self) -> None:
        self._times_s = array.array("d")
        self._changes = bytearray()  # (T, K) float16
        self._last: tuple[float, NDArray[np.float32]] | None = None

    def watch(
        self, frames: Iterable[tuple[float, NDArray[np.uint8]]]
    ) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Yield frames unchanged, and add each."""
        for time_s, picture in frames:
            self.add(time_s, picture)
            yield time_s, picture

    def add(self, time_s: float, picture: NDArray[np.uint8]) -> None:
        """Add the next frame, (H, W, 3) uint8 RGB of the complete picture; all have one size."""
        height, width = picture.shape[:2]
        rows, columns = max(height // ROW_SAMPLES, 1), max(width // COLUMN_SAMPLES, 1)
        green = picture[rows // 2 :: rows, columns // 2 :: columns, 1].astype(np.float32)
        last, self._last = self._last, (time_s, green)
        if last is None or last[1].shape != green.shape:
            return
        change = np.abs(green - last[1])
        change -= NOISE
        np.maximum(change, 0.0, out=change)
        squares = np.einsum("hw,hw->w", change, change)
        firsts, pixels = _columns_of(*green.shape)
        self._times_s.append((last[0] + time_s) / 2)
        self._changes += (np.add.reduceat(squares, firsts) / pixels).astype(np.float16).tobytes()

    def pan(self, start_s: float, end_s: float | None = None) -> float | None:
        """The place of the motion at a time, or from `start_s` to `end_s`.

        -1 is the left edge of the picture and 1 the right edge. The wider the motion spreads, the
        nearer it is to the centre. None where nothing moves or the place is not clear.
        """
        if not self._times_s:
            return None
        times_s = np.frombuffer(self._times_s, np.float64)
        reach_s = REACH_S if end_s is None else 0.0
        first = np.searchsorted(times_s, start_s - reach_s)
        last = np.searchsorted(times_s, (start_s if end_s is None else end_s) + reach_s)
        if first == last:
            return None
        changes = np.frombuffer(self._changes, np.float16).reshape(-1, COLUMNS)[first:last]
        changes = changes.astype(np.float64)
        weights = np.ones(last - first)
        if end_s is None:
            weights = np.exp(-0.5 * ((times_s[first:last] - start_s) / DEVIATION_S) ** 2)
        # What stands out from the background
        background = np.sort(changes, axis=1)[:, COLUMNS // 2, None]
        moving = weights @ np.maximum(changes - BACKGROUND * background, 0.0) / weights.sum()
        total = moving.sum()
        if total < FAINTEST:
            return None
        # Its centroid
        centroid = float(moving @ _CENTRES / total)
        spread = float(np.sqrt(moving @ np.square(_CENTRES - centroid) / total))
        clearness = min((WIDE - spread) / (WIDE - COMPACT), 1.0)
        return round(centroid * clearness, DECIMALS) + 0.0 if clearness > 0 else None  # no -0.0


@functools.cache
def _columns_of(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first pixel of each column and its number of pixels, in frames of a size.

    If there are fewer pixels than columns, neighbouring columns are equal.
    """
    firsts = np.arange(COLUMNS) * width // COLUMNS
    widths = np.maximum(np.diff(firsts, append=width), 1)
    return firsts, (height * widths).astype(np.float32)


def with_pans(cues: CueSheet, motion: ColumnMotion) -> CueSheet:
    """The cues, of which those without a pan have that of the motion in the picture."""

    def placed(cue: Cue) -> Cue:
        pan = motion.pan(cue.time_s, cue.end_s) if cue.pan is None else None
        return cue if pan is None else dataclasses.replace(cue, pan=pan)

    return dataclasses.replace(cues, cues=tuple(placed(cue) for cue in cues))
