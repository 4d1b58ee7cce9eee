"""The doctor's findings on this machine, on damaged models, and on what is not installed."""

from __future__ import annotations

import importlib.metadata
import json

import pytest
import torch
from support.small_encoders import publish

from foleyflow import doctor
from foleyflow.parallel.precision import precision_on
from foleyflow.system.processor import feature_text, processor_features, processor_name
from foleyflow.weights import file_sha256


@pytest.fixture(scope="module")
def findings():
    return {finding.name: finding for finding in doctor.examine()}


def test_packages_are_found_with_their_versions(findings):
    for package in doctor.CORE:
        finding = findings[f"package {package}"]
        assert (finding.state, finding.mend) == ("ok", "")
        assert finding.detail == importlib.metadata.version(package)
        assert finding.needed


def test_what_is_not_ok_comes_with_the_line_that_mends_it(findings):
    for finding in findings.values():
        assert bool(finding.mend) == (finding.state != "ok"), finding
        assert "\n" not in finding.detail + finding.mend


def test_devices_encoders_and_extras_are_listed(findings):
    assert "cpu with" in findings["devices"].detail
    features = feature_text(processor_features())
    assert findings["processor"].detail == f"{processor_name()}, features: {features}"
    used = precision_on(torch.device("cpu"))
    assert findings["precision"].detail.startswith(f"{used} on cpu")
    assert findings["encoder aac"].needed
    assert findings["encoder flac"].state == "ok"
    assert {f"extra {name}" for name in doctor.EXTRAS} <= findings.keys()
    order = list(findings)
    assert order[0] == "python"
    assert order.index("rendering (simulation only)") == order.index("extra physics") + 1


def test_an_extra_that_is_not_installed_is_missing_but_not_needed():
    finding = doctor._extra("physics", ("numpy", "a-package-nobody-has"))
    assert finding.state == "missing"
    assert finding.mend == "pip install 'foleyflow[physics]'"
    assert not finding.needed
    assert f"numpy {importlib.metadata.version('numpy')}" in finding.detail


def test_an_encoder_that_does_not_exist_is_not_there():
    assert doctor._can_encode("flac")
    assert not doctor._can_encode("no-such-encoder")


def test_a_rendering_trial_that_fails_says_why(monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr(doctor, "GL_TRIAL", "raise RuntimeError('no screen, no library')")
    finding = doctor._rendering(doctor._start_trial(doctor.GL_TRIAL, needs="mujoco"))
    assert finding.state == "broken"
    assert "no screen, no library" in finding.detail
    assert finding.mend


def test_no_model_is_missing(tmp_path):
    finding = doctor._model(tmp_path)
    assert (finding.state, finding.needed) == ("missing", True)
    assert "no config.json" in finding.detail
    assert not doctor.is_usable([finding])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("not json", "not JSON"),
        (json.dumps({"format": 99, "components": {}}), "format 99"),
        (json.dumps({"format": 1, "components": {}}), "expected a component 'codec'"),
    ],
)
def test_a_damaged_model_is_broken_and_says_why(tmp_path, config, reason):
    (tmp_path / "config.json").write_text(config)
    finding = doctor._model(tmp_path)
    assert finding.state == "broken"
    assert reason in finding.detail


def test_usable_means_that_all_that_is_needed_is_ok():
    needed = doctor.Finding(name="a", state="ok", detail="", needed=True)
    extra = doctor.Finding(name="b", state="missing", detail="")
    assert doctor.is_usable([needed, extra])


def test_encoders_weights_that_are_missing_are_not_needed_and_come_with_the_line_that_fetches(
    findings,
):
    paper = findings["weights of eva-clip-g"]
    assert paper.state in ("missing", "ok") and not paper.needed
    assert paper.state == "ok" or "curl -L" in paper.mend


def test_encoders_weights_in_a_folder_are_hashed(tmp_path):
    path = publish("imagebind-sound", tmp_path)
    found = {finding.name: finding for finding in doctor._encoder_weights(tmp_path)}
    assert found["weights of imagebind-sound"].state == "ok"
    assert file_sha256(path)[:16] in found["weights of imagebind-sound"].detail
    assert "none is published" in found["weights of imagebind-sound"].detail
    assert found["weights of audiomae"].state == "missing"
