"""A small flow table on the command line: trained, measured, written and resumed."""

from __future__ import annotations

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
from foleyflow.experiments.tables.definitions import TABLES, WITH_DENSITY, FlowCell
from foleyflow.experiments.tables.recipes import flow_recipe
from foleyflow.experiments.tables.runner import DENSITY_COLUMNS, FLOW_COLUMNS

PARTS = {name: parts["flow"] for name, parts in TABLES.items() if "flow" in parts}
SPEC = PARTS[MINIATURE]
ROOT = Path(__file__).resolve().parents[2]
SIZE = (
    "train.steps=3",
    "train.batch_clips=2",
    "train.save_every=1",
    "train.validate_every=3",
    "train.log_every=1",
    "windows.segments=10",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
    "stages.shortest_context=4",
    "stages.longest_context=10",
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
    arguments = (MINIATURE, "--data", simulated_data, *places, "--judge", judge)
    killed = subprocess.Popen(
        [sys.executable, miniature_table.__file__, *command(*arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Once the second cell has begun, the first is complete and the second is not.
    journal = folder / "flow" / "vama-dynamic-gdcf" / "seed-0" / "journal.jsonl"
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
    for name, row in written["rows"].items():
        assert set(row["columns"]) == set(FLOW_COLUMNS), name
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
    dense = sum(cell.kind in WITH_DENSITY for cell in SPEC.cells)
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


def test_one_step_maps_begin_with_the_velocity_flow_of_their_seed(table):
    folder, _, _ = table

    def config(cell: str):
        return json.loads((folder / "flow" / cell / "seed-0" / "config.json").read_text())

    def sha256(cell: str) -> str:
        record = folder / "flow" / cell / "seed-0" / "model" / "config.json"
        return json.loads(record.read_text())["components"]["flow"]["sha256"]

    assert config("vama-dynamic-dcf")["init"] is None
    assert config("vama-dynamic-gdcf")["init"] == {"flow": sha256("vama-dynamic-dcf")}
    assert config("vama-dynamic-polished")["init"] == {"flow": sha256("vama-dynamic-gdcf")}
    teacher = config("vama-dynamic-distilled")["settings"]["teacher"]
    assert Path(teacher) == folder / "flow" / "vama-dynamic-dcf" / "seed-0" / "model"


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
    assert "cell vama-dynamic-dcf, seed 0" in result.output
    assert "was started with other settings: settings.objective.tau_mean" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table4", "--set", "train.stepps=3"), "did you mean train.steps?"),
        (("table4", "--set", "aligner.train.stepps=3"), "did you mean train.steps?"),
        (("table4", "--set", "align=x"), "the table sets this itself"),
        (("table4", "--real", "x"), "--real is for the other stage's tables"),
        (("table2", "--judge", "x"), "--judge is for the other stage's tables"),
        (("table2", "--without", "cavp"), "--without is for the other stage's tables"),
        (
            ("table2", "--stage", "flow", "--without", "cvap"),
            "--without cvap: expected some of cavp, none, vama",
        ),
        (("table4", "--without", "vama"), "--without vama: expected some of vama, and not all"),
        (("table4", "--judge", "nowhere"), "nowhere"),
        (("9",), "expected one of table2, table3, table4, table5, targets"),
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
    left = [name for name in every if not name.startswith("cavp")]
    assert planned_cells("table2", "--without", "cavp") == left and len(left) < len(every)
    table = PARTS["table2"].without(["cavp"])
    rows = {row.name for row in table.rows}
    questions = [each.question for each in table.comparisons]
    assert "VAMA - no alignment, dynamic, GDCF in 1" in questions
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
    sizes = {
        (r.model.width, r.model.layers, r.model.events) for r in recipes if hasattr(r, "model")
    }
    assert len(sizes) == 1
    steps: dict[str, set[int]] = {}
    for cell, recipe in zip(cells, recipes, strict=True):
        steps.setdefault(cell.kind, set()).add(recipe.train.steps)
    assert all(len(each) == 1 for each in steps.values())


def test_tables_share_their_cells():
    cells = {name: {cell.name for cell in table.cells} for name, table in PARTS.items()}
    assert {"vama-dynamic-dcf", "vama-dynamic-gdcf"} <= cells["table2"] & cells["table4"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dcf", (9, 0, 0)),
        ("unmerged", (0, 0, 0)),
        ("gdcf", (0, 4, 0)),
        ("polished", (0, 0, 9)),
        ("diffusion", (9, 0, 0)),
    ],
)
def test_a_cells_stages_follow_its_steps(kind, expected):
    cell, settings = FlowCell(aligner="vama", kind=kind), ("train.steps=9", "pairs.count=5")
    recipe = flow_recipe(cell, seed=0, settings=settings, align=Path("a"), begin=Path("b"))
    stages = recipe.stages
    assert (stages.dcf_steps, stages.merge_steps, stages.polish_steps) == expected
    assert recipe.train.steps == 9
