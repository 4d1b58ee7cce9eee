"""Arrays that grow in a folder, one `.npy` file each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]  # name -> (rows, ...)


class GrowingArrays:
    """Arrays by name that grow along their first axis, as a context manager.

    Attributes:
        rows: number of rows of each array, in the order in which the arrays came.
    """

    def __init__(self, folder: Path, rows: Mapping[str, int] | None = None) -> None:
        """Takes an existing folder, and the number of rows of each array in it that are kept."""
        self.rows = dict(rows or {})
        self._folder = folder
        self._files: dict[str, GrowingArray] = {}
        self._stack = ExitStack()

    def __enter__(self) -> GrowingArrays:
        return self

    def __exit__(self, *error: object) -> None:
        """Writes the headers of all arrays."""
        self._stack.close()

    def append(self, arrays: Arrays) -> None:
        """Adds rows to each array; they are in its file when this returns.

        Raises:
            ValueError: an array has another dtype or trailing shape than before.
        """
        for name, values in arrays.items():
            if name not in self._files:
                path = self._folder / f"{name}.npy"
                self._files[name] = GrowingArray(path, values, self.rows.get(name, 0))
                self._stack.callback(self._files[name].close)
            self._files[name].append(values)
            self.rows[name] = self._files[name].rows


class GrowingArray:
    """An `.npy` file that grows along its first axis; its header is final after `close`."""

    def __init__(self, path: Path, like: NDArray[Any], rows: int) -> None:
        """Opens the file and drops everything after the first `rows` rows."""
        self.rows = rows
        self._dtype, self._shape = like.dtype, like.shape[1:]
        self._stream = path.open("r+b" if rows else "w+b")
        self._write_header()
        row_bytes = like.dtype.itemsize * int(np.prod(self._shape, dtype=np.int64))
        self._stream.truncate(self._stream.tell() + rows * row_bytes)
        self._stream.seek(0, os.SEEK_END)

    def append(self, values: NDArray[Any]) -> None:
        """Adds rows, which are on disk when this returns."""
        if (values.dtype, values.shape[1:]) != (self._dtype, self._shape):
            raise ValueError(
                f"{self._stream.name}: rows of {values.dtype} {values.shape[1:]}, expected "
                f"{self._dtype} {self._shape}"
            )
        self._stream.write(np.ascontiguousarray(values).data)
        self._stream.flush()
        self.rows += len(values)

    def close(self) -> None:
        """Writes the number of rows and closes the file."""
        self._stream.seek(0)
        self._write_header()
        self._stream.close()

    def _write_header(self) -> None:
        # NumPy pads the header, so that its length does not depend on the number of rows.
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._stream, header)
