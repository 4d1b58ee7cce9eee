"""Tables of stage one by the command line: every row trained, measured and written, and resumed."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest
from typer.testing import CliRunner

from foleyflow.cli.app import app
from foleyflow.experiments.alignment_tables import TABLES, recipe_of
from foleyflow.recipes import RECIPES
from foleyflow.recipes.align import AlignRecipe, small

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
    """Table 2 with two seeds, and two real clips."""
    out = tmp_path_factory.mktemp("table")
    real = tmp_path_factory.mktemp("real")
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(clip_file, real / name)
    command = ("2", "--data", simulated_data, "--out", out, "--real", real, "--seeds", 2)
    result = ablate(*command, *settings(smoke_runs))
    assert result.exit_code == 0, result.output
    return out, command, result


def test_every_row_and_seed_is_measured(table):
    out, _, _ = table
    written = json.loads((out / "table.json").read_text())
    assert list(written["rows"]) == [row.name for row in TABLES["2"].rows]
    for row in TABLES["2"].rows:
        runs = written["rows"][row.name]["runs"]
        assert len(runs) == 2 and runs[0] != runs[1]
        columns = written["rows"][row.name]["columns"]
        assert {"event F1", "real F1", "real gain"} <= columns.keys()
        # Only what recovers has anything to say of recovery.
        assert ("video gain" in columns) == row.name.startswith("vama")
        for name, interval in columns.items():
            values = interval["mean"], interval["low"], interval["high"]
            assert all(map(math.isfinite, values)), (row.name, name)
            assert interval["low"] <= interval["mean"] <= interval["high"]
            assert interval["count"] == 2
    assert not (out / "none" / "seed-0" / "journal.jsonl").exists()


def test_markdown_has_a_line_for_each_row_and_a_dash_for_what_is_not_said(table):
    out, _, result = table
    text = (out / "table.md").read_text()
    assert text.strip() in result.stdout
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(TABLES["2"].rows)
    assert len({line.count("|") for line in lines}) == 1
    assert "–" in lines[2] and "–" not in lines[4]
    assert re.search(r"\d\.\d{3} ± \d\.\d{3}", lines[4])


def test_what_is_finished_is_kept_and_what_is_not_is_made(table, smoke_runs):
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


def test_other_settings_are_not_mixed_in(table, smoke_runs):
    _, command, _ = table
    result = ablate(*command, *settings(smoke_runs), "--set", "losses.ratio=0.5")
    assert result.exit_code == 2
    assert "was started with other settings: settings.losses.ratio" in result.output


def test_an_unknown_table_is_refused_with_the_known_ones():
    result = ablate("9")
    assert result.exit_code == 2
    assert "table '9': expected one of 2, 3, 5, targets" in result.output


def test_a_dry_run_says_what_each_row_means(tmp_path):
    result = ablate("5", "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)["rows"]
    assert [row["losses"]["ratio"] for row in rows.values()] == [0.3, 0.5, 0.7, 0.8, 0.9]
    assert {row["losses"]["fully_masked_fraction"] for row in rows.values()} == {0.0}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list(TABLES))
def test_rows_of_a_table_have_the_same_size_data_and_steps(name):
    recipes = [recipe_of(row, seed=3, settings=()) for row in TABLES[name].rows]
    # A row over published encoders has adapters in the place of an encoder.
    sizes = [r.encoder if isinstance(r, AlignRecipe) else r.bottleneck for r in recipes]
    assert len(set(sizes)) == 1
    assert len({(r.windows, r.train.steps, r.train.batch_clips) for r in recipes}) == 1
    assert {r.train.seed for r in recipes} == {3}
    assert len({row.name for row in TABLES[name].rows}) == len(recipes)


def test_every_aligner_can_be_made_small():
    for name, build in RECIPES["align"].items():
        if name != "smoke" and isinstance(recipe := build(), AlignRecipe):
            recipe = small(recipe)
            assert recipe.encoder.dim == recipe.model.width
