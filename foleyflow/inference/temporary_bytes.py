"""Bytes of any number, in memory or in a temporary file."""

from __future__ import annotations

import tempfile
import threading
import weakref

import numpy as np
from numpy.typing import DTypeLike, NDArray

MEMORY_BYTES = 2 * 2**20  # more bytes go to a temporary file


class TemporaryBytes:
    """Values of arrays one after the other; the file is removed with the object.

    Several threads may read and append.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)
        weakref.finalize(self, self._file.close)
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._size

    def append(self, values: NDArray[np.generic]) -> int:
        """Add the values of an array, and return the position of its first byte."""
        with self._lock:
            position = self._size
            self._file.seek(position)
            self._size += self._file.write(np.ascontiguousarray(values).tobytes())
        return position

    def read(self, position: int, count: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """(count,) values from a position on, or fewer at the end."""
        with self._lock:
            self._file.seek(position)
            data = self._file.read(count * np.dtype(dtype).itemsize)
        return np.frombuffer(data, dtype)
