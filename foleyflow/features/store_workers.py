"""Workers of a Ray cluster that compute a store and write it themselves.

Blocks are grouped into shards. A worker writes each shard into a folder that gets its name when it
is complete, so a killed worker or a killed command loses only the shards in progress. When all
shards exist, a worker for each array joins its rows into one file. The calling process computes and
writes no row: it hands out shards and records which ones exist.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.features.growing_arrays import Arrays, GrowingArray, GrowingArrays
from foleyflow.parallel.ray_cluster import Item, ParallelMap, RayCluster, Result
from foleyflow.weights import write_atomically

SHARDS = ".shards"  # suffix of a store that workers have begun
RECORD, LAYOUT = "shard.json", "layout.json"


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """A shard that is complete.

    Attributes:
        store: name of the store.
        entries: clips or windows in the shard.
        total: clips or windows of the store; 0 if unknown.
        took_s: time that the worker took, which for its first shard includes loading its networks.
        worker: machine and process of the worker; "" for a shard of an earlier run.
        on_gpu: whether the worker had a GPU.
    """

    store: str
    entries: int
    total: int
    took_s: float
    worker: str
    on_gpu: bool


@dataclass(frozen=True, kw_only=True)
class StoreWorkers:
    """A `ParallelMap` on a cluster, all of whose machines see the same files.

    Attributes:
        cluster: the connection.
        workers: largest number of workers at a time; 0 for as many as the cluster has room for.
        workers_per_gpu: workers that share each GPU, so that one decodes while another one
            computes. Without GPUs they have a processor each.
        blocks_per_shard: blocks that are computed and kept together. A store that an interrupted
            run has begun keeps its own number.
        on_shard: called for each complete shard.
    """

    cluster: RayCluster
    workers: int = 0
    workers_per_gpu: int = 1
    blocks_per_shard: int = 32
    on_shard: Callable[[ShardReport], object] = lambda report: None

    def __call__(
        self, work: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """The results of all items in their order, computed on processors."""
        return self.cluster.parallel_map(work, items, max_pending=self.workers or None)

    def on_gpus(self) -> ParallelMap:
        """The same with a GPU, or a part of one, for each worker."""
        return functools.partial(
            self.cluster.parallel_map,
            gpus=1 / self.workers_per_gpu,
            max_pending=self.workers or None,
        )


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """What a worker returns, and what `shard.json` contains: the kind and rows of each array."""

    number: int
    blocks: int
    arrays: Mapping[str, Mapping[str, Any]]  # name -> "rows", "dtype", "shape"
    took_s: float = 0.0
    worker: str = ""

    @property
    def entries(self) -> int:
        """Clips or windows: some arrays have several rows for each of them, none has fewer."""
        return min((array["rows"] for array in self.arrays.values()), default=0)

    @classmethod
    def read(cls, draft: Path, number: int) -> _Shard | None:
        """A shard that an earlier run has written; None if it is missing."""
        try:
            text = (draft / f"{number:06d}" / RECORD).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return cls(number=number, **json.loads(text))


def compute_by_workers(
    folder: Path,
    compute: Callable[[Item], Arrays],
    blocks: Iterable[Item],
    workers: StoreWorkers,
    *,
    uses_gpu: bool,
    total: int,
) -> None:
    """Computes a store on a cluster, or resumes it; arguments as in `store.open_store`.

    Raises:
        ValueError: blocks have different arrays, dtypes or trailing shapes.
    """
    draft = folder.with_name(folder.name + SHARDS)
    draft.mkdir(parents=True, exist_ok=True)
    on_gpu = uses_gpu and workers.cluster.has_gpus
    # Shards
    if not (draft / LAYOUT).exists():
        found = _compute_shards(folder, draft, compute, blocks, workers, on_gpu, total)
        layout = [{"blocks": each.blocks, "arrays": each.arrays} for each in found]
        write_atomically(draft / LAYOUT, json.dumps(layout))
    layout = json.loads((draft / LAYOUT).read_text(encoding="utf-8"))
    # One file for each array
    joined = draft / "joined"
    joined.mkdir(exist_ok=True)
    for _ in workers(functools.partial(join_shards, draft), list(layout[0]["arrays"])):
        pass
    rows = {
        name: sum(shard["arrays"][name]["rows"] for shard in layout) for name in layout[0]["arrays"]
    }
    index = {"blocks": sum(shard["blocks"] for shard in layout), "rows": rows}
    write_atomically(joined / "index.json", json.dumps(index))
    os.replace(joined, folder)


def _compute_shards(
    folder: Path,
    draft: Path,
    compute: Callable[[Item], Arrays],
    blocks: Iterable[Item],
    workers: StoreWorkers,
    on_gpu: bool,
    total: int,
) -> list[_Shard]:
    """All shards in order; only the missing ones are computed."""
    size_file = draft / "blocks_per_shard"
    if not size_file.exists():
        write_atomically(size_file, str(workers.blocks_per_shard))
    size = int(size_file.read_text(encoding="utf-8"))
    shards: list[_Shard] = []

    def record(shard: _Shard) -> None:
        shards.append(shard)
        report = ShardReport(
            store=folder.name.strip(".").rpartition("-")[0],
            entries=shard.entries,
            total=total,
            took_s=shard.took_s,
            worker=shard.worker,
            on_gpu=on_gpu,
        )
        workers.on_shard(report)

    def missing() -> Iterator[tuple[int, list[Item]]]:
        remaining = iter(blocks)
        for number in itertools.count():
            if not (group := list(itertools.islice(remaining, size))):
                return
            if (known := _Shard.read(draft, number)) is None:
                yield number, group
            else:
                record(known)

    run: ParallelMap = workers.on_gpus() if on_gpu else workers
    for shard in run(functools.partial(write_shard, draft, compute), missing()):
        record(shard)
    return sorted(shards, key=lambda shard: shard.number)


def write_shard(
    draft: Path, compute: Callable[[Item], Arrays], numbered: tuple[int, list[Item]]
) -> _Shard:
    """Computes the blocks of a shard in a worker, and writes them."""
    number, blocks = numbered
    begun_s = time.perf_counter()
    own = draft / f"{number:06d}.{uuid.uuid4().hex[:8]}"
    own.mkdir()
    arrays: dict[str, dict[str, Any]] = {}
    with GrowingArrays(own) as files:
        for block in blocks:
            computed = compute(block)
            files.append(computed)
            for name, values in computed.items():
                kind = np.lib.format.dtype_to_descr(values.dtype)
                arrays[name] = {"dtype": kind, "shape": list(values.shape[1:])}
    for name, rows in files.rows.items():
        arrays[name]["rows"] = rows
    write_atomically(own / RECORD, json.dumps({"blocks": len(blocks), "arrays": arrays}))
    try:
        os.rename(own, draft / f"{number:06d}")
    except OSError:  # another worker, which was believed dead, has written the same shard
        if _Shard.read(draft, number) is None:
            raise
        shutil.rmtree(own, ignore_errors=True)
    return _Shard(
        number=number,
        blocks=len(blocks),
        arrays=arrays,
        took_s=time.perf_counter() - begun_s,
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )


def join_shards(draft: Path, name: str) -> None:
    """Moves the rows of one array from all shards into one file, in order.

    The file of a shard is deleted when its rows are in place, so that an interrupted join resumes
    at the first file that still exists.
    """
    layout = json.loads((draft / LAYOUT).read_text(encoding="utf-8"))
    sources = [draft / f"{number:06d}" / f"{name}.npy" for number in range(len(layout))]
    shapes = [shard["arrays"][name] for shard in layout]
    present = next((n for n, path in enumerate(sources) if path.exists()), len(sources))
    like = np.empty((0, *shapes[0]["shape"]), np.dtype(shapes[0]["dtype"]))
    rows = sum(shape["rows"] for shape in shapes[:present])
    joined = GrowingArray(draft / "joined" / f"{name}.npy", like, rows)
    try:
        for path in sources[present:]:
            joined.append(np.load(path))
            path.unlink()
    finally:
        joined.close()
