"""`foleyflow spot`: cue sheets on disk, their edits, and the sound of edited cues."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from support.cli_model import check_refusal, make_model, run_cli, run_process
from support.media_files import make_video, square_painter

from foleyflow.cues.files import read_cues, write_cues
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.media.waveform import read_waveform


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model whose cues differ in their confidence."""
    return make_model(tmp_path_factory.mktemp("model"), certainty=2.0)


@pytest.fixture
def video(tmp_path) -> Path:
    return make_video(tmp_path / "my clip.mp4", n_frames=50, painter=square_painter(11))


@pytest.fixture
def spot(model):
    """Runs `spot` with the small model, which must succeed; returns the JSON."""

    def run(*arguments):
        outcome = run_cli("spot", *arguments, "--model", model, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return run


def test_the_sheet_is_next_to_the_video_and_complete(spot, model, video):
    answer = spot(video)
    path = video.with_name("my clip.cues.json")
    assert answer["output"] == str(path)
    assert sorted(each.name for each in video.parent.iterdir()) == [path.name, video.name]
    sheet = read_cues(path, duration_s=None, materials=None)
    assert sheet == FoleyFlow.from_pretrained(model, device="cpu").spot(video)
    assert sheet.duration_s == answer["duration_s"] == pytest.approx(2.0)
    assert answer["cues"] == json.loads(path.read_text())["cues"] and len(sheet) > 3
    assert answer["sensitivity"] == 0.5 and answer["warnings"] == []
    assert answer["model"] == str(model) and answer["timings_s"]["total"] > 0


def test_the_suffix_of_the_output_chooses_the_format(spot, video, tmp_path):
    plain = spot(video)
    table = spot(video, "-o", tmp_path / "table.CSV")
    assert Path(table["output"]).read_text().startswith("time_s,kind,")
    wanted = read_cues(Path(plain["output"]), duration_s=None, materials=None)
    found = read_cues(tmp_path / "table.CSV", duration_s=wanted.duration_s, materials=None)
    assert found == wanted
    assert spot(video, "-o", f"{tmp_path}/new/")["output"] == str(
        tmp_path / "new/my clip.cues.json"
    )


def middle_sensitivity(cues) -> float:
    """The sensitivity at which the cue of middle confidence is just enabled."""
    return 1 - sorted(cue["confidence"] for cue in cues)[len(cues) // 2]


def test_the_text_has_the_counts_and_the_next_command(model, spot, video):
    sensitivity = middle_sensitivity(spot(video)["cues"])
    flags = ("--sensitivity", str(sensitivity), "--overwrite")
    outcome = run_cli("spot", video, "--model", model, *flags)
    sheet = read_cues(video.with_name("my clip.cues.json"), duration_s=None, materials=None)
    first, second = outcome.stdout.splitlines()
    disabled = len(sheet) - len(sheet.enabled)
    assert disabled > 0 and len(sheet.enabled) > 0
    assert f"(2.00 s, {len(sheet.enabled)} cues, {disabled} disabled, " in first
    # The next command, as it is printed, works
    command = shlex.split(second.partition("then: ")[2])
    assert command[:2] == ["foleyflow", "generate"]
    assert run_cli(*command[1:], "--model", model).status == 0
    assert video.with_name("my clip.foley.mp4").exists()


def test_a_higher_sensitivity_enables_more_cues(spot, video, tmp_path):
    middle = middle_sensitivity(spot(video)["cues"])
    counts = []
    for sensitivity in (1e-6, middle, 0.99):
        flags = (
            "--overwrite",
            "-o",
            tmp_path / f"{sensitivity}.json",
            "--sensitivity",
            str(sensitivity),
        )
        counts.append(sum(cue["enabled"] for cue in spot(video, *flags)["cues"]))
    assert counts[0] < counts[1] < counts[2]


def test_nothing_found_is_a_warning_on_stderr_and_in_json(model, spot, video):
    outcome = run_cli("spot", video, "--model", model, "--sensitivity", "1e-9")
    assert outcome.status == 0
    (line,) = outcome.error_lines
    assert line.startswith(f"foleyflow: warning: {video}: no hit was found, so nothing will sound")
    (warning,) = spot(video, "--sensitivity", "1e-9", "--overwrite")["warnings"]
    assert line.endswith(warning)
    outcome = run_cli("generate", video, "--model", model, "--sensitivity", "1e-9")
    assert outcome.status == 0
    assert warning in outcome.error_lines[0] and warning not in outcome.stdout


def test_an_edited_sheet_is_kept_unless_overwritten(spot, model, video):
    path = Path(spot(video)["output"])
    path.write_text("my edits")
    line = check_refusal(run_cli("spot", video, "--model", model))
    assert line == f"foleyflow: {path}: already exists"
    assert path.read_text() == "my edits"
    spot(video, "--overwrite")
    assert path.read_text() != "my edits"


def test_several_videos_get_a_sheet_each(model, video, tmp_path):
    other = make_video(tmp_path / "other.mp4", n_frames=10)
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    out = tmp_path / "out"
    outcome = run_cli("spot", video, broken, other, "--model", model, "-o", f"{out}/", "--json")
    assert outcome.status == 2
    assert [Path(each["output"]).name for each in outcome.answer["results"]] == [
        "my clip.cues.json",
        "other.cues.json",
    ]
    assert [each["video"] for each in outcome.answer["errors"]] == [str(broken)]
    outcome = run_cli("spot", video, other, "--model", model, "-o", out, "--json")
    assert outcome.answer["results"] == [] and len(outcome.answer["skipped"]) == 2


def test_dry_run_writes_nothing(model, video, tmp_path):
    outcome = run_cli("spot", video, "--model", model, "-o", f"{tmp_path}/new/", "--dry-run")
    assert outcome.status == 0
    assert outcome.answer["plan"] == [
        {"video": str(video), "output": str(tmp_path / "new/my clip.cues.json")}
    ]
    assert outcome.answer["settings"]["sensitivity"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == [video.name]


def test_standard_input_and_separate_processes_work(model, video, tmp_path):
    outcome = run_process(
        "spot", "-", "-o", "a.json", "--model", model, cwd=tmp_path, given=video.read_bytes()
    )
    assert (outcome.status, outcome.stderr) == (0, "")
    assert len(outcome.stdout.splitlines()) == 1
    assert len(read_cues(tmp_path / "a.json", duration_s=None, materials=None)) > 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--sensitivity", "0"), "sensitivity=0.0: expected a number above 0 and below 1"),
        (("--sensitivity", "nan"), "sensitivity=nan: expected a number above 0 and below 1"),
        (("-o", "-"), "-o -: expected a file or a folder"),
        (("-o", ""), "-o '': an empty name"),
        (("-o", "cues.xml"), "cues.xml: unknown suffix '.xml', expected .json, .csv, .txt"),
        (("-o", "no/such/folder.json"), "no/such"),
        (("--model", "nowhere"), "model 'nowhere'"),
    ],
)
def test_wrong_usage_is_refused(model, video, flags, message):
    assert message in check_refusal(run_cli("spot", video, "--model", model, *flags))
    assert [path.name for path in video.parent.iterdir()] == [video.name]


def test_edited_cues_are_generated(spot, model, video, tmp_path):
    """Spot, edit the JSON, generate: the sound is that of the edited cues."""
    path = Path(spot(video)["output"])
    flags = ("--model", model, "--audio-only", "--json")
    plain = run_cli("generate", video, *flags, "-o", tmp_path / "plain.wav").answer
    same = run_cli("generate", video, *flags, "-o", tmp_path / "same.wav", "--cues", path).answer
    assert (tmp_path / "same.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()
    assert same["cues"] == plain["cues"]
    assert (same["cue_file"], same["sensitivity"]) == (str(path), None)
    # An edit in a text editor
    stored = json.loads(path.read_text())
    stored["cues"] = [*stored["cues"][:2], {"time_s": 1.9, "material": "glass", "seed": 4}]
    path.write_text(json.dumps(stored))
    edited = run_cli(
        "generate", video, *flags, "-o", tmp_path / "edited.wav", "--cues", path
    ).answer
    assert [cue["time_s"] for cue in edited["cues"]] == [cue["time_s"] for cue in stored["cues"]]
    before, after = (read_waveform(tmp_path / f"{name}.wav").mono() for name in ("plain", "edited"))
    assert np.abs(before - after).max() > 0.01
    # A table, and a material for all cues
    sheet = read_cues(path, duration_s=None, materials=None)
    write_cues(tmp_path / "edited.csv", sheet)
    table = ("--cues", tmp_path / "edited.csv", "-o", tmp_path / "table.wav")
    assert run_cli("generate", video, *flags, *table).status == 0
    assert (tmp_path / "table.wav").read_bytes() == (tmp_path / "edited.wav").read_bytes()
    given = ("-o", tmp_path / "metal.wav", "--material", "metal", "--cues", path)
    assert {
        cue["material"] for cue in run_cli("generate", video, *flags, *given).answer["cues"]
    } == {"metal"}


def test_the_text_of_generate_names_the_sheet_to_edit(model, spot, video, tmp_path):
    path = Path(spot(video)["output"])
    flags = ("--model", model, "-o", tmp_path / "a.mp4", "--overwrite")
    last = run_cli("generate", video, *flags, "--cues", path).stdout.splitlines()[-1]
    again = f"foleyflow generate '{video}' --cues '{path}' --overwrite"
    assert last == f"  to change the cues: edit {path}, {again}"
    last = run_cli("generate", video, *flags, "--events").stdout.splitlines()[-1]
    assert f"edit {tmp_path / 'a.mp4.cues.json'}, foleyflow generate" in last


BAD_SHEETS = {
    "damaged": ("{", "damaged JSON"),
    "not a sheet": ("[]", "is not an object"),
    "two at one time": ('[{"time_s": 1.0}, {"time_s": 1.0}]', "closer than 1 ms"),
    "outside the clip": ('[{"time_s": 2.5}]', "time_s=2.5: expected a time within the clip, 0..2"),
    "negative": ('[{"time_s": -0.1}]', "expected a time within the clip"),
    "not finite": ('[{"time_s": 1.0}, {"time_s": NaN}]', "cue 2: time_s=nan: expected a finite"),
    "level": ('[{"time_s": 1.0, "level_db": Infinity}]', "level_db=inf: expected a finite number"),
    "material": ('[{"time_s": 1.0, "material": "wod"}]', "material='wod': expected one of wood"),
    "field": ('[{"time_s": 1.0, "loudness": 1}]', "unknown field 'loudness'"),
    "end of a hit": (
        '[{"time_s": 1.0, "end_s": 1.5}]',
        "expected no end, because the cue is a hit",
    ),
}


@pytest.mark.parametrize("name", BAD_SHEETS)
def test_a_bad_sheet_is_one_line_and_nothing_is_written(model, video, name):
    content, message = BAD_SHEETS[name]
    path = video.with_name("cues.json")
    if content.startswith("[{"):
        content = f'{{"format": "foleyflow cues", "version": 1, "cues": {content}}}'
    path.write_text(content)
    out = f"{video.parent}/new/"
    flags = ("--model", model, "--cues", path, "-o", out, "--events", "--report", "--sidecar")
    line = check_refusal(run_cli("generate", video, *flags))
    assert line.startswith(f"foleyflow: {path}") and message in line
    assert sorted(each.name for each in video.parent.iterdir()) == ["cues.json", video.name]


def test_a_bad_table_names_its_line(model, video):
    path = video.with_name("cues.csv")
    path.write_text("time_s,material\n0.5,wood\n1.0,wod\n")
    outcome = run_cli("generate", video, "--model", model, "--cues", path)
    assert "cues.csv, line 3: material='wod'" in check_refusal(outcome)
    assert "did you mean 'wood'?" in outcome.error_lines[1]


def test_a_model_without_cue_tracks_refuses_cues(spot, video, tmp_path):
    path = spot(video)["output"]
    model = make_model(tmp_path / "model", with_cue_tracks=False)
    line = check_refusal(run_cli("generate", video, "--model", model, "--cues", path))
    assert line.startswith("foleyflow: cues were given: expected none")
    assert not list(video.parent.glob("*.foley.*"))


def test_options_that_do_not_fit_cues_are_refused(model, spot, video, tmp_path):
    path = spot(video)["output"]
    other = make_video(tmp_path / "other.mp4", n_frames=5)
    flags = ("--model", model, "--cues", path)
    line = check_refusal(run_cli("generate", video, other, *flags))
    assert line == f"foleyflow: --cues {path}: one file for 2 videos"
    line = check_refusal(run_cli("generate", video, *flags, "--sensitivity", "0.7"))
    assert line == "foleyflow: --sensitivity 0.7 with --cues: expected one of them"
    missing = tmp_path / "no.json"
    for more in ((), ("--dry-run",)):
        outcome = run_cli("generate", video, "--model", model, "--cues", missing, *more)
        assert f"{missing}: can't be read" in check_refusal(outcome)
    assert not list(tmp_path.glob("*.foley.*"))
