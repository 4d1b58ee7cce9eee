"""Score clips by metrics, each clip with its controls.

The controls are the true sound, silence, white noise as loud as the true sound, and the true
sound of another clip (of the previous one in the list; of the last one for the first). A clip
whose reference has only annotated events has no true sound, so its only control is silence of the
generated sound's length. `BLOCK_CLIPS` clips are in memory at a time, so that a judge may take
their sounds together. A clip for which a metric has no value is listed under that metric with the
reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from foleyflow.errors import CheckpointError, ConfigError, FoleyflowError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import (
    Case,
    Silence,
    Silences,
    Sound,
    SoundFiles,
    sounds_by_condition,
)
from foleyflow.evaluation.computations import AudioJudged, FileBased, Pairwise, VideoJudged
from foleyflow.evaluation.judge_scores import AudioJudgeScores, FileScores, VideoJudgeScores
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.pairwise_scores import GroupScores
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.scores import MetricScore
from foleyflow.judges.interface import DEFAULT_AUDIO_PREPROCESSING, AnyJudge, Judge, PairJudge
from foleyflow.system.generic_types import Progress

# Metrics that are part of every synchrony report, since they compare all clips with all others
ALWAYS_REPORTED = tuple(name for name, metric in METRICS.items() if metric.computation is None)

BLOCK_CLIPS = 8
KEPT_SOUNDS = 2 * BLOCK_CLIPS + 2  # the sounds of a block, and two true ones before it

ClipScores = GroupScores | AudioJudgeScores | VideoJudgeScores | FileScores


def check_metrics(names: Sequence[str], judges: Mapping[str, AnyJudge]) -> None:
    """Refuse metrics that cannot be computed with the given judges, before any work.

    Raises:
        ConfigError: an unknown metric, or one that is part of every report.
        CheckpointError: a metric whose judge is not loaded.
    """
    for name in names:
        if name in ALWAYS_REPORTED:
            raise ConfigError(f"{name} is part of every report", hint="leave it out of the list")
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            available = [known for known in METRICS if known not in ALWAYS_REPORTED]
            raise ConfigError(
                f"no metric {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                hint=f"available metrics: {', '.join(available)}",
            )
        if METRICS[name].judge is not None:
            judge_for(METRICS[name], judges)


def judge_for(metric: Metric, judges: Mapping[str, AnyJudge]) -> AnyJudge:
    """The judge that a metric needs.

    Raises:
        CheckpointError: it is not loaded, or is listed under another name than its own.
    """
    judge = judges.get(metric.judge or "")
    if judge is None:
        available = ", ".join(sorted(judges)) or "none"
        raise CheckpointError(
            f"{metric.name} needs the judge {metric.judge!r}, which is not available "
            f"(available: {available})",
            hint="leave this metric out; metrics without a judge need no weights",
        )
    if judge.name != metric.judge:
        raise CheckpointError(
            f"{metric.name} needs the judge {metric.judge!r}, got one named {judge.name!r}"
        )
    return judge


def score_cases(
    cases: Sequence[Case],
    names: Sequence[str],
    *,
    judges: Mapping[str, AnyJudge] | None = None,
    cache: ResultCache | None = None,
    protocol: Protocol | None = None,
    files: SoundFiles | None = None,
    progress: Progress | None = None,
) -> dict[str, MetricScore]:
    """Metric -> score of the clips, in the order of `names`, each once.

    The other arguments are those of `evaluate_folder`; only the preprocessing of the protocol is
    used, `files` has sounds that were already read, and `progress` is called with (clips done,
    clips in total).

    Raises:
        ConfigError: an unknown metric.
        CheckpointError: a metric whose judge is not loaded.
        OSError: a file that no longer exists.
        MissingExtra: librosa or mir_eval is not installed.
    """
    judges = judges or {}
    check_metrics(names, judges)
    metrics = [METRICS[name] for name in dict.fromkeys(names)]
    collected = _collectors(metrics, judges, cache, protocol)
    # The true sound of the previous clip is the control "other" of the next one
    with_sound = [case for case in cases if case.true_sound is not None]
    previous = with_sound[-1] if len(with_sound) > 1 else None
    scorer = _scorer_of(collected, protocol, SoundFiles(KEPT_SOUNDS) if files is None else files)
    for start in range(0, len(cases), BLOCK_CLIPS):
        block = cases[start : start + BLOCK_CLIPS]
        scorer.add(block, previous, start, len(cases), progress)
        if len(with_sound) > 1:
            previous = next((c for c in reversed(block) if c.true_sound is not None), previous)
    scores = {metric.name: collected[metric.name].score(metric) for metric in metrics}
    if protocol is None:
        return scores
    return {name: _with_protocol(score, protocol) for name, score in scores.items()}


class BlockScorer:
    """Passes the sounds of clips and of their controls to objects that collect values."""

    def __init__(
        self, collected: Sequence[ClipScores], *, files: SoundFiles, narrow_hz: int | None
    ) -> None:
        self._collected = collected
        self._files = files
        self._narrow_hz = narrow_hz
        self._silences: Silences = {}

    def add(
        self,
        cases: Sequence[Case],
        previous: Case | None,
        done: int,
        total: int,
        progress: Progress | None,
    ) -> None:
        """Score a block of clips.

        Args:
            cases: of the block.
            previous: clip whose true sound is the control "other" of the first one.
            done, total: number of clips before the block, and of all clips, for `progress`.
        """
        # The sounds of all clips, none of them read yet
        pending: list[tuple[Case, dict[str, Sound]]] = []
        for case in cases:
            true, other = (self._files.true_sound_of(each) for each in (case, previous))
            generated = self._files.generated_sound_of(case)
            sounds = sounds_by_condition(
                generated, true, other, silences=self._silences, narrow_hz=self._narrow_hz
            )
            pending.append((case, sounds))
            previous = case if true is not None and previous is not None else previous
        # Judges that take many sounds at a time; silences share their outputs anyway, and "other"
        # is the true sound of another clip
        for clip_scores in self._collected:
            if isinstance(clip_scores, AudioJudgeScores):
                clip_scores.prepare(
                    sound
                    for _, sounds in pending
                    for condition, sound in sounds.items()
                    if condition != "other" and not isinstance(sound, Silence)
                )
        # Clip by clip
        for number, (case, sounds) in enumerate(pending, start=done + 1):
            for clip_scores in self._collected:
                clip_scores.add(case, sounds)
            pending[number - done - 1] = case, {}  # the controls are needed no more
            if progress is not None:
                progress(number, total)


def block_scorer(
    names: Sequence[str],
    judges: Mapping[str, AnyJudge],
    cache: ResultCache,
    protocol: Protocol | None,
    files: SoundFiles,
) -> BlockScorer:
    """A scorer that puts all values of some metrics into a cache; errors as `score_cases`."""
    check_metrics(names, judges)
    metrics = [METRICS[name] for name in dict.fromkeys(names)]
    return _scorer_of(_collectors(metrics, judges, cache, protocol), protocol, files)


def judges_of(
    names: Iterable[str], folder: Path, device: str
) -> tuple[dict[str, AnyJudge], dict[str, FoleyflowError]]:
    """The judges that metrics need, and the errors of those that cannot be loaded."""
    needed = [METRICS[name].judge for name in names if name in METRICS]
    if not any(needed):
        return {}, {}
    from foleyflow.judges.adapters import load_judges

    return load_judges(filter(None, needed), folder, device)


def _scorer_of(
    collected: Mapping[str, ClipScores], protocol: Protocol | None, files: SoundFiles
) -> BlockScorer:
    narrow_hz = None if protocol is None else protocol.narrow_hz
    return BlockScorer(tuple(dict.fromkeys(collected.values())), files=files, narrow_hz=narrow_hz)


def _collectors(
    metrics: Sequence[Metric],
    judges: Mapping[str, AnyJudge],
    cache: ResultCache | None,
    protocol: Protocol | None,
) -> dict[str, ClipScores]:
    """Metric -> the object that collects its values; the metrics of a pairwise group share one."""
    audio = DEFAULT_AUDIO_PREPROCESSING if protocol is None else protocol.audio_preprocessing
    groups: dict[str, GroupScores] = {}
    collectors: dict[str, ClipScores] = {}
    for metric in metrics:
        match metric.computation:
            case Pairwise(group=group):
                if group.name not in groups:
                    groups[group.name] = GroupScores(group, cache)
                collectors[metric.name] = groups[group.name]
            case AudioJudged() as judged:
                judge = cast(Judge, judge_for(metric, judges))
                collectors[metric.name] = AudioJudgeScores(judged, judge, cache, audio)
            case VideoJudged() as judged:
                pair_judge = cast(PairJudge, judge_for(metric, judges))
                collectors[metric.name] = VideoJudgeScores(judged, pair_judge, cache, audio)
            case FileBased() as file_based:
                collectors[metric.name] = FileScores(file_based)
    return collectors


def _with_protocol(score: MetricScore, protocol: Protocol) -> MetricScore:
    """A score with the name of its protocol and the meaning of "band-limited" in it."""
    remarks = score.remarks
    if "generated_narrow" in score.figures:
        remarks = (*remarks, f"band-limited: the true sound at {protocol.narrow_hz} Hz")
    return replace(score, protocol=protocol.name, remarks=remarks)
