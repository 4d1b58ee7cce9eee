"""Compute the results of clips block by block: in this process, in several, or on a Ray cluster.

Each block puts its results into a cache: one in memory, or a folder that all processes share. The
scores are computed afterwards from that cache by one process, so they do not depend on who
computed a block, and what is missing there (a control that needs a clip of another block, for
example) is computed then.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import Case, SoundFiles
from foleyflow.evaluation.examination import ClipFiles, examine_clip
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.scoring import BLOCK_CLIPS, KEPT_SOUNDS, block_scorer, judges_of
from foleyflow.judges.interface import AnyJudge
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.system.generic_types import Item, Progress

TASK_CLIPS = 4 * BLOCK_CLIPS  # of one call of a worker


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Processes that compute blocks of clips.

    Attributes:
        parallel_map: applies a function to items in the processes.
        judge_folder: where they load judges from.
        device: that their judges run on; "auto" uses a GPU if a worker has one.
    """

    parallel_map: ParallelMap
    judge_folder: Path
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class BlockTask:
    """The work of one call of a worker."""

    clips: Sequence[ClipFiles]
    previous: ClipFiles | None  # its true sound is a control of the first clip
    metrics: Sequence[str]
    protocol: Protocol | None
    skip_without_onsets: bool
    cache_folder: Path
    judge_folder: Path
    device: str


class BlockRunner:
    """Computes clips in this process."""

    def __init__(
        self,
        metrics: Sequence[str],
        *,
        judges: Mapping[str, AnyJudge],
        cache: ResultCache,
        protocol: Protocol | None,
        skip_without_onsets: bool,
        files: SoundFiles,
    ) -> None:
        self._cache = cache
        self._skip_without_onsets = skip_without_onsets
        self._files = files
        self._scorer = block_scorer(metrics, judges, cache, protocol, files)

    def run(
        self, clips: Sequence[ClipFiles], previous: ClipFiles | None, progress: Progress | None
    ) -> None:
        """Put the results of clips into the cache, and write it after each block.

        Args:
            clips: to compute.
            previous: clip whose true sound is a control of the first one.
            progress: called with (steps done, steps in total): a clip counts once when its onsets
                are detected, and once more when its metrics are computed.
        """
        total = 2 * len(clips)
        before = None if previous is None else self._case(previous)
        for start in range(0, len(clips), BLOCK_CLIPS):
            block = clips[start : start + BLOCK_CLIPS]
            cases: list[Case] = []
            for number, clip in enumerate(block, start=1):
                case = self._case(clip)
                cases += [] if case is None else [case]
                if progress is not None:
                    progress(2 * start + number, total)
            # Clips that are left out count as done
            left_out = 2 * start + 2 * len(block) - len(cases)

            def scored(done: int, _: int, left_out: int = left_out) -> None:
                if progress is not None:
                    progress(left_out + done, total)

            self._scorer.add(cases, before, 0, len(cases), scored)
            before = next((c for c in reversed(cases) if c.true_sound is not None), before)
            self._cache.flush()

    def _case(self, clip: ClipFiles) -> Case | None:
        return examine_clip(
            clip,
            cache=self._cache,
            files=self._files,
            skip_without_onsets=self._skip_without_onsets,
        ).case


def compute_in_workers(
    clips: Sequence[ClipFiles],
    workers: Workers,
    *,
    cache_folder: Path,
    progress: Progress | None,
    **options: Any,
) -> None:
    """Put the results of clips into the folder of a cache, in several processes.

    Args:
        clips: all clips, by name.
        workers: the processes.
        cache_folder: where results are stored; what it contains is not computed again.
        progress: as in `BlockRunner.run`.
        options: `metrics`, `protocol` and `skip_without_onsets` of the tasks.

    Raises:
        FoleyflowError: the workers of one task died several times.
    """
    tasks = [
        BlockTask(
            clips=clips[start : start + TASK_CLIPS],
            previous=clips[start - 1] if len(clips) > 1 else None,
            cache_folder=cache_folder,
            judge_folder=workers.judge_folder,
            device=workers.device,
            **options,
        )
        for start in range(0, len(clips), TASK_CLIPS)
    ]
    done = 0
    for count in workers.parallel_map(compute_block, tasks):
        done += 2 * count
        if progress is not None:
            progress(done, 2 * len(clips))


def compute_block(task: BlockTask) -> int:
    """Do a task in a worker process, and return its number of clips."""
    keep_freed_memory()
    with ResultCache(task.cache_folder) as cache:
        runner = BlockRunner(
            task.metrics,
            judges=_worker_judges(tuple(task.metrics), task.judge_folder, task.device),
            cache=cache,
            protocol=task.protocol,
            skip_without_onsets=task.skip_without_onsets,
            files=SoundFiles(KEPT_SOUNDS),
        )
        runner.run(task.clips, task.previous, None)
    return len(task.clips)


@contextmanager
def worker_processes(count: int) -> Iterator[ParallelMap]:
    """A `ParallelMap` over processes on this machine, with one thread each."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_use_one_thread)

    def parallel_map(work: Callable[[Item], Any], items: Iterable[Item], /) -> Iterator[Any]:
        return pool.map(work, items)

    try:
        yield parallel_map
    finally:
        pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@functools.lru_cache(maxsize=1)
def _worker_judges(metrics: tuple[str, ...], folder: Path, device: str) -> dict[str, AnyJudge]:
    """The judges of a worker, loaded once."""
    return judges_of(metrics, folder, device)[0]
