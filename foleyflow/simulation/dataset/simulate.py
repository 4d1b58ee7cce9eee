"""Simulation of data sets in parallel worker processes, and of example clips.

Finished shards are skipped, so a run can be resumed. A worker process ends after a few shards,
because graphics drivers fail after hundreds of models. If a worker crashes, its shard is tried
again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

import numpy as np

from foleyflow.errors import ConfigError, DataError
from foleyflow.parallel.ray_cluster import ATTEMPTS, RayCluster
from foleyflow.simulation.constants import SPLITS
from foleyflow.simulation.dataset.clip_files import (
    ShardPlan,
    open_manifest,
    plan_shards,
    write_clip,
)
from foleyflow.simulation.dataset.clip_simulation import (
    PARTS,
    SceneSampler,
    SimulatedClip,
    VideoSettings,
    new_stopwatch,
    simulate_clip,
)
from foleyflow.simulation.motion.families import FAMILIES, sample_scene
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
class Summary:
    """The result of a run.

    Attributes:
        clips: number of clips simulated in this run.
        skipped: number of clips that existed before.
        frames: stored in the new clips.
        wall_s: elapsed time of the run.
        part_s: processor time by part (`clip_simulation.PARTS`), summed over workers.
        crashes: number of workers that crashed; always 0 on Ray, which does not report them.
    """

    clips: int
    skipped: int
    frames: int
    wall_s: float
    part_s: dict[str, float]
    crashes: int

    @property
    def frames_per_core_s(self) -> float:
        """Stored frames per second of processor time."""
        return self.frames / max(sum(self.part_s.values()), 1e-9)


def clip_seed(split: str, seed: int, index: int) -> np.random.SeedSequence:
    """Return the seed of one clip; no two splits have a seed in common."""
    return np.random.SeedSequence((SPLITS.index(split), seed, index))


def simulate(
    out: Path,
    *,
    clips: int,
    seed: int,
    split: str = "train",
    duration_s: float = 4.0,
    rate_hz: float | None = None,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
    sample_scene: SceneSampler = sample_scene,
) -> Summary:
    """Simulate the clips of a data set that do not exist yet.

    Args:
        out: folder of the data set; `clip_files` describes its content.
        clips: number of clips in this split, including existing ones.
        split: "train", "validation" or "test".
        rate_hz: frames per second of all clips; None samples it for each. The sound does not depend
            on it; a low rate suits audio judges, which need no frames.
        workers: processes; None for one per core (on Ray, for as many as there are processors).
        ray: address of a Ray cluster whose machines all see `out`; None for local processes.
        progress: called with (finished clips, wanted clips) after each shard.
        sample_scene: samples the scenes; must be importable in another process.

    Raises:
        ConfigError: a number is out of range or the split is unknown.
        DataError: `out` holds other clips, or a shard cannot be simulated.
    """
    for name, value, valid, expected in (
        ("clips", clips, clips >= 1, "at least 1"),
        ("seed", seed, seed >= 0, "0 or more"),
        ("split", split, split in SPLITS, f"one of {', '.join(SPLITS)}"),
        ("duration_s", duration_s, 0.5 <= duration_s <= 60.0, "0.5 to 60 seconds"),
        ("rate_hz", rate_hz, rate_hz is None or 1 <= rate_hz <= 120, "1 to 120 frames per second"),
        ("workers", workers, workers is None or workers >= 1, "at least 1"),
    ):
        if not valid:
            raise ConfigError(f"{name}={value!r}: expected {expected}")
    # Missing shards
    open_manifest(out, split=split, clips=clips, seed=seed, duration_s=duration_s, rate_hz=rate_hz)
    missing = [shard for shard in plan_shards(out, split, clips) if not shard.is_finished()]
    skipped = clips - sum(len(shard.clips) for shard in missing)
    # Simulation
    start_s = time.perf_counter()
    work = functools.partial(
        _simulate_shard,
        seed=seed,
        split=split,
        duration_s=duration_s,
        rate=None if rate_hz is None else _as_fraction(rate_hz),
        sample_scene=sample_scene,
    )
    pool = _WorkerPool(
        work=work, waiting=deque(missing), done=skipped, wanted=clips, progress=progress
    )
    if progress is not None:
        progress(skipped, clips)
    if ray is not None:
        pool.run_on_ray(ray, workers)
    else:
        with _worker_environment():
            pool.run(min(workers or len(os.sched_getaffinity(0)), max(len(missing), 1)))
    return Summary(
        clips=clips - skipped,
        skipped=skipped,
        frames=pool.frames,
        wall_s=time.perf_counter() - start_s,
        part_s=pool.part_s,
        crashes=pool.crashes,
    )


def write_example(
    path: Path,
    *,
    seed: int,
    family: str | None = None,
    duration_s: float = 8.0,
    width: int = 854,
    height: int = 480,
    fps: float = 30.0,
) -> SimulatedClip:
    """Write one silent mp4 of high quality; no data set contains the clip.

    Args:
        family: a key of `families.FAMILIES`; None samples one.
        width, height: pixels, even.
        fps: frames per second.

    Raises:
        ConfigError: the family is unknown or a size is odd.
    """
    if family is not None and family not in FAMILIES:
        raise ConfigError(
            f"unknown scene family {family!r}", hint=f"known families: {', '.join(FAMILIES)}"
        )
    if width % 2 or height % 2:
        raise ConfigError(f"picture of {width} x {height}: expected even sizes")
    settings = VideoSettings(
        width=width,
        height=height,
        squashed=False,
        rate=_as_fraction(fps),
        texture_scale=max(1, min(height // 160, 4)),
        clean=True,
        shadows=True,
        samples=3,
    )
    clip = simulate_clip(
        np.random.SeedSequence((len(SPLITS), seed)),
        sample_scene=sample_scene if family is None else FAMILIES[family].sample,
        duration_s=duration_s,
        settings=settings,
    )
    path.write_bytes(clip.encode_video())
    return clip


# --- workers --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _ShardReport:
    """A worker's report on one shard; `error` is None if the shard is finished."""

    frames: int = 0
    part_s: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    traceback: str = ""


Work = Callable[[ShardPlan], _ShardReport]


def _simulate_shard(
    shard: ShardPlan,
    *,
    seed: int,
    split: str,
    duration_s: float,
    rate: Fraction | None,
    sample_scene: SceneSampler,
) -> _ShardReport:
    """Simulate all clips of a shard in this process; any exception becomes a report."""
    if shard.is_finished():  # by a worker that crashed before its report
        return _ShardReport()
    try:
        watch = new_stopwatch()
        folder = shard.begin()
        frames = 0
        for index in shard.clips:
            clip = simulate_clip(
                clip_seed(split, seed, index),
                sample_scene=sample_scene,
                duration_s=duration_s,
                settings=VideoSettings(rate=rate),
                stopwatch=watch,
            )
            frames += len(clip.frames)
            write_clip(folder, clip, f"clip_{index:06d}", split=split, seed=seed)
            watch.lap("store")
        shard.finish()
    except Exception as error:  # raised again in the parent process
        return _ShardReport(
            error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
        )
    return _ShardReport(frames=frames, part_s=watch.seconds)


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
class _WorkerPool:
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

    def _record(self, shard: ShardPlan, report: _ShardReport) -> None:
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
def _worker_environment() -> Iterator[None]:
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


def _as_fraction(rate_hz: float) -> Fraction:
    return Fraction(rate_hz).limit_denominator(1001)
