"""The present sound of a project in a file, of which edits replace only the samples they change."""

from __future__ import annotations

import itertools
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
    """Float32 samples in `sound.f32`, and the node that they belong to in `sound.json`.

    Samples of several channels alternate.

    Attributes:
        node: of the history; 0 while there is no complete sound.
        count: of samples in each channel.
        channels: 1 or 2.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._record = folder / "sound.f32", folder / "sound.json"
        self._lock = threading.Lock()
        self.node = self.count = 0
        self.channels = 1
        self._peaks: Peaks | None = None  # computed when they are first needed
        self._read_record()

    def replace(self, node: int, blocks: Iterable[NDArray[np.float32]]) -> list[Range]:
        """Writes a complete sound in blocks (channels, n); returns the ranges that differ."""
        changed: list[Range] = []
        position = 0
        with self._lock, self._written(node):
            equal_blocks = split_blocks(blocks, BLOCK_SAMPLES)
            first_block = next(equal_blocks, np.zeros((1, 0), np.float32))
            channels = first_block.shape[0]
            if channels != self.channels:  # no sample is comparable
                self._path.unlink(missing_ok=True)
                self.channels = channels
            peaks, frame_bytes = Peaks(channels), channels * SAMPLE_BYTES
            with open(self._path, "r+b" if self._path.exists() else "w+b") as file:
                for block in itertools.chain([first_block], equal_blocks):
                    new = interleaved(block)
                    file.seek(position * frame_bytes)
                    old = np.frombuffer(file.read(new.nbytes), "<f4").reshape(-1, channels)
                    if len(old) < len(new):
                        changed.append((position + len(old), position + len(new)))
                    different = np.flatnonzero((old != new[: len(old)]).any(axis=1))
                    if len(different):
                        first, last = int(different[0]), int(different[-1])
                        changed.append((position + first, position + last + 1))
                    if len(different) or len(old) < len(new):
                        file.seek(position * frame_bytes)
                        file.write(new.tobytes())
                    peaks.update(position, block)
                    position += len(new)
                file.truncate(position * frame_bytes)
            self.count, self._peaks = position, peaks
        return joined_ranges(changed)

    def patch(self, node: int, parts: Sequence[tuple[int, NDArray[np.float32]]]) -> None:
        """Replaces samples (channels, n) from a first one on, in several places."""
        frame_bytes = self.channels * SAMPLE_BYTES
        with self._lock, self._written(node), open(self._path, "r+b") as file:
            for start, samples in parts:
                file.seek(start * frame_bytes)
                file.write(interleaved(samples).tobytes())
            file.flush()
            if self._peaks is None:
                return
            for start, samples in parts:
                first, last = Peaks.columns_of(start, start + samples.shape[1])
                file.seek(first * frame_bytes)
                data = file.read((last - first) * frame_bytes)
                self._peaks.update(first, np.frombuffer(data, "<f4").reshape(-1, self.channels).T)

    @property
    def peaks(self) -> Peaks:
        """The peaks of the sound."""
        with self._lock:
            if self._peaks is not None:
                return self._peaks
        peaks = Peaks(self.channels)
        for index, block in enumerate(self.blocks()):
            peaks.update(index * BLOCK_SAMPLES, block)
        with self._lock:
            self._peaks = self._peaks or peaks
            return self._peaks

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples (channels, n) from `start` to before `stop`, cut to the sound."""
        with self._lock, open(self._path, "rb") as file:
            start, stop = max(start, 0), min(stop, self.count)
            file.seek(start * self.channels * SAMPLE_BYTES)
            data = file.read(max(stop - start, 0) * self.channels * SAMPLE_BYTES)
            return np.frombuffer(data, "<f4").reshape(-1, self.channels).T.astype(np.float32)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """The samples in blocks (channels, n)."""
        stop = self.count if stop is None else min(stop, self.count)
        for first in range(max(start, 0), stop, BLOCK_SAMPLES):
            yield self.read(first, min(first + BLOCK_SAMPLES, stop))

    @contextmanager
    def _written(self, node: int) -> Iterator[None]:
        """While the file is written, it belongs to no node: a killed process leaves no record."""
        self._record.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            self.node = 0
            raise
        record = {"node": node, "count": self.count, "channels": self.channels}
        write_atomically(self._record, json.dumps(record) + "\n")
        self.node = node

    def _read_record(self) -> None:
        try:
            record = json.loads(self._record.read_text("utf-8"))
            node, count = int(record["node"]), int(record["count"])
            channels = int(record.get("channels", 1))
            size = self._path.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return
        if channels not in (1, 2) or size != count * channels * SAMPLE_BYTES:
            return
        self.node, self.count, self.channels = node, count, channels


def interleaved(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (channels, n) as (n, channels) little-endian float32."""
    return np.ascontiguousarray(block.T, "<f4")
