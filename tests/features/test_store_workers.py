"""Stores that the workers of a cluster write: equal files, killed workers and killed commands."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.killable_store import (
    BLOCKS_PER_SHARD,
    ITEMS,
    arrays_of,
    compute,
    wait_for_processes,
    zeros,
)
from support.local_ray import PYTHON_PATH, local_cluster

pytest.importorskip("ray", reason="work on many machines needs the extra 'cluster' (ray)")

from foleyflow.features.store import open_store
from foleyflow.features.store_workers import LAYOUT, StoreWorkers, join_shards, write_shard

# Ray emits deprecation warnings, and warnings about sockets that it closes at exit.
pytestmark = pytest.mark.filterwarnings("ignore")
SHARDS = -(-ITEMS // BLOCKS_PER_SHARD)


@pytest.fixture(scope="module")
def cluster():
    """Two processors, and one GPU that is only counted."""
    with local_cluster(gpus=1) as started:
        yield started


@pytest.fixture
def records(tmp_path):
    """The folder in which each computation of an item leaves a file."""
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def computations(records: Path) -> Counter[int]:
    return Counter(int(path.name.split("-")[0]) for path in records.iterdir())


def assert_equal_to_one_process(folder: Path) -> None:
    """The files of the store are those of a process that computes and writes all blocks."""
    alone = folder.with_name("alone")
    open_store(alone, functools.partial(arrays_of, None), range(ITEMS))
    names = sorted(path.name for path in alone.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name
    assert not list(folder.parent.glob("*.shards")) and not list(folder.parent.glob("*.part"))


def test_workers_write_the_files_of_one_process(cluster, tmp_path, records):
    reports = []
    compute(tmp_path / ".store-abc", records, cluster, reports.append)
    assert_equal_to_one_process(tmp_path / ".store-abc")
    assert computations(records) == Counter(range(ITEMS))
    # No block is computed by this process
    processes = {int(path.name.split("-")[1]) for path in records.iterdir()}
    assert processes == {int(report.worker.rpartition(":")[2]) for report in reports}
    assert os.getpid() not in processes
    assert sum(report.entries for report in reports) == ITEMS and len(reports) == SHARDS
    assert {(each.store, each.total, each.on_gpu) for each in reports} == {("store", ITEMS, True)}
    assert all(report.took_s > 0.03 for report in reports)


@pytest.mark.parametrize("settings", [{}, {"workers_per_gpu": 2, "workers": 1}], ids=str)
def test_one_worker_at_a_time(cluster, tmp_path, records, settings):
    """There is one GPU, or only one worker is wanted."""
    compute(tmp_path / "store", records, cluster, **settings)
    order = sorted(records.iterdir(), key=lambda path: int(path.name.split("-")[2]))
    workers = [process for process, _ in itertools.groupby(order, lambda p: p.name.split("-")[1])]
    assert len(workers) == len(set(workers))  # none came between the items of another one


def test_workers_share_a_gpu(cluster, tmp_path, records):
    workers = StoreWorkers(cluster=cluster, blocks_per_shard=1, workers_per_gpu=2)
    work = functools.partial(wait_for_processes, records, 2)
    found = open_store(tmp_path / "store", work, range(4), parallel_map=workers, uses_gpu=True)
    assert len(set(found["process"].tolist())) == 2


def test_a_killed_worker_loses_only_its_shard(cluster, tmp_path, records):
    killed: list[int] = []

    def kill() -> None:
        while not (found := list(records.glob("9-*"))):
            time.sleep(0.005)
        killed.append(int(found[0].name.split("-")[1]))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    compute(tmp_path / "store", records, cluster)
    thread.join()
    assert_equal_to_one_process(tmp_path / "store")
    repeated = {item for item, times in computations(records).items() if times > 1}
    assert killed and repeated <= set(range(8, 12)) and 9 in repeated


def test_a_killed_command_resumes_with_the_missing_shards(cluster, tmp_path, records):
    script = Path(__file__).parents[1] / "support" / "killable_store.py"
    outcome = subprocess.run(
        [sys.executable, script, tmp_path / "store", records, "3"],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
    )
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr.decode()[-2000:]
    assert not (tmp_path / "store").exists()
    reports = []
    compute(tmp_path / "store", records, cluster, reports.append)
    assert_equal_to_one_process(tmp_path / "store")
    found = [report for report in reports if not report.worker]
    assert len(found) >= 3 and len(reports) == SHARDS
    # Items of complete shards were computed once
    once = [item for item, times in computations(records).items() if times == 1]
    assert len(once) >= 3 * BLOCKS_PER_SHARD


def test_an_interrupted_join_resumes(tmp_path):
    """A kill can leave rows beyond a shard, an old header, or a file that is in place twice."""
    numbers = range(3)
    for state in ("not begun", "one joined", "twice in place", "all joined, old header"):
        draft = tmp_path / state
        (draft / "joined").mkdir(parents=True)
        shards = [
            write_shard(draft, functools.partial(arrays_of, None), (n, [2 * n, 2 * n + 1]))
            for n in numbers
        ]
        layout = [{"blocks": 2, "arrays": shard.arrays} for shard in shards]
        (draft / LAYOUT).write_text(json.dumps(layout))
        files = [draft / f"{n:06d}" / "values.npy" for n in numbers]
        wanted = np.concatenate([np.load(file) for file in files])
        joined = draft / "joined" / "values.npy"
        if state != "not begun":
            rows = wanted if state == "all joined, old header" else np.load(files[0])
            header_bytes = files[0].stat().st_size - np.load(files[0]).nbytes
            content = files[0].read_bytes()[:header_bytes] + rows.tobytes()
            if state == "twice in place":
                content += np.load(files[1]).tobytes()[:5]
            joined.write_bytes(content)
            for file in files if state == "all joined, old header" else files[:1]:
                file.unlink()
        join_shards(draft, "values")
        np.testing.assert_array_equal(np.load(joined), wanted, err_msg=state)
        assert not any(file.exists() for file in files)


def test_shards_of_other_types_are_rejected(cluster, tmp_path):
    workers = StoreWorkers(cluster=cluster, blocks_per_shard=1)
    with pytest.raises(ValueError, match=r"float32 \(2,\), expected float16 \(2,\)"):
        open_store(tmp_path / "store", zeros, ["float16", "float32"], parallel_map=workers)
    assert not (tmp_path / "store").exists()
