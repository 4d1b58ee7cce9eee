"""Worker processes that simulate shards.

A process ends after a few shards, because graphics drivers fail after hundreds of models. If one
crashes, its shard is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from foleyflow.errors import DataError
from foleyflow.parallel.ray_cluster import ATTEMPTS, RayCluster
from foleyflow.simulation.dataset.clip_files import ShardPlan
from foleyflow.simulation.dataset.clip_simulation import PARTS
from foleyflow.system.generic_types import Progress

logger = logging.getLogger(__name__)

SHARDS_PER_WORKER = 4
# One thread per process, so that results and speed do not vary
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",
}


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """A worker's report on one shard; `error` is None if the shard is finished."""

    frames: int = 0
    part_s: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    traceback: str = ""


Work = Callable[[ShardPlan], ShardReport]


def _run_worker(connection: Connection, work: Work) -> None:
    """Receive shards and send reports until None arrives or the parent process ends."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while (shard := connection.recv()) is not None:
            connection.send(work(shard))


@dataclass
class _Worker:
    """A process and the shard that it simulates."""

    process: SpawnProcess
    connection: Connection
    shard: ShardPlan | None = None
    shards_taken: int = 0


@dataclass
class WorkerPool:
    """Assigns shards to workers, replaces workers, retries the shards of crashed workers."""

    work: Work
    waiting: deque[ShardPlan]
    done: int
    wanted: int
    progress: Progress | None
    frames: int = 0
    crashes: int = 0
    part_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    attempts: dict[int, int] = field(default_factory=dict)
    workers: list[_Worker] = field(default_factory=list)

    def run(self, count: int) -> None:
        """Simulate all waiting shards with `count` processes."""
        busy: dict[Connection, _Worker] = {}
        try:
            while self.waiting or busy:
                while self.waiting and len(busy) < count:
                    worker = self._assign_shard(self.waiting.popleft())
                    busy[worker.connection] = worker
                for connection in wait(list(busy)):
                    self._receive_report(busy.pop(cast(Connection, connection)))
        finally:
            for worker in self.workers:
                worker.process.terminate()
                worker.process.join()

    def run_on_ray(self, address: str, count: int | None) -> None:
        """Simulate all waiting shards on a cluster; Ray replaces workers and retries shards."""
        with RayCluster(address) as cluster:
            reports = cluster.parallel_map(
                self.work,
                list(self.waiting),
                max_pending=count,
                calls_per_worker=SHARDS_PER_WORKER,
                environment=WORKER_ENVIRONMENT,
            )
            for shard, report in zip(self.waiting, reports, strict=True):
                self._record(shard, report)

    def _assign_shard(self, shard: ShardPlan) -> _Worker:
        """Send a shard to an idle worker, or to a new one."""
        idle = next((worker for worker in self.workers if worker.shard is None), None)
        worker = idle or self._start_worker()
        worker.shard = shard
        worker.shards_taken += 1
        with contextlib.suppress(BrokenPipeError):  # it crashed: `_receive_report` notices
            worker.connection.send(shard)
        return worker

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        connection, worker_connection = context.Pipe()
        arguments = (worker_connection, self.work)
        process = context.Process(target=_run_worker, args=arguments, daemon=True)
        process.start()
        worker_connection.close()
        worker = _Worker(process=process, connection=connection)
        self.workers.append(worker)
        return worker

    def _receive_report(self, worker: _Worker) -> None:
        """Record the report of a worker, or handle its crash."""
        shard, worker.shard = cast(ShardPlan, worker.shard), None
        try:
            report = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._handle_crash(worker, shard)
            return
        self._record(shard, report)
        if worker.shards_taken >= SHARDS_PER_WORKER:
            worker.connection.send(None)
            self._remove_worker(worker)

    def _remove_worker(self, worker: _Worker) -> None:
        worker.process.join()
        self.workers.remove(worker)

    def _record(self, shard: ShardPlan, report: ShardReport) -> None:
        """Count a finished shard; a shard that failed raises a DataError."""
        if report.error is not None:
            logger.error("%s\n%s", shard.folder, report.traceback)
            raise DataError(
                f"shard {shard.folder} cannot be simulated: {report.error}",
                hint="see the traceback in the log; finished shards are kept",
            )
        self.frames += report.frames
        self.done += len(shard.clips)
        for part, seconds in report.part_s.items():
            self.part_s[part] += seconds
        if self.progress is not None:
            self.progress(self.done, self.wanted)

    def _handle_crash(self, worker: _Worker, shard: ShardPlan) -> None:
        """Put the shard of a crashed worker back; the last attempt raises a DataError."""
        self._remove_worker(worker)
        self.crashes += 1
        attempts = self.attempts[shard.number] = self.attempts.get(shard.number, 0) + 1
        code = worker.process.exitcode
        if attempts >= ATTEMPTS:
            raise DataError(
                f"shard {shard.folder}: its worker died {attempts} times (exit code {code})",
                hint="try another MUJOCO_GL (egl, osmesa) or fewer workers",
            )
        next_attempt = f"attempt {attempts + 1} of {ATTEMPTS}"
        logger.warning("worker on %s died (exit code %s); %s", shard.folder, code, next_attempt)
        self.waiting.appendleft(shard)


@contextlib.contextmanager
def worker_environment() -> Iterator[None]:
    """Set the environment that started processes inherit."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
