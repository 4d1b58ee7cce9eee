"""Metrics over a folder, each beside its controls: as records, as JSON and as a table.

How they come about is `scoring.py`. A control that is as good as the system itself is named: such
a figure says nothing of the system.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.evaluation.metric import Metric

# Row -> what it is called for people. "Narrow" is limited to the band that a protocol names.
ROWS = {
    "generated": "generated",
    "generated_narrow": "generated, against narrow truth",
    "true": "true sound",
    "true_narrow": "narrow true sound",
    "silence": "silence",
    "noise": "white noise",
    "other": "other clip",
    "shifted": "shifted true sound",
}
# Rows of systems; all others are controls.
MADE_ROWS = ("generated", "generated_narrow")
# Those that only some metrics or protocols have.
RARE_ROWS = ("generated_narrow", "true_narrow", "shifted")
# Those that no system should be as bad as.
WORSE_ROWS = ("silence", "noise", "other", "shifted")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one row.

    Attributes:
        value: mean over clips, or the one value of the set.
        low: lower end of the 95 % bootstrap interval over clips; None where there is none.
        high: upper end.
        count: clips used.
    """

    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class MetricScore:
    """One metric of a folder.

    Attributes:
        metric: how to read it.
        rows: row of `ROWS` -> figure; rows that can't be had are absent.
        clips: clip -> value of the generated sound; empty for metrics of whole sets.
        left_out: clip, with the row if it is a control -> why it has no value.
        remarks: what must be known beside the figure.
        judge: name, weight hash, rate and lengths of its judge; None without one.
        protocol: name of the protocol that it follows; None outside of any.
    """

    metric: Metric
    rows: Mapping[str, Figure]
    clips: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    judge: Mapping[str, Any] | None = None
    protocol: str | None = None

    @property
    def as_good_controls(self) -> tuple[str, ...]:
        """Controls that are as good as the generated sound or better, though they should not."""
        made = self.rows.get("generated")
        if made is None:
            return ()
        return tuple(
            row
            for row in WORSE_ROWS
            if row in self.rows and self.metric.as_good(self.rows[row].value, made.value)
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values for `json.dumps`."""
        return {
            "metric": self.metric.to_json(),
            "rows": {row: asdict(figure) for row, figure in self.rows.items()},
            "controls_as_good_as_generated": list(self.as_good_controls),
            "clips": dict(self.clips),
            "left_out": dict(self.left_out),
            "remarks": list(self.remarks),
            "judge": None if self.judge is None else dict(self.judge),
            "protocol": self.protocol,
        }


def scores_text(scores: Mapping[str, Mapping[str, MetricScore]]) -> str:
    """Every metric: one row per system, then the controls, then what must be said beside them.

    A control is printed once if it is the same for all systems (they have the same clips).

    Args:
        scores: system -> metric -> score.

    Raises:
        ConfigError: figures of different protocols.

    Source: ours.
    """
    one_protocol(score for by_metric in scores.values() for score in by_metric.values())
    blocks: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for by_metric in scores.values() for name in by_metric):
        by_system = {system: s[name] for system, s in scores.items() if name in s}
        blocks[name] = [_title(next(iter(by_system.values())).metric)]
        for row in ROWS:
            blocks[name] += _row_lines(row, by_system)
        blocks[name] += [f"  ! {flag}" for flag in flags(by_system)]
        for system, score in by_system.items():
            blocks[name] += [f"  {system}: {remark}" for remark in remarks(score)]
    return "\n\n".join("\n".join(lines) for lines in blocks.values())


def one_protocol(scores: Iterable[MetricScore]) -> str | None:
    """The protocol that some scores share: what may stand in one table.

    Args:
        scores: of any metrics and systems.

    Returns:
        its name; None if they follow none, or if there are no scores.

    Raises:
        ConfigError: they follow different ones, or only some follow one.

    Source: ours.
    """
    names = list(dict.fromkeys(score.protocol for score in scores))
    if len(names) > 1:
        said = " and ".join("no protocol" if name is None else repr(name) for name in names)
        raise ConfigError(
            f"figures of {said} can't stand in one table",
            hint="score all systems by one protocol, or give each its own report",
        )
    return names[0] if names else None


def rows_in(scores: Iterable[MetricScore]) -> dict[str, str]:
    """The rows of a table: those that every metric may have, and the rare ones that are there.

    Args:
        scores: of one metric.

    Returns:
        row -> what it is called.

    Source: ours.
    """
    there = {row for score in scores for row in score.rows}
    return {row: name for row, name in ROWS.items() if row not in RARE_ROWS or row in there}


def flags(by_system: Mapping[str, MetricScore]) -> list[str]:
    """A line for each control that is as good as some system.

    Args:
        by_system: system -> score, of one metric.

    Source: ours.
    """
    lines = []
    for row in WORSE_ROWS:
        matched = [system for system, s in by_system.items() if row in s.as_good_controls]
        if matched:
            lines.append(
                f"{ROWS[row]} is as good or better, so the figure proves nothing of: "
                + ", ".join(matched)
            )
    return lines


def remarks(score: MetricScore) -> list[str]:
    """What must be said beside the figures of one system: remarks, judge, clips without a value.

    Args:
        score: of one metric.

    Source: ours.
    """
    lines = list(score.remarks)
    if score.judge is not None:
        lines.append(f"judge {score.judge['name']}, weights {score.judge['weights_sha256']}")
    return [*lines, *(f"without a value: {clip}: {why}" for clip, why in score.left_out.items())]


def figure_text(figure: Figure) -> str:
    """A figure with its interval.

    Args:
        figure: of any metric.

    Source: ours.
    """
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} .. {figure.high:.3f})"


def better_text(metric: Metric) -> str:
    """Which way a metric is better, and its unit.

    Args:
        metric: any.

    Source: ours.
    """
    better = {"higher": "higher", "lower": "lower", "zero": "nearer to 0"}[metric.direction]
    return f"{better} is better" + ("" if metric.unit == "1" else f", {metric.unit}")


def _title(metric: Metric) -> str:
    return f"{metric.name} ({better_text(metric)}; 95 % interval)"


def _row_lines(row: str, by_system: Mapping[str, MetricScore]) -> list[str]:
    figures = {system: s.rows[row] for system, s in by_system.items() if row in s.rows}
    if row == "generated":
        labels = figures
    elif row in MADE_ROWS:
        labels = {f"{system} [{ROWS[row]}]": figure for system, figure in figures.items()}
    elif len(figures) == len(by_system) and len(set(figures.values())) == 1:
        labels = {f"[{ROWS[row]}]": next(iter(figures.values()))}
    else:
        labels = {f"[{ROWS[row]}, {system}]": figure for system, figure in figures.items()}
    return [f"  {name:30} {figure_text(f):30} {f.count:5d} clips" for name, f in labels.items()]
