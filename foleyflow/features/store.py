"""Arrays that are computed once for a data set and cached on disk as memory maps.

A store is a folder with one `.npy` file per array and an `index.json`. It is computed and recorded
in blocks, so that an interrupted computation resumes after the last recorded block. The folder gets
its final name when it is complete. It may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.parallel.ray_cluster import Item, ParallelMap
from foleyflow.weights import write_atomically

Arrays = Mapping[str, NDArray[Any]]  # name -> (rows, ...)


def store_folder(data: Path, name: str, *depends_on: object) -> Path:
    """Folder of a store in a data set: its name and a hash of everything that it depends on."""
    key = hashlib.sha256(" ".join(map(str, depends_on)).encode()).hexdigest()[:16]
    return data / f".{name}-{key}"


def open_store(
    folder: Path,
    compute: Callable[[Item], Arrays],
    blocks: Iterable[Item],
    *,
    parallel_map: ParallelMap | None = None,
) -> dict[str, NDArray[Any]]:
    """Opens a store, and computes it first if it is missing.

    Args:
        folder: of the store. Its name must identify everything that the arrays depend on.
        compute: returns the arrays of one block. Every block has the same arrays, dtypes and
            trailing shapes. The number of rows may differ between blocks and between arrays, so
            that an array of counts can describe rows of variable length.
        blocks: all blocks, in the same order in every process.
        parallel_map: applies `compute` to the blocks; None computes them in this process.

    Returns:
        Name -> (rows of all blocks, ...), memory-mapped and read-only.
    """
    if not folder.exists():
        _compute(folder, compute, blocks, parallel_map or map)
    return {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def offsets_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N + 1,) row offsets: item n has the rows offsets[n] .. offsets[n + 1] - 1."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _compute(
    folder: Path,
    compute: Callable[[Item], Arrays],
    blocks: Iterable[Item],
    parallel_map: ParallelMap,
) -> None:
    draft = folder.with_name(folder.name + ".part")
    draft.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"blocks": 0, "rows": {}}
    if (draft / "index.json").exists():
        index = json.loads((draft / "index.json").read_text(encoding="utf-8"))
    rows: dict[str, int] = index["rows"]
    files: dict[str, _GrowingArray] = {}
    with ExitStack() as stack:
        for arrays in parallel_map(compute, itertools.islice(blocks, index["blocks"], None)):
            for name, values in arrays.items():
                if name not in files:
                    file = _GrowingArray(draft / f"{name}.npy", values, rows.get(name, 0))
                    files[name] = file
                    stack.callback(file.close)
                files[name].append(values)
                rows[name] = files[name].rows
            index["blocks"] += 1
            write_atomically(draft / "index.json", json.dumps(index))
    os.replace(draft, folder)


class _GrowingArray:
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
