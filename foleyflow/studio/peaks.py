"""Lowest and highest samples of a sound, from which waveforms are drawn at any scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.system.atomic_files import draft_of

COLUMN_SAMPLES = 256
FULL_SCALE = 32767


class Peaks:
    """Lowest and highest sample of each 256 samples of each channel, as int16.

    A channel of five hours takes 15 MB.
    """

    def __init__(self, channels: int = 1) -> None:
        self._columns = np.zeros((channels, 0, 2), np.int16)
        self.count = 0  # of samples in each channel

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self._columns)

    @staticmethod
    def columns_of(start: int, stop: int) -> tuple[int, int]:
        """The range of samples, extended to complete columns."""
        return start // COLUMN_SAMPLES * COLUMN_SAMPLES, -(-stop // COLUMN_SAMPLES) * COLUMN_SAMPLES

    def update(self, start: int, samples: NDArray[np.float32]) -> None:
        """Sets the peaks of samples (channels, n) from `start` on, a multiple of the column."""
        count = samples.shape[1]
        if not count:
            return
        first, rest = start // COLUMN_SAMPLES, -count % COLUMN_SAMPLES
        scaled = np.clip(samples, -1.0, 1.0) * np.float32(FULL_SCALE)
        padded = np.pad(scaled, ((0, 0), (0, rest)), mode="edge")
        rows = padded.reshape(self.channels, -1, COLUMN_SAMPLES)
        end, held = first + rows.shape[1], self._columns.shape[1]
        if end > held:
            larger = np.zeros((self.channels, max(end, 2 * held), 2), np.int16)
            larger[:, :held] = self._columns
            self._columns = larger
        self._columns[:, first:end, 0] = np.floor(rows.min(axis=2))
        self._columns[:, first:end, 1] = np.ceil(rows.max(axis=2))
        self.count = max(self.count, start + count)

    @classmethod
    def read(cls, path: Path, count: int, *, channels: int = 1) -> Peaks | None:
        """The peaks of `count` samples in a file; None if it has others or does not exist."""
        columns = -(-count // COLUMN_SAMPLES)
        try:
            values = np.fromfile(path, "<i2")
        except OSError:
            return None
        if values.size != channels * 2 * columns:
            return None
        peaks = cls(channels)
        peaks._columns, peaks.count = values.reshape(channels, -1, 2).astype(np.int16), count
        return peaks

    def write(self, path: Path) -> None:
        """Writes the peaks to a file."""
        total = -(-self.count // COLUMN_SAMPLES)
        with draft_of(path) as draft:
            self._columns[:, :total].astype("<i2").tofile(draft)

    def between(self, start: float, stop: float, columns: int) -> NDArray[np.int16]:
        """(channels, columns, 2) lowest and highest samples of equal parts of a range.

        They are zeros beyond the end. A part shorter than a column has the peaks of its column.
        """
        edges = np.linspace(start, stop, columns + 1) / COLUMN_SAMPLES
        total = -(-self.count // COLUMN_SAMPLES)
        firsts = np.floor(edges[:-1]).astype(np.int64)
        lasts = np.maximum(np.ceil(edges[1:]).astype(np.int64), firsts + 1)
        result = np.zeros((self.channels, columns, 2), np.int16)
        inside = np.flatnonzero((firsts < total) & (lasts > 0))
        if len(inside):
            firsts, lasts = np.clip(firsts[inside], 0, None), np.clip(lasts[inside], None, total)
            # reduceat takes pairs of first and last index; the last one may be the end
            table = np.pad(self._columns[:, :total], ((0, 0), (0, 1), (0, 0)), mode="edge")
            pairs = np.stack([firsts, lasts], axis=1).ravel()
            result[:, inside, 0] = np.minimum.reduceat(table[:, :, 0], pairs, axis=1)[:, ::2]
            result[:, inside, 1] = np.maximum.reduceat(table[:, :, 1], pairs, axis=1)[:, ::2]
        return result
