"""Values of the metrics that need a judge, and of those read from files; one class per kind.

Each class takes one clip after another (`add`) and returns the figures at the end (`score`); none
keeps a sound.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.evaluation import controls, judge_video
from foleyflow.evaluation.cache import ResultCache, cached, code_sha256, compact
from foleyflow.evaluation.cases import Case, Sound
from foleyflow.evaluation.computations import AudioJudged, FileBased, VideoJudged
from foleyflow.evaluation.judge_video import JudgeVideo, StoredFeatures
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import audiovisual, distribution
from foleyflow.evaluation.metrics.audiovisual import control_shift_s, shifted_pair
from foleyflow.evaluation.pairwise_scores import NO_TRUE_SOUND
from foleyflow.evaluation.scores import (
    CONDITIONS,
    Figure,
    MetricScore,
    mean_figure,
    mean_score,
    padding_remarks,
)
from foleyflow.judges import interface, preprocessing
from foleyflow.judges.interface import (
    BatchJudge,
    Judge,
    PairJudge,
    PairPadding,
    judge_json,
    pair_judge_json,
    preprocess_audio,
)
from foleyflow.judges.networks import time_shifts
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.judges.video_features import KeepsVideoFeatures
from foleyflow.media import loudness, reader, waveform
from foleyflow.signals import Waveform

# Modules whose code affects the inputs of all judges
MODULES = (
    audiovisual,
    controls,
    preprocessing,
    interface,
    judge_video,
    loudness,
    reader,
    waveform,
    time_shifts,
)
NO_VIDEO = "there is no video of it, neither among the references nor among the results"


class AudioJudgeScores:
    """Outputs of one judge for one metric: condition -> clip -> logits or embeddings."""

    def __init__(
        self,
        computation: AudioJudged,
        judge: Judge,
        cache: ResultCache | None,
        audio_preprocessing: AudioPreprocessing,
    ) -> None:
        self._computation = computation
        self._judge = judge
        self._judge_json = judge_json(judge, audio_preprocessing)
        self._audio_preprocessing = audio_preprocessing
        self._cache = cache
        self._sets = ResultCache() if cache is None else cache
        self._outputs: dict[str, dict[str, NDArray[Any]]] = {}
        self._identities: dict[str, dict[str, str]] = {}
        self._left_out: dict[str, str] = {}

    def prepare(self, sounds: Iterable[Sound]) -> None:
        """Compute the missing outputs of several sounds together and put them into the cache.

        Nothing is done without a cache, or for a judge that takes one sound at a time. Sounds that
        cannot be read or are refused are left to `add`, which lists them.
        """
        if self._cache is None or not isinstance(self._judge, BatchJudge):
            return
        missing: dict[str, tuple[Sound, NDArray[np.float32]]] = {}
        for sound in sounds:
            key = self._key(self._computation.output, sound)
            if sound.identity in missing or self._cache.has(key, sound.pack):
                continue
            with contextlib.suppress(ValueError, MediaError):
                samples = preprocess_audio(self._judge, sound.waveform, self._audio_preprocessing)
                missing[sound.identity] = sound, samples
        results = self._judge.outputs([samples for _, samples in missing.values()])
        for (sound, _), result in zip(missing.values(), results, strict=True):
            for method, output in result.items():
                if np.isfinite(output).all():
                    self._cache.put(self._key(method, sound), {"output": output}, sound.pack)

    def add(self, case: Case, sounds: Mapping[str, Sound]) -> None:
        """Compute the judge's outputs for the sounds of a clip."""
        if self._computation.uses_reference and "true" not in sounds:
            self._left_out[case.name] = NO_TRUE_SOUND
            return
        for condition, sound in sounds.items():
            try:
                output = self._output(sound)
            except (ValueError, MediaError) as error:
                self._left_out[case.label(condition)] = str(error)
            else:
                self._outputs.setdefault(condition, {})[case.name] = output
                self._identities.setdefault(condition, {})[case.name] = sound.identity

    def score(self, metric: Metric) -> MetricScore:
        """The figures; with references, only over clips whose true sound has an output."""
        figures: dict[str, Figure] = {}
        clips: dict[str, float] = {}
        remarks: list[str] = []
        for condition, label in CONDITIONS.items():
            names, against = self._compared(condition)
            if not names:
                continue
            outputs = [self._outputs[condition][name] for name in names]
            try:
                result = self._computation.compute(self._reference(against, names), outputs)
            except ValueError as error:
                remarks.append(f"{label}: {error}")
                continue
            remarks += result.remarks
            if not self._computation.per_clip:
                (value,) = result.values
                figures[condition] = Figure(value=value, low=None, high=None, count=len(names))
                continue
            figures[condition] = mean_figure(result.values)
            if condition == "generated":
                clips = dict(zip(names, result.values, strict=True))
        return MetricScore(
            metric=metric,
            figures=figures,
            clips=clips,
            left_out=self._left_out,
            remarks=tuple(dict.fromkeys(remarks)),
            judge=self._judge_json,
        )

    def _compared(self, condition: str) -> tuple[list[str], str | None]:
        """The clips of a condition that can be compared, and the condition of their references."""
        names = list(self._outputs.get(condition, {}))
        # The set of all other clips' true sounds is the set of true sounds: no control
        if condition == "other" and not self._computation.per_clip:
            return [], None
        if not self._computation.uses_reference:
            return ([] if condition == "generated_narrow" else names), None
        true = self._outputs.get("true", {})
        against = "true_narrow" if condition == "generated_narrow" else "true"
        references = self._outputs.get(against, {})
        return [name for name in names if name in true and name in references], against

    def _reference(self, condition: str | None, names: Sequence[str]) -> Any:
        """What `AudioJudged.compute` compares with: outputs of the references, or their statistic.

        The statistic of a set of references is computed once and kept in the cache, because all
        systems and conditions are compared with the same one.
        """
        if condition is None:
            return []
        outputs = [self._outputs[condition][name] for name in names]
        summarise = self._computation.summarise
        if summarise is None:
            return outputs
        identities = [self._identities[condition][name] for name in names]
        set_sha256 = hashlib.sha256(json.dumps(identities).encode()).hexdigest()
        key = ["set", self._computation.statistic, self._computation.output, self._judge_json]
        key += [code_sha256(*MODULES, distribution), set_sha256]
        return cached(self._sets, lambda: key, lambda: summarise(outputs), f"set:{set_sha256}")

    def _key(self, method: str, sound: Sound) -> list[Any]:
        return [method, self._judge_json, code_sha256(*MODULES), sound.identity]

    def _output(self, sound: Sound) -> NDArray[Any]:
        judge, method = self._judge, self._computation.output

        def run(waveform: Waveform) -> NDArray[np.float64]:
            samples = preprocess_audio(judge, waveform, self._audio_preprocessing)
            return judge.embed(samples) if method == "embed" else judge.logits(samples)

        def compute() -> dict[str, Any]:
            output = np.asarray(sound.analysis(f"{method} by {judge.name}", run), np.float64)
            if not np.isfinite(output).all():
                raise ValueError(f"the judge {judge.name!r} returned numbers that are not finite")
            return {"output": output}

        found = cached(self._cache, lambda: self._key(method, sound), compute, sound.pack)
        return compact(np.asarray(found["output"]))


class VideoJudgeScores:
    """Values of a judge that takes a video with a sound: condition -> clip -> value."""

    def __init__(
        self,
        computation: VideoJudged,
        judge: PairJudge,
        cache: ResultCache | None,
        audio_preprocessing: AudioPreprocessing,
    ) -> None:
        self._threshold = computation.threshold
        # Features take up to a megabyte a clip, so they are kept in folders only
        self._keeps_features = cache is not None and cache.folder is not None
        self._judge = judge
        self._judge_json = pair_judge_json(judge, audio_preprocessing)
        self._audio_preprocessing = audio_preprocessing
        self._cache = cache
        self._values: dict[str, dict[str, float]] = {}
        self._padding: dict[str, dict[str, PairPadding]] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, sounds: Mapping[str, Sound]) -> None:
        """Evaluate the video of a clip with each of its sounds, and with its sound shifted."""
        if case.video is None:
            self._left_out[case.name] = NO_VIDEO
            return
        video = JudgeVideo(case.video, self._judge.video_preprocessing, self._audio_preprocessing)
        pairs = {
            condition: (sound, False)
            for condition, sound in sounds.items()
            if "narrow" not in condition
        }
        if "true" in sounds:
            pairs["shifted"] = (sounds["true"], True)
        for condition, (sound, shifted) in pairs.items():
            try:
                pack = sounds["true"].pack if condition == "other" else sound.pack
                output, padding = self._output(video, sound, pack, shifted=shifted)
            except (ValueError, MediaError) as error:
                self._left_out[case.label(condition)] = str(error)
            else:
                value = output if self._threshold is None else float(output > self._threshold)
                self._values.setdefault(condition, {})[case.name] = value
                if self._judge.pads is not None:
                    self._padding.setdefault(condition, {})[case.name] = padding

    def score(self, metric: Metric) -> MetricScore:
        """The mean under each condition; with a threshold, also the false positives."""
        score = mean_score(
            metric, self._values, self._left_out, judge=self._judge_json, padding=self._padding
        )
        remarks = padding_remarks(self._padding)
        if self._threshold is not None:
            false_positives = [
                f"{100 * figure.value:.0f} % of {figure.count} {pairs}"
                for condition, pairs in (("shifted", "shifted pairs"), ("other", "swapped pairs"))
                if (figure := score.figures.get(condition)) is not None
            ]
            if false_positives:
                remarks.insert(0, "false positives, on true sounds: " + ", ".join(false_positives))
        return replace(score, remarks=tuple(remarks))

    def _output(
        self, video: JudgeVideo, sound: Sound, pack: str, *, shifted: bool
    ) -> tuple[float, PairPadding]:
        """The judge's output for a pair, and the padding of its input."""
        judge = self._judge

        def compute() -> dict[str, Any]:
            frames, rate_hz = video.frames, judge.rate_hz
            samples = self._audio_preprocessing.apply(sound.waveform, rate_hz)
            if shifted:
                longest_s = len(samples) / rate_hz - judge.shortest_s
                shift_s = control_shift_s(int(sound.identity[:8], 16), longest_s)
                frames, samples = shifted_pair(frames, samples, rate_hz, shift_s)
            elif isinstance(judge, KeepsVideoFeatures) and self._keeps_features:
                judge.keep_features(
                    frames,
                    StoredFeatures(self._cache, [self._judge_json, code_sha256(*MODULES)], video),
                )
            if not np.isfinite(samples).all():
                raise ValueError("some samples are not finite")
            output = judge.score(frames, samples)
            if not np.isfinite(output):
                raise ValueError(f"the judge {judge.name!r} returned a number that is not finite")
            return {"output": output, "padding": asdict(judge.padding(frames, samples))}

        key = ["video", self._judge_json, code_sha256(*MODULES), sound.identity, shifted]
        found = cached(self._cache, lambda: [*key, video.identity], compute, pack)
        return float(found["output"]), PairPadding(**found["padding"])


class FileScores:
    """Values read from the generated files, which have no controls."""

    def __init__(self, computation: FileBased) -> None:
        self._measure = computation.measure
        self._values: dict[str, float] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, sounds: Mapping[str, Sound]) -> None:
        """Read the value of a clip."""
        try:
            self._values[case.name] = self._measure(case.generated)
        except ValueError as error:
            self._left_out[case.name] = str(error)

    def score(self, metric: Metric) -> MetricScore:
        """The mean over clips."""
        return mean_score(metric, {"generated": self._values}, self._left_out)
