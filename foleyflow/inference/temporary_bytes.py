"""Bytes of any number, in memory or in a temporary file, or of a stored file."""

from __future__ import annotations

import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike, NDArray

MEMORY_BYTES = 2 * 2**20  # more bytes go to a temporary file


class ArrayBytes:
    """Values of arrays one after the other in an open file. Several threads may use it."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        weakref.finalize(self, self._file.close)
        self._size = size
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._size

    def read(self, position: int, count: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """(count,) values from a position on, or fewer at the end."""
        with self._lock:
            self._file.seek(position)
            data = self._file.read(count * np.dtype(dtype).itemsize)
        return np.frombuffer(data, dtype)

    def append(self, values: NDArray[np.generic]) -> int:
        """Add the values of an array, and return the position of its first byte."""
        with self._lock:
            position = self._size
            self._file.seek(position)
            self._size += self._file.write(np.ascontiguousarray(values).tobytes())
        return position


class TemporaryBytes(ArrayBytes):
    """Bytes that are removed with the object."""

    def __init__(self) -> None:
        super().__init__(tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES), 0)


class StoredBytes(ArrayBytes):
    """Bytes of a file, to which nothing can be appended; they can be read after it is removed."""

    def __init__(self, path: Path) -> None:
        super().__init__(open(path, "rb"), path.stat().st_size)
