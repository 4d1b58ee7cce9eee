"""Evaluate folders with metrics, judges and a cache that are given by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foleyflow.errors import FoleyflowError, UsageError
from foleyflow.evaluation.blocks import Workers, worker_processes
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.files import CASE_PATTERN, check_folder
from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.protocols import Protocol, protocol_named
from foleyflow.evaluation.report import Report
from foleyflow.evaluation.scoring import judges_of
from foleyflow.judges.interface import AnyJudge
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.system.generic_types import Progress


def evaluate(
    generated: Path,
    reference: Path | None = None,
    *,
    generated_pattern: str = CASE_PATTERN,
    reference_pattern: str = CASE_PATTERN,
    skip_without_onsets: bool = False,
    metrics: Sequence[str] = (),
    protocol: str | None = None,
    judge_folder: Path | None = None,
    cache_folder: Path | None = None,
    device: str = "auto",
    workers: int = 0,
    ray: str | None = None,
    progress: Progress | None = None,
    on_missing_judge: Callable[[FoleyflowError], None] | None = None,
) -> dict[str, Report]:
    """Score a folder of generated clips, or several systems side by side.

    Args:
        generated: folder of generated sounds or videos; without `reference`, a folder of
            <case>/<system>.* with <case>/gt.* as references.
        reference: folder of reference sounds, videos or event files.
        generated_pattern, reference_pattern: as in `evaluate_folder`; only with `reference`.
        skip_without_onsets, metrics, progress: as in `evaluate_folder`.
        protocol: name of a protocol, instead of `metrics`.
        judge_folder: where the judges' weights are; None for the default folder.
        cache_folder: where values are stored and looked up; None for no cache. A run that was
            killed continues with the values that it stored.
        device: that the judges run on; "auto" uses a GPU if there is one.
        workers: number of processes on this machine; 0 for this process alone.
        ray: address of a Ray cluster to use instead, as in `RayCluster`; all machines must see the
            folders. Each worker has a GPU of its own if there are GPUs.
        on_missing_judge: called with the error of each judge that a protocol lacks.

    Returns:
        system -> report; "generated" is the only system if there is a `reference`.

    Raises:
        UsageError: patterns without a reference folder, both `workers` and `ray`, or a cluster of
            other machines without a cache folder.
        ConfigError: there is no such device or cluster.
        FoleyflowError: a judge of `metrics` is missing, or all judges of the protocol; otherwise
            as `evaluate_folder` and `evaluate_systems`.
    """
    keep_freed_memory()
    known_protocol = None if protocol is None else protocol_named(protocol)
    cache = None if cache_folder is None else ResultCache(cache_folder)
    if reference is None and {generated_pattern, reference_pattern} != {CASE_PATTERN}:
        raise UsageError(
            "a pattern was given, but no REFERENCE",
            hint="systems side by side are CASE/SYSTEM.* files; give a reference folder",
        )
    for folder in filter(None, (generated, reference)):
        check_folder(folder)
    if ray not in (None, "local") and cache is None:
        raise UsageError(
            f"--ray {ray}: expected --cache FOLDER with it, for the results of its machines",
            hint="name a folder that all machines see, or use --workers",
        )
    names = metrics if known_protocol is None else known_protocol.metrics
    judges = _load_judges(names, known_protocol, judge_folder, device, on_missing_judge)
    options: dict[str, Any] = {
        "skip_without_onsets": skip_without_onsets,
        "metrics": metrics,
        "judges": judges,
        "protocol": known_protocol,
        "cache": cache,
        "progress": progress,
    }
    with evaluation_workers(
        workers, ray, judge_folder=judge_folder, device=device, has_judges=bool(judges)
    ) as options["workers"]:
        if reference is None:
            return evaluate_systems(generated, **options)
        report = evaluate_folder(
            generated,
            reference,
            generated_pattern=generated_pattern,
            reference_pattern=reference_pattern,
            **options,
        )
    return {"generated": report}


@contextmanager
def evaluation_workers(
    count: int, ray: str | None, *, judge_folder: Path | None, device: str, has_judges: bool
) -> Iterator[Workers | None]:
    """The processes of an evaluation; None for this process alone.

    Args:
        count: processes on this machine.
        ray: address of a cluster.
        judge_folder: as in `evaluate`.
        device: that the judges run on.
        has_judges: whether there are judges, which get a GPU where there are GPUs.

    Raises:
        UsageError: both `count` and `ray`.
    """
    if count and ray is not None:
        raise UsageError("--workers and --ray: expected one of them", hint="leave one out")
    if not count and ray is None:
        yield None
        return
    folder = (judge_folder or _default_folder()).absolute()
    if ray is None:
        with worker_processes(count) as parallel_map:
            yield Workers(parallel_map=parallel_map, judge_folder=folder, device=device)
        return
    from foleyflow.parallel.ray_cluster import RayCluster

    with RayCluster(ray) as cluster:
        gpus = 1.0 if has_judges and device != "cpu" and cluster.has_gpus else 0.0
        distribute = functools.partial(cluster.parallel_map, gpus=gpus)
        yield Workers(parallel_map=distribute, judge_folder=folder, device=device)


def _load_judges(
    names: Sequence[str],
    protocol: Protocol | None,
    folder: Path | None,
    device: str,
    on_missing_judge: Callable[[FoleyflowError], None] | None,
) -> dict[str, AnyJudge]:
    """The judges that the metrics need; a protocol may lack some of its judges."""
    judges, missing = judges_of(names, folder or _default_folder(), device)
    if missing and (protocol is None or not judges):
        raise next(iter(missing.values()))
    for error in missing.values():
        if on_missing_judge is not None:
            on_missing_judge(error)
    return judges


def _default_folder() -> Path:
    from foleyflow.judges.weights import default_folder

    return default_folder()
