"""Hit coverage and timing error of generated sounds against annotated hits: protocol flatsounds.

After FlatSounds (Li et al., CVPR 2026, arXiv 2605.30339), clips of single impacts whose hits were
annotated by hand. Summaries of the paper describe the figures as the recall of annotated events by
the onsets of the generated sound within adaptive windows of 0.1 to 0.25 s, and as the mean distance
of the hits that were found. **The definition is not verified against the paper or its code.** All
constants of our reading are fields of `HitSettings` and part of every report:

- Onsets are those of our detector (spectral flux); a sound in which it finds none has one onset, at
  the steepest rise of its level, unless it is silent.
- A hit is covered if the onset nearest to it lies within the hit's tolerance, a fraction of the
  distance to the nearest other hit, within limits.
- Coverage is the mean over clips, the timing error the mean over clips with a covered hit.

Coverage rewards sounds with many onsets. The report therefore has the coverage of the hits of all
other clips as chance level; the difference shows what a system takes from its video.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.errors import ConfigError, DataError, FoleyflowError
from foleyflow.evaluation.cases import Sound, SoundFiles
from foleyflow.evaluation.files import MEDIA_SUFFIXES, find_files
from foleyflow.evaluation.metric import Interval, bootstrap_mean
from foleyflow.evaluation.metrics import levels
from foleyflow.evaluation.metrics.envelope import HOP_SAMPLES, level_envelope
from foleyflow.evaluation.metrics.levels import JUDGED_RATE_HZ
from foleyflow.evaluation.metrics.synchrony import detect_onsets
from foleyflow.evaluation.metrics.synchrony.detection import is_silent
from foleyflow.system.generic_types import Progress

COLUMNS = ("clip", "time_s")
UNVERIFIED = "definition not verified against the paper (arXiv 2605.30339)"
DETECTED = "annotations: onsets detected in the true sounds, not the hits of FlatSounds"
SILENCE_MEAN_SQUARE = 1e-9  # of the envelope from which the fallback takes the steepest rise


@dataclass(frozen=True, kw_only=True)
class HitSettings:
    """The constants of the protocol.

    Attributes:
        smallest_window_s, largest_window_s: limits of the tolerance of a hit.
        gap_fraction: tolerance of a hit as a fraction of the distance to the nearest other hit.
        envelope_fallback: whether a sound without detected onsets has one at its steepest rise.
    """

    smallest_window_s: float = 0.10
    largest_window_s: float = 0.25
    gap_fraction: float = 0.2
    envelope_fallback: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.smallest_window_s <= self.largest_window_s:
            raise ConfigError(
                f"smallest_window_s={self.smallest_window_s}, "
                f"largest_window_s={self.largest_window_s}: expected 0 < smallest <= largest"
            )
        if not self.gap_fraction >= 0:
            raise ConfigError(f"gap_fraction={self.gap_fraction}: expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class HitScore:
    """The figures of one clip; the error is None if no hit is covered."""

    hits: int
    covered: int
    timing_error_s: float | None

    @property
    def coverage(self) -> float:
        """The fraction of hits that are covered."""
        return self.covered / self.hits


@dataclass(frozen=True, kw_only=True)
class HitReport:
    """Hit coverage and timing error of a folder of generated sounds.

    Attributes:
        coverage: fraction of annotated hits with a generated onset in their windows.
        perfect: fraction of clips all of whose hits are covered.
        timing_error_s: mean distance of covered hits and their onsets; None without any.
        chance_coverage: coverage of the hits of all other clips; None for a single clip.
        clips: name -> figures.
        not_generated: annotated clips without a sound. They are not scored.
        not_annotated: sounds without annotated hits. They are not scored.
        unreadable: clip -> reason. These are not scored.
        annotations: remark about the source of the hits.
        settings: constants of the protocol.
    """

    coverage: Interval | None
    perfect: Interval | None
    timing_error_s: Interval | None
    chance_coverage: float | None
    clips: Mapping[str, HitScore]
    not_generated: tuple[str, ...]
    not_annotated: tuple[str, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    annotations: str
    settings: HitSettings

    def to_json(self) -> dict[str, Any]:
        """The report as plain values for `json.dumps`."""
        content = asdict(self)
        content["clips"] = {
            name: {**asdict(score), "coverage": score.coverage}
            for name, score in self.clips.items()
        }
        return {"protocol": "flatsounds", "definition": UNVERIFIED, **content}

    def to_text(self) -> str:
        """The figures, the settings and the clips that were not scored."""
        lines = [f"protocol flatsounds: {UNVERIFIED}", f"  {self.annotations}"]
        settings = ", ".join(f"{name}={value}" for name, value in asdict(self.settings).items())
        lines += [f"  {settings}", ""]
        if self.coverage is None or self.perfect is None:
            lines.append("nothing to score")
        else:
            chance = "-" if self.chance_coverage is None else f"{100 * self.chance_coverage:.1f} %"
            lines += [
                f"hit coverage        {_text(self.coverage, 100, '%')}",
                f"  of other clips' hits (chance level)  {chance}",
                f"all hits covered    {_text(self.perfect, 100, '%')}",
                f"timing error        {_text(self.timing_error_s, 1000, 'ms')}",
            ]
        for label, names in (
            ("annotated clips without a sound", self.not_generated),
            ("sounds without annotated hits", self.not_annotated),
            ("unreadable", [f"{name}: {why}" for name, why in self.unreadable.items()]),
        ):
            lines += [f"{label}: {len(names)}", *(f"  {name}" for name in names)] if names else []
        return "\n".join(lines) + "\n"


def read_hits(path: Path) -> dict[str, NDArray[np.float64]]:
    """Clip -> ascending times of its hits, from a csv with the columns "clip" and "time_s".

    Each hit is one row; other columns are ignored. The clip is a file name without suffix.

    Raises:
        DataError: the file cannot be read, lacks a column, or a time is no number >= 0.
    """
    hint = "expected a header `clip,time_s` and one row per hit, as in `knock_01,1.250`"
    hits: dict[str, list[float]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream, skipinitialspace=True)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: no column {missing[0]!r}", hint=hint)
            for row in rows:
                time_s = float(row["time_s"])
                if not 0 <= time_s < math.inf:
                    raise ValueError(f"{row['time_s']} is no time")
                hits.setdefault(row["clip"], []).append(time_s)
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error) as error:
        place = f", line {rows.line_num}" if isinstance(error, ValueError | TypeError) else ""
        raise DataError(f"{path}{place}: {error}", hint=hint) from error
    return {clip: np.sort(times_s) for clip, times_s in hits.items()}


def hit_windows_s(hits_s: ArrayLike, settings: HitSettings) -> NDArray[np.float64]:
    """The tolerance of each of a clip's ascending hits, (H,) seconds."""
    gaps_s = np.diff(np.asarray(hits_s, np.float64))
    nearest_s = np.minimum(np.append(np.inf, gaps_s), np.append(gaps_s, np.inf))
    return np.clip(
        settings.gap_fraction * nearest_s, settings.smallest_window_s, settings.largest_window_s
    )


def score_hits(hits_s: ArrayLike, onsets_s: ArrayLike, settings: HitSettings) -> HitScore:
    """The figures of one clip from its ascending annotated hits, at least one, and its onsets."""
    hits, onsets = np.asarray(hits_s, np.float64), np.asarray(onsets_s, np.float64)
    if not len(hits):
        raise ValueError("hits_s: got none, expected at least one")
    if not len(onsets):
        return HitScore(hits=len(hits), covered=0, timing_error_s=None)
    distance_s = np.abs(hits[:, None] - onsets[None, :]).min(axis=1)
    covered = distance_s <= hit_windows_s(hits, settings)
    return HitScore(
        hits=len(hits),
        covered=int(covered.sum()),
        timing_error_s=float(distance_s[covered].mean()) if covered.any() else None,
    )


def onsets_of_sound(sound: Sound, settings: HitSettings) -> NDArray[np.float64]:
    """The onset times of a sound in seconds.

    Raises:
        MediaError: the sound cannot be read.
        ValueError: some samples are not finite.
    """
    samples, rate_hz = sound.waveform.mono(), sound.waveform.rate_hz
    found = detect_onsets(samples, rate_hz).times_s
    if len(found) or not settings.envelope_fallback or is_silent(samples):
        return found
    envelope = level_envelope(levels.mono_16_khz(sound.waveform), JUDGED_RATE_HZ)
    rises = np.diff(np.log(envelope + SILENCE_MEAN_SQUARE), prepend=math.log(SILENCE_MEAN_SQUARE))
    return np.array([rises.argmax() * HOP_SAMPLES / JUDGED_RATE_HZ])


def evaluate_hits(
    generated: Path,
    hits: Path | None,
    *,
    true_sounds: Path | None = None,
    pattern: str = "{case}",
    true_pattern: str = "{case}",
    settings: HitSettings | None = None,
    progress: Progress | None = None,
) -> HitReport:
    """Score a folder of generated sounds by annotated hits.

    Args:
        generated: folder of sounds or videos.
        hits: csv file of `read_hits`; None to take the onsets that are detected in `true_sounds`.
        true_sounds: folder of true sounds; only used without `hits`.
        pattern, true_pattern: `pattern` of `find_files` in each folder.
        settings: constants of the protocol.
        progress: called with (clips done, clips in total).

    Raises:
        DataError: a file or folder is missing or wrong.
        MissingExtra: librosa is not installed.
    """
    settings = settings or HitSettings()
    sounds = find_files(generated, pattern, MEDIA_SUFFIXES)
    files = SoundFiles(2)
    unreadable: dict[str, str] = {}

    def detected(paths: Mapping[str, Path], name: str) -> NDArray[np.float64] | None:
        try:
            return onsets_of_sound(files.sound(paths[name]), settings)
        except (FoleyflowError, ValueError) as error:
            unreadable[name] = str(error)
            return None

    # Annotated hits of each clip
    if hits is not None:
        annotated = read_hits(hits)
    elif true_sounds is not None:
        references = find_files(true_sounds, true_pattern, MEDIA_SUFFIXES)
        found = {name: detected(references, name) for name in sorted(references.keys() & sounds)}
        annotated = {name: times for name, times in found.items() if times is not None}
    else:
        raise DataError("no hits: expected a csv file, or a folder of true sounds")

    # Onsets of each generated sound
    names = sorted(annotated.keys() & sounds.keys())
    onsets: dict[str, NDArray[np.float64]] = {}
    for done, name in enumerate(names, start=1):
        times_s = detected(sounds, name) if len(annotated[name]) else None
        if times_s is not None:
            onsets[name] = times_s
        if progress is not None:
            progress(done, len(names))

    # Figures
    scores = {name: score_hits(annotated[name], onsets[name], settings) for name in onsets}
    errors_s = [s.timing_error_s for s in scores.values() if s.timing_error_s is not None]
    coverages = [score.coverage for score in scores.values()]
    return HitReport(
        coverage=bootstrap_mean(coverages) if coverages else None,
        perfect=bootstrap_mean([float(c == 1.0) for c in coverages]) if coverages else None,
        timing_error_s=bootstrap_mean(errors_s) if errors_s else None,
        chance_coverage=_chance_coverage(annotated, onsets, settings),
        clips=scores,
        not_generated=tuple(sorted(annotated.keys() - sounds.keys())),
        not_annotated=tuple(name for name in sorted(sounds) if not len(annotated.get(name, ()))),
        unreadable=unreadable,
        annotations=DETECTED if hits is None else f"annotations: {hits.name}",
        settings=settings,
    )


def _chance_coverage(
    annotated: Mapping[str, NDArray[np.float64]],
    onsets: Mapping[str, NDArray[np.float64]],
    settings: HitSettings,
) -> float | None:
    """The mean coverage of each other clip's hits by the onsets of a clip."""
    names: Sequence[str] = list(onsets)
    if len(names) < 2:
        return None
    return float(
        np.mean(
            [
                score_hits(annotated[other], onsets[name], settings).coverage
                for name in names
                for other in names
                if other != name
            ]
        )
    )


def _text(interval: Interval | None, factor: float, unit: str) -> str:
    if interval is None:
        return "-"
    mean, low, high = (factor * value for value in (interval.mean, interval.low, interval.high))
    return f"{mean:.1f} {unit} ({low:.1f} .. {high:.1f}), {interval.count} clips"
