"""A small flow table on the command line: trained, measured, written and resumed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import miniature_table
from support.miniature_table import MINIATURE
from typer.testing import CliRunner

from foleyflow.cli.app import app
from foleyflow.errors import ConfigError
from foleyflow.experiments.judged_sounds import PUBLISHED_COLUMNS
from foleyflow.experiments.tables.cells import FlowCell
from foleyflow.experiments.tables.definitions import TABLES
from foleyflow.experiments.tables.recipes import (
    SMALL_BUDGET,
    aligner_recipe,
    flow_budget,
    flow_recipe,
)
from foleyflow.experiments.tables.rendering import (
    DENSITY_COLUMNS,
    FLOW_COLUMNS,
    markdown,
    table_result,
)
from foleyflow.recipes.flow import DistilRecipe

PARTS = {name: parts["flow"] for name, parts in TABLES.items() if "flow" in parts}
SPEC = PARTS[MINIATURE]
ROOT = Path(__file__).resolve().parents[2]
SIZE = (
    "base_steps=2",
    "further_steps=3",
    "train.batch_clips=2",
    "train.save_every=1",
    "train.validate_every=3",
    "train.log_every=1",
    "windows.segments=10",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
    "context.shortest_context=4",
    "context.longest_context=10",
    "pairs.shortest_context=4",
    "pairs.longest_context=10",
    "pairs.count=4",
    "pairs.solver_steps=2",
    "aligner.train.steps=2",
    "aligner.train.batch_clips=2",
    "aligner.train.validate_every=100",
    "aligner.train.bf16=false",
    "aligner.windows.segments=10",
    "aligner.model.width=16",
    "aligner.model.heads=2",
    "aligner.encoder.dim=16",
)
SETTINGS = [part for flag in SIZE for part in ("--set", flag)]


def command(*arguments: object) -> list[str]:
    """A command at the size of the miniature."""
    options = "--stage flow --device cpu --clips 4".split()
    return ["ablate", *map(str, arguments), *options, *SETTINGS]


def ablate(*arguments: object):
    return CliRunner().invoke(app, command(*arguments))


@pytest.fixture(scope="module")
def table(simulated_data, judge, tmp_path_factory):
    """Folder, arguments and result of the miniature with one seed; its first run was killed."""
    folder = tmp_path_factory.mktemp("tables")
    places = ("--out", folder / "flow", "--aligners", folder / "runs", "--seeds", 1)
    arguments = (MINIATURE, "--data", simulated_data, *places, "--judges", judge)
    killed = subprocess.Popen(
        [sys.executable, miniature_table.__file__, *command(*arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Once the second row's cell has begun, the first is complete and the second is not.
    journal = folder / "flow" / "vama-dynamic-unmerged" / "seed-0" / "journal.jsonl"
    for _ in range(1200):
        if journal.exists() and journal.read_text().count("\n") > 1:
            break
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    first = folder / "flow" / "vama-dynamic-dcf" / "seed-0" / "figures.json"
    kept = first.read_bytes(), first.stat().st_mtime_ns
    assert not (folder / "flow" / f"{MINIATURE}-flow.json").exists()
    result = ablate(*arguments)
    assert result.exit_code == 0, result.output
    assert "training vama-dynamic-diffusion" in result.stderr
    assert (first.read_bytes(), first.stat().st_mtime_ns) == kept
    return folder, arguments, result


@pytest.fixture(scope="module")
def written(table) -> dict:
    """The table's JSON."""
    return json.loads((table[0] / "flow" / f"{MINIATURE}-flow.json").read_text())


def test_every_row_has_all_its_figures(written):
    assert list(written["rows"]) == [row.name for row in SPEC.rows]
    # No weights of published judges, and windows of 0.8 s, too short for the judge of synchrony
    absent = {*PUBLISHED_COLUMNS, "Align Acc-sim"}
    assert set(written["left_out"]) == set(PUBLISHED_COLUMNS)
    assert set(written["not_measured"]) == {"Align Acc-sim"}
    for name, row in written["rows"].items():
        assert set(row["columns"]) == set(FLOW_COLUMNS) - absent, name
        assert all(math.isfinite(column["mean"]) for column in row["columns"].values())
        assert row["columns"]["variance"]["mean"] > 0 and row["columns"]["s per 10 s"]["mean"] > 0
    with_density = {name for name in written["runs"] if "density" in written["runs"][name][0]}
    assert set(written["density"]) == with_density
    assert "vama-dynamic-dcf" in with_density and "vama-dynamic-distilled" not in with_density
    for cell in written["density"].values():
        assert set(cell["columns"]) == set(DENSITY_COLUMNS)
    assert list(written["comparisons"]) == [each.question for each in SPEC.comparisons]
    one, many = (written["rows"][f"vama-dynamic-{n}"]["columns"] for n in ("gdcf@1", "dcf@25"))
    difference = written["comparisons"]["GDCF in 1 - DCF in 25"]
    assert difference["gain"]["mean"] == pytest.approx(one["gain"]["mean"] - many["gain"]["mean"])
    ratio = many["s per 10 s"]["mean"] / one["s per 10 s"]["mean"]
    assert difference["times faster"]["mean"] == pytest.approx(ratio)


def test_decoded_true_latents_keep_the_onsets(written):
    assert written["true"]["onset F1"]["mean"] > 0.8  # limited by the shipped codec


def test_markdown_has_a_line_for_each_row_cell_and_comparison(table):
    folder, _, result = table
    text = (folder / "flow" / f"{MINIATURE}-flow.md").read_text()
    assert text.strip() in result.stdout
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    lengths = [len(block.strip().split("\n")) - 2 for block in blocks]
    dense = sum(cell.has_likelihood for cell in SPEC.cells)
    assert lengths == [1 + len(SPEC.rows), dense, len(SPEC.comparisons)]
    for block in blocks:
        assert len({line.count("|") for line in block.strip().split("\n")}) == 1


def times_ns(folder: Path) -> dict[Path, int]:
    """Modification times of all files but those of the table."""
    files = (path for path in folder.rglob("*.*") if f"{MINIATURE}-flow." not in path.name)
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_second_run_trains_and_measures_nothing(table):
    folder, arguments, first = table
    before = times_ns(folder)
    result = ablate(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == first.stdout
    assert times_ns(folder) == before


def test_all_flows_of_a_path_begin_with_the_same_first_part_of_their_seed(table):
    folder, _, _ = table

    def config(cell: str):
        return json.loads((folder / "flow" / cell / "seed-0" / "config.json").read_text())

    def sha256(cell: str) -> str:
        record = folder / "flow" / cell / "seed-0" / "model" / "config.json"
        return json.loads(record.read_text())["components"]["flow"]["sha256"]

    assert config("vama-dynamic-base")["init"] is None
    for kind in ("dcf", "unmerged", "gdcf", "polished"):
        assert config(f"vama-dynamic-{kind}")["init"] == {"flow": sha256("vama-dynamic-base")}
    diffusion = config("vama-dynamic-diffusion")["init"]
    assert diffusion == {"flow": sha256("vama-dynamic-diffusion-base")}
    teacher = config("vama-dynamic-distilled")["settings"]["teacher"]
    assert Path(teacher) == folder / "flow" / "vama-dynamic-base" / "seed-0" / "model"


def test_aligners_are_trained_as_in_the_alignment_table(table):
    folder, _, _ = table
    run = folder / "runs" / "vama" / "seed-0"
    cell = json.loads((folder / "flow/vama-dynamic-dcf/seed-0/config.json").read_text())
    assert cell["settings"]["align"] == str(run / "model")
    size = [flag.removeprefix("aligner.") for flag in SIZE if flag.startswith("aligner.")]
    flags = [f"codec={cell['settings']['codec']}", *size]
    dry_run = ["ablate", "table2", "--dry-run"]
    dry_run += [part for flag in flags for part in ("--set", flag)]
    expected = json.loads(CliRunner().invoke(app, dry_run).stdout)["cells"]["vama"]
    expected.pop("meaning")
    # `foleyflow ablate table2 --stage alignment` can resume it.
    assert json.loads((run / "config.json").read_text())["settings"] == expected


def test_an_error_names_its_cell(table):
    folder, arguments, _ = table
    path = folder / "flow" / "vama-dynamic-polished" / "seed-0" / "figures.json"
    kept = path.read_bytes()
    path.write_bytes(kept[:100])
    result = ablate(*arguments)
    path.write_bytes(kept)
    assert result.exit_code == 2
    assert "cell vama-dynamic-polished, seed 0:" in result.output and "damaged" in result.output


def test_a_run_with_other_settings_is_not_resumed(table):
    _, arguments, _ = table
    result = ablate(*arguments, "--set", "objective.tau_mean=0.3")
    assert result.exit_code == 2
    assert "cell vama-dynamic-base, seed 0" in result.output
    assert "was started with other settings: settings.objective.tau_mean" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table4", "--set", "train.stepps=3"), "did you mean train.steps?"),
        (("table4", "--set", "aligner.train.stepps=3"), "did you mean train.steps?"),
        (("table4", "--set", "align=x"), "the table sets this itself"),
        (("table4", "--real", "x"), "--real is for other tables or stages"),
        (("table2", "--judges", "x"), "--judges is for other tables or stages"),
        (
            ("table2", "--stage", "flow", "--without", "cvap"),
            "--without cvap: expected some of cavp, cavp-onset, none, onset, vama, vama-no-onset",
        ),
        (("table5", "--without", "vama"), "--without vama: expected some of ratio-0.3, ratio-0.5"),
        (("table4", "--without", "vama"), "--without vama: expected some of vama, and not all"),
        (("9",), "expected one of table1, table2, table3, table4, table5, targets"),
    ],
)
def test_wrong_options_are_refused(arguments, message, tmp_path):
    result = CliRunner().invoke(app, ["ablate", *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def planned_cells(name: str, *arguments: str) -> list[str]:
    """The cells that a dry run lists."""
    command = ["ablate", name, "--stage", "flow", "--dry-run", *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["cells"])


@pytest.mark.parametrize("name", list(PARTS))
def test_a_dry_run_lists_all_cells(name, tmp_path):
    found = planned_cells(name, "--out", str(tmp_path / "out"))
    assert found == [cell.name for cell in PARTS[name].cells]
    assert not (tmp_path / "out").exists()


def test_an_aligner_may_be_left_out():
    every = [cell.name for cell in PARTS["table2"].cells]
    left = [name for name in every if not name.startswith(("cavp-dynamic", "cavp-static"))]
    assert planned_cells("table2", "--without", "cavp") == left and len(left) < len(every)
    table = PARTS["table2"].without(["cavp", "cavp-onset"])
    rows = {row.name for row in table.rows}
    questions = [each.question for each in table.comparisons]
    assert "onset term: alone - no alignment, GDCF in 1" in questions
    assert not [each for each in questions if "CAVP" in each or "neither" in each]
    assert {row.name for c in table.comparisons for row in (c.first, c.second)} <= rows


@pytest.mark.parametrize("name", list(PARTS))
def test_cells_of_a_table_differ_only_in_their_settings(name):
    cells = PARTS[name].cells
    assert len({cell.name for cell in cells}) == len(cells)
    known = [cell.name for cell in cells]
    for number, cell in enumerate(cells):
        before = cell.begins_with
        assert before is None or before.name in known[:number]
    recipes = [flow_recipe(c, seed=3, settings=(), align=Path("a"), begin=Path("b")) for c in cells]
    assert len({(r.windows, r.train.batch_clips, r.train.seed, r.views) for r in recipes}) == 1
    networks = [recipe.model for recipe in recipes if hasattr(recipe, "model")]
    assert len({(each.width, each.layers) for each in networks}) == 1
    assert not any(each.cue_materials for each in networks)  # the paper's conditions alone


def updates_of(cell: FlowCell, *settings: str) -> tuple[list[int], list]:
    """Updates of the runs that a cell consists of, and their schedules, first run first."""
    chain = [cell]
    while (before := chain[0].begins_with) is not None:
        chain.insert(0, before)
    recipes = [
        flow_recipe(each, seed=0, settings=settings, align=Path("a"), begin=Path("b"))
        for each in chain
    ]
    steps = [recipe.train.steps for recipe in recipes]
    schedules = [dataclasses.replace(recipe.train, steps=1) for recipe in recipes]
    # No stage exceeds the run, and the stages fill it.
    for recipe in recipes:
        if not isinstance(recipe, DistilRecipe):
            stages = recipe.stages
            refined = stages.merge_steps + stages.polish_steps
            assert stages.dcf_steps in (0, recipe.train.steps) and refined <= recipe.train.steps
    return steps, schedules


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), [400, 240]),
        (("train.steps=1280",), [800, 480]),
        (("base_steps=30", "further_steps=50"), [30, 50]),
        (("train.steps=2",), [1, 1]),
    ],
)
@pytest.mark.parametrize("name", ["table2", "table4", "table5", "targets"])
def test_all_rows_have_the_same_number_of_updates_and_the_same_schedule(name, settings, expected):
    found = [updates_of(row.cell, *settings) for row in PARTS[name].rows]
    assert [steps for steps, _ in found] == [expected] * len(found)
    assert all(schedules == found[0][1] for _, schedules in found)


def test_rows_over_published_encoders_have_the_updates_of_their_recipe():
    steps, _ = zip(*(updates_of(row.cell) for row in PARTS["table3"].rows), strict=True)
    assert set(map(tuple, steps)) == {(200_000, 100_000)}


def test_first_parts_are_shared_and_are_no_rows():
    cells, rows = PARTS["table4"].cells, {row.cell.name for row in PARTS["table4"].rows}
    first = [cell.name for cell in cells if cell.begins_with is None]
    assert first == [
        "vama-dynamic-base",
        "vama-dynamic-base-gvp",
        "vama-dynamic-base-vp",
        "vama-dynamic-diffusion-base",
    ]
    assert not rows & set(first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("train.steps=9", "base_steps=3"), "train.steps=9 is the sum of base_steps and further"),
        (("train.steps=1",), "expected at least 1 update in each part"),
        (("further_steps=0",), "expected at least 1 update in each part"),
        (("base_steps=x",), "base_steps=x: expected int"),
    ],
)
def test_wrong_numbers_of_updates_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        flow_budget(settings, default=SMALL_BUDGET)


def test_table_2_separates_masked_reconstruction_from_the_onset_term():
    """Rows {VAMA, CAVP, none} x {with, without the onset term}, and each difference of interest."""
    pairs = {
        ("vama-no-onset", "none"),
        ("vama-no-onset", "cavp"),
        ("vama", "onset"),
        ("vama", "cavp-onset"),
        ("vama", "vama-no-onset"),
        ("cavp-onset", "cavp"),
        ("onset", "none"),
    }
    for stage, table in TABLES["table2"].items():
        compared = {
            (each.first.cell.aligner, each.second.cell.aligner) for each in table.comparisons
        }
        assert pairs <= compared, stage
    rows = {row.name for row in PARTS["table2"].rows}
    for aligner in ("vama", "vama-no-onset", "cavp", "cavp-onset", "onset", "none"):
        assert {f"{aligner}-dynamic-gdcf@1", f"{aligner}-dynamic-dcf@25"} <= rows
    assert "cavp-static-diffusion@25" in rows
    losses = {
        cell.name: aligner_recipe(cell, seed=0, settings=()).losses
        for cell in TABLES["table2"]["alignment"].cells
    }
    assert {losses[name].onset for name in ("vama", "cavp-onset", "onset")} == {3.0}
    assert {losses[name].onset for name in ("vama-no-onset", "cavp")} == {0.0}
    assert dataclasses.replace(losses["vama"], onset=0.0) == losses["vama-no-onset"]
    assert dataclasses.replace(losses["cavp-onset"], onset=0.0) == losses["cavp"]


def test_tables_share_their_cells():
    cells = {name: {cell.name for cell in table.cells} for name, table in PARTS.items()}
    assert {"vama-dynamic-dcf", "vama-dynamic-gdcf"} <= cells["table2"] & cells["table4"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("base", (18, 0, 0)),
        ("dcf", (18, 0, 0)),
        ("unmerged", (0, 0, 0)),
        ("gdcf", (0, 8, 0)),
        ("polished", (0, 6, 3)),
        ("diffusion", (18, 0, 0)),
    ],
)
def test_a_cells_stages_follow_its_steps(kind, expected):
    cell = FlowCell(aligner="vama", kind=kind)
    settings = ("base_steps=18", "further_steps=18", "pairs.count=5")
    recipe = flow_recipe(cell, seed=0, settings=settings, align=Path("a"), begin=Path("b"))
    stages = recipe.stages
    assert (stages.dcf_steps, stages.merge_steps, stages.polish_steps) == expected
    assert recipe.train.steps == 18


def test_encoders_are_ranked_by_the_sound_of_their_flows_and_not_by_their_recovery():
    table = PARTS["table3"]
    assert table.ranked and not PARTS["table5"].ranked
    pairs = list(dict.fromkeys(row.cell.aligner for row in table.rows))

    def run(place: int, *, published: bool) -> dict:
        ours = {"KLD-sim": place, "FAD-sim": place, "Align Acc-sim": -place}
        # By the published judges the order is the opposite one.
        theirs = {"KLD": -place, "FAD": -place, "Align Acc": place} if published else {}
        figures = {name: {"mean": float(value)} for name, value in {**ours, **theirs}.items()}
        return {"samples": {"1": figures, "25": figures}, "true": {}}

    for published in (True, False):
        runs = {
            cell.name: [run(pairs.index(cell.aligner), published=published)] for cell in table.cells
        }
        found = table_result(table, runs)
        order = pairs[::-1] if published else pairs
        for ranks in found["ranking"].values():
            assert ranks == {pair: place for place, pair in enumerate(order, start=1)}
        text = markdown(found)
        assert f"Mean rank by KLD, FAD and Align Acc at 1 evaluations: {order[0]} (1)" in text
    # R² of targets that differ between rows is no column.
    recovered = {"recovery": {"r2": 0.5, "r2_gain": 0.2, "shift_peak_s": 0.0}}
    part = TABLES["table3"]["alignment"]
    rows = table_result(part, {cell.name: [recovered] for cell in part.cells})["rows"]
    assert all(set(row["columns"]) == {"shift peak, s"} for row in rows.values())
