"""Generates sound for many videos, one after the other or on Ray.

A video that can't be used does not stop the others; an invalid setting stops all.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow.errors import FoleyflowError, MediaError
from foleyflow.inference.outputs import check_outputs, write_companions
from foleyflow.inference.pipeline import DEFAULT_GUIDANCE, FoleyFlow
from foleyflow.inference.request import STANDARD_INPUT, Job
from foleyflow.inference.result import Generated
from foleyflow.media import MediaInfo, check_copy, probe
from foleyflow.parallel.ray_cluster import RayCluster
from foleyflow.system.memory import memory_error_of, peak_memory_mb

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


def run_jobs(jobs: list[Job], hooks: Hooks, *, ray: str | None) -> Generator[Outcome, None, None]:
    """Yields the outcome of each job, in order: its description for --json, or a failure.

    `ray` is the address of a Ray cluster; None works in this process.
    """
    _load_model.cache_clear()  # the files of the model may have changed
    work = functools.partial(_run_job, hooks=hooks)
    if ray is None:
        yield from map(work, jobs)
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
        outcomes = cluster.parallel_map(work, accepted, gpus=float(on_gpu))
        for number in range(len(jobs)):
            yield refused[number] if number in refused else next(outcomes)


@functools.lru_cache(maxsize=1)
def _load_model(source: str, device: str, weights_dir: str | None, threads: int) -> FoleyFlow:
    """The model, loaded once per process."""
    return FoleyFlow.from_pretrained(
        source, device=device, weights_dir=weights_dir, threads=threads
    )


def _run_job(job: Job, *, hooks: Hooks) -> Outcome:
    request = job.request
    with hooks.logged_warnings() as logged:
        try:
            # Check everything that can be refused before any work
            info = probe(job.video)
            check_outputs(job.video, job.output, request)
            if not request.audio_only:
                check_copy(info, job.output)
            model = _load_model(request.model, request.device, request.weights_dir, request.threads)
            described = _generate(model, info, job, hooks, logged)
        except Exception as problem:
            error = memory_error_of(problem)
            if error is None and isinstance(problem, MediaError):
                error = MediaError(_with_user_name(str(problem), job), hint=problem.hint)
                error.__cause__ = problem
            if error is None:
                raise
            warnings = tuple(_with_user_name(text, job) for text in logged)
            return Failure(error=error, warnings=warnings)
    described["warnings"] = _merge_warnings(described["warnings"], logged, job)
    return described


def _generate(
    model: FoleyFlow, info: MediaInfo, job: Job, hooks: Hooks, logged: list[str]
) -> dict[str, Any]:
    """Generates and writes the result of a job with all its files, and describes it."""
    start_s = time.perf_counter()
    request, duration_s = job.request, info.duration_s
    with hooks.progress(Path(job.name).name) as show:
        result = model.generate(
            info,
            seed=request.seed,
            steps=request.steps,
            guidance=DEFAULT_GUIDANCE if request.guidance is None else request.guidance,
            material=None if request.material == "auto" else request.material,
            loudness_lufs=request.loudness_lufs,
            progress=(lambda done_s: show(round(done_s), round(duration_s)))
            if duration_s >= PROGRESS_FROM_S
            else None,
        )
    result.save(job.output, overwrite=request.overwrite)
    result.timings_s["total"] = time.perf_counter() - start_s
    described = _describe(result, job)
    described["warnings"] = _merge_warnings(described["warnings"], logged, job)  # for the sidecar
    try:
        write_companions(described, result, job)
    except OSError as error:
        raise MediaError(
            f"{job.output}: was written, but a file next to it can't be ({error.strerror})",
            hint="free some space, or leave --events, --report and --sidecar out",
        ) from error
    return described


def _describe(result: Generated, job: Job) -> dict[str, Any]:
    """The description that --json and the sidecar contain; its keys are part of the interface."""
    guess = result.material_guess
    return {
        "video": job.name,
        "output": str(job.output),
        "duration_s": result.sample_count / result.sample_rate_hz,
        "sample_rate_hz": result.sample_rate_hz,
        **result.settings,
        "material_guess": guess and {"name": guess[0], "probability": round(guess[1], 4)},
        "events": [dataclasses.asdict(event) for event in result.events],
        "timings_s": {key: round(value, 4) for key, value in result.timings_s.items()},
        "peak_rss_mb": round(peak_memory_mb(), 1),
        "warnings": list(result.warnings),
    }


def _merge_warnings(listed: list[str], logged: list[str], job: Job) -> list[str]:
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


def _with_user_name(text: str, job: Job) -> str:
    """A message with the user's name for standard input in place of its temporary file."""
    return text.replace(str(job.video), job.name) if job.name == STANDARD_INPUT else text
