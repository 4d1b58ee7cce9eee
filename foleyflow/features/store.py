"""Arrays that are computed once for a data set and cached on disk as memory maps.

A store is a folder with one `.npy` file per array and an `index.json`. It is computed and recorded
in blocks, so that an interrupted computation resumes after the last recorded block. The folder gets
its final name when it is complete. It may be deleted at any time. With `StoreWorkers`, the workers
of a cluster write the store in shards.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.features.growing_arrays import Arrays, GrowingArrays
from foleyflow.features.store_workers import SHARDS, StoreWorkers, compute_by_workers
from foleyflow.parallel.ray_cluster import Item, ParallelMap
from foleyflow.weights import write_atomically

DRAFT = ".part"  # suffix of a store that this process has begun


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
    uses_gpu: bool = False,
    total: int = 0,
) -> dict[str, NDArray[Any]]:
    """Opens a store, and computes it first if it is missing.

    Args:
        folder: of the store. Its name must identify everything that the arrays depend on.
        compute: returns the arrays of one block. Every block has the same arrays, dtypes and
            trailing shapes. The number of rows may differ between blocks and between arrays, so
            that an array of counts can describe rows of variable length.
        blocks: all blocks, in the same order in every process.
        parallel_map: applies `compute` to the blocks; None computes them in this process.
            `StoreWorkers` also write them.
        uses_gpu: whether `compute` is faster on a GPU, so that each of `StoreWorkers` gets one.
        total: number of clips or windows of the store, for the progress of `StoreWorkers`; 0 if it
            is unknown.

    Returns:
        Name -> (rows of all blocks, ...), memory-mapped and read-only.
    """
    if not folder.exists():
        if isinstance(parallel_map, StoreWorkers):
            compute_by_workers(
                folder, compute, blocks, parallel_map, uses_gpu=uses_gpu, total=total
            )
        else:
            _compute(folder, compute, blocks, parallel_map or map)
        for suffix in (DRAFT, SHARDS):
            shutil.rmtree(folder.with_name(folder.name + suffix), ignore_errors=True)
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
    draft = folder.with_name(folder.name + DRAFT)
    draft.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"blocks": 0, "rows": {}}
    if (draft / "index.json").exists():
        index = json.loads((draft / "index.json").read_text(encoding="utf-8"))
    with GrowingArrays(draft, index["rows"]) as files:
        for arrays in parallel_map(compute, itertools.islice(blocks, index["blocks"], None)):
            files.append(arrays)
            index = {"blocks": index["blocks"] + 1, "rows": files.rows}
            write_atomically(draft / "index.json", json.dumps(index))
    os.replace(draft, folder)
