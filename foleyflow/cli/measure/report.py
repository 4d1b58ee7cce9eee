"""The report of a measurement, and its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Report = Mapping[str, Any]


def report_lines(report: Report, indent: str = "") -> Iterator[str]:
    """Nested figures as indented lines; intervals and short lists in one line."""
    for name, value in report.items():
        if isinstance(value, Mapping) and {"mean", "low", "high"} <= value.keys():
            text = f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
            yield f"{indent}{name}: {text}"
        elif isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from report_lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{name}:"
            for item in value:
                yield from report_lines(item, indent + "  ")
                yield ""
        elif isinstance(value, list):
            yield f"{indent}{name}: {', '.join(map(str, value))}"
        else:
            number = f"{value:.6g}" if isinstance(value, float) else value
            yield f"{indent}{name}: {'-' if value is None else number}"
