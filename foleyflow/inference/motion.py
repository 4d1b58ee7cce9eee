"""Where in the picture something moves, and from it the pan of cues.

Changes between consecutive frames are added up for each column of the picture. What changes over
more than half of the width, by a moving camera or a cut, counts as background. The pan of a cue is
the centroid of the other changes around its time.

Dimension letters: T pairs of frames, K columns.
"""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet

COLUMNS = 28
ROW_SAMPLES, COLUMN_SAMPLES = 28, 56  # pixels of a frame that are compared, at most twice as many
FRAMES_TOGETHER = 32  # that are compared at once, for speed
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
        # Frames that are not compared with the one before, after the last one that is
        self._waiting: list[tuple[float, NDArray[np.uint8]]] = []

    def watch(
        self, frames: Iterable[tuple[float, NDArray[np.uint8]]]
    ) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Yield frames unchanged, and add each."""
        for time_s, picture in frames:
            self.add(time_s, picture)
            yield time_s, picture

    def add(self, time_s: float, picture: NDArray[np.uint8]) -> None:
        """Add the next frame, (H, W, 3) uint8 RGB of the complete picture."""
        height, width = picture.shape[:2]
        rows, columns = max(height // ROW_SAMPLES, 1), max(width // COLUMN_SAMPLES, 1)
        green = picture[rows // 2 :: rows, columns // 2 :: columns, 1].copy()
        if self._waiting and self._waiting[-1][1].shape != green.shape:
            self._compare()
            self._waiting = []
        self._waiting.append((time_s, green))
        if len(self._waiting) > FRAMES_TOGETHER:
            self._compare()

    def _compare(self) -> None:
        """Store the changes between the waiting frames, of which the last one stays."""
        if len(self._waiting) < 2:
            return
        frames = np.stack([green for _, green in self._waiting]).astype(np.float32)
        times_s = np.array([time_s for time_s, _ in self._waiting])
        change = np.abs(np.diff(frames, axis=0))
        change -= NOISE
        np.maximum(change, 0.0, out=change)
        squares = np.einsum("thw,thw->tw", change, change) / change.shape[1]
        # Of pictures with fewer pixels than columns, neighbouring columns are equal
        width = squares.shape[1]
        firsts = np.arange(COLUMNS) * width // COLUMNS
        pixels = np.maximum(np.diff(firsts, append=width), 1)
        sums = np.add.reduceat(squares, firsts, axis=1)
        self._changes += (sums / pixels).astype(np.float16).tobytes()
        self._times_s.extend((times_s[1:] + times_s[:-1]) / 2)
        self._waiting = self._waiting[-1:]

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float16]]:
        """Times (T,) and changes (T, COLUMNS) of the frames, from which `restored` makes it again.

        The frame that was added last is not compared with later ones then.
        """
        self._compare()
        changes = np.frombuffer(bytes(self._changes), np.float16).reshape(-1, COLUMNS)
        return np.array(self._times_s, np.float64), changes

    @classmethod
    def restored(cls, times_s: NDArray[np.float64], changes: NDArray[np.float16]) -> ColumnMotion:
        """The motion with the given `arrays`."""
        motion = cls()
        motion._times_s.extend(times_s)
        motion._changes += changes.tobytes()
        return motion

    def pan(self, start_s: float, end_s: float | None = None) -> float | None:
        """The place of the motion at a time, or from `start_s` to `end_s`.

        -1 is the left edge of the picture and 1 the right edge. The wider the motion spreads, the
        nearer it is to the centre. None where nothing moves or the place is not clear.
        """
        self._compare()
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


def with_pans(cues: CueSheet, motion: ColumnMotion) -> CueSheet:
    """The cues, of which those without a pan have that of the motion in the picture."""

    def placed(cue: Cue) -> Cue:
        pan = motion.pan(cue.time_s, cue.end_s) if cue.pan is None else None
        return cue if pan is None else dataclasses.replace(cue, pan=pan)

    return dataclasses.replace(cues, cues=tuple(placed(cue) for cue in cues))
