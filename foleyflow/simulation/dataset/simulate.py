"""Makes data sets of simulated clips, in parallel workers that may crash, and example clips.

Shards that are already there are skipped, so the same command again resumes. Workers are plain
processes that make a few shards and end: graphics drivers don't survive hundreds of models, and a
worker that dies costs one shard, which is tried again.
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

import numpy as np

from foleyflow.errors import ConfigError, DataError
from foleyflow.parallel.ray_cluster import RayCluster
from foleyflow.simulation.dataset.clip_files import (
    SPLITS,
    FinishedClip,
    ShardPlan,
    open_manifest,
    plan_shards,
    write_clip,
)
from foleyflow.simulation.dataset.clip_simulation import (
    PARTS,
    DrawScene,
    FilmedClip,
    Picture,
    Stopwatch,
    film_clip,
)
from foleyflow.simulation.motion.families import FAMILIES, draw_scene
from foleyflow.simulation.picture.h264 import encode

logger = logging.getLogger(__name__)

SHARDS_PER_WORKER = 4  # then a worker ends and a fresh one takes over
ATTEMPTS = 3
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",
}
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run made.

    Attributes:
        clips: made now.
        skipped: there from before.
        frames: stored in the clips made now.
        wall_s: time of the run.
        part_s: processor time of the workers by part (`filming.PARTS`), summed over workers.
        crashes: workers that died and whose shard was made again; 0 on Ray, which does not tell.
    """

    clips: int
    skipped: int
    frames: int
    wall_s: float
    part_s: dict[str, float]
    crashes: int

    @property
    def frames_per_core_s(self) -> float:
        """Stored frames per second of one core's work."""
        return self.frames / max(sum(self.part_s.values()), 1e-9)


def clip_seed(split: str, seed: int, index: int) -> np.random.SeedSequence:
    """The chance of one clip; splits share none of it.

    Source: ours.
    """
    return np.random.SeedSequence((SPLITS[split], seed, index))


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
    draw_scene: DrawScene = draw_scene,
) -> Summary:
    """Make a data set of simulated clips, or what is missing of one.

    Args:
        out: folder of the data set; see `dataset.py` for what lies in it.
        clips: wanted in this split, in all.
        seed: another seed gives other clips.
        split: "train", "validation" or "test".
        duration_s: of each clip.
        rate_hz: frames per second of all clips; None draws it anew for each. The sound is the
            same at any rate: clips for judges of sound need hardly a frame.
        workers: processes; None for one per core (on Ray, for as many as there are processors).
        ray: address of a Ray cluster whose machines all see `out`; None for processes here.
        progress: told (clips done, clips wanted) after each shard.
        draw_scene: makes the scenes; must be importable in another process.

    Raises:
        ConfigError: a number out of range or an unknown split.
        DataError: `out` holds other clips, or a shard can't be made.

    Source: ours.
    """
    _check(clips, seed, split, duration_s, rate_hz, workers)
    open_manifest(out, split=split, clips=clips, seed=seed, duration_s=duration_s, rate_hz=rate_hz)
    shards = plan_shards(out, split, clips)
    missing = [shard for shard in shards if not shard.is_finished()]
    skipped = clips - sum(len(shard.clips) for shard in missing)
    job = _Job(
        seed=seed, split=split, duration_s=duration_s, rate_hz=rate_hz, draw_scene=draw_scene
    )
    began = time.perf_counter()
    crew = _Crew(job=job, waiting=deque(missing), done=skipped, wanted=clips, progress=progress)
    if progress is not None:
        progress(skipped, clips)
    if ray is not None:
        crew.run_on_ray(ray, workers)
    else:
        with _worker_environment():
            crew.run(min(workers or len(os.sched_getaffinity(0)), max(len(missing), 1)))
    return Summary(
        clips=clips - skipped,
        skipped=skipped,
        frames=crew.frames,
        wall_s=time.perf_counter() - began,
        part_s=crew.part_s,
        crashes=crew.crashes,
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
    sound_path: Path | None = None,
) -> FilmedClip:
    """Make one good-looking, silent mp4 for people to look at.

    Args:
        path: the mp4 to write.
        seed: another seed gives another clip; none of them is in a data set.
        family: a key of `families.FAMILIES`; None draws one.
        duration_s: seconds.
        width: pixels, even.
        height: pixels, even.
        fps: frames per second.
        sound_path: also write its sound there (flac or wav); None for none.

    Raises:
        ConfigError: the family is unknown or a size is odd.

    Source: ours.
    """
    if family is not None and family not in FAMILIES:
        raise ConfigError(
            f"unknown scene family {family!r}", hint=f"known families: {', '.join(FAMILIES)}"
        )
    if width % 2 or height % 2:
        raise ConfigError(f"picture of {width} x {height}: expected even sizes")
    picture = Picture(
        width=width,
        height=height,
        squashed=False,
        rate=_as_rate(fps),
        detail=max(1, min(height // 160, 4)),
        clean=True,
        shadows=True,
        samples=3,
    )
    clip = film_clip(
        np.random.SeedSequence((len(SPLITS), seed)),
        draw_scene=draw_scene if family is None else FAMILIES[family].draw,
        duration_s=duration_s,
        picture=picture,
    )
    path.write_bytes(_encoded(clip))
    if sound_path is not None:
        import soundfile

        soundfile.write(sound_path, clip.sound, 48_000)
    return clip


# ------------------------------------------------------------------------------------- workers


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every worker needs to know."""

    seed: int
    split: str
    duration_s: float
    rate_hz: float | None
    draw_scene: DrawScene


@dataclass(frozen=True, kw_only=True)
class _Done:
    """A worker's report on a shard that is finished."""

    frames: int
    part_s: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Failed:
    """A worker's report on a shard that can't be made."""

    message: str
    traceback: str


def _work(connection: Connection, job: _Job) -> None:
    """A worker's life: shards come through the connection, reports go back; None ends it."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # the other side is gone
        while (shard := connection.recv()) is not None:
            connection.send(_report_on(job, shard))


def _make_missing(job: _Job, shard: ShardPlan) -> _Done | _Failed:
    """A shard, unless a worker made it that died before it said so."""
    if shard.is_finished():
        return _Done(frames=0, part_s={})
    return _report_on(job, shard)


def _report_on(job: _Job, shard: ShardPlan) -> _Done | _Failed:
    try:
        return make_shard(shard, job)
    except Exception as error:  # told to the other side, which raises it
        return _Failed(message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())


def make_shard(shard: ShardPlan, job: _Job) -> _Done:
    """Make all clips of a shard in this process, then let it appear.

    Source: ours.
    """
    watch = Stopwatch()
    folder = shard.begin()
    frames = 0
    rate = None if job.rate_hz is None else _as_rate(job.rate_hz)
    for index in shard.clips:
        clip = film_clip(
            clip_seed(job.split, job.seed, index),
            draw_scene=job.draw_scene,
            duration_s=job.duration_s,
            picture=Picture(rate=rate),
            stopwatch=watch,
        )
        frames += len(clip.frames)
        finished = FinishedClip(
            name=f"clip_{index:06d}",
            seed=job.seed,
            split=job.split,
            kind=clip.kind,
            duration_s=job.duration_s,
            rate=float(clip.exposure.rate),
            video=_encoded(clip),
            sound=clip.sound,
            sound_bits=clip.sound_bits,
            log=clip.log,
        )
        write_clip(folder, finished)
        watch.lap("store")
    shard.finish()
    return _Done(frames=frames, part_s=watch.seconds)


@dataclass
class _Worker:
    """A process and the shard that it is making."""

    process: SpawnProcess
    connection: Connection
    shard: ShardPlan | None = None
    shards_taken: int = 0


@dataclass
class _Crew:
    """Hands shards to workers, replaces workers, tries shards of dead workers again."""

    job: _Job
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
        """Work with `count` processes until no shard waits."""
        try:
            while self.waiting or any(worker.shard for worker in self.workers):
                while self.waiting and len(self.workers) < count:
                    self.workers.append(self._hire())
                for worker in self.workers:
                    if self.waiting and worker.shard is None:
                        self._hand_out(worker)
                ready = wait([worker.connection for worker in self.workers if worker.shard])
                for worker in [w for w in self.workers if w.connection in ready]:
                    self._hear(worker)
        finally:
            for worker in self.workers:
                worker.process.terminate()
                worker.process.join()

    def run_on_ray(self, address: str, count: int | None) -> None:
        """Work on a cluster; Ray replaces workers and tries their shards again."""
        with RayCluster(address) as cluster:
            done = cluster.parallel_map(
                functools.partial(_make_missing, self.job),
                list(self.waiting),
                max_pending=count,
                calls_per_worker=SHARDS_PER_WORKER,
                environment=WORKER_ENVIRONMENT,
            )
            for shard, report in zip(self.waiting, done, strict=True):
                self._note(shard, report)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.job), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process=process, connection=ours)

    def _hand_out(self, worker: _Worker) -> None:
        worker.shard = self.waiting.popleft()
        worker.shards_taken += 1
        with contextlib.suppress(BrokenPipeError):  # it died: `_hear` finds the closed pipe
            worker.connection.send(worker.shard)

    def _hear(self, worker: _Worker) -> None:
        """Take a worker's report, or see that it died."""
        shard = worker.shard
        if shard is None:
            return
        worker.shard = None
        try:
            report = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker, shard)
            return
        self._note(shard, report)
        if worker.shards_taken >= SHARDS_PER_WORKER:
            worker.connection.send(None)
            worker.process.join()
            self.workers.remove(worker)

    def _note(self, shard: ShardPlan, report: _Done | _Failed) -> None:
        """Count a shard that is made.

        Raises:
            DataError: it can't be made.
        """
        if isinstance(report, _Failed):
            logger.error("%s\n%s", shard.folder, report.traceback)
            raise DataError(
                f"shard {shard.folder} can't be made: {report.message}",
                hint="the log has the traceback; what is finished is kept",
            )
        self.frames += report.frames
        self.done += len(shard.clips)
        for part, seconds in report.part_s.items():
            self.part_s[part] += seconds
        if self.progress is not None:
            self.progress(self.done, self.wanted)

    def _bury(self, worker: _Worker, shard: ShardPlan) -> None:
        """Put a dead worker's shard back, unless it has had its chances."""
        worker.process.join()
        self.workers.remove(worker)
        self.crashes += 1
        tried = self.attempts[shard.number] = self.attempts.get(shard.number, 0) + 1
        code = worker.process.exitcode
        if tried >= ATTEMPTS:
            raise DataError(
                f"shard {shard.folder}: its worker died {tried} times (exit code {code})",
                hint="another MUJOCO_GL (egl, osmesa), or fewer workers, may help",
            )
        logger.warning(
            "the worker on shard %s died (exit code %s); attempt %d of %d follows",
            shard.folder,
            code,
            tried + 1,
            ATTEMPTS,
        )
        self.waiting.appendleft(shard)


@contextlib.contextmanager
def _worker_environment() -> Iterator[None]:
    """Processes started within use one thread each, so that results and speed are steady."""
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


def _encoded(clip: FilmedClip) -> bytes:
    exposure = clip.exposure
    return encode(clip.frames.pixels, exposure.ticks, exposure.rate, compression=clip.compression)


def _as_rate(rate_hz: float) -> Fraction:
    return Fraction(rate_hz).limit_denominator(1001)


def _check(
    clips: int,
    seed: int,
    split: str,
    duration_s: float,
    rate_hz: float | None,
    workers: int | None,
) -> None:
    if clips < 1:
        raise ConfigError(f"clips={clips}: expected at least 1")
    if seed < 0:
        raise ConfigError(f"seed={seed}: expected 0 or more")
    if split not in SPLITS:
        raise ConfigError(f"split={split!r}: expected one of {', '.join(SPLITS)}")
    if not 0.5 <= duration_s <= 60.0:
        raise ConfigError(f"duration_s={duration_s}: expected 0.5 to 60 seconds")
    if rate_hz is not None and not 1.0 <= rate_hz <= 120.0:
        raise ConfigError(f"rate_hz={rate_hz}: expected 1 to 120 frames per second")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers}: expected at least 1")
