"""Lowest and highest samples of a sound, from which waveforms are drawn at any scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.system.atomic_files import draft_of

COLUMN_SAMPLES = 256
FULL_SCALE = 32767


class Peaks:
    """Lowest and highest sample of each 256 samples, as int16: 15 MB for five hours."""

    def __init__(self) -> None:
        self._columns = np.zeros((0, 2), np.int16)
        self.count = 0  # of samples

    @staticmethod
    def columns_of(start: int, stop: int) -> tuple[int, int]:
        """The range of samples, extended to complete columns."""
        return start // COLUMN_SAMPLES * COLUMN_SAMPLES, -(-stop // COLUMN_SAMPLES) * COLUMN_SAMPLES

    def update(self, start: int, samples: NDArray[np.float32]) -> None:
        """Sets the peaks of samples (n,) from `start` on, a multiple of the column."""
        if not len(samples):
            return
        first, rest = start // COLUMN_SAMPLES, -len(samples) % COLUMN_SAMPLES
        scaled = np.clip(samples, -1.0, 1.0) * np.float32(FULL_SCALE)
        rows = np.pad(scaled, (0, rest), mode="edge").reshape(-1, COLUMN_SAMPLES)
        end = first + len(rows)
        if end > len(self._columns):
            larger = np.zeros((max(end, 2 * len(self._columns)), 2), np.int16)
            larger[: len(self._columns)] = self._columns
            self._columns = larger
        self._columns[first:end, 0] = np.floor(rows.min(axis=1))
        self._columns[first:end, 1] = np.ceil(rows.max(axis=1))
        self.count = max(self.count, start + len(samples))

    def cut(self, count: int) -> None:
        """Forgets the peaks of samples from `count` on."""
        self.count = min(self.count, count)

    @classmethod
    def read(cls, path: Path, count: int) -> Peaks | None:
        """The peaks of `count` samples in a file; None if it has others or does not exist."""
        columns = -(-count // COLUMN_SAMPLES)
        try:
            values = np.fromfile(path, "<i2")
        except OSError:
            return None
        if values.size != 2 * columns:
            return None
        peaks = cls()
        peaks._columns, peaks.count = values.reshape(-1, 2).astype(np.int16), count
        return peaks

    def write(self, path: Path) -> None:
        """Writes the peaks to a file."""
        total = -(-self.count // COLUMN_SAMPLES)
        with draft_of(path) as draft:
            self._columns[:total].astype("<i2").tofile(draft)

    def between(self, start: float, stop: float, columns: int) -> NDArray[np.int16]:
        """(columns, 2) lowest and highest samples of equal parts of a range; zeros beyond the end.

        A part shorter than a column has the peaks of its column.
        """
        edges = np.linspace(start, stop, columns + 1) / COLUMN_SAMPLES
        total = -(-self.count // COLUMN_SAMPLES)
        firsts = np.floor(edges[:-1]).astype(np.int64)
        lasts = np.maximum(np.ceil(edges[1:]).astype(np.int64), firsts + 1)
        result = np.zeros((columns, 2), np.int16)
        inside = np.flatnonzero((firsts < total) & (lasts > 0))
        if len(inside):
            firsts, lasts = np.clip(firsts[inside], 0, None), np.clip(lasts[inside], None, total)
            # reduceat takes pairs of first and last index; the last one may be the end
            table = np.concatenate([self._columns[:total], self._columns[total - 1 : total]])
            pairs = np.stack([firsts, lasts], axis=1).ravel()
            result[inside, 0] = np.minimum.reduceat(table[:, 0], pairs)[::2]
            result[inside, 1] = np.maximum.reduceat(table[:, 1], pairs)[::2]
        return result
