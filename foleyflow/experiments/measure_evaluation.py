"""Measure the cost of evaluation: core-seconds of each group of metrics over pairs of ten seconds.

The pairs are synthetic and kept in a folder, so that a rerun writes only missing ones. All metrics
that need no judge are computed in one run without a cache, in one process. Work that metrics share
(reading, controls, the onsets of a detector) is counted separately. Core-seconds are the processor
time of the process: time in which other programs use the core does not count.
"""

from __future__ import annotations

import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
from numpy.typing import NDArray

from foleyflow.evaluation import cases, controls, files
from foleyflow.evaluation.computations import Pairwise
from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.evaluation.metrics import METRICS, synchrony
from foleyflow.evaluation.report import Report
from foleyflow.evaluation.scoring import ALWAYS_REPORTED
from foleyflow.experiments.machine import machine
from foleyflow.system.allocator import keep_freed_memory
from foleyflow.weights import write_atomically

RATE_HZ, DURATION_S = 48_000, 10.0
LARGE_CLIPS = 15_000  # about the test split of VGGSound


class ExclusiveStopwatch:
    """Core-seconds of each part; those of a nested part are counted only for that part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = time.process_time()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose time is counted for a part."""

        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            self._count()
            self._running.append(part)
            try:
                return function(*arguments, **named)
            finally:
                self._count()
                self._running.pop()

        return run

    def _count(self) -> None:
        now = time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def measure_evaluation(pairs_folder: Path, *, pairs: int) -> dict[str, Any]:
    """Time `evaluate_folder` on pairs of sounds, after a warm-up on two pairs.

    Returns:
        "core_seconds" and "core_seconds_per_clip", also of each of the "parts", whose sum and
        "elsewhere_core_seconds" are the total; "metrics": metric -> core-seconds per clip of the
        work for it and the other metrics of its group, with a shared detector or resampling;
        "core_hours_for_15000_clips": the total at that size, where shuffled pairs, whose number is
        the square of that of the clips, are scaled accordingly.
    """
    keep_freed_memory()
    chosen, warm_up = pairs_folder / str(pairs), pairs_folder / "2"
    write_pairs(chosen, pairs)
    write_pairs(warm_up, 2)
    names = [n for n, m in METRICS.items() if m.judge is None and n not in ALWAYS_REPORTED]
    _, first_s = _evaluate(warm_up, names)  # imports and compiles
    stopwatch = ExclusiveStopwatch()
    with _timed_parts(stopwatch):
        report, total_s = _evaluate(chosen, names)
    parts = {
        part: {
            "core_seconds": round(seconds, 3),
            "core_seconds_per_clip": round(seconds / pairs, 5),
            "metrics": [
                name for name, pairwise in _pairwise().items() if pairwise.group.name == part
            ],
        }
        for part, seconds in sorted(stopwatch.seconds.items(), key=lambda item: -item[1])
    }
    shuffled_s = stopwatch.seconds["shuffled pairs"]
    large_s = (total_s - shuffled_s) / pairs * LARGE_CLIPS + shuffled_s * (LARGE_CLIPS / pairs) ** 2
    return {
        "pairs": len(report.clips),
        "core_seconds": round(total_s, 3),
        "core_seconds_per_clip": round(total_s / pairs, 5),
        "first_two_pairs_core_seconds": round(first_s, 3),
        f"core_hours_for_{LARGE_CLIPS}_clips": round(large_s / 3600, 2),
        "machine": machine(),
        "metrics": {
            name: round(_group_seconds(pairwise, stopwatch.seconds) / pairs, 5)
            for name, pairwise in _pairwise().items()
        },
        "parts": parts,
        "elsewhere_core_seconds": round(total_s - sum(stopwatch.seconds.values()), 3),
    }


def _group_seconds(pairwise: Pairwise, seconds: Mapping[str, float]) -> float:
    """Core-seconds of a metric's group, and of the analysis that it is based on."""
    basis = pairwise.group.basis
    shared = 0.0 if basis is None else seconds.get(basis.__name__, 0.0)
    return seconds.get(pairwise.group.name, 0.0) + shared


def write_pairs(pairs_folder: Path, pairs: int) -> None:
    """Write missing pairs; the generated sounds are a little late and lack some onsets."""
    for side in ("true", "made"):
        (pairs_folder / side).mkdir(parents=True, exist_ok=True)
    for index in range(pairs):
        name = f"{index:05d}.wav"
        last = pairs_folder / "made" / f"{name}.json"
        if last.exists():
            continue
        rng = np.random.default_rng(index)
        times_s = np.sort(rng.uniform(0.1, DURATION_S - 0.1, rng.integers(3, 20)))
        late_s = times_s[rng.random(len(times_s)) < 0.8] + rng.normal(0, 0.03)
        for side, onsets_s in (("true", times_s), ("made", np.maximum(late_s, 0))):
            soundfile.write(pairs_folder / side / name, _decaying_tones(rng, onsets_s), RATE_HZ)
        record = {"duration_s": DURATION_S, "timings_s": {"total": 1.0}}
        write_atomically(last, json.dumps(record))


def _decaying_tones(rng: np.random.Generator, times_s: NDArray[np.float64]) -> NDArray[np.float32]:
    """Decaying tones at given times over faint noise."""
    count = round(DURATION_S * RATE_HZ)
    sound = 0.001 * rng.standard_normal(count).astype(np.float32)
    tone_s = np.arange(round(0.4 * RATE_HZ)) / RATE_HZ
    for start in (times_s * RATE_HZ).astype(int):
        tone = np.sin(2 * np.pi * rng.uniform(200, 4000) * tone_s) * np.exp(-12 * tone_s)
        end = min(start + len(tone), count)
        sound[start:end] += rng.uniform(0.05, 0.3) * tone[: end - start].astype(np.float32)
    return sound


def _pairwise() -> dict[str, Pairwise]:
    """Metric -> its computation, for the metrics of pairwise groups."""
    return {
        name: metric.computation
        for name, metric in METRICS.items()
        if isinstance(metric.computation, Pairwise)
    }


@contextmanager
def _timed_parts(stopwatch: ExclusiveStopwatch) -> Iterator[None]:
    """Time the functions of evaluation inside the context."""
    timed = stopwatch.timed
    groups = {pairwise.group.name: pairwise.group for pairwise in _pairwise().values()}
    bases = {
        group.basis: timed(group.basis.__name__, group.basis)
        for group in groups.values()
        if group.basis is not None
    }
    timed_groups = {
        name: replace(
            group,
            analyse=timed(name, group.analyse),
            compare=timed(name, group.compare),
            basis=None if group.basis is None else bases[group.basis],
        )
        for name, group in groups.items()
    }
    metrics = {
        name: replace(
            METRICS[name],
            computation=replace(pairwise, group=timed_groups[pairwise.group.name]),
        )
        for name, pairwise in _pairwise().items()
    }
    functions: list[tuple[Any, str, str]] = [
        (files, "clip_onsets", "strict_onsets"),
        (cases, "read_waveform", "reading"),
        (controls, "noise_like", "noise as loud"),
        (controls, "silence_like", "silence"),
        (synchrony, "compare", "shuffled pairs"),
    ]
    with ExitStack() as stack:
        stack.enter_context(patch.dict(METRICS, metrics))
        for module, name, part in functions:
            function = timed(part, getattr(module, name))
            stack.enter_context(patch.object(module, name, function))
        yield


def _evaluate(pairs_folder: Path, names: Sequence[str]) -> tuple[Report, float]:
    """The report of a folder of pairs, and the core-seconds that it took."""
    began_s = time.process_time()
    report = evaluate_folder(pairs_folder / "made", pairs_folder / "true", metrics=names)
    return report, time.process_time() - began_s
