"""Measures how long `foleyflow evaluate` takes: seconds per metric over many pairs of ten seconds.

    python scripts/measure_evaluation.py [--pairs 1000] [--folder FOLDER]

The pairs are struck tones over noise, made once and kept in the folder; the same command again goes
on where it stopped. All metrics that need no judge are computed in one run without a cache. What
metrics share (reading, the controls, a detector's onsets) is told apart from them. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from foleyflow.evaluation import cases, controls, folder, pairwise_metrics, scoring
from foleyflow.evaluation.folder import Report, evaluate_folder
from foleyflow.evaluation.metrics import METRICS, synchrony
from foleyflow.evaluation.pairwise_metrics import FAMILIES
from foleyflow.evaluation.scoring import ALWAYS_REPORTED
from foleyflow.experiments.benchmark import machine
from foleyflow.media import waveform

RATE_HZ, DURATION_S = 48_000, 10.0


class Stopwatch:
    """Seconds by part; a part that calls another does not count the other's."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._running: list[str] = []
        self._since = time.perf_counter()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is counted to a part."""

        @functools.wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            self._switch()
            self._running.append(part)
            try:
                return function(*given, **named)
            finally:
                self._switch()
                self._running.pop()

        return run

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def struck(rng: np.random.Generator, times_s: NDArray[np.float64]) -> NDArray[np.float32]:
    """Decaying tones at given moments, over faint noise."""
    count = round(DURATION_S * RATE_HZ)
    sound = 0.001 * rng.standard_normal(count).astype(np.float32)
    ring_s = np.arange(round(0.4 * RATE_HZ)) / RATE_HZ
    for start in (times_s * RATE_HZ).astype(int):
        tone = np.sin(2 * np.pi * rng.uniform(200, 4000) * ring_s) * np.exp(-12 * ring_s)
        end = min(start + len(tone), count)
        sound[start:end] += rng.uniform(0.05, 0.3) * tone[: end - start].astype(np.float32)
    return sound


def make_pairs(where: Path, pairs: int) -> None:
    """Writes the pairs that are not there yet; results are a little late and lack some strokes."""
    for side in ("true", "made"):
        (where / side).mkdir(parents=True, exist_ok=True)
    for index in range(pairs):
        name = f"{index:05d}.wav"
        last = where / "made" / f"{name}.json"
        if last.exists():
            continue
        rng = np.random.default_rng(index)
        times_s = np.sort(rng.uniform(0.1, DURATION_S - 0.1, rng.integers(3, 20)))
        found_s = times_s[rng.random(len(times_s)) < 0.8] + rng.normal(0, 0.03)
        for side, moments_s in (("true", times_s), ("made", np.maximum(found_s, 0))):
            soundfile.write(where / side / name, struck(rng, moments_s), RATE_HZ)
        record = {"duration_s": DURATION_S, "timings_s": {"total": 1.0}}
        last.write_text(json.dumps(record), encoding="utf-8")


def watch(clock: Stopwatch) -> None:
    """Counts what evaluation does, by family of metrics and by what they share."""
    bases = {}
    for name, family in FAMILIES.items():
        basis = family.basis
        if basis is not None:
            bases.setdefault(basis, clock.timed("onsets of the script's detector", basis))
        FAMILIES[name] = replace(
            family,
            analyse=clock.timed(name, family.analyse),
            compare=clock.timed(name, family.compare),
            basis=None if basis is None else bases[basis],
        )
    pairwise_metrics.clip_onsets = clock.timed("strict_onsets", pairwise_metrics.clip_onsets)
    waveform.read_waveform = clock.timed("reading", waveform.read_waveform)
    controls.noise_like = clock.timed("noise as loud", controls.noise_like)
    controls.silence_like = clock.timed("silence", controls.silence_like)
    synchrony.compare = clock.timed("shuffled pairs", synchrony.compare)
    for module in (cases, folder, scoring):
        if hasattr(module, "file_sha256"):
            module.file_sha256 = clock.timed("hashes", module.file_sha256)


def evaluated(where: Path, names: Sequence[str]) -> tuple[Report, float]:
    """The report of the pairs in a folder, and the seconds that it took."""
    began = time.perf_counter()
    report = evaluate_folder(where / "made", where / "true", metrics=names)
    return report, time.perf_counter() - began


def main() -> None:
    """Parses the arguments, makes the pairs, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "foleyflow-pairs"
    )
    arguments = parser.parse_args()
    where = arguments.folder / str(arguments.pairs)
    make_pairs(where, arguments.pairs)
    make_pairs(arguments.folder / "2", 2)
    names = [n for n, m in METRICS.items() if m.judge is None and n not in ALWAYS_REPORTED]
    _, first_s = evaluated(arguments.folder / "2", names)  # imports and compiles
    clock = Stopwatch()
    watch(clock)
    report, whole_s = evaluated(where, names)
    parts = {
        part: {
            "seconds": round(seconds, 3),
            "seconds_per_pair": round(seconds / arguments.pairs, 5),
            "metrics": list(FAMILIES[part].metrics) if part in FAMILIES else [],
        }
        for part, seconds in clock.seconds.most_common()
    }
    answer = {
        "pairs": len(report.clips),
        "seconds": round(whole_s, 3),
        "seconds_per_pair": round(whole_s / arguments.pairs, 5),
        "first_two_pairs_seconds": round(first_s, 3),
        "machine": machine(),
        "parts": parts,
        "elsewhere_seconds": round(whole_s - sum(clock.seconds.values()), 3),
    }
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
