"""Alignment tables on the command line: all cells are trained, measured, written and resumed."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest
from typer.testing import CliRunner

from foleyflow.cli.app import app
from foleyflow.experiments.tables.definitions import TABLES
from foleyflow.experiments.tables.recipes import aligner_recipe
from foleyflow.recipes import RECIPES
from foleyflow.recipes.align import AlignRecipe, small

PARTS = {name: parts["alignment"] for name, parts in TABLES.items() if "alignment" in parts}
CELLS = PARTS["table2"].cells
SIZE = (
    "train.steps=2",
    "train.batch_clips=2",
    "train.validate_every=2",
    "windows.segments=10",
    "model.width=16",
    "model.heads=2",
    "encoder.dim=16",
)


def ablate(table: str, *arguments: object):
    command = ["ablate", table, "--device", "cpu", "--probe-clips", "6"]
    return CliRunner().invoke(app, [*command, *map(str, arguments)])


def settings(smoke_runs) -> list[str]:
    flags = [f"codec={smoke_runs / 'codec/model'}", *SIZE]
    return [part for flag in flags for part in ("--set", flag)]


@pytest.fixture(scope="module")
def table(simulated_data, smoke_runs, clip_file, tmp_path_factory):
    """The alignment part of table 2 with two seeds and two real clips."""
    out = tmp_path_factory.mktemp("table")
    real = tmp_path_factory.mktemp("real")
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(clip_file, real / name)
    command = ("table2", "--data", simulated_data, "--out", out, "--real", real, "--seeds", 2)
    result = ablate(*command, *settings(smoke_runs))
    assert result.exit_code == 0, result.output
    return out, command, result


def test_every_cell_and_seed_is_measured(table):
    out, _, result = table
    written = json.loads((out / "table2-alignment.json").read_text())
    assert list(written["rows"]) == [cell.name for cell in CELLS]
    for cell in CELLS:
        runs = written["runs"][cell.name]
        assert len(runs) == 2 and runs[0] != runs[1]
        columns = written["rows"][cell.name]["columns"]
        assert {"event F1", "real F1", "real gain"} <= columns.keys()
        # Only aligners that recover features have figures of the recovery.
        assert ("video gain" in columns) == cell.name.startswith("vama")
        for name, interval in columns.items():
            values = interval["mean"], interval["low"], interval["high"]
            assert all(map(math.isfinite, values)), (cell.name, name)
            assert interval["low"] <= interval["mean"] <= interval["high"]
            assert interval["count"] == 2
    assert not (out / "none" / "seed-0" / "journal.jsonl").exists()
    assert "training vama" in result.stderr and "training none" not in result.stderr


def test_markdown_has_a_line_for_each_row_and_a_dash_for_missing_figures(table):
    out, _, result = table
    text = (out / "table2-alignment.md").read_text()
    assert text.strip() in result.stdout
    lines = [line for line in text.splitlines() if line.startswith("|")]
    comparisons = PARTS["table2"].comparisons
    assert len(lines) == 2 + len(CELLS) + 2 + len(comparisons)
    rows = dict(zip((cell.name for cell in CELLS), lines[2:], strict=False))
    assert len({line.count("|") for line in rows.values()}) == 1
    assert "–" in rows["none"] and "–" not in rows["vama"]
    assert re.search(r"\d\.\d{3} ± \d\.\d{3}", rows["vama"])
    assert [line.split("|")[1].strip() for line in lines[-len(comparisons) :]] == [
        each.question for each in comparisons
    ]


def test_finished_cells_are_kept_and_missing_ones_are_measured(table, smoke_runs):
    out, command, first = table
    kept = {p: p.stat().st_mtime_ns for p in out.rglob("figures.json")}
    lost = out / "vama" / "seed-1" / "figures.json"
    before = json.loads(lost.read_text())
    lost.unlink()
    result = ablate(*command, *settings(smoke_runs))
    assert result.exit_code == 0, result.output
    assert result.stdout == first.stdout
    assert json.loads(lost.read_text()) == before
    after = {p: p.stat().st_mtime_ns for p in out.rglob("figures.json")}
    assert [p for p in kept if kept[p] != after[p]] == [lost]


def test_a_run_with_other_settings_is_not_resumed(table, smoke_runs):
    _, command, _ = table
    result = ablate(*command, *settings(smoke_runs), "--set", "losses.ratio=0.5")
    assert result.exit_code == 2
    assert "was started with other settings: settings.losses.ratio" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("9",), "table '9': expected one of table1, table2, table3, table4, table5, targets"),
        (
            ("table4", "--stage", "alignment"),
            "table 'table4', stage 'alignment': expected flow",
        ),
    ],
)
def test_a_table_or_stage_that_does_not_exist_is_refused(arguments, message):
    result = ablate(*arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("old", "name", "stage"),
    [("2", "table2", "alignment"), ("4", "table4", "flow"), ("5-flow", "table5", "flow")],
)
def test_an_old_table_name_works_with_a_warning(old, name, stage):
    results = [
        CliRunner().invoke(app, ["ablate", *arguments, "--dry-run"])
        for arguments in ((old,), (name, "--stage", stage))
    ]
    assert [result.exit_code for result in results] == [0, 0]
    assert results[0].stdout == results[1].stdout
    assert f"use: ablate {name} --stage {stage}" in results[0].stderr
    assert results[0].stderr.count("\n") == 1 and not results[1].stderr


def test_a_dry_run_prints_the_recipe_of_each_cell(tmp_path):
    result = ablate("table5", "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0
    cells = json.loads(result.stdout)["cells"]
    assert [cell["losses"]["ratio"] for cell in cells.values()] == [0.3, 0.5, 0.7, 0.8, 0.9]
    assert {cell["losses"]["fully_masked_fraction"] for cell in cells.values()} == {0.0}
    assert not (tmp_path / "out").exists()


def test_rows_of_an_alignment_table_may_be_left_out(tmp_path):
    leave_out = ("--without", "supervised", "--without", "vama-contrast")
    result = ablate("table2", "--dry-run", *leave_out, "--out", tmp_path / "out")
    assert result.exit_code == 0
    every = [cell.name for cell in PARTS["table2"].cells]
    left = [name for name in every if name not in leave_out]
    assert list(json.loads(result.stdout)["cells"]) == left and len(left) == len(every) - 2


@pytest.mark.parametrize("name", list(PARTS))
def test_cells_of_a_table_have_the_same_size_data_and_steps(name):
    cells = PARTS[name].cells
    recipes = [aligner_recipe(cell, seed=3, settings=()) for cell in cells]
    # A cell over published encoders has adapters instead of an encoder.
    sizes = [r.encoder if isinstance(r, AlignRecipe) else r.bottleneck for r in recipes]
    assert len(set(sizes)) == 1
    assert len({(r.windows, r.train.steps, r.train.batch_clips) for r in recipes}) == 1
    assert {r.train.seed for r in recipes} == {3}
    assert len({cell.name for cell in cells}) == len(recipes) == len(PARTS[name].rows)


def test_every_aligner_can_be_made_small():
    for name, build in RECIPES["align"].items():
        if name != "smoke" and isinstance(recipe := build(), AlignRecipe):
            recipe = small(recipe)
            assert recipe.encoder.dim == recipe.model.width
