"""Table 1 on the command line: systems, our sound and controls, from files made on the spot."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
from support.media_files import Sound, grey_painter, make_video
from typer.testing import CliRunner

from foleyflow.cli.app import app
from foleyflow.evaluation.run import evaluate
from foleyflow.experiments.judged_sounds import PUBLISHED_COLUMNS, SIMULATION_COLUMNS

RATE_HZ, DURATION_S = 16_000, 2.8
CASES = {"one": (0.5, 1.7), "two": (0.9, 1.4, 2.2), "three": (1.2,)}


def clicks(times_s, seed: int = 0) -> np.ndarray:
    """Decaying clicks at some times, (1, samples)."""
    samples = np.zeros((1, round(DURATION_S * RATE_HZ)), np.float32)
    rng = np.random.default_rng(seed)
    for time_s in times_s:
        start = round(time_s * RATE_HZ)
        length = min(2400, samples.shape[1] - start)
        decay = np.exp(-np.arange(length) / 400)
        samples[0, start : start + length] += 0.5 * decay * rng.standard_normal(length)
    return samples


def ablate(*arguments: object):
    return CliRunner().invoke(app, ["ablate", "table1", *map(str, arguments)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Videos with true sound, and systems: one that copies it, one that is late, for two clips."""
    root = tmp_path_factory.mktemp("systems")
    for name in ("videos", "systems/copy", "systems/late"):
        (root / name).mkdir(parents=True)
    for number, (case, times_s) in enumerate(CASES.items()):
        true = clicks(times_s, number)
        make_video(
            root / "videos" / f"{case}.mp4",
            rate=25,
            n_frames=round(25 * DURATION_S),
            painter=grey_painter(96, 96),
            sound=Sound(samples=true, rate_hz=RATE_HZ),
        )
        soundfile.write(root / "systems/copy" / f"{case}.flac", true[0], RATE_HZ)
        if case != "three":
            late = clicks([time_s + 0.25 for time_s in times_s], 9)
            soundfile.write(root / "systems/late" / f"{case}.wav", late[0], RATE_HZ)
    return root


@pytest.fixture(scope="module")
def table(folders, smoke_model):
    """Arguments and result of a table with a model of ours after a minimal training."""
    out = folders / "out"
    arguments = ("--systems", folders / "systems", "--videos", folders / "videos", "--out", out)
    arguments = (*arguments, "--ours", smoke_model, "--device", "cpu")
    result = ablate(*arguments)
    assert result.exit_code == 0, result.output
    return arguments, result, json.loads((out / "table1.json").read_text())


def test_every_system_has_a_row_with_the_number_of_clips_of_each_figure(table, folders):
    _, _, written = table
    assert list(written["rows"]) == ["copy", "late", "ours"]
    assert [row["clips"] for row in written["rows"].values()] == [3, 2, 3]
    for row in written["rows"].values():
        assert set(row["columns"]) == {*SIMULATION_COLUMNS, "onset F1", "gain"}
        assert {figure["count"] for figure in row["columns"].values()} == {row["clips"]}
    copy, late = (written["rows"][name]["columns"] for name in ("copy", "late"))
    assert copy["onset F1"]["mean"] == 1.0 and late["onset F1"]["mean"] == 0.0
    assert copy["KLD-sim"]["mean"] < late["KLD-sim"]["mean"]
    # The figures are those of the evaluation.
    for name, metric in (("KLD-sim", "KLD-sim"), ("Align Acc-sim", "AlignAcc-sim")):
        report = evaluate(folders / "systems/late", folders / "videos", metrics=[metric])
        expected = report["generated"].scores[metric].figures["generated"].value
        assert late[name]["mean"] == pytest.approx(expected)


def test_controls_cover_all_clips(table):
    controls = table[2]["controls"]
    assert list(controls) == [
        "true sound",
        "silence",
        "white noise",
        "other clip",
        "shifted true sound",
    ]
    assert controls["true sound"]["columns"]["KLD-sim"] == {
        "mean": 0.0,
        "low": 0.0,
        "high": 0.0,
        "count": 3,
    }
    assert controls["silence"]["columns"]["onset F1"]["mean"] == 0.0


def test_the_papers_figures_are_a_separate_block(table):
    _, result, written = table
    text = (table[0][5] / "table1.md").read_text()
    assert text.strip() in result.stdout
    measured, printed = text.split("As printed in the paper")
    assert "other protocol and data, not comparable" in printed
    assert "| Foley-Flow | 0.97 | 0.52 | 98.97 |" in printed and "98.97" not in measured
    assert len(written["printed"]["rows"]) == 10
    assert "| copy |" in measured and "| control: silence |" in measured


def test_a_column_without_weights_is_left_out_with_the_file_that_is_missing(table):
    _, result, written = table
    assert set(written["left_out"]) == set(PUBLISHED_COLUMNS)
    for column, file in (
        ("KLD", "passt-s-f128-p16-s10-ap.476-swa.pt"),
        ("FAD", "vggish-10086976.pth"),
        ("Align Acc", "eval_classifier.ckpt"),
    ):
        (line,) = [x for x in result.stderr.splitlines() if x.startswith(f"column {column} is")]
        assert file in line and "curl" in line


def test_a_rerun_keeps_our_sounds_and_computes_no_value_again(table, folders):
    arguments, first, _ = table
    sounds = sorted(folders.glob("out/ours-*/*.wav"))
    assert [path.stem for path in sounds] == sorted(CASES)
    kept = {path: path.stat().st_mtime_ns for path in folders.rglob("out/*/*") if path.is_file()}
    result = ablate(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == first.stdout and "ours: sound" not in result.stderr
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    # A missing sound is generated again.
    sounds[0].unlink()
    result = ablate(*arguments)
    assert result.stdout == first.stdout
    assert f"ours: sound 1 of 1, {sounds[0].stem}" in result.stderr


def test_metrics_are_computed_by_a_process_of_their_own(table, folders, tmp_path):
    """The table is that of this process, and our sounds are found where they were."""
    arguments, _, written = table
    out = tmp_path / "out"
    shutil.copytree(folders / "out", out, ignore=shutil.ignore_patterns("cache"))
    result = ablate(*arguments[:5], out, *arguments[6:], "--workers", 1)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "table1.json").read_text())
    assert (found["rows"], found["controls"]) == (written["rows"], written["controls"])
    assert list((out / "cache").iterdir())


def test_sounds_alone_suffice_without_ours(folders, tmp_path):
    shutil.copytree(folders / "systems/copy", tmp_path / "true")
    arguments = ("--systems", folders / "systems", "--videos", tmp_path / "true")
    result = ablate(*arguments, "--ours", "none", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out/table1.json").read_text())
    assert set(written["rows"]) == {"copy", "late"}
    assert "Align Acc-sim" not in written["rows"]["copy"]["columns"]


def test_a_dry_run_counts_clips_and_writes_nothing(folders, tmp_path):
    arguments = ("--systems", folders / "systems", "--videos", folders / "videos")
    result = ablate(*arguments, "--out", tmp_path / "out", "--dry-run")
    counts = json.loads(result.stdout)["systems"]
    assert counts == {"copy": 3, "late": 2, "ours": 3}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected --videos"),
        (("--videos", "nowhere"), "nowhere: no such folder"),
        (("--videos", "{videos}", "--ours", "none"), "nothing to score"),
        (("--videos", "{videos}", "--systems", "{videos}"), "no folders in it"),
        (("--videos", "{videos}", "--clips", 3), "--clips is for other tables or stages"),
        (("--videos", "{videos}", "--workers", 1, "--ray", "local"), "expected one of them"),
        (("--videos", "{systems}/copy"), "no videos in it"),
    ],
)
def test_wrong_options_are_refused(arguments, message, folders, tmp_path):
    places = {"videos": folders / "videos", "systems": folders / "systems"}
    filled = [str(each).format(**places) for each in arguments]
    result = ablate(*filled, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_help_lists_all_tables():
    text = CliRunner().invoke(app, ["ablate", "--help"], env={"COLUMNS": "200"}).stdout
    for name in ("table1", "table2", "table3", "table4", "table5", "targets"):
        assert name in text
    for option in ("--systems", "--videos", "--ours", "--encoders", "--judges"):
        assert option in text
