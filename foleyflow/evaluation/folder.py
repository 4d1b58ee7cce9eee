"""Score the generated clips of a folder, of any system, against reference sounds or events.

    evaluate_folder(Path("generated"), Path("reference"))
    evaluate_folder(root, root, generated_pattern="{case}/frieren.m4a",
                    reference_pattern="{case}/gt.m4a")
    evaluate_systems(root)      # every <case>/<system>.* against <case>/gt.*, one report each

A reference is a media file or a JSON of events, {"events": [{"time_s": 1.25}, ...]}, optionally
with "duration_s". So the labels of a simulated data set are references, and so are its sounds, by
the pattern "{case}.flac". A JSON next to generated files is a sidecar and ignored. Where a folder
has both events and a sound of a clip, onsets are compared with the events and everything else with
the sound. `files.py` describes how clips are paired.

Unusual inputs, generated or reference:
- corrupt, without an audio track, or with samples that are not finite: listed as unreadable;
- truncated files: scored on the part that can be decoded, and listed as short;
- empty (no samples): listed as silent and short; no value where a metric needs sound;
- channels: their mean is scored (more than two are mixed to two first), so channels of opposite
  sign cancel and are listed as silent; a protocol may have another rule;
- rates, tested from 8 to 96 kHz: every metric resamples to its own rate;
- lengths: pairs are compared over the shorter of the two; judges get each sound by their own rule.
  Generated clips that end 0.25 s or more before or after the reference are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foleyflow.errors import CheckpointError, ConfigError, DataError, FoleyflowError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import Case
from foleyflow.evaluation.files import (
    CASE_PATTERN,
    EVENT_SUFFIXES,
    MEDIA_SUFFIXES,
    check_folder,
    find_files,
    find_videos,
    is_event_file,
    is_silent_video,
    read_onsets,
    read_reference,
)
from foleyflow.evaluation.metrics import METRICS, synchrony
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, Synchrony
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.report import ClipScore, Report
from foleyflow.evaluation.scoring import check_metrics, score_cases
from foleyflow.judges.interface import AnyJudge

logger = logging.getLogger(__name__)

UNEQUAL_LENGTH_S = 0.25  # a generated clip that is this much shorter or longer is listed


def evaluate_folder(
    generated: Path,
    reference: Path,
    *,
    generated_pattern: str = CASE_PATTERN,
    reference_pattern: str = CASE_PATTERN,
    windows_s: Sequence[float] = synchrony.WINDOWS_S,
    skip_without_onsets: bool = False,
    metrics: Sequence[str] = (),
    judges: Mapping[str, AnyJudge] | None = None,
    cache: ResultCache | None = None,
    protocol: Protocol | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Score every clip of a folder against its reference.

    Args:
        generated: folder of generated sounds or videos.
        reference: folder of reference sounds, videos or event files.
        generated_pattern: path below `generated` with `{case}` for the name; without a suffix
            it stands for any sound or video file.
        reference_pattern: the same below `reference`; also for event files.
        windows_s: tolerances in seconds, ascending.
        skip_without_onsets: leave out clips whose reference has no onset, instead of scoring
            them 1 if the generated sound has none either, else 0.
        metrics: names of metrics to compute in addition to synchrony, with controls.
        judges: networks by name, for the metrics that need one.
        cache: where onsets and values are stored and looked up.
        protocol: metrics and preprocessing, instead of `metrics`. Its metrics whose judge is not
            in `judges` are listed as not measured.
        seed: of the bootstrap intervals.
        progress: called with (done, total); a clip counts once when its onsets are detected, and
            once more when its metrics are computed.

    Returns:
        the scores and every file that could not be used.

    Raises:
        DataError: a folder that does not exist, or a pattern without `{case}`.
        ConfigError: an unknown metric, or metrics together with a protocol.
        CheckpointError: a metric whose judge is not loaded, or a protocol without any judge.
        MissingExtra: librosa or mir_eval is not installed.
    """
    metrics, not_measured = _computable_metrics(metrics, judges or {}, protocol)
    check_metrics(metrics, judges or {})

    # Find the files of each clip.
    generated_files = find_files(generated, generated_pattern, MEDIA_SUFFIXES)
    references = find_files(reference, reference_pattern, EVENT_SUFFIXES + MEDIA_SUFFIXES)
    true_sounds = find_files(reference, reference_pattern, MEDIA_SUFFIXES)
    videos: dict[str, Path] = {}
    if any(METRICS[name].needs_video for name in metrics):
        videos = find_videos(generated, generated_pattern)
        videos |= find_videos(reference, reference_pattern)

    # Detect onsets.
    names = sorted(generated_files.keys() & references.keys())
    total = len(names) * (2 if metrics else 1)
    inputs = _Inputs()
    for done, name in enumerate(names, start=1):
        if progress is not None:
            progress(done, total)
        try:
            inputs.read(
                name,
                generated_files[name],
                references[name],
                cache=cache,
                skip_without_onsets=skip_without_onsets,
            )
        except FoleyflowError as error:
            logger.warning("%s: %s", name, error)
            inputs.unreadable[name] = str(error)

    # Score synchrony, then the other metrics.
    result = None
    if inputs.onsets:
        true, found = zip(*inputs.onsets.values(), strict=True)
        result = synchrony.compare(true, found, windows_s=windows_s, seed=seed)
    cases = [
        _case(
            name,
            generated_files[name],
            references[name],
            true_sounds.get(name),
            videos.get(name),
            onsets,
        )
        for name, onsets in inputs.onsets.items()
    ]
    scores = {}
    if metrics and cases:
        scores = score_cases(
            cases,
            metrics,
            judges=judges,
            cache=cache,
            protocol=protocol,
            seed=seed,
            progress=None if progress is None else _second_half(progress, len(names)),
        )
    return Report(
        synchrony=result,
        clips=_clip_scores(inputs.onsets, result),
        only_generated=tuple(sorted(generated_files.keys() - references.keys())),
        only_reference=tuple(sorted(references.keys() - generated_files.keys())),
        unreadable=inputs.unreadable,
        silent=tuple(inputs.silent),
        short=tuple(inputs.short),
        long=tuple(inputs.long),
        skipped=tuple(inputs.skipped),
        scores=scores,
        files={case.name: (case.generated, case.true_sound) for case in cases},
        protocol=protocol,
        not_measured=not_measured,
    )


def evaluate_systems(
    root: Path,
    *,
    reference_name: str = "gt",
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict[str, Report]:
    """Score several systems on the same clips: `<root>/<case>/<system>.*` against `gt.*`.

    Args:
        root: folder of one folder per clip.
        reference_name: file stem of the true sound in each.
        progress: as in `evaluate_folder`, over all systems.
        options: other keyword arguments of `evaluate_folder`, except the patterns. With a cache,
            controls are computed once for all systems.

    Returns:
        system -> report, by name.

    Raises:
        DataError: no such folder, or no system in it; otherwise as `evaluate_folder`.
    """
    check_folder(root)
    stems = {path.stem for path in root.glob("*/*") if path.suffix.lower() in MEDIA_SUFFIXES}
    systems = sorted(stems - {reference_name})
    if not systems:
        raise DataError(
            f"{root}: no <case>/<system> sounds in it",
            hint=f"expected folders that hold {reference_name}.* and one file per system",
        )
    return {
        system: evaluate_folder(
            root,
            root,
            generated_pattern=f"{CASE_PATTERN}/{system}",
            reference_pattern=f"{CASE_PATTERN}/{reference_name}",
            progress=None if progress is None else _part_of(progress, index, len(systems)),
            **options,
        )
        for index, system in enumerate(systems)
    }


def _second_half(progress: Callable[[int, int], None], count: int) -> Callable[[int, int], None]:
    """The progress of scoring as the second half; clips that were left out count as done."""
    return lambda done, total: progress(2 * count - (total - done), 2 * count)


def _part_of(
    progress: Callable[[int, int], None], index: int, count: int
) -> Callable[[int, int], None]:
    """The progress of one of several equal parts as progress of all."""
    return lambda done, total: progress(index * total + done, count * total)


def _computable_metrics(
    metrics: Sequence[str], judges: Mapping[str, AnyJudge], protocol: Protocol | None
) -> tuple[Sequence[str], dict[str, str]]:
    """The metrics to compute, and those of a protocol that cannot be, with the reason."""
    if protocol is None:
        return metrics, {}
    if metrics:
        raise ConfigError(
            f"got metrics {', '.join(metrics)} and the protocol {protocol.name!r}, which has its "
            "own metrics",
            hint="score these metrics in a separate run",
        )
    needed = {name: METRICS[name].judge for name in protocol.metrics}
    missing = {
        name: f"the judge {judge!r} is not available"
        for name, judge in needed.items()
        if judge is not None and judge not in judges
    }
    if all(judge is None or name in missing for name, judge in needed.items()):
        raise CheckpointError(
            f"none of the judges of the protocol {protocol.name!r} is available: "
            + ", ".join(dict.fromkeys(str(judge) for judge in needed.values() if judge)),
            hint="`foleyflow evaluate --judges FOLDER` lists the files that it expects",
        )
    return [name for name in protocol.metrics if name not in missing], missing


@dataclass
class _Inputs:
    """The onsets of the clips, (reference, generated), and the clips with a remark."""

    onsets: dict[str, tuple[ClipOnsets, ClipOnsets]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def read(
        self,
        name: str,
        generated: Path,
        reference: Path,
        *,
        cache: ResultCache | None,
        skip_without_onsets: bool,
    ) -> None:
        found, silent = read_onsets(generated, cache)
        true = read_reference(reference, duration_s=found.duration_s, cache=cache)
        if skip_without_onsets and not len(true.times_s):
            self.skipped.append(name)
            return
        if silent:
            self.silent.append(name)
        if found.duration_s <= true.duration_s - UNEQUAL_LENGTH_S:
            self.short.append(name)
        if found.duration_s >= true.duration_s + UNEQUAL_LENGTH_S:
            self.long.append(name)
        self.onsets[name] = true, found


def _case(
    name: str,
    generated: Path,
    reference: Path,
    true_sound: Path | None,
    video: Path | None,
    onsets: tuple[ClipOnsets, ClipOnsets],
) -> Case:
    """A clip for `score_cases`, with the onsets that are already detected."""
    true, found = onsets
    if not is_event_file(reference):
        return Case(
            name=name,
            generated=generated,
            true_sound=reference,
            onsets={generated: found, reference: true},
            video=video,
        )
    if true_sound is not None and is_silent_video(true_sound):
        true_sound = None
    return Case(
        name=name,
        generated=generated,
        true_sound=true_sound,
        events=true,
        onsets={generated: found},
        video=video,
    )


def _clip_scores(
    onsets: Mapping[str, tuple[ClipOnsets, ClipOnsets]], result: Synchrony | None
) -> tuple[ClipScore, ...]:
    if result is None:
        return ()
    scores = []
    widest_s = max(window.window_s for window in result.windows)
    for index, (name, (true, found)) in enumerate(onsets.items()):
        true_s, found_s = synchrony.common_onsets(true, found)
        lags_s = synchrony.matched_lags_s(true_s, found_s, widest_s)
        scores.append(
            ClipScore(
                case=name,
                duration_s=min(true.duration_s, found.duration_s),
                reference_onsets=len(true_s),
                generated_onsets=len(found_s),
                f1={w.window_s: float(w.per_clip_f1[index]) for w in result.windows},
                median_lag_s=synchrony.median_lag(lags_s),
                best_lag_s=float(result.lag_free.lags_s[index]),
                lag_free_f1=float(result.lag_free.per_clip_f1[index]),
            )
        )
    return tuple(scores)
