"""Adaptations on media files made on the spot, with a tiny model, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.cli_model import check_refusal, losses, run_cli

from foleyflow.adaptation.model_folder import is_adapted, write_adapted
from foleyflow.adaptation.recordings import recording_onsets
from foleyflow.data.clips import open_split
from foleyflow.errors import CheckpointError
from foleyflow.inference.calibration import Calibration, CalibrationOrigin, read_calibration
from foleyflow.media.probe import probe
from foleyflow.media.waveform import read_waveform
from foleyflow.pretrained import load_flow
from foleyflow.weights import file_sha256, read_record

NOT_BETTER = 3
SETTINGS = ("--steps", "2", "--unclear-lags", "keep", "--threads", "1")


def arguments(recordings: Path, model: Path, simulated: Path, out: Path) -> list[str | Path]:
    return [
        *("adapt", recordings, "--model", model, "--simulated", simulated, "--out", out),
        *SETTINGS,
        *("--device", "cpu"),
    ]


@pytest.fixture(scope="module")
def refused(recordings, blind_model, simulated_data, tmp_path_factory):
    """The work folder and the outcome of an adaptation that is not better than before."""
    out = tmp_path_factory.mktemp("adapted") / "work"
    command = arguments(recordings, blind_model, simulated_data, out)
    return out, run_cli(*command, "--json"), command


def test_a_model_that_is_not_better_is_not_written(refused):
    out, outcome, _ = refused
    assert outcome.status == NOT_BETTER, outcome.stderr
    answer = outcome.answer
    assert answer["model"] is None and not (out / "model").exists()
    assert answer["after"]["gain"] <= answer["before"]["gain"] == 0.0  # it finds nothing


def test_recordings_are_listed_with_the_reasons_to_leave_them_out(refused):
    answer = refused[1].answer
    found = {each["name"]: each for each in answer["recordings"]}
    reasons = {name: each["reason"] for name, each in found.items() if each["reason"]}
    assert reasons == {
        "short": "too short: 2.0 s, expected 4 s",
        "silent": "silent",
        "mute": "no sound",
    }
    used = [name for name in found if name not in reasons]
    assert used == [f"kitchen-take{number}" for number in range(4)]
    assert len(answer["held_out"]) == 1 and set(answer["held_out"]) < set(used)
    assert all(found[name]["onsets"] >= 8 for name in used)
    # Two clips of 4 s of each of the other three
    assert answer["minutes"] == pytest.approx(0.4)


def test_held_out_recordings_are_in_no_training_clip(refused):
    out, outcome, _ = refused
    train, validation = (open_split(out / "clips", split) for split in ("train", "validation"))
    held_out = {validation.entry(index)["video_id"] for index in range(len(validation))}
    learned = {train.entry(index)["video_id"] for index in range(len(train))}
    assert held_out == set(outcome.answer["held_out"])
    assert len(learned) == 3 and not learned & held_out


def test_the_same_command_resumes(refused):
    out, outcome, command = refused
    journal = losses(out / "run")
    assert [entry["step"] for entry in journal] == [2, 2]
    assert {"real/onset", "simulated/onset", "align/loss"} <= journal[0].keys()
    again = run_cli(*command, "--json")
    assert again.status == NOT_BETTER and again.answer == outcome.answer
    assert losses(out / "run") == journal
    text = run_cli(*command)
    assert text.status == NOT_BETTER
    assert text.stdout.splitlines()[-1].startswith("not better: no model was written")
    # Other settings need another folder
    other = run_cli(*command, "--simulated-fraction", "0.25")
    assert other.status == 2 and "was started with other settings" in other.stderr


@pytest.fixture(scope="module")
def adapted(refused, blind_model, tmp_path_factory) -> Path:
    """The model folder that is written when the new aligner is better."""
    return write_adapted(
        blind_model,
        refused[0] / "run" / "model",
        tmp_path_factory.mktemp("written") / "model",
        facts={"recordings": 3, "minutes": 0.4, "lags_ms": [0, 0, 0, 0]},
        calibration=Calibration(slope=0.9, offset=0.1, threshold=0.3),
        origin=CalibrationOrigin(
            data="simulated clips and held-out recordings",
            fingerprint="0",
            split="validation",
            clips=1,
            candidates=1,
            commit=None,
            aligner="",
        ),
    )


def test_the_adapted_model_generates_from_its_cues_alone(adapted, blind_model, clip_file, tmp_path):
    assert is_adapted(adapted) and not is_adapted(blind_model)
    assert read_calibration(adapted).threshold == 0.3
    assert not load_flow(adapted).config.uses_video
    assert load_flow(blind_model).config.uses_video
    for name in ("codec", "flow"):
        files = [folder / f"{name}.safetensors" for folder in (adapted, blind_model)]
        assert file_sha256(files[0]) == file_sha256(files[1])
    cues = tmp_path / "cues.csv"
    cues.write_text("time_s,material\n0.5,wood\n", encoding="utf-8")
    sounds = []
    for model in (adapted, blind_model):
        outcome = run_cli(
            *("generate", clip_file, "--model", model, "--cues", cues, "--audio-only"),
            *("-o", tmp_path / f"{model.parent.name}.wav"),
        )
        assert outcome.status == 0, outcome.stderr
        sounds.append(read_waveform(tmp_path / f"{model.parent.name}.wav").samples)
    assert sounds[0].shape == sounds[1].shape and not np.array_equal(*sounds)


def test_the_record_says_what_it_was_adapted_on_without_folders(adapted, blind_model, tmp_path):
    record = read_record(adapted, "align")
    assert record.provenance["adapted"]["recordings"] == 3
    assert record.provenance["init"]["align"] == read_record(blind_model, "align").sha256
    assert record.provenance["settings"]["windows"]["segments"] == 10
    text = json.dumps(record.provenance)
    assert str(tmp_path.parents[1]) not in text and '"/' not in text


def test_an_adapted_model_replaces_only_an_adapted_one(adapted, blind_model, refused, tmp_path):
    target = shutil.copytree(blind_model, tmp_path / "model")
    fields = {
        "facts": {},
        "calibration": Calibration(),
        "origin": CalibrationOrigin(
            data="", fingerprint="", split="", clips=0, candidates=0, commit=None, aligner=""
        ),
    }
    with pytest.raises(CheckpointError, match="is no adapted model"):
        write_adapted(blind_model, refused[0] / "run" / "model", target, **fields)
    target = shutil.copytree(adapted, tmp_path / "other")
    write_adapted(blind_model, refused[0] / "run" / "model", target, **fields)
    assert read_record(target, "align").provenance["adapted"] == {}


def test_too_few_recordings_are_an_error_that_names_the_number(
    recordings, blind_model, simulated_data, tmp_path
):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("kitchen/take0.mp4", "kitchen/take1.mp4", "silent.mp4"):
        shutil.copy(recordings / name, folder)
    outcome = run_cli(*arguments(folder, blind_model, simulated_data, tmp_path / "work"))
    line = outcome.stderr.splitlines()[-2]
    assert outcome.status == 2
    assert "2 of 3 recordings can be used, expected at least 3 (silent: silent)" in line


def test_a_flow_that_needs_the_video_is_refused(recordings, smoke_model, simulated_data, tmp_path):
    outcome = run_cli(*arguments(recordings, smoke_model, simulated_data, tmp_path / "work"))
    assert "flow was not trained without video" in check_refusal(outcome)


def test_a_dry_run_lists_the_recordings_and_writes_nothing(recordings, tmp_path):
    out = tmp_path / "work"
    outcome = run_cli("adapt", recordings, "--out", out, "--steps", "5", "--dry-run", "--json")
    assert outcome.status == 0
    assert outcome.answer["settings"]["steps"] == 5
    assert len(outcome.answer["recordings"]) == 7 and not out.exists()


def test_onsets_of_long_recordings_are_detected_in_pieces(recordings, monkeypatch):
    info = probe(recordings / "kitchen" / "take0.mp4")
    complete = recording_onsets(info)
    monkeypatch.setattr("foleyflow.adaptation.recordings.DETECTED_S", 2.0)
    pieces = recording_onsets(info)
    assert len(complete) == len(pieces) >= 12
    np.testing.assert_allclose(complete, pieces, atol=0.01)


def test_a_fold_is_measured_on_recordings_that_were_not_learned(
    recordings, blind_model, simulated_data, tmp_path
):
    takes = [recordings / "kitchen" / f"take{number}.mp4" for number in range(4)]
    command = ("measure", "adaptation", *takes, "--model", blind_model, *SETTINGS)
    work = ("--simulated", simulated_data, "--work", tmp_path / "work")
    outcome = run_cli(*command, *work, "--folds", "4", "--fold", "2", "--json")
    assert outcome.status == 0, outcome.stderr
    (fold,) = outcome.answer["folds"].values()
    assert list(fold["after"]["clips"]) == ["take1"] == list(outcome.answer["after"]["clips"])
    learned = {each["name"] for each in fold["adaptation"]["recordings"]}
    assert learned == {"take0", "take2", "take3"}
    # The new model was not better, so that the one before counts
    assert fold["adaptation"]["model"] is False and fold["before"] == fold["after"]
    assert "expected two folds" in run_cli(*command, *work, "--folds", "5").stderr
