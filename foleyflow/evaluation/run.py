"""Evaluate folders with metrics, judges and a cache that are given by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foleyflow.errors import FoleyflowError, UsageError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.files import CASE_PATTERN, check_folder
from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.protocols import Protocol, protocol_named
from foleyflow.evaluation.report import Report
from foleyflow.judges.interface import AnyJudge
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
        cache_folder: where values are stored and looked up; None for no cache.
        on_missing_judge: called with the error of each judge that a protocol lacks.

    Returns:
        system -> report; "generated" is the only system if there is a `reference`.

    Raises:
        UsageError: patterns without a reference folder.
        FoleyflowError: a judge of `metrics` is missing, or all judges of the protocol; otherwise
            as `evaluate_folder` and `evaluate_systems`.
    """
    known_protocol = None if protocol is None else protocol_named(protocol)
    cache = None if cache_folder is None else ResultCache(cache_folder)
    if reference is None and {generated_pattern, reference_pattern} != {CASE_PATTERN}:
        raise UsageError(
            "a pattern was given, but no REFERENCE",
            hint="systems side by side are CASE/SYSTEM.* files; give a reference folder",
        )
    for folder in filter(None, (generated, reference)):
        check_folder(folder)
    options: dict[str, Any] = {
        "skip_without_onsets": skip_without_onsets,
        "metrics": metrics,
        "judges": _load_judges(metrics, known_protocol, judge_folder, on_missing_judge),
        "protocol": known_protocol,
        "cache": cache,
        "progress": progress,
    }
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


def _load_judges(
    metrics: Sequence[str],
    protocol: Protocol | None,
    folder: Path | None,
    on_missing_judge: Callable[[FoleyflowError], None] | None,
) -> dict[str, AnyJudge]:
    """The judges that the metrics need; a protocol may lack some of its judges."""
    names = metrics if protocol is None else protocol.metrics
    needed = [METRICS[name].judge for name in names if name in METRICS]
    if not any(needed):
        return {}
    from foleyflow.judges.adapters import load_judges
    from foleyflow.judges.weights import default_folder

    judges, missing = load_judges(filter(None, needed), folder or default_folder())
    if missing and (protocol is None or not judges):
        raise next(iter(missing.values()))
    for error in missing.values():
        if on_missing_judge is not None:
            on_missing_judge(error)
    return judges
