"""Values of the metrics that compare one sound with one reference, without a judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from foleyflow.errors import MediaError
from foleyflow.evaluation import controls
from foleyflow.evaluation.cache import ResultCache, cached, code_sha256
from foleyflow.evaluation.cases import Case, Sound
from foleyflow.evaluation.computations import Pairwise, PairwiseGroup
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.scores import MetricScore, mean_score
from foleyflow.media import loudness, waveform
from foleyflow.signals import Waveform

# Modules whose code affects the values of all metrics
MODULES = (controls, loudness, waveform)
NO_TRUE_SOUND = "its reference has events and no sound"


class GroupScores:
    """Values of all metrics of one group: metric -> condition -> clip -> value."""

    def __init__(self, group: PairwiseGroup, cache: ResultCache | None) -> None:
        self._group = group
        self._value_of = {
            metric.name: metric.computation.value
            for metric in METRICS.values()
            if isinstance(metric.computation, Pairwise) and metric.computation.group is group
        }
        self._cache = cache
        self._values: dict[str, dict[str, dict[str, float]]] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, sounds: Mapping[str, Sound]) -> None:
        """Compare the sounds of a clip with its reference."""
        reference = self._reference(case, sounds.get("true"))
        if reference is None:
            self._left_out[case.name] = NO_TRUE_SOUND
            return
        for condition, sound in sounds.items():
            try:
                # The comparison with another clip belongs to this one
                pack = sounds["true"].pack if condition == "other" else sound.pack
                result = self._result(reference, sound, pack)
            except MediaError as error:
                result = {"why": str(error)}
            if "why" in result:
                self._left_out[case.label(condition)] = result["why"]
                continue
            for name, value in zip(self._value_of, result["values"], strict=True):
                by_condition = self._values.setdefault(name, {})
                by_condition.setdefault(condition, {})[case.name] = value

    def score(self, metric: Metric) -> MetricScore:
        """The score of one metric of the group."""
        return mean_score(metric, self._values.get(metric.name, {}), self._left_out)

    def _reference(self, case: Case, true: Sound | None) -> Sound | None:
        """The annotated events where the group can compare with them, else the true sound."""
        if case.events is None or self._group.analyse_events is None:
            return true
        times_s, duration_s = case.events.times_s.tolist(), case.events.duration_s
        digest = hashlib.sha256(json.dumps([times_s, duration_s]).encode()).hexdigest()
        analyses = {self._group.name: self._group.analyse_events(case.events)}
        return Sound(f"events:{digest}", _no_waveform, analyses)

    def _result(self, reference: Sound, sound: Sound, pack: str) -> dict[str, Any]:
        """{"values": one per metric} or {"why": reason that there are none}."""
        name, code = self._group.name, code_sha256(*MODULES, *self._group.modules)

        def compute() -> dict[str, Any]:
            try:
                compared = self._group.compare(self._analyse(reference), self._analyse(sound))
                values = [value(compared) for value in self._value_of.values()]
                if not np.isfinite(values).all():
                    raise ValueError("the value is not finite; some samples of a sound are not")
                return {"values": values}
            except ValueError as error:
                return {"why": str(error)}

        key = ["pair", name, code, reference.identity, sound.identity]
        return cached(self._cache, lambda: key, compute, pack)

    def _analyse(self, sound: Sound) -> Any:
        analyse, basis = self._group.analyse, self._group.basis
        if basis is None:
            return sound.analysis(self._group.name, analyse)
        return sound.analysis(
            self._group.name, lambda _: analyse(sound.analysis(basis.__name__, basis))
        )


def _no_waveform() -> Waveform:
    raise ValueError("events have no waveform")
