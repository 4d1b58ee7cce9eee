"""Does the same work for many videos, one after the other or on Ray.

A video that can't be used does not stop the others; an invalid setting stops all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from foleyflow.errors import FoleyflowError, MediaError
from foleyflow.inference.outputs import check_outputs
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.request import STANDARD_INPUT, AnyRequest, BatchRequest, Job
from foleyflow.parallel.ray_cluster import RayCluster
from foleyflow.system.memory import memory_error_of

PROGRESS_FROM_S = 20.0  # shorter videos show no progress


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Context managers that surround the work on each video; importable by workers of Ray.

    Attributes:
        progress: takes a label and yields a function of (seconds done, seconds in total).
        logged_warnings: yields the list of the warnings logged so far.
    """

    progress: Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
    logged_warnings: Callable[[], AbstractContextManager[list[str]]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The error of a job, and the warnings logged before it."""

    error: FoleyflowError
    warnings: tuple[str, ...] = ()


Outcome = dict[str, Any] | Failure
# Does a job and describes the result for --json, with "warnings"; takes the job, the hooks, and the
# list of the warnings logged so far
Work = Callable[[Job[AnyRequest], Hooks, list[str]], dict[str, Any]]


def run_jobs(
    work: Work[AnyRequest], jobs: Sequence[Job[AnyRequest]], hooks: Hooks, *, ray: str | None
) -> Generator[Outcome, None, None]:
    """Yields the outcome of each job, in order: its description for --json, or a failure.

    `ray` is the address of a Ray cluster; None works in this process.
    """
    _load_model.cache_clear()  # the files of the model may have changed
    run = functools.partial(_run_job, work=work, hooks=hooks)
    if ray is None:
        yield from map(run, jobs)
        return
    # Outputs are checked before the work, so that a repeated job can replace the output of a worker
    # that died before it reported its result.
    refused: dict[int, Failure] = {}
    for number, job in enumerate(jobs):
        try:
            check_outputs(job.video, job.output, job.request)
        except MediaError as error:
            refused[number] = Failure(error=error)
    accepted = [
        dataclasses.replace(job, request=dataclasses.replace(job.request, overwrite=True))
        for number, job in enumerate(jobs)
        if number not in refused
    ]
    on_gpu = bool(jobs) and jobs[0].request.device.startswith("cuda")
    with RayCluster(ray) as cluster:
        outcomes = cluster.parallel_map(run, accepted, gpus=float(on_gpu))
        for number in range(len(jobs)):
            yield refused[number] if number in refused else next(outcomes)


def model_of(request: BatchRequest) -> FoleyFlow:
    """The model of a request, loaded once per process."""
    return _load_model(request.model, request.device, request.weights_dir, request.threads)


@functools.lru_cache(maxsize=1)
def _load_model(source: str, device: str, weights_dir: str | None, threads: int) -> FoleyFlow:
    return FoleyFlow.from_pretrained(
        source, device=device, weights_dir=weights_dir, threads=threads
    )


def progress_of(
    show: Callable[[int, int], None], duration_s: float
) -> Callable[[float], None] | None:
    """Progress in seconds of a video, for `FoleyFlow`; None for a short one."""
    if duration_s < PROGRESS_FROM_S:
        return None
    return lambda done_s: show(round(done_s), round(duration_s))


def merge_warnings(listed: Sequence[str], logged: Sequence[str], job: Job[Any]) -> list[str]:
    """The warnings of a result and the logged ones, each once.

    Logged lines begin with the name of their file, which the description contains anyway.
    """
    merged = [_with_user_name(text, job) for text in listed]
    for line in logged:
        text = line.removeprefix("file:")
        for name in (job.video, job.output):
            text = text.removeprefix(f"{name}: ")
        if text not in merged:
            merged.append(_with_user_name(text, job))
    return merged


def _run_job(job: Job[AnyRequest], *, work: Work[AnyRequest], hooks: Hooks) -> Outcome:
    with hooks.logged_warnings() as logged:
        try:
            described = work(job, hooks, logged)
        except Exception as problem:
            error = memory_error_of(problem)
            if error is None and isinstance(problem, MediaError):
                error = MediaError(_with_user_name(str(problem), job), hint=problem.hint)
                error.__cause__ = problem
            if error is None:
                raise
            warnings = tuple(_with_user_name(text, job) for text in logged)
            return Failure(error=error, warnings=warnings)
    described["warnings"] = merge_warnings(described["warnings"], logged, job)
    return described


def _with_user_name(text: str, job: Job[Any]) -> str:
    """A message with the user's name for standard input in place of its temporary file."""
    return text.replace(str(job.video), job.name) if job.name == STANDARD_INPUT else text
