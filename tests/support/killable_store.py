"""A store that is computed by workers; in a process of its own the command can be killed.

python killable_store.py FOLDER RECORDS COUNT    SIGKILLs itself when COUNT shards are complete
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.features.store import open_store
from foleyflow.features.store_workers import ShardReport, StoreWorkers
from foleyflow.parallel.ray_cluster import RayCluster

ITEMS, BLOCKS_PER_SHARD = 30, 4


def arrays_of(records: Path | None, item: int) -> dict[str, np.ndarray]:
    """Rows of variable length, their count, and one row per item; leaves a file in `records`."""
    if records is not None:
        (records / f"{item}-{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(0.03)  # long enough to be killed in between
    count = 1 + item % 3
    return {
        "values": np.random.default_rng(item).normal(size=(count, 2)).astype(np.float16),
        "counts": np.array([count], np.int64),
        "item": np.array([item], np.int64),
    }


def wait_for_processes(records: Path, count: int, item: int) -> dict[str, np.ndarray]:
    """The number of this process, when `count` processes work at the same time."""
    (records / f"{os.getpid()}").touch()
    until_s = time.monotonic() + 120.0
    while len(list(records.iterdir())) < count and time.monotonic() < until_s:
        time.sleep(0.05)
    return {"process": np.array([os.getpid()])}


def zeros(kind: str) -> dict[str, np.ndarray]:
    """One row of a given type."""
    return {"x": np.zeros((1, 2), kind)}


def compute(
    folder: Path,
    records: Path,
    cluster: RayCluster,
    on_shard: Callable[[ShardReport], object] = lambda report: None,
    **settings: Any,
) -> dict[str, np.ndarray]:
    """The store, computed in shards of four items."""
    workers = StoreWorkers(
        cluster=cluster, blocks_per_shard=BLOCKS_PER_SHARD, on_shard=on_shard, **settings
    )
    work = functools.partial(arrays_of, records)
    return open_store(folder, work, range(ITEMS), parallel_map=workers, uses_gpu=True, total=ITEMS)


if __name__ == "__main__":
    complete = []

    def kill(report: ShardReport) -> None:
        """Kills this process when enough shards are complete."""
        complete.append(report)
        if len(complete) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

    with RayCluster("local") as started:
        compute(Path(sys.argv[1]), Path(sys.argv[2]), started, kill)
