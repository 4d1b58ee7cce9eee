"""The columns of the ablation tables, and a table as JSON and as Markdown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foleyflow.evaluation.metric import Interval, seed_interval
from foleyflow.evaluation.metrics import METRICS
from foleyflow.experiments.judged_sounds import (
    JUDGED_COLUMNS,
    PUBLISHED_COLUMNS,
    SIMULATION_COLUMNS,
)
from foleyflow.experiments.tables.cells import FlowCell, Row, Table

Paths = Mapping[str, tuple[str, ...]]
# Column -> its path in the figures of an aligner, of a flow's samples and of its likelihood.
RECOVERY_COLUMNS: Paths = {
    "R² hidden": ("recovery", "r2"),
    "video gain": ("recovery", "r2_gain"),
    "R² at the ratio": ("recovery", "r2_masked"),
    "gain at the ratio": ("recovery", "r2_gain_masked"),
    "gain of energy": ("recovery", "r2_gain_energy"),
}
PROBE_COLUMNS: Paths = {
    "shift peak, s": ("recovery", "shift_peak_s"),
    "event F1": ("probe", "event_f1", "mean"),
    "material": ("probe", "material_accuracy", "mean"),
    "real F1": ("real", "f1", "mean"),
    "real gain": ("real", "gain", "mean"),
}
ALIGNER_COLUMNS: Paths = {**RECOVERY_COLUMNS, **PROBE_COLUMNS}
FLOW_COLUMNS: Paths = {
    **{column: (column, "mean") for column in JUDGED_COLUMNS},
    "onset F1": ("onset_f1", "mean"),
    "shuffled": ("shuffled_f1", "mean"),
    "gain": ("gain", "mean"),
    "material": ("material_accuracy", "mean"),
    "Fréchet, latents": ("frechet_latent",),
    "variance": ("variance",),
    "noise level": ("noise_level",),
    "spread": ("spread",),
    "s per 10 s": ("flow_s_per_10s",),
}
DENSITY_COLUMNS: Paths = {
    "bits/dim": ("bits_per_dimension", "mean"),
    "bits/dim, other video": ("bits_per_dimension_other", "mean"),
    "own video likelier": ("matched_likelier", "mean"),
    "round trip": ("round_trip_error",),
}
SPEED, SPEED_UP = "s per 10 s", "times faster"


def table_result(
    table: Table, figures: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Rows, likelihoods and comparisons of a table, from the figures of each cell and seed.

    Returns:
        "title"; "rows": row -> "meaning", "evaluations" and "columns" (column -> fields of the
        interval over seeds, by Student's t; columns that a run lacks are left out); for a flow
        table "density": the same for cells, "true": the columns of the decoded true latents,
        "padding": column -> fraction of the sound that its judge pads, and if rows are ranked
        "ranking" (see `ranking`); "comparisons": question -> the same columns,
        as differences of the rows for each seed, and "times faster"; "not_measured": column -> why
        a run lacks it; "runs": the figures.
    """
    is_flow = any(row.evaluations is not None for row in table.rows)
    paths = FLOW_COLUMNS if is_flow else ALIGNER_COLUMNS
    if not table.common_target:
        paths = {name: path for name, path in paths.items() if name not in RECOVERY_COLUMNS}

    def runs_of(row: Row) -> list[Mapping[str, Any]]:
        runs = figures[row.cell.name]
        if row.evaluations is None:
            return list(runs)
        return [run["samples"][str(row.evaluations)] for run in runs]

    result: dict[str, Any] = {
        "title": table.title,
        "rows": {
            row.name: {
                "meaning": row.cell.meaning,
                "evaluations": row.evaluations,
                "columns": _columns(runs_of(row), paths),
            }
            for row in table.rows
        },
    }
    not_measured: dict[str, str] = {}
    if is_flow:
        with_density = [
            cell for cell in table.cells if isinstance(cell, FlowCell) and cell.has_likelihood
        ]
        result["density"] = {
            cell.name: {
                "meaning": cell.meaning,
                "columns": _columns(
                    [run["density"] for run in figures[cell.name]], DENSITY_COLUMNS
                ),
            }
            for cell in with_density
        }
        true = figures[table.rows[0].cell.name][0]["true"]
        result["true"] = _columns([true], paths)
        # Windows of all rows are equally long, so that a judge pads all of them alike.
        result["padding"] = {
            column: padded
            for column in JUDGED_COLUMNS
            if (padded := figure_at(true, (column, "sound_padding")))
        }
        for row in table.rows:
            for run in runs_of(row):
                not_measured |= run.get("not_measured", {})
        if table.ranked:
            result["ranking"] = ranking(table, result["rows"])
    result["comparisons"] = {
        each.question: _difference_columns(runs_of(each.first), runs_of(each.second), paths)
        for each in table.comparisons
    }
    runs = {name: list(runs) for name, runs in figures.items() if any(runs)}
    return result | {"not_measured": not_measured, "runs": runs}


def ranking(table: Table, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Aligners by the sound of their flows: evaluations -> aligner -> mean rank, best first.

    A rank is that among the rows with the same number of evaluations, 1 for the best, in the mean
    over seeds of KLD, FAD and Align Acc, averaged over these columns: the published ones if all
    rows have all three, else ours. Equal values share their mean rank.
    """
    result: dict[str, dict[str, float]] = {}
    for count in dict.fromkeys(str(row.evaluations) for row in table.rows):
        chosen = [row for row in table.rows if str(row.evaluations) == count]
        sets = [
            [name for name in columns if all(name in rows[row.name]["columns"] for row in chosen)]
            for columns in (PUBLISHED_COLUMNS, SIMULATION_COLUMNS)
        ]
        columns = sets[0] if len(sets[0]) == len(PUBLISHED_COLUMNS) else sets[1]
        if not columns:
            continue
        ranks = np.zeros(len(chosen))
        for column in columns:
            values = np.array([rows[row.name]["columns"][column]["mean"] for row in chosen])
            if METRICS[JUDGED_COLUMNS[column]].direction == "higher":
                values = -values
            below = (values[None] < values[:, None]).sum(1)
            equal = (values[None] == values[:, None]).sum(1)
            ranks += (below + (equal + 1) / 2) / len(columns)
        order = np.argsort(ranks, kind="stable")
        result[count] = {chosen[i].cell.aligner: float(ranks[i]) for i in order}
    return result


def _columns(runs: Sequence[Mapping[str, Any]], paths: Paths) -> dict[str, dict[str, Any]]:
    """Intervals over runs, for columns that all runs have."""
    columns = {}
    for column, path in paths.items():
        values = [figure_at(run, path) for run in runs]
        if all(value is not None for value in values):
            columns[column] = dataclasses.asdict(seed_interval(values))
    return columns


def _difference_columns(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], paths: Paths
) -> dict[str, dict[str, Any]]:
    differences: list[dict[str, Any]] = []
    for pair in zip(first, second, strict=True):
        values = {name: [figure_at(run, path) for run in pair] for name, path in paths.items()}
        differences.append(
            {
                name: None if None in (one, other) else one - other
                for name, (one, other) in values.items()
                if name != SPEED
            }
        )
        if SPEED in values:
            differences[-1][SPEED_UP] = values[SPEED][1] / values[SPEED][0]
    return _columns(differences, {name: (name,) for name in differences[0]})


def figure_at(figures: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path of keys, None if it does not exist."""
    value: Any = figures
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def markdown(result: Mapping[str, Any]) -> str:
    """A result of `table_result` as Markdown: rows, likelihoods and differences.

    Values are the mean ± half of the 95 % interval over seeds, or a dash for no value; a
    difference whose interval excludes zero is bold.
    """
    rows = list(result["rows"].values())
    heads, columns = ["", "NFE"], FLOW_COLUMNS
    if "true" in result:
        meaning = "true latents, decoded"
        rows.insert(0, {"meaning": meaning, "evaluations": "–", "columns": result["true"]})
    else:
        heads, columns = [""], ALIGNER_COLUMNS
    lines = [result["title"], ""]
    lines += _markdown_table(
        heads,
        [([row["meaning"], str(row["evaluations"])][: len(heads)], row["columns"]) for row in rows],
        columns,
    )
    for column, fraction in result.get("padding", {}).items():
        lines += ["", f"{column}: {100 * fraction:.0f} % of its judge's sound is padding."]
    absent = {**result.get("left_out", {}), **result["not_measured"]}
    if absent:
        lines += ["", f"Columns left out or incomplete: {', '.join(absent)}."]
    for count, ranks in result.get("ranking", {}).items():
        listed = ", ".join(f"{aligner} ({rank:.2g})" for aligner, rank in ranks.items())
        lines += ["", f"Mean rank by KLD, FAD and Align Acc at {count} evaluations: {listed}."]
    if result.get("density"):
        lines += ["", "Likelihood of true latents, and the round trip to noise and back", ""]
        lines += _markdown_table(
            [""],
            [([cell["meaning"]], cell["columns"]) for cell in result["density"].values()],
            DENSITY_COLUMNS,
        )
    if result["comparisons"]:
        lines += ["", "Differences, seed by seed", ""]
        lines += _markdown_table(
            [""],
            [([question], each) for question, each in result["comparisons"].items()],
            [*(name for name in columns if name != SPEED), SPEED_UP],
            bold=True,
        )
    return "\n".join(lines) + "\n"


def _markdown_table(
    heads: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Mapping[str, dict[str, Any]]]],
    columns: Sequence[str] | Paths,
    *,
    bold: bool = False,
) -> list[str]:
    """Lines of a Markdown table; columns that no row has are left out."""
    used = [column for column in columns if any(column in values for _, values in rows)]
    lines = [f"| {' | '.join([*heads, *used])} |", "|---" * (len(heads) + len(used)) + "|"]
    for names, values in rows:
        texts = []
        for column in used:
            if column not in values:
                texts.append("–")
                continue
            interval = Interval(**values[column])
            excludes_zero = interval.low > 0 or interval.high < 0
            text = _interval_text(interval)
            texts.append(f"**{text}**" if bold and excludes_zero and column != SPEED_UP else text)
        lines.append(f"| {' | '.join([*names, *texts])} |")
    return lines


def _interval_text(interval: Interval) -> str:
    """A mean with half of its interval, to three decimals or two digits of the mean."""
    size = abs(interval.mean)
    decimals = min(7, max(3, 1 - math.floor(math.log10(size)))) if size else 3
    if math.isnan(interval.low):
        return f"{interval.mean:.{decimals}f}"
    return f"{interval.mean:.{decimals}f} ± {(interval.high - interval.low) / 2:.{decimals}f}"
