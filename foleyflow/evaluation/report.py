"""The report of an evaluation: as a record, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foleyflow.evaluation.equal_loudness import EqualLoudness
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.synchrony.comparison import (
    LARGEST_LAG_S,
    LagFreeScore,
    Synchrony,
    WindowScore,
)
from foleyflow.evaluation.protocols import Protocol
from foleyflow.evaluation.scores import MetricScore, scores_text

LISTED_CLIPS = 12  # per remark in a text report
LAG_FREE_REMARK = (
    "* every pair, shuffled or not, at the constant lag within "
    f"{1000 * LARGEST_LAG_S:.0f} ms at which its F1 is highest"
)
_HEADER = (
    f"{'':24}{'clips':>6}  {'window':>8}  {'F1':>5} {'shuffled':>9}  {'gain':>6}"
    f"  {'95 % interval':>15}  {'median lag':>10}  {'onsets true/generated':>21}"
)


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """The synchrony of one clip, within the shorter of both durations."""

    case: str  # name of the clip
    duration_s: float
    reference_onsets: int
    generated_onsets: int
    f1: Mapping[float, float]  # by window in seconds
    median_lag_s: float | None  # of matched onsets at the widest window; None if there are none
    best_lag_s: float  # the constant lag at which the F1 at the narrowest window is highest
    lag_free_f1: float  # at that lag


@dataclass(frozen=True, kw_only=True)
class Report:
    """The scores of a folder, and the files that could not be scored."""

    synchrony: Synchrony | None  # None if no clip was scored
    clips: tuple[ClipScore, ...] = ()  # by name
    only_generated: tuple[str, ...] = ()  # clips without a reference
    only_reference: tuple[str, ...] = ()  # clips without a generated sound
    unreadable: Mapping[str, str] = field(default_factory=dict)  # clip -> reason; not scored
    # Generated sounds: below -70 dBFS; ending 0.25 s or more before or after the reference
    silent: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # clips left out because their reference has no onsets
    scores: Mapping[str, MetricScore] = field(default_factory=dict)  # by metric
    # Scored clip -> (file of the generated sound, file of the true sound if there is one)
    files: Mapping[str, tuple[Path, Path | None]] = field(default_factory=dict)
    protocol: Protocol | None = None  # of the scores
    not_measured: Mapping[str, str] = field(default_factory=dict)  # metric -> reason
    equal_loudness: EqualLoudness | None = None  # the generated sounds were normalised

    def to_json(self) -> dict[str, Any]:
        """The report as plain values for `json.dumps`; `scores` only if there are any."""
        content = {
            "count": len(self.clips),
            "synchrony": None if self.synchrony is None else _synchrony_json(self.synchrony),
            "clips": [
                {**asdict(clip), "f1": {_window_key(w): f for w, f in clip.f1.items()}}
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
        if self.equal_loudness is not None:
            content["equal_loudness"] = asdict(self.equal_loudness)
        return content

    def to_text(self) -> str:
        """The report as a text table."""
        lines = ["nothing to score"]
        if self.synchrony:
            lines = [_HEADER, *_synchrony_rows("", self), LAG_FREE_REMARK, ""]
            if self.protocol is not None:
                lines += [self.protocol.to_text(), ""]
            if self.scores:
                lines += [scores_text({"generated": self.scores}), ""]
        if self.equal_loudness is not None:
            lines += [self.equal_loudness.to_text(), ""]
        for label, names in self.remarks().items():
            lines.append(f"{label}: {len(names)}")
            lines.extend(f"  {name}" for name in names[:LISTED_CLIPS])
            if len(names) > LISTED_CLIPS:
                lines.append(f"  and {len(names) - LISTED_CLIPS} more, listed with --json")
        return "\n".join(lines).rstrip() + "\n"

    def remarks(self) -> dict[str, Sequence[str]]:
        """Label -> clips with a remark; labels without clips are absent."""
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


def systems_text(reports: Mapping[str, Report]) -> str:
    """The reports of several systems, as `evaluate_systems` returns them, as text tables.

    Raises:
        ConfigError: the reports follow different protocols.
    """
    lines = [_HEADER]
    for name, report in reports.items():
        lines += _synchrony_rows(name, report)
    lines += [LAG_FREE_REMARK, ""]
    protocols = [report.protocol for report in reports.values() if report.protocol is not None]
    lines += [protocol.to_text() for protocol in protocols[:1]]
    scores = {name: report.scores for name, report in reports.items() if report.scores}
    if scores:
        lines += [scores_text(scores), ""]
    for name, report in reports.items():
        counts = [f"{len(clips)} {label}" for label, clips in report.remarks().items()]
        lines += [f"{name}: " + ", ".join(counts)] if counts else []
        if report.equal_loudness is not None:
            lines.append(f"{name}: {report.equal_loudness.to_text()}")
    return "\n".join(lines).rstrip() + "\n"


def window_label(window: WindowScore) -> str:
    """The tolerance of a table row: "±50 ms", with a star at the best lag."""
    star = "*" if isinstance(window, LagFreeScore) else ""
    return f"±{1000 * window.window_s:.0f} ms{star}"


def _synchrony_rows(name: str, report: Report) -> list[str]:
    """One row per tolerance; the first has the system, the median lag and the onset counts."""
    result = report.synchrony
    if result is None:
        return [f"{name:24}{0:6d}"]
    lag = "-" if result.median_lag_s is None else f"{1000 * result.median_lag_s:+.0f} ms"
    head = f"{name:24}{len(report.clips):6d}"
    tail = f"  {lag:>10}  {result.reference_onsets:>13}/{result.generated_onsets}"
    rows: list[str] = []
    for window in result.table_rows:
        gain, shuffled = window.gain, window.shuffled_f1
        chance = f"{'-':>9}  {'-':>6}  {'-':>15}"
        if gain is not None and shuffled is not None:
            interval = f"{gain.low:+.2f} .. {gain.high:+.2f}"
            chance = f"{shuffled.mean:9.2f}  {gain.mean:+6.2f}  {interval:>15}"
        rows.append(f"{head}  {window_label(window):>8}  {window.f1.mean:5.2f} {chance}{tail}")
        head, tail = " " * 30, ""
    return rows


def _synchrony_json(result: Synchrony) -> dict[str, Any]:
    free = result.lag_free
    return {
        "windows": {_window_key(w.window_s): w.intervals_json() for w in result.windows},
        "lag_free": {"window": _window_key(free.window_s), **free.intervals_json()},
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


def _window_key(window_s: float) -> str:
    return f"{1000 * window_s:.0f}_ms"
