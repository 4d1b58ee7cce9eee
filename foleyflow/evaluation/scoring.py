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
from dataclasses import replace
from typing import Any, cast

import numpy as np

from foleyflow.errors import CheckpointError, ConfigError, MediaError
from foleyflow.evaluation import controls, pairwise_metrics
from foleyflow.evaluation.cache import ResultCache, code_sha256
from foleyflow.evaluation.cases import Case, SilentSounds, Sound, label_of, rows_of, true_sound_of
from foleyflow.evaluation.judge_scores import (
    NO_TRUE_SOUND,
    AudioJudgeScores,
    GenerationTimeScores,
    PairJudgeScores,
    mean_figure,
)
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.speed import GENERATION_TIME
from foleyflow.evaluation.pairwise_metrics import FAMILIES, PairwiseMetricGroup
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.scores import ROWS, MetricScore
from foleyflow.judges.interface import (
    DEFAULT_AUDIO_PREPROCESSING,
    AnyJudge,
    Judge,
    PairJudge,
)
from foleyflow.media import loudness
from foleyflow.media import waveform as reading
from foleyflow.signals import Waveform

# The code that every figure of a pair of sounds depends on, whatever the metric.
MODULES = (controls, pairwise_metrics, loudness, reading)
# Every report of synchrony holds these as they are; they compare all clips with all others.
ALWAYS_REPORTED = ("shuffled_f1", "gain", "lag_free_f1", "lag_free_gain", "median_lag")


def check_metrics(names: Sequence[str], judges: Mapping[str, AnyJudge]) -> None:
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
    judges: Mapping[str, AnyJudge] | None = None,
    cache: ResultCache | None = None,
    protocol: Protocol | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, MetricScore]:
    """Score clips by some metrics, with controls.

    Args:
        cases: the clips, in the order of their names.
        names: of metrics.
        judges: networks by name, for the metrics that need one.
        cache: where figures of single sounds are kept and looked up.
        protocol: how judges are given the sounds; None for plainly.
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
    told = {
        name: _values_of(metric, judges, cache, protocol)
        for name, metric in wanted.items()
        if metric.judge is not None or metric is GENERATION_TIME
    }
    narrow_hz = None if protocol is None else protocol.narrow_hz
    silences = SilentSounds()
    with_sound = [case for case in cases if case.true_sound is not None]
    previous = true_sound_of(with_sound[-1]) if len(with_sound) > 1 else None
    for done, case in enumerate(cases, start=1):
        true = true_sound_of(case)
        rows = rows_of(case, true, previous, silences=silences, narrow_hz=narrow_hz)
        pairs.add(case, true, rows)
        for values in told.values():
            values.add(case, rows)
        previous = true if true is not None and len(with_sound) > 1 else previous
        if progress is not None:
            progress(done, len(cases))
    scores = {
        name: told[name].score(metric, seed) if name in told else pairs.score(metric, seed)
        for name, metric in wanted.items()
    }
    if protocol is None:
        return scores
    return {name: _followed(score, protocol) for name, score in scores.items()}


def _followed(score: MetricScore, protocol: Protocol) -> MetricScore:
    """A score that says which protocol it follows, and what "narrow" is in it."""
    said = score.remarks
    if "generated_narrow" in score.rows:
        said = (*said, f"narrow: the true sound at {protocol.narrow_hz} Hz")
    return replace(score, protocol=protocol.name, remarks=said)


def _values_of(
    metric: Metric,
    judges: Mapping[str, AnyJudge],
    cache: ResultCache | None,
    protocol: Protocol | None,
) -> AudioJudgeScores | PairJudgeScores | GenerationTimeScores:
    """What gathers the values of a metric that needs a judge or a sidecar."""
    if metric.judge is None:
        return GenerationTimeScores()
    judge = judge_for(metric, judges)
    hearing = DEFAULT_AUDIO_PREPROCESSING if protocol is None else protocol.hearing
    if metric.needs_video:
        return PairJudgeScores(cast(PairJudge, judge), metric, cache, hearing)
    return AudioJudgeScores(cast(Judge, judge), metric, cache, hearing)


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

    def add(self, case: Case, true: Sound | None, rows: Mapping[str, Sound]) -> None:
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
                    self._leave_out(family, label_of(case, row), result["why"])
                    continue
                for metric, value in zip(family.metrics, result["values"], strict=True):
                    by_row = self._values.setdefault(metric, {}).setdefault(row, {})
                    by_row[case.name] = value

    def score(self, metric: Metric, seed: int) -> MetricScore:
        values = self._values.get(metric.name, {})
        return MetricScore(
            metric=metric,
            rows={
                row: mean_figure(list(values[row].values()), seed) for row in ROWS if row in values
            },
            clips=values.get("generated", {}),
            left_out=self._left_out.get(metric.name, {}),
        )

    def _leave_out(self, family: PairwiseMetricGroup, label: str, why: str) -> None:
        for metric in family.metrics:
            self._left_out.setdefault(metric, {})[label] = why

    def _result(self, name: str, reference: Sound, sound: Sound) -> dict[str, Any]:
        key = ["pair", name, self._code[name], reference.identity, sound.identity]
        known = None if self._cache is None else self._cache.get(key)
        if known is not None:
            return known
        family = self._families[name]
        try:
            true, made = (_analysed(one, name, family) for one in (reference, sound))
            result: dict[str, Any] = {"values": list(family.compare(true, made))}
            if not np.isfinite(result["values"]).all():
                raise ValueError("the figure is not finite; some samples of a sound are not")
        except ValueError as error:
            result = {"why": str(error)}
        if self._cache is not None:
            self._cache.put(key, result)
        return result


def _analysed(sound: Sound, name: str, family: PairwiseMetricGroup) -> Any:
    basis = family.basis
    if basis is None:
        return sound.analysis(name, family.analyse)
    return sound.analysis(name, lambda _: family.analyse(sound.analysis(basis.__name__, basis)))


def _reference(case: Case, true: Sound | None, name: str) -> Sound | None:
    """What a family compares with: the events where they are known and it can, else the sound."""
    family = FAMILIES[name]
    if case.events is None or family.of_events is None:
        return true
    times_s, duration_s = case.events.times_s.tolist(), case.events.duration_s
    digest = hashlib.sha256(json.dumps([times_s, duration_s]).encode()).hexdigest()
    return Sound(f"events:{digest}", _no_sound, {name: family.of_events(case.events)})


def _no_sound() -> Waveform:
    raise ValueError("events have no sound")


def judge_for(metric: Metric, judges: Mapping[str, AnyJudge]) -> AnyJudge:
    """The judge that a metric needs.

    Args:
        metric: one with a judge.
        judges: those that are there, by name.

    Raises:
        CheckpointError: it is not there, or goes by another name than its own.

    Source: ours.
    """
    judge = judges.get(metric.judge or "")
    if judge is None:
        there = ", ".join(sorted(judges)) or "none"
        raise CheckpointError(
            f"{metric.name} needs the judge {metric.judge!r}, which is not here (there: {there})",
            hint="leave this metric out; those without a judge need no weights",
        )
    if judge.name != metric.judge:
        raise CheckpointError(
            f"{metric.name} needs the judge {metric.judge!r}, got one named {judge.name!r}"
        )
    return judge
