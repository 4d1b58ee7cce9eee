"""The calibration of an aligner: its file, bad files, and models that use it."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from support.cli_model import make_model, run_cli

from foleyflow import doctor
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.inference.calibration import (
    Calibration,
    CalibrationOrigin,
    read_calibration,
    write_calibration,
)
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.weights import CALIBRATION_NAME, merge_models, read_record

FITTED = Calibration(slope=0.7512345678901234, offset=-1 / 3, threshold=0.44)
FIGURES = {"slope": 1.5, "offset": -0.5, "threshold": 0.4}


def write(folder, calibration=FITTED):
    origin = CalibrationOrigin(
        data="sim",
        fingerprint="0123456789abcdef",
        split="validation",
        clips=48,
        candidates=1034,
        commit=None,
        aligner=read_record(folder, "align").sha256,
    )
    return write_calibration(folder, calibration, origin)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("calibration") / "model", certainty=3.0)


@pytest.fixture
def model(untouched, tmp_path):
    return shutil.copytree(untouched, tmp_path / "model")


def test_round_trip(model):
    path = write(model)
    assert path == model / CALIBRATION_NAME
    assert read_calibration(model) == FITTED
    content = json.loads(path.read_text())
    assert content["clips"] == 48 and content["commit"] is None


def test_a_folder_without_a_file_has_the_default(model):
    assert read_calibration(model) == Calibration(slope=1.0, offset=0.0, threshold=0.5)


def test_the_origin_is_optional(model):
    (model / CALIBRATION_NAME).write_text(json.dumps(FIGURES | {"slope": 2}))
    assert read_calibration(model) == Calibration(**FIGURES | {"slope": 2.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read as JSON"),
        ("[1]", "list, expected a JSON object"),
        ("{}", "slope=None, expected a number"),
        (json.dumps(FIGURES | {"slop": 1}), "unknown keys slop, expected slope, offset, threshold"),
        (json.dumps(FIGURES | {"slope": "1"}), "slope='1', expected a number"),
        (json.dumps(FIGURES | {"offset": True}), "offset=True, expected a number"),
        (json.dumps(FIGURES | {"slope": 0}), "slope=0.0, .* expected finite numbers, slope > 0"),
        (json.dumps(FIGURES | {"offset": math.nan}), "offset=nan, .* expected finite numbers"),
        (json.dumps(FIGURES | {"slope": 10**400}), "too large"),
        (json.dumps(FIGURES | {"threshold": 1.01}), "threshold from 0 to 1"),
        (json.dumps(FIGURES | {"aligner": "0" * 64}), "made for an aligner with SHA-256 0000"),
    ],
)
def test_bad_files_are_refused_with_a_hint(model, text, message):
    (model / CALIBRATION_NAME).write_text(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        FoleyFlow.from_pretrained(model)
    assert str(model / CALIBRATION_NAME) in str(caught.value)
    assert "measure calibration DATA --model FOLDER --write" in caught.value.hint
    finding = doctor._model(model)
    assert finding.state == "broken" and CALIBRATION_NAME in finding.detail


def test_values_out_of_range_are_refused():
    for wrong in ({"slope": -1.0}, {"offset": math.inf}, {"threshold": -0.1}):
        with pytest.raises(ConfigError, match="expected finite numbers"):
            Calibration(**wrong)


def test_confidences_stay_between_0_and_1():
    steep = Calibration(slope=1000.0, offset=0.0, threshold=0.5)
    assert [steep.confidence(p) for p in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]


def test_a_model_uses_its_calibration(model, clip_file):
    plain = FoleyFlow.from_pretrained(model).spot(clip_file)
    assert plain.enabled.hits
    # Confidences follow sigmoid(0.5 logit(p) - 2)
    write(model, Calibration(slope=0.5, offset=-2.0, threshold=0.9))
    calibrated = FoleyFlow.from_pretrained(model)
    assert calibrated.calibration.offset == -2.0
    found = {cue.time_s: cue.confidence for cue in calibrated.spot(clip_file).hits}
    for cue in plain.hits:
        if cue.time_s in found and 0.01 < cue.confidence < 0.99:
            score = 0.5 * math.log(cue.confidence / (1 - cue.confidence)) - 2.0
            assert found[cue.time_s] == pytest.approx(1 / (1 + math.exp(-score)), abs=0.01)
    assert found


def test_bundling_takes_the_calibration_of_the_aligner(model, tmp_path):
    plain = make_model(tmp_path / "plain", seed=1)
    parts = {name: tmp_path / name for name in ("codec", "align")}
    for name, folder in parts.items():
        folder.mkdir()
        shutil.copy(model / f"{name}.safetensors", folder)
        record = json.loads((model / "config.json").read_text())["components"][name]
        content = {"format": record["format"], "components": {name: record}}
        (folder / "config.json").write_text(json.dumps(content))
    write(parts["align"])
    out = tmp_path / "out"
    outcome = run_cli("bundle", *parts.values(), "--out", out)
    assert outcome.status == 0, outcome.stderr
    assert read_calibration(out) == FITTED
    # A part without an aligner leaves it, another aligner replaces it
    merge_models([parts["codec"]], out)
    assert read_calibration(out) == FITTED
    merge_models([plain], out)
    assert not (out / CALIBRATION_NAME).exists()


def test_saving_another_aligner_removes_the_calibration(model):
    write(model)
    make_model(model, seed=2)
    assert read_calibration(model) == Calibration()
