"""Score a folder of results, of any system, against the true sounds or the true events.

Clips are paired by name: `{case}` in a pattern stands for it. The default pattern takes every
sound or video of a folder and of those in it, and pairs by file stem, where a trailing `.foley`
does not count; so the labels of a simulated data set are a reference as they lie, and its sounds
are one by the pattern "{case}.flac":

    evaluate_folder(Path("made"), Path("true"))
    evaluate_folder(root, root, generated_pattern="{case}/frieren.m4a",
                    reference_pattern="{case}/gt.m4a")
    evaluate_systems(root)      # every <case>/<system>.* against <case>/gt.*, one report each

A reference may be a media file or a JSON of events, {"events": [{"time_s": 1.25}, ...]}, with
"duration_s" if known. Where a folder holds several files of one case, events come before sound
and sound before video; a JSON beside generated files is taken for a sidecar and ignored.
Nothing is left out in silence: files without a partner, unreadable, silent or short ones are
listed in the report and counted. Metrics that are asked for by name stand in the report with
controls; where a folder holds events and the sound of a case, onsets are compared with the events
and everything else with the sound.

How odd inputs are handled, in results and references alike:
- corrupt, without a sound track, or with samples that are not finite: unreadable, not scored;
- cut off in the middle of the file: scored on what can be decoded, and listed as short;
- empty (no samples): listed as silent and short; no value where a metric needs sound;
- channels: their mean is judged (more than two are mixed to two first), so that channels of
  opposite sign cancel and are listed as silent; a protocol may name another rule;
- rates, 8 to 96 kHz tried: every metric brings sounds to its own rate;
- lengths: pairs are compared over the shorter of the two; judges hear each sound as long as it is,
  by their rule. Results that end 0.25 s or more before or after the truth are listed.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import CheckpointError, ConfigError, DataError, FoleyflowError, MediaError
from foleyflow.evaluation import pairwise_metrics
from foleyflow.evaluation.cache import ResultCache, code_sha256
from foleyflow.evaluation.cases import Case
from foleyflow.evaluation.metric import Interval
from foleyflow.evaluation.metrics import METRICS, synchrony
from foleyflow.evaluation.metrics.synchrony import (
    LARGEST_LAG_S,
    ClipOnsets,
    LagFreeScore,
    Synchrony,
    WindowScore,
)
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.scores import MetricScore, scores_text
from foleyflow.evaluation.scoring import check_metrics, score_cases
from foleyflow.judges.interface import AnyJudge

logger = logging.getLogger(__name__)

EVENT_SUFFIXES = (".json",)
SOUND_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac", ".mka")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi")
CASE_PATTERN = "{case}"
UNEQUAL_BY_S = 0.25  # a result that ends this much before or after the truth is listed
NAMED = 12  # clips of one remark that a table for people names


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """One scored clip.

    Attributes:
        case: its name.
        duration_s: what was compared, the shorter of both.
        reference_onsets: true onsets therein.
        generated_onsets: generated onsets therein.
        f1: window in seconds -> F1.
        median_lag_s: of matched onsets at the widest window; None without any.
        best_lag_s: the constant lag at which it would score best.
        lag_free_f1: what it would score then, at the narrowest window.
    """

    case: str
    duration_s: float
    reference_onsets: int
    generated_onsets: int
    f1: Mapping[float, float]
    median_lag_s: float | None
    best_lag_s: float
    lag_free_f1: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a folder scored, and what could not be scored.

    Attributes:
        synchrony: figures over all scored clips; None if there is none.
        clips: one entry per scored clip, by name.
        only_generated: results without a reference.
        only_reference: references without a result.
        unreadable: name -> why (of the result or of its reference); not scored.
        silent: results whose peak is below -70 dBFS; scored.
        short: results that end 0.25 s or more before the truth; scored on what there is.
        long: results that end 0.25 s or more after the truth; compared up to its end.
        skipped: clips left out because their reference has no onsets.
        scores: metric asked for -> score with controls.
        files: scored clip -> (file of the generated sound, file of the true one if there is one).
        protocol: that the scores follow; None outside of any.
        not_measured: metric of the protocol -> why it has no figure.
    """

    synchrony: Synchrony | None
    clips: tuple[ClipScore, ...] = ()
    only_generated: tuple[str, ...] = ()
    only_reference: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    scores: Mapping[str, MetricScore] = field(default_factory=dict)
    files: Mapping[str, tuple[Path, Path | None]] = field(default_factory=dict)
    protocol: Protocol | None = None
    not_measured: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values for `json.dumps`; `scores` only where they were asked for."""
        content = {
            "count": len(self.clips),
            "synchrony": None if self.synchrony is None else _synchrony_json(self.synchrony),
            "clips": [
                {**asdict(clip), "f1": {_window_name(w): f for w, f in clip.f1.items()}}
                for clip in self.clips
            ],
            "only_generated": list(self.only_generated),
            "only_reference": list(self.only_reference),
            "unreadable": dict(self.unreadable),
            "silent": list(self.silent),
            "short": list(self.short),
            "long": list(self.long),
            "skipped": list(self.skipped),
            "metrics": {name: METRICS[name].to_json() for name in ("onset_f1", "gain")},
            "resampler": "soxr VHQ, 22050 Hz mono",
        }
        if self.scores:
            content["scores"] = {name: score.to_json() for name, score in self.scores.items()}
        if self.protocol is not None:
            content["protocol"] = self.protocol.to_json()
            content["not_measured"] = dict(self.not_measured)
        return content

    def to_text(self) -> str:
        """A table for people."""
        lines = (
            [_HEADER, _row("", self), LAG_FREE_REMARK, ""]
            if self.synchrony
            else ["nothing to score"]
        )
        if self.synchrony and self.protocol is not None:
            lines += [self.protocol.to_text(), ""]
        if self.synchrony and self.scores:
            lines += [scores_text({"generated": self.scores}), ""]
        for label, names in self.remarks().items():
            lines.append(f"{label}: {len(names)}")
            lines.extend(f"  {name}" for name in names[:NAMED])
            if len(names) > NAMED:
                lines.append(f"  and {len(names) - NAMED} more, which --json names")
        return "\n".join(lines).rstrip() + "\n"

    def remarks(self) -> dict[str, Sequence[str]]:
        """Label -> clips, for everything that was not plainly scored; empty lists left out."""
        labelled: dict[str, Sequence[str]] = {
            "results without a reference": self.only_generated,
            "references without a result": self.only_reference,
            "unreadable": [f"{case}: {why}" for case, why in self.unreadable.items()],
            "silent (scored)": self.silent,
            "shorter than the reference (scored)": self.short,
            "longer than the reference (scored)": self.long,
            "without true onsets (left out)": self.skipped,
            "not measured": [f"{name}: {why}" for name, why in self.not_measured.items()],
        }
        return {label: names for label, names in labelled.items() if names}


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
        generated: folder of results.
        reference: folder of true sounds, videos or event files.
        generated_pattern: path below `generated` with `{case}` for the name; without a suffix
            it stands for any sound or video file.
        reference_pattern: the same below `reference`; also for event files.
        windows_s: tolerances in seconds, ascending.
        skip_without_onsets: leave out clips whose reference has no onset, instead of scoring
            them 1 if the result has none either, else 0.
        metrics: names of metrics to score beside synchrony, with controls.
        judges: networks by name, for the metrics that need one.
        cache: where onsets and figures are kept and looked up.
        protocol: what is scored and how judges are given the sounds; instead of `metrics`. Those
            of its metrics whose judge is not in `judges` are listed as not measured.
        seed: of the bootstrap intervals.
        progress: told (done, wanted); a clip is done once when its onsets are found, and once
            more when its metrics are scored.

    Returns:
        the figures and every file that could not be used.

    Raises:
        DataError: a folder that does not exist, or a pattern without `{case}`.
        ConfigError: an unknown metric, or metrics beside a protocol.
        CheckpointError: a metric whose judge is not there, or a protocol without any judge.
        MissingExtra: librosa or mir_eval is not installed.

    Source: ours.
    """
    metrics, not_measured = _wanted(metrics, judges or {}, protocol)
    check_metrics(metrics, judges or {})
    made = _find(generated, generated_pattern, SOUND_SUFFIXES + VIDEO_SUFFIXES)
    true = _find(reference, reference_pattern, EVENT_SUFFIXES + SOUND_SUFFIXES + VIDEO_SUFFIXES)
    true_sounds = _find(reference, reference_pattern, SOUND_SUFFIXES + VIDEO_SUFFIXES)
    videos: dict[str, Path] = {}
    if any(METRICS[name].needs_video for name in metrics):
        videos = _find_videos(generated, generated_pattern)
        videos |= _find_videos(reference, reference_pattern)
    pairs: dict[str, tuple[ClipOnsets, ClipOnsets]] = {}
    unreadable: dict[str, str] = {}
    silent, short, long, skipped = [], [], [], []
    both = sorted(made.keys() & true.keys())
    wanted = len(both) * (2 if metrics else 1)
    for done, case in enumerate(both, start=1):
        if progress is not None:
            progress(done, wanted)
        try:
            clip, has_sound = _read_sound(made[case], cache)
            truth = _read_reference(true[case], duration_s=clip.duration_s, cache=cache)
        except FoleyflowError as error:
            logger.warning("%s: %s", case, error)
            unreadable[case] = str(error)
            continue
        if skip_without_onsets and not len(truth.times_s):
            skipped.append(case)
            continue
        if not has_sound:
            silent.append(case)
        if clip.duration_s <= truth.duration_s - UNEQUAL_BY_S:
            short.append(case)
        if clip.duration_s >= truth.duration_s + UNEQUAL_BY_S:
            long.append(case)
        pairs[case] = truth, clip
    result = None
    if pairs:
        truths, clips = zip(*pairs.values(), strict=True)
        result = synchrony.compare(truths, clips, windows_s=windows_s, seed=seed)
    cases = [
        _case(case, made[case], true[case], true_sounds.get(case), videos.get(case), pair)
        for case, pair in pairs.items()
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
            progress=None if progress is None else _second_half(progress, len(both)),
        )
    return Report(
        synchrony=result,
        clips=_clip_scores(pairs, result),
        only_generated=tuple(sorted(made.keys() - true.keys())),
        only_reference=tuple(sorted(true.keys() - made.keys())),
        unreadable=unreadable,
        silent=tuple(silent),
        short=tuple(short),
        long=tuple(long),
        skipped=tuple(skipped),
        scores=scores,
        files={case.name: (case.generated, case.true_sound) for case in cases},
        protocol=protocol,
        not_measured=not_measured,
    )


def evaluate_systems(
    root: Path,
    *,
    reference_name: str = "gt",
    windows_s: Sequence[float] = synchrony.WINDOWS_S,
    skip_without_onsets: bool = False,
    metrics: Sequence[str] = (),
    judges: Mapping[str, AnyJudge] | None = None,
    cache: ResultCache | None = None,
    protocol: Protocol | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Report]:
    """Score several systems on the same clips: `<root>/<case>/<system>.*` against `gt.*`.

    Args:
        root: folder of case folders.
        reference_name: stem of the true sound in each.
        windows_s: tolerances in seconds, ascending.
        skip_without_onsets: as in `evaluate_folder`.
        metrics: as in `evaluate_folder`.
        judges: as in `evaluate_folder`.
        cache: as in `evaluate_folder`; the controls are computed once for all systems.
        protocol: as in `evaluate_folder`.
        seed: of the bootstrap intervals.
        progress: as in `evaluate_folder`, over all systems.

    Returns:
        system -> report, by name.

    Raises:
        DataError: no such folder, or no system in it.

    Source: ours.
    """
    _check_folder(root)
    known = SOUND_SUFFIXES + VIDEO_SUFFIXES
    systems = sorted({path.stem for path in root.glob("*/*") if path.suffix.lower() in known})
    if not set(systems) - {reference_name}:
        raise DataError(
            f"{root}: no <case>/<system> sounds in it",
            hint=f"expected folders that hold {reference_name}.* and one file per system",
        )
    wanted = [system for system in systems if system != reference_name]
    return {
        system: evaluate_folder(
            root,
            root,
            generated_pattern=f"{CASE_PATTERN}/{system}",
            reference_pattern=f"{CASE_PATTERN}/{reference_name}",
            windows_s=windows_s,
            skip_without_onsets=skip_without_onsets,
            metrics=metrics,
            judges=judges,
            cache=cache,
            protocol=protocol,
            seed=seed,
            progress=None if progress is None else _share(progress, index, len(wanted)),
        )
        for index, system in enumerate(wanted)
    }


def _second_half(progress: Callable[[int, int], None], count: int) -> Callable[[int, int], None]:
    """The progress of scoring, told as the second half; clips that were left out count as done."""
    return lambda done, wanted: progress(2 * count - (wanted - done), 2 * count)


def _share(
    progress: Callable[[int, int], None], index: int, count: int
) -> Callable[[int, int], None]:
    """The progress of one of several equal parts, told as that of the whole."""
    return lambda done, wanted: progress(index * wanted + done, count * wanted)


def systems_text(reports: Mapping[str, Report]) -> str:
    """One row per system, then how many clips of each could not be scored plainly.

    Args:
        reports: system -> report, as `evaluate_systems` returns them.

    Source: ours.
    """
    rows = [_row(name, report) for name, report in reports.items()]
    remarks = [
        f"{name}: "
        + ", ".join(f"{len(names)} {label}" for label, names in report.remarks().items())
        for name, report in reports.items()
        if report.remarks()
    ]
    scores = {name: report.scores for name, report in reports.items() if report.scores}
    blocks = [scores_text(scores), ""] if scores else []
    protocols = {name: report.protocol for name, report in reports.items() if report.protocol}
    blocks = [*(p.to_text() for p in list(protocols.values())[:1]), *blocks]
    return "\n".join([_HEADER, *rows, LAG_FREE_REMARK, "", *blocks, *remarks]).rstrip() + "\n"


LAG_FREE_REMARK = (
    f"* every pair, shuffled or not, at the constant lag within {1000 * LARGEST_LAG_S:.0f} ms that "
    "suits it best"
)
_HEADER = (
    f"{'':24}{'clips':>6}  {'window':>8}  {'F1':>5} {'shuffled':>9}  {'gain':>6}"
    f"  {'95 % interval':>15}  {'median lag':>10}  {'onsets true/made':>16}"
)


def _row(name: str, report: Report) -> str:
    result = report.synchrony
    if result is None:
        return f"{name:24}{0:6d}"
    lag = "-" if result.median_lag_s is None else f"{1000 * result.median_lag_s:+.0f} ms"
    lines: list[str] = []
    for window in result.lines:
        head = f"{name:24}{len(report.clips):6d}" if not lines else " " * 30
        tail = (
            f"  {lag:>10}  {result.reference_onsets:>8}/{result.generated_onsets}"
            if not lines
            else ""
        )
        gain, chance = window.gain, window.shuffled_f1
        against = f"{'-':>9}  {'-':>6}  {'-':>15}"
        if gain is not None and chance is not None:
            interval = f"{gain.low:+.2f} .. {gain.high:+.2f}"
            against = f"{chance.mean:9.2f}  {gain.mean:+6.2f}  {interval:>15}"
        name_ms = window_label(window)
        lines.append(f"{head}  {name_ms:>8}  {window.f1.mean:5.2f} {against}{tail}")
    return "\n".join(lines)


def window_label(window: WindowScore | LagFreeScore) -> str:
    """What a line of a table calls its tolerance: "±50 ms", with a star at the best lag."""
    star = "*" if isinstance(window, LagFreeScore) else ""
    return f"±{1000 * window.window_s:.0f} ms{star}"


def _wanted(
    metrics: Sequence[str], judges: Mapping[str, AnyJudge], protocol: Protocol | None
) -> tuple[Sequence[str], dict[str, str]]:
    """The metrics to score, and those of a protocol that can't be, with the reason."""
    if protocol is None:
        return metrics, {}
    if metrics:
        raise ConfigError(
            f"metrics {', '.join(metrics)} beside the protocol {protocol.name!r}, which names its "
            "own",
            hint="score them in a run of their own",
        )
    needed = {name: METRICS[name].judge for name in protocol.metrics}
    missing = {
        name: f"the judge {judge!r} is not here"
        for name, judge in needed.items()
        if judge is not None and judge not in judges
    }
    if all(judge is None or name in missing for name, judge in needed.items()):
        raise CheckpointError(
            f"none of the judges of the protocol {protocol.name!r} is here: "
            + ", ".join(dict.fromkeys(str(judge) for judge in needed.values() if judge)),
            hint="`foleyflow evaluate --judges FOLDER` says which file it expects where",
        )
    return [name for name in protocol.metrics if name not in missing], missing


def _find_videos(folder: Path, pattern: str) -> dict[str, Path]:
    """Case name -> video, by a pattern whose suffix, if it has one, does not count."""
    suffix = Path(pattern.replace(CASE_PATTERN, "case")).suffix
    return _find(folder, pattern.removesuffix(suffix) if suffix else pattern, VIDEO_SUFFIXES)


def _find(folder: Path, pattern: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Case name -> file; of several files the one whose suffix comes first."""
    _check_folder(folder)
    if pattern.count(CASE_PATTERN) != 1:
        raise DataError(
            f"pattern {pattern!r}: expected {CASE_PATTERN!r} in it exactly once",
            hint="for instance '{case}/gt.m4a'",
        )
    with_suffix = Path(pattern.replace(CASE_PATTERN, "case")).suffix.lower() in suffixes
    expression = re.compile(
        re.escape(pattern).replace(re.escape(CASE_PATTERN), "(?P<case>[^/]+?)")
        + ("" if with_suffix else r"\.[^./]+")
    )
    anywhere = "/" not in pattern
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inner = path.name if anywhere else path.relative_to(folder).as_posix()
        match = expression.fullmatch(inner)
        if not match or path.suffix.lower() not in suffixes or not path.is_file():
            continue
        case = match["case"].removesuffix(".foley")
        known = found.get(case)
        if known is not None and known.parent != path.parent:
            raise DataError(
                f"{folder}: {case!r} is there twice, in {known.parent} and {path.parent}",
                hint="say which by a pattern, '{case}/gt.m4a' for instance",
            )
        if known is None or _rank(path, suffixes) < _rank(known, suffixes):
            found[case] = path
    return found


def _rank(path: Path, suffixes: tuple[str, ...]) -> int:
    return suffixes.index(path.suffix.lower())


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")


def _read_sound(path: Path, cache: ResultCache | None) -> tuple[ClipOnsets, bool]:
    """A media file's onsets, and whether there is any sound in it."""
    from foleyflow.media import waveform
    from foleyflow.weights import file_sha256

    key: list[str] = []
    if cache is not None:
        key = ["onsets", code_sha256(synchrony, pairwise_metrics, waveform), file_sha256(path)]
        known = cache.get(key)
        if known is not None:
            times_s = np.asarray(known["times_s"], dtype=np.float64)
            return ClipOnsets(times_s=times_s, duration_s=known["duration_s"]), known["has_sound"]
    sound = waveform.read_waveform(path)
    samples = sound.mono()
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: some samples are not finite", hint="write the sound again")
    clip = pairwise_metrics.clip_onsets(sound)
    has_sound = not synchrony.is_silent(samples)
    if cache is not None:
        record = {"times_s": clip.times_s.tolist(), "duration_s": clip.duration_s}
        cache.put(key, {**record, "has_sound": has_sound})
    return clip, has_sound


def _read_reference(path: Path, *, duration_s: float, cache: ResultCache | None) -> ClipOnsets:
    if path.suffix.lower() in EVENT_SUFFIXES:
        return read_events(path, duration_s=duration_s)
    return _read_sound(path, cache)[0]


def _case(
    name: str,
    made: Path,
    true: Path,
    true_sound: Path | None,
    video: Path | None,
    pair: tuple[ClipOnsets, ClipOnsets],
) -> Case:
    """A clip for `score_cases`, with the onsets that are known from reading it."""
    truth, clip = pair
    if true.suffix.lower() in EVENT_SUFFIXES:
        if true_sound is not None and _is_silent_film(true_sound):
            true_sound = None
        return Case(
            name=name,
            generated=made,
            true_sound=true_sound,
            events=truth,
            onsets={made: clip},
            video=video,
        )
    onsets = {made: clip, true: truth}
    return Case(name=name, generated=made, true_sound=true, onsets=onsets, video=video)


def _is_silent_film(path: Path) -> bool:
    """Whether a file is a video without a sound track; a damaged one is found when it is read."""
    from foleyflow.media.probe import probe

    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return False
    try:
        return not probe(path).has_audio
    except MediaError as error:
        logger.warning("%s", error)
        return False


def read_events(path: Path, *, duration_s: float) -> ClipOnsets:
    """The moments of an event file; events nearer than 30 ms to the one before are one.

    Args:
        path: JSON, {"events": [{"time_s": seconds}, ...]}, optionally "duration_s".
        duration_s: length of the clip where the file does not say.

    Returns:
        events from 0 to the duration, as the onset detector could find them.

    Raises:
        DataError: not such a file.

    Source: ours.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        times_s = sorted(float(event["time_s"]) for event in record["events"])
        duration_s = float(record.get("duration_s", duration_s))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a file of events ({type(error).__name__}: {error})",
            hint='expected {"events": [{"time_s": 1.25}, ...]}',
        ) from error
    return ClipOnsets(
        times_s=_apart([t for t in times_s if 0 <= t < duration_s]), duration_s=duration_s
    )


def _apart(times_s: Sequence[float]) -> NDArray[np.float64]:
    kept: list[float] = []
    for time_s in times_s:
        if not kept or time_s - kept[-1] >= synchrony.SHORTEST_GAP_S:
            kept.append(time_s)
    return np.array(kept, dtype=np.float64)


def _clip_scores(
    pairs: Mapping[str, tuple[ClipOnsets, ClipOnsets]], result: Synchrony | None
) -> tuple[ClipScore, ...]:
    if result is None:
        return ()
    scores = []
    widest_s = max(window.window_s for window in result.windows)
    for index, (case, (truth, clip)) in enumerate(pairs.items()):
        true_s, made_s = synchrony.common_onsets(truth, clip)
        lags_s = synchrony.matched_lags_s(true_s, made_s, widest_s)
        scores.append(
            ClipScore(
                case=case,
                duration_s=min(truth.duration_s, clip.duration_s),
                reference_onsets=len(true_s),
                generated_onsets=len(made_s),
                f1={w.window_s: float(w.per_clip_f1[index]) for w in result.windows},
                median_lag_s=synchrony.median_lag(lags_s),
                best_lag_s=float(result.lag_free.lags_s[index]),
                lag_free_f1=float(result.lag_free.per_clip_f1[index]),
            )
        )
    return tuple(scores)


def _synchrony_json(result: Synchrony) -> dict[str, Any]:
    return {
        "windows": {
            _window_name(window.window_s): {
                "f1": asdict(window.f1),
                "shuffled_f1": _interval_json(window.shuffled_f1),
                "gain": _interval_json(window.gain),
            }
            for window in result.windows
        },
        "lag_free": {
            "window": _window_name(result.lag_free.window_s),
            "f1": asdict(result.lag_free.f1),
            "shuffled_f1": _interval_json(result.lag_free.shuffled_f1),
            "gain": _interval_json(result.lag_free.gain),
        },
        "median_lag_s": result.median_lag_s,
        "matched": result.matched,
        "lags": {
            "centres_s": [round(float(centre), 6) for centre in result.lags.centres_s],
            "counts": result.lags.counts.tolist(),
        },
        "reference_onsets": result.reference_onsets,
        "generated_onsets": result.generated_onsets,
        "clips_without_onsets": result.clips_without_onsets,
    }


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _window_name(window_s: float) -> str:
    return f"{1000 * window_s:.0f}_ms"
