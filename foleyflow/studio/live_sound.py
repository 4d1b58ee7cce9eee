"""The present sound of a project in a file, of which edits replace only the samples they change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.inference.stretches import joined_ranges
from foleyflow.media.waveform import split_blocks
from foleyflow.studio.peaks import Peaks
from foleyflow.weights import write_atomically

BLOCK_SAMPLES = 1 << 16
SAMPLE_BYTES = 4

Range = tuple[int, int]  # first sample, and the one after the last


class LiveSound:
    """Mono float32 samples in `sound.f32`, and the node that they belong to in `sound.json`.

    Attributes:
        node: of the history; 0 while there is no complete sound.
        count: of samples.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._record = folder / "sound.f32", folder / "sound.json"
        self._lock = threading.Lock()
        self.node = self.count = 0
        self._peaks: Peaks | None = None  # computed when they are first needed
        self._read_record()

    def replace(self, node: int, blocks: Iterable[NDArray[np.float32]]) -> list[Range]:
        """Writes a complete sound in blocks (1, n); returns the ranges that differ from before."""
        changed: list[Range] = []
        position, peaks = 0, Peaks()
        with self._lock, self._written(node):
            with open(self._path, "r+b" if self._path.exists() else "w+b") as file:
                for block in split_blocks(blocks, BLOCK_SAMPLES):
                    new = np.ascontiguousarray(block[0], "<f4")
                    file.seek(position * SAMPLE_BYTES)
                    old = np.frombuffer(file.read(new.nbytes), "<f4")
                    if len(old) < len(new):
                        changed.append((position + len(old), position + len(new)))
                    different = np.flatnonzero(old != new[: len(old)])
                    if len(different):
                        first, last = int(different[0]), int(different[-1])
                        changed.append((position + first, position + last + 1))
                    if len(different) or len(old) < len(new):
                        file.seek(position * SAMPLE_BYTES)
                        file.write(new.tobytes())
                    peaks.update(position, new)
                    position += len(new)
                file.truncate(position * SAMPLE_BYTES)
            self.count, self._peaks = position, peaks
        return joined_ranges(changed)

    def patch(self, node: int, parts: Sequence[tuple[int, NDArray[np.float32]]]) -> None:
        """Replaces samples (n,) from a first one on, in several places."""
        with self._lock, self._written(node), open(self._path, "r+b") as file:
            for start, samples in parts:
                file.seek(start * SAMPLE_BYTES)
                file.write(np.ascontiguousarray(samples, "<f4").tobytes())
            file.flush()
            if self._peaks is None:
                return
            for start, samples in parts:
                first, last = Peaks.columns_of(start, start + len(samples))
                file.seek(first * SAMPLE_BYTES)
                data = file.read((last - first) * SAMPLE_BYTES)
                self._peaks.update(first, np.frombuffer(data, "<f4"))

    @property
    def peaks(self) -> Peaks:
        """The peaks of the sound."""
        with self._lock:
            if self._peaks is not None:
                return self._peaks
        peaks = Peaks()
        for index, block in enumerate(self.blocks()):
            peaks.update(index * BLOCK_SAMPLES, block[0])
        with self._lock:
            self._peaks = self._peaks or peaks
            return self._peaks

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples (n,) from `start` to before `stop`, cut to the sound."""
        start, stop = max(start, 0), min(stop, self.count)
        with self._lock, open(self._path, "rb") as file:
            file.seek(start * SAMPLE_BYTES)
            data = file.read(max(stop - start, 0) * SAMPLE_BYTES)
        return np.frombuffer(data, "<f4").astype(np.float32)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """The samples in blocks (1, n)."""
        stop = self.count if stop is None else min(stop, self.count)
        for first in range(max(start, 0), stop, BLOCK_SAMPLES):
            yield self.read(first, min(first + BLOCK_SAMPLES, stop))[None]

    @contextmanager
    def _written(self, node: int) -> Iterator[None]:
        """While the file is written, it belongs to no node: a killed process leaves no record."""
        self._record.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            self.node = 0
            raise
        write_atomically(self._record, json.dumps({"node": node, "count": self.count}) + "\n")
        self.node = node

    def _read_record(self) -> None:
        try:
            record = json.loads(self._record.read_text("utf-8"))
            node, count = int(record["node"]), int(record["count"])
            size = self._path.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return
        if size != count * SAMPLE_BYTES:
            return
        self.node, self.count = node, count
