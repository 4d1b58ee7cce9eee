"""The values of metrics with their controls: as records, as JSON and as a table.

A control that scores as well as the system is flagged, since the metric then proves nothing about
the system.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.evaluation.metric import Metric, bootstrap_mean
from foleyflow.judges.interface import PairPadding

# Condition -> its label in tables. "Narrow" is limited to the band that a protocol names.
CONDITIONS = {
    "generated": "generated",
    "generated_narrow": "generated, against band-limited true sound",
    "true": "true sound",
    "true_narrow": "band-limited true sound",
    "silence": "silence",
    "noise": "white noise",
    "other": "other clip",
    "shifted": "shifted true sound",
}
# Conditions that show a system; all others are controls
SYSTEM_CONDITIONS = ("generated", "generated_narrow")
# Conditions that only some metrics or protocols have
OPTIONAL_CONDITIONS = ("generated_narrow", "true_narrow", "shifted")
# Controls that should score worse than any system
WORSE_CONDITIONS = ("silence", "noise", "other", "shifted")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric under one condition: the mean over `count` clips, or the one value of the set.

    `low` and `high` are the ends of the 95 % bootstrap interval over clips; None if there is none.
    """

    value: float
    low: float | None
    high: float | None
    count: int


def mean_figure(values: Sequence[float]) -> Figure:
    """The mean of one value per clip, with its bootstrap interval."""
    interval = bootstrap_mean(values)
    return Figure(value=interval.mean, low=interval.low, high=interval.high, count=interval.count)


@dataclass(frozen=True, kw_only=True)
class MetricScore:
    """One metric of a folder."""

    metric: Metric
    figures: Mapping[str, Figure]  # by condition; those without values are absent
    # Clip -> value of the generated sound; empty for metrics of complete sets
    clips: Mapping[str, float] = field(default_factory=dict)
    # Clip, with the condition if it is a control -> why it has no value
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()  # printed with the figures
    judge: Mapping[str, Any] | None = None  # `judge_json` of its judge
    protocol: str | None = None  # name of the protocol that it follows
    # Condition -> clip -> padding of the judge's input; empty for judges that do not pad
    padding: Mapping[str, Mapping[str, PairPadding]] = field(default_factory=dict)

    @property
    def controls_as_good(self) -> tuple[str, ...]:
        """Controls that should score worse than the generated sound and do not."""
        generated = self.figures.get("generated")
        if generated is None:
            return ()
        return tuple(
            condition
            for condition in WORSE_CONDITIONS
            if condition in self.figures
            and self.metric.at_least_as_good(self.figures[condition].value, generated.value)
        )

    def to_json(self) -> dict[str, Any]:
        """The score as plain values for `json.dumps`."""
        return {
            "metric": self.metric.to_json(),
            "rows": {condition: asdict(figure) for condition, figure in self.figures.items()},
            "controls_as_good_as_generated": list(self.controls_as_good),
            "clips": dict(self.clips),
            "left_out": dict(self.left_out),
            "remarks": list(self.remarks),
            "judge": None if self.judge is None else dict(self.judge),
            "protocol": self.protocol,
            "padding": {
                condition: {clip: asdict(padding) for clip, padding in clips.items()}
                for condition, clips in self.padding.items()
            },
        }


def mean_score(
    metric: Metric,
    values: Mapping[str, Mapping[str, float]],
    left_out: Mapping[str, str],
    **more: Any,
) -> MetricScore:
    """The score of a metric with values by condition and clip; `more` are its other fields."""
    figures = {
        condition: mean_figure(list(values[condition].values()))
        for condition in CONDITIONS
        if values.get(condition)
    }
    clips = values.get("generated", {})
    return MetricScore(metric=metric, figures=figures, clips=clips, left_out=left_out, **more)


def padding_remarks(padding: Mapping[str, Mapping[str, PairPadding]]) -> list[str]:
    """One line per different amount of padding in condition -> clip -> padding."""
    labels: dict[str, list[str]] = {}
    for condition in CONDITIONS:
        clips = list(padding.get(condition, {}).values())
        parts = [
            f"{kind} of {len(padded)} of {len(clips)} clips padded by "
            f"{sum(s for s, _ in padded) / len(padded):.2f} s "
            f"({100 * sum(fraction for _, fraction in padded) / len(padded):.1f} % of the input) "
            f"on average, {means}"
            for kind, means, amounts in (
                ("sound", "with zeros", [(c.sound_s, c.sound_fraction) for c in clips]),
                ("video", "by repeating it", [(c.video_s, c.video_fraction) for c in clips]),
            )
            if (padded := [amount for amount in amounts if amount[0] > 0])
        ]
        if parts:
            labels.setdefault("; ".join(parts), []).append(CONDITIONS[condition])
    return [f"padding, {', '.join(conditions)}: {text}" for text, conditions in labels.items()]


def scores_text(scores: Mapping[str, Mapping[str, MetricScore]]) -> str:
    """A table per metric from system -> metric -> score: systems, then controls and remarks.

    A control with equal figures for all systems (they have the same clips) is printed once. Errors
    as for `common_protocol`.
    """
    common_protocol(score for by_metric in scores.values() for score in by_metric.values())
    blocks: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for by_metric in scores.values() for name in by_metric):
        by_system = {system: s[name] for system, s in scores.items() if name in s}
        metric = next(iter(by_system.values())).metric
        blocks[name] = [f"{metric.name} ({direction_text(metric)}; 95 % interval)"]
        for condition in CONDITIONS:
            blocks[name] += _table_rows(condition, by_system)
        blocks[name] += [f"  ! {flag}" for flag in flags(by_system)]
        for system, score in by_system.items():
            blocks[name] += [f"  {system}: {remark}" for remark in remarks(score)]
    return "\n\n".join("\n".join(lines) for lines in blocks.values())


def _table_rows(condition: str, by_system: Mapping[str, MetricScore]) -> list[str]:
    figures = {
        system: score.figures[condition]
        for system, score in by_system.items()
        if condition in score.figures
    }
    label = CONDITIONS[condition]
    if condition == "generated":
        labelled = figures
    elif condition in SYSTEM_CONDITIONS:
        labelled = {f"{system} [{label}]": figure for system, figure in figures.items()}
    elif len(figures) == len(by_system) and len(set(figures.values())) == 1:
        labelled = {f"[{label}]": next(iter(figures.values()))}
    else:
        labelled = {f"[{label}, {system}]": figure for system, figure in figures.items()}
    return [f"  {name:30} {figure_text(f):30} {f.count:5d} clips" for name, f in labelled.items()]


def common_protocol(scores: Iterable[MetricScore]) -> str | None:
    """The name of the protocol that all scores follow; None if they follow none.

    Raises:
        ConfigError: they follow different ones, or only some follow one.
    """
    names = list(dict.fromkeys(score.protocol for score in scores))
    if len(names) > 1:
        listed = " and ".join("no protocol" if name is None else repr(name) for name in names)
        raise ConfigError(
            f"scores of {listed} cannot share a table",
            hint="score all systems by one protocol, or give each its own report",
        )
    return names[0] if names else None


def conditions_in(scores: Iterable[MetricScore]) -> dict[str, str]:
    """Condition -> label, without the optional conditions that none of the scores has."""
    present = {condition for score in scores for condition in score.figures}
    return {
        condition: label
        for condition, label in CONDITIONS.items()
        if condition not in OPTIONAL_CONDITIONS or condition in present
    }


def flags(by_system: Mapping[str, MetricScore]) -> list[str]:
    """A line for each control that scores as well as some system, for one metric."""
    lines = []
    for condition in WORSE_CONDITIONS:
        matched = [system for system, s in by_system.items() if condition in s.controls_as_good]
        if matched:
            lines.append(
                f"{CONDITIONS[condition]} is as good or better, so the figure proves nothing "
                f"about: {', '.join(matched)}"
            )
    return lines


def remarks(score: MetricScore) -> list[str]:
    """Lines to print with a score: its remarks, its judge and the clips without a value."""
    lines = list(score.remarks)
    if score.judge is not None:
        lines.append(f"judge {score.judge['name']}, weights {score.judge['weights_sha256']}")
    return [*lines, *(f"without a value: {clip}: {why}" for clip, why in score.left_out.items())]


def figure_text(figure: Figure) -> str:
    """A figure with its interval."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} .. {figure.high:.3f})"


def direction_text(metric: Metric) -> str:
    """The direction and the unit of a metric, as in "lower is better, dB"."""
    better = {"higher": "higher", "lower": "lower", "zero": "closer to 0"}[metric.direction]
    return f"{better} is better" + ("" if metric.unit == "1" else f", {metric.unit}")
