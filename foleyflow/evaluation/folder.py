"""Score the generated clips of a folder, of any system, against reference sounds or events.

    evaluate_folder(Path("generated"), Path("reference"))
    evaluate_folder(root, root, generated_pattern="{case}/frieren.m4a",
                    reference_pattern="{case}/gt.m4a")
    evaluate_systems(root)      # every <case>/<system>.* against <case>/gt.*, one report each

A reference is a media file or a JSON of events, {"events": [{"time_s": 1.25}, ...]}, optionally
with "duration_s". So the labels of a simulated data set are references, and so are its sounds, by
the pattern "{case}.flac". A JSON next to generated files is a sidecar and ignored. If a folder
has both events and a sound of a clip, onsets are compared with the events and everything else
with the sound. `files.py` describes how clips are paired.

Unusual inputs, generated or reference:
- corrupt, without an audio track, or with samples that are not finite: listed as unreadable;
- truncated files: scored on the part that can be decoded, and listed as short;
- empty (no samples): listed as silent and short; no value where a metric needs sound;
- channels: their mean is scored (more than two are mixed to two first), so channels of opposite
  sign cancel and are listed as silent; a protocol may have another rule;
- rates, tested from 8 to 96 kHz: every metric resamples to its own rate;
- lengths: pairs are compared over the shorter of the two; judges get each sound by their own
  rule. Generated clips that end 0.25 s or more before or after the reference are listed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from foleyflow.errors import CheckpointError, ConfigError, DataError
from foleyflow.evaluation.blocks import BlockRunner, Workers, compute_in_workers
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import SoundFiles
from foleyflow.evaluation.equal_loudness import compare_loudness
from foleyflow.evaluation.examination import ExaminedClip, examine_clip, find_clips
from foleyflow.evaluation.files import CASE_PATTERN, MEDIA_SUFFIXES, check_folder
from foleyflow.evaluation.metrics import METRICS, synchrony
from foleyflow.evaluation.metrics.synchrony import ClipOnsets
from foleyflow.evaluation.metrics.synchrony.comparison import Synchrony
from foleyflow.evaluation.metrics.synchrony.matching import matched_lags_s, median_lag
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.report import ClipScore, Report
from foleyflow.evaluation.scoring import KEPT_SOUNDS, check_metrics, score_cases
from foleyflow.judges.interface import AnyJudge
from foleyflow.system.generic_types import Progress

logger = logging.getLogger(__name__)

REFERENCE_STEM = "gt"  # of the true sounds in `evaluate_systems`
UNEQUAL_LENGTH_S = 0.25  # a generated clip that is this much shorter or longer is listed


def evaluate_folder(
    generated: Path,
    reference: Path,
    *,
    generated_pattern: str = CASE_PATTERN,
    reference_pattern: str = CASE_PATTERN,
    skip_without_onsets: bool = False,
    metrics: Sequence[str] = (),
    judges: Mapping[str, AnyJudge] | None = None,
    cache: ResultCache | None = None,
    protocol: Protocol | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Report:
    """Score every clip of a folder against its reference.

    Args:
        generated: folder of generated sounds or videos.
        reference: folder of reference sounds, videos or event files.
        generated_pattern, reference_pattern: `pattern` of `find_files` in each folder.
        skip_without_onsets: leave out clips whose reference has no onset, instead of scoring
            them 1 if the generated sound has none either, else 0.
        metrics: names of metrics to compute in addition to synchrony, with controls.
        judges: networks by name, for the metrics that need one.
        cache: where onsets and values are stored and looked up.
        protocol: metrics and preprocessing, instead of `metrics`. Its metrics whose judge is not
            in `judges` are listed as not measured.
        workers: processes that compute the clips, with judges of their own; None for this process.
            Results are shared through the folder of the cache, or a temporary one.
        progress: called with (done, total); a clip counts once when its onsets are detected, and
            once more when its metrics are computed.

    Raises:
        DataError: a folder that does not exist, or a pattern without `{case}`.
        ConfigError: an unknown metric, or metrics together with a protocol.
        CheckpointError: a metric whose judge is not loaded, or a protocol without any judge.
        MissingExtra: librosa or mir_eval is not installed.
    """
    metrics, not_measured = _computable_metrics(metrics, judges or {}, protocol)
    check_metrics(metrics, judges or {})
    found = find_clips(
        generated,
        reference,
        generated_pattern=generated_pattern,
        reference_pattern=reference_pattern,
        needs_video=any(METRICS[name].needs_video for name in metrics),
    )
    files = SoundFiles(KEPT_SOUNDS)
    with _open_cache(cache, workers) as results:
        # Compute block by block
        if workers is not None and results.folder is not None:
            compute_in_workers(
                found.clips,
                workers,
                cache_folder=results.folder,
                progress=progress,
                metrics=metrics,
                protocol=protocol,
                skip_without_onsets=skip_without_onsets,
            )
        elif metrics:
            runner = BlockRunner(
                metrics,
                judges=judges or {},
                cache=results,
                protocol=protocol,
                skip_without_onsets=skip_without_onsets,
                files=files,
            )
            previous = found.clips[-1] if len(found.clips) > 1 else None
            runner.run(found.clips, previous, progress)

        # Gather onsets
        examined: dict[str, ExaminedClip] = {}
        for done, clip in enumerate(found.clips, start=1):
            examined[clip.name] = examine_clip(
                clip, cache=results, files=files, skip_without_onsets=skip_without_onsets
            )
            if examined[clip.name].unreadable is not None:
                logger.warning("%s: %s", clip.name, examined[clip.name].unreadable)
            if progress is not None and not metrics and workers is None:
                progress(done, len(found.clips))
        cases = [each.case for each in examined.values() if each.case is not None]

        # Score synchrony, then the other metrics
        onsets = [(e.true, e.estimated) for e in examined.values() if e.case is not None]
        pairs = [(true, made) for true, made in onsets if true is not None and made is not None]
        result = synchrony.compare(*zip(*pairs, strict=True)) if pairs else None
        scores = {}
        if metrics and cases:
            scores = score_cases(
                cases, metrics, judges=judges, cache=results, protocol=protocol, files=files
            )
        loudness = compare_loudness(cases, cache=results, files=files)
    return Report(
        synchrony=result,
        clips=() if result is None else _clip_scores([c.name for c in cases], pairs, result),
        only_generated=found.only_generated,
        only_reference=found.only_reference,
        unreadable={name: e.unreadable for name, e in examined.items() if e.unreadable is not None},
        silent=_names(examined, lambda e, true, made: e.is_silent),
        short=_names(examined, lambda e, true, made: made <= true - UNEQUAL_LENGTH_S),
        long=_names(examined, lambda e, true, made: made >= true + UNEQUAL_LENGTH_S),
        skipped=tuple(n for n, e in examined.items() if e.case is None and e.unreadable is None),
        scores=scores,
        files={case.name: (case.generated, case.true_sound) for case in cases},
        protocol=protocol,
        not_measured=not_measured,
        equal_loudness=loudness,
    )


@contextmanager
def _open_cache(cache: ResultCache | None, workers: Workers | None) -> Iterator[ResultCache]:
    """The cache of an evaluation: the given one, or one for its duration."""
    with ExitStack() as stack:
        if cache is None and workers is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="foleyflow-results-"))
            cache = ResultCache(Path(folder))
        yield stack.enter_context(ResultCache() if cache is None else cache)


def _names(
    examined: Mapping[str, ExaminedClip], wanted: Callable[[ExaminedClip, float, float], bool]
) -> tuple[str, ...]:
    """Scored clips for which `wanted` is true, given both durations in seconds, true one first."""
    return tuple(
        name
        for name, clip in examined.items()
        if clip.case is not None and clip.true is not None and clip.estimated is not None
        if wanted(clip, clip.true.duration_s, clip.estimated.duration_s)
    )


def evaluate_systems(
    root: Path, *, progress: Progress | None = None, **options: Any
) -> dict[str, Report]:
    """System -> report, of several systems on the same clips: `<case>/<system>.*` against `gt.*`.

    Args:
        root: folder of one folder per clip.
        progress: as in `evaluate_folder`, over all systems.
        options: other keyword arguments of `evaluate_folder`, except the patterns. With a cache,
            controls are computed once for all systems.

    Raises:
        DataError: no such folder, or no system in it; otherwise as `evaluate_folder`.
    """
    check_folder(root)
    stems = {path.stem for path in root.glob("*/*") if path.suffix.lower() in MEDIA_SUFFIXES}
    systems = sorted(stems - {REFERENCE_STEM})
    if not systems:
        raise DataError(
            f"{root}: no <case>/<system> sounds in it",
            hint=f"expected folders that contain {REFERENCE_STEM}.* and one file per system",
        )
    return {
        system: evaluate_folder(
            root,
            root,
            generated_pattern=f"{CASE_PATTERN}/{system}",
            reference_pattern=f"{CASE_PATTERN}/{REFERENCE_STEM}",
            progress=None if progress is None else _part_of(progress, index, len(systems)),
            **options,
        )
        for index, system in enumerate(systems)
    }


def _part_of(progress: Progress, index: int, count: int) -> Progress:
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


def _clip_scores(
    names: Sequence[str], onsets: Sequence[tuple[ClipOnsets, ClipOnsets]], result: Synchrony
) -> tuple[ClipScore, ...]:
    scores = []
    widest_s = max(window.window_s for window in result.windows)
    for index, (name, (true, estimated)) in enumerate(zip(names, onsets, strict=True)):
        pair = synchrony.common_onsets(true, estimated)
        scores.append(
            ClipScore(
                case=name,
                duration_s=min(true.duration_s, estimated.duration_s),
                reference_onsets=len(pair[0]),
                generated_onsets=len(pair[1]),
                f1={w.window_s: float(w.per_clip_f1[index]) for w in result.windows},
                median_lag_s=median_lag(matched_lags_s(*pair, widest_s)),
                best_lag_s=float(result.lag_free.lags_s[index]),
                lag_free_f1=float(result.lag_free.per_clip_f1[index]),
            )
        )
    return tuple(scores)
