"""Runs metrics over the clips of a folder, and over four controls of each clip.

The rows are the generated sound, the true sound, silence, white noise as loud as the true sound,
and the true sound of another clip (the one before it by name; the last one's for the first). A
clip whose reference is a file of events alone has no true sound: then only silence, of the
generated sound's length, stands beside it. Memory holds two clips at a time. A clip that a metric
refuses is listed under that metric with the reason; nothing is left out in silence.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import ConfigError, MediaError
from foleyflow.evaluation import controls, families
from foleyflow.evaluation import judges as judging
from foleyflow.evaluation.base import Metric, bootstrap_mean
from foleyflow.evaluation.cache import ResultCache, code_sha256
from foleyflow.evaluation.distribution import fit_gaussian, frechet_distance, frechet_remark
from foleyflow.evaluation.families import FAMILIES, Family
from foleyflow.evaluation.judges import Judge, heard_by, judge_for, judge_json
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.scores import ROWS, Figure, MetricScore
from foleyflow.evaluation.semantics import inception_score, kl_divergence
from foleyflow.evaluation.synchrony import ClipOnsets
from foleyflow.media import loudness
from foleyflow.media import waveform as reading
from foleyflow.signals import Waveform

# The code that every kept figure depends on, whatever the metric.
MODULES = (controls, families, judging, loudness, reading)
NO_TRUE_SOUND = "its reference holds events, no sound"
# Every report of synchrony holds these as they are; they compare all clips with all others.
ALWAYS_REPORTED = ("shuffled_f1", "gain", "median_lag")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One clip to score.

    Attributes:
        name: of the clip.
        generated: file of the sound to judge.
        true_sound: file of the true sound, if there is one.
        events: the true events, if they are known.
        onsets: file -> onsets found in it, as far as they are known already.
    """

    name: str
    generated: Path
    true_sound: Path | None = None
    events: ClipOnsets | None = None
    onsets: Mapping[Path, ClipOnsets] = field(default_factory=dict)


def check_metrics(names: Sequence[str], judges: Mapping[str, Judge]) -> None:
    """Refuse metrics that can't be computed, before any work.

    Args:
        names: of metrics.
        judges: those that are there, by name.

    Raises:
        ConfigError: an unknown metric, or one that is part of every report.
        CheckpointError: a metric whose judge is not there.

    Source: ours.
    """
    for name in names:
        if name in ALWAYS_REPORTED:
            raise ConfigError(f"{name} is part of every report", hint="leave it out of the list")
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            can = [known for known in METRICS if known not in ALWAYS_REPORTED]
            raise ConfigError(
                f"no metric {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                hint=f"there are {', '.join(can)}",
            )
        if METRICS[name].judge is not None:
            judge_for(METRICS[name], judges)


def score_cases(
    cases: Sequence[Case],
    names: Sequence[str],
    *,
    judges: Mapping[str, Judge] | None = None,
    cache: ResultCache | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, MetricScore]:
    """Score clips by some metrics, with controls.

    Args:
        cases: the clips, in the order of their names.
        names: of metrics.
        judges: networks by name, for the metrics that need one.
        cache: where figures of single sounds are kept and looked up.
        seed: of the bootstrap intervals.
        progress: told (clips done, clips wanted).

    Returns:
        metric -> score, in the order asked for, each once.

    Raises:
        ConfigError: an unknown metric.
        CheckpointError: a metric whose judge is not there.
        OSError: a file that is gone.
        MissingExtra: librosa or mir_eval is not installed.

    Source: ours.
    """
    judges = judges or {}
    check_metrics(names, judges)
    wanted = {name: METRICS[name] for name in names}
    pairs = _PairValues(wanted, cache)
    heard = {
        name: _HeardValues(judge_for(metric, judges), name, cache)
        for name, metric in wanted.items()
        if metric.judge is not None
    }
    with_sound = [case for case in cases if case.true_sound is not None]
    previous = _true_sound(with_sound[-1]) if len(with_sound) > 1 else None
    for done, case in enumerate(cases, start=1):
        true = _true_sound(case)
        rows = _rows(case, true, previous)
        pairs.add(case, true, rows)
        for values in heard.values():
            values.add(case, rows)
        previous = true if true is not None and len(with_sound) > 1 else previous
        if progress is not None:
            progress(done, len(cases))
    return {
        name: heard[name].score(metric, seed) if name in heard else pairs.score(metric, seed)
        for name, metric in wanted.items()
    }


class _Sound:
    """A sound that is read or made when it is first needed, and analysed once per family."""

    def __init__(
        self,
        identity: str,
        make: Callable[[], Waveform],
        analyses: Mapping[str, Any] | None = None,
    ) -> None:
        self.identity = identity
        self._make = make
        self._analyses = dict(analyses or {})

    @cached_property
    def waveform(self) -> Waveform:
        return self._make()

    def analysis(self, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        if name not in self._analyses:
            self._analyses[name] = analyse(self.waveform)
        return self._analyses[name]


def _of_file(path: Path, onsets: Mapping[Path, ClipOnsets]) -> _Sound:
    from foleyflow.media.waveform import read_waveform
    from foleyflow.weights import file_sha256

    known = {"strict_onsets": onsets[path]} if path in onsets else {}
    return _Sound(file_sha256(path), lambda: read_waveform(path), known)


def _true_sound(case: Case) -> _Sound | None:
    return None if case.true_sound is None else _of_file(case.true_sound, case.onsets)


def _rows(case: Case, true: _Sound | None, other: _Sound | None) -> dict[str, _Sound]:
    """The generated sound and its controls, as far as there are any."""
    generated = _of_file(case.generated, case.onsets)
    like = true or generated
    rows = {
        "generated": generated,
        "silence": _Sound(f"silence:{like.identity}", lambda: controls.silence_like(like.waveform)),
    }
    if true is not None:
        noise_seed = int(true.identity[:8], 16)
        rows["true"] = true
        rows["noise"] = _Sound(
            f"noise:{true.identity}", lambda: controls.noise_like(true.waveform, seed=noise_seed)
        )
        if other is not None:
            rows["other"] = other
    return {row: rows[row] for row in ROWS if row in rows}


def _label(case: Case, row: str) -> str:
    return case.name if row == "generated" else f"{case.name} ({ROWS[row]})"


class _PairValues:
    """Values of the metrics that need no judge: metric -> row -> clip -> value."""

    def __init__(self, wanted: Mapping[str, Metric], cache: ResultCache | None) -> None:
        self._families = {
            name: family for name, family in FAMILIES.items() if set(family.metrics) & set(wanted)
        }
        self._code = {
            name: code_sha256(*MODULES, *family.modules) for name, family in self._families.items()
        }
        self._cache = cache
        self._values: dict[str, dict[str, dict[str, float]]] = {}
        self._left_out: dict[str, dict[str, str]] = {}

    def add(self, case: Case, true: _Sound | None, rows: Mapping[str, _Sound]) -> None:
        for name, family in self._families.items():
            reference = _reference(case, true, name)
            if reference is None:
                self._leave_out(family, case.name, NO_TRUE_SOUND)
                continue
            for row, sound in rows.items():
                try:
                    result = self._result(name, reference, sound)
                except MediaError as error:
                    result = {"why": str(error)}
                if "why" in result:
                    self._leave_out(family, _label(case, row), result["why"])
                    continue
                for metric, value in zip(family.metrics, result["values"], strict=True):
                    by_row = self._values.setdefault(metric, {}).setdefault(row, {})
                    by_row[case.name] = value

    def score(self, metric: Metric, seed: int) -> MetricScore:
        values = self._values.get(metric.name, {})
        return MetricScore(
            metric=metric,
            rows={row: _mean(list(values[row].values()), seed) for row in ROWS if row in values},
            clips=values.get("generated", {}),
            left_out=self._left_out.get(metric.name, {}),
        )

    def _leave_out(self, family: Family, label: str, why: str) -> None:
        for metric in family.metrics:
            self._left_out.setdefault(metric, {})[label] = why

    def _result(self, name: str, reference: _Sound, sound: _Sound) -> dict[str, Any]:
        key = ["pair", name, self._code[name], reference.identity, sound.identity]
        known = None if self._cache is None else self._cache.get(key)
        if known is not None:
            return known
        family = self._families[name]
        try:
            true, made = (one.analysis(name, family.analyse) for one in (reference, sound))
            result: dict[str, Any] = {"values": list(family.compare(true, made))}
            if not np.isfinite(result["values"]).all():
                raise ValueError("the figure is not finite; some samples of a sound are not")
        except ValueError as error:
            result = {"why": str(error)}
        if self._cache is not None:
            self._cache.put(key, result)
        return result


def _reference(case: Case, true: _Sound | None, name: str) -> _Sound | None:
    """What a family compares with: the events where they are known and it can, else the sound."""
    family = FAMILIES[name]
    if case.events is None or family.of_events is None:
        return true
    times_s, duration_s = case.events.times_s.tolist(), case.events.duration_s
    digest = hashlib.sha256(json.dumps([times_s, duration_s]).encode()).hexdigest()
    return _Sound(f"events:{digest}", _no_sound, {name: family.of_events(case.events)})


def _no_sound() -> Waveform:
    raise ValueError("events have no sound")


class _HeardValues:
    """What one judge hears, for one metric: row -> clip -> logits or embeddings."""

    def __init__(self, judge: Judge, name: str, cache: ResultCache | None) -> None:
        self._judge = judge
        self._kind = name.partition("_")[0]
        self._needs_truth = self._kind != "inception"
        self._cache = cache
        self._code = code_sha256(*MODULES)
        self._heard: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, rows: Mapping[str, _Sound]) -> None:
        if self._needs_truth and "true" not in rows:
            self._left_out[case.name] = NO_TRUE_SOUND
            return
        for row, sound in rows.items():
            try:
                heard = self._hear(sound)
            except (ValueError, MediaError) as error:
                self._left_out[_label(case, row)] = str(error)
            else:
                self._heard.setdefault(row, {})[case.name] = heard

    def score(self, metric: Metric, seed: int) -> MetricScore:
        """Where the truth matters, only clips whose true sound was heard count, in every row."""
        true = self._heard.get("true", {})
        rows: dict[str, Figure] = {}
        clips: dict[str, float] = {}
        remarks: list[str] = []
        for row in ROWS:
            names = list(self._heard.get(row, {}))
            if self._needs_truth:
                names = [name for name in names if name in true]
            if not names or (row == "other" and self._kind != "kl"):
                continue
            truth = [true[name] for name in names] if self._needs_truth else []
            made = [self._heard[row][name] for name in names]
            try:
                rows[row], values = self._figure(truth, made, seed, remarks)
            except ValueError as error:
                remarks.append(f"{ROWS[row]}: {error}")
                continue
            if row == "generated":
                clips = dict(zip(names, values, strict=True)) if values else {}
        return MetricScore(
            metric=metric,
            rows=rows,
            clips=clips,
            left_out=self._left_out,
            remarks=tuple(dict.fromkeys(remarks)),
            judge=judge_json(self._judge),
        )

    def _figure(
        self,
        true: list[NDArray[np.float64]],
        made: list[NDArray[np.float64]],
        seed: int,
        remarks: list[str],
    ) -> tuple[Figure, list[float]]:
        if self._kind == "kl":
            values = kl_divergence(np.stack(true), np.stack(made)).tolist()
            return _mean(values, seed), values
        if self._kind == "frechet":
            first, second = (fit_gaussian(np.concatenate(side)) for side in (true, made))
            remark = frechet_remark(first, second)
            remarks.extend([remark] if remark else [])
            remarks.append("no interval: drawing clips twice raises a Fréchet distance")
            return _single(frechet_distance(first, second), len(made)), []
        score = inception_score(np.stack(made))
        remarks.append("no interval over clips: the score falls with their number")
        return _single(score.mean, len(made)), []

    def _hear(self, sound: _Sound) -> NDArray[np.float64]:
        asked = "embed" if self._kind == "frechet" else "logits"
        key = [asked, judge_json(self._judge), self._code, sound.identity]
        known = None if self._cache is None else self._cache.get(key)
        if known is not None:
            return np.asarray(known["heard"], dtype=np.float64)
        listen = self._judge.embed if asked == "embed" else self._judge.logits
        heard: NDArray[np.float64] = sound.analysis(
            f"{asked} by {self._judge.name}",
            lambda waveform: np.asarray(listen(heard_by(self._judge, waveform)), dtype=np.float64),
        )
        if not np.isfinite(heard).all():
            raise ValueError(f"the judge {self._judge.name!r} gave numbers that are not finite")
        if self._cache is not None:
            self._cache.put(key, {"heard": heard.tolist()})
        return heard


def _mean(values: Sequence[float], seed: int) -> Figure:
    interval = bootstrap_mean(values, seed=seed)
    return Figure(value=interval.mean, low=interval.low, high=interval.high, count=interval.count)


def _single(value: float, count: int) -> Figure:
    return Figure(value=value, low=None, high=None, count=count)
