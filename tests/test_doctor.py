"""Findings of the doctor on this machine, on damaged models and on missing packages."""

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


def test_packages_have_their_versions(findings):
    for package in doctor.CORE:
        finding = findings[f"package {package}"]
        assert (finding.state, finding.fix) == ("ok", "")
        assert finding.detail == importlib.metadata.version(package)
        assert finding.needed


def test_every_problem_has_a_fix(findings):
    for finding in findings.values():
        assert bool(finding.fix) == (finding.state != "ok"), finding
        assert "\n" not in finding.detail + finding.fix


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


def test_the_two_ways_to_install_torch(findings):
    assert findings["torch build"].state == "ok"
    assert doctor.torch_build(None, gpu_is_usable=False).startswith("for the CPU; to use an NVIDIA")
    assert doctor.torch_build("13.0", gpu_is_usable=True) == "for CUDA 13.0"
    assert "a CPU build saves several GB" in doctor.torch_build("13.0", gpu_is_usable=False)


def test_a_missing_extra_is_not_needed():
    finding = doctor._extra("physics", ("numpy", "a-package-nobody-has"))
    assert finding.state == "missing"
    assert finding.fix == "pip install 'foleyflow[physics]'"
    assert not finding.needed
    assert f"numpy {importlib.metadata.version('numpy')}" in finding.detail


def test_an_unknown_encoder_is_not_available():
    assert doctor._can_encode("flac")
    assert not doctor._can_encode("no-such-encoder")


def test_a_failed_rendering_trial_gives_its_reason(monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr(doctor, "GL_TRIAL", "raise RuntimeError('no screen, no library')")
    finding = doctor._rendering(doctor._start_trial(doctor.GL_TRIAL, needs="mujoco"))
    assert finding.state == "broken"
    assert "no screen, no library" in finding.detail
    assert finding.fix


def test_a_folder_without_a_model_is_missing(tmp_path):
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
def test_a_damaged_model_is_broken_with_a_reason(tmp_path, config, reason):
    (tmp_path / "config.json").write_text(config)
    finding = doctor._model(tmp_path)
    assert finding.state == "broken"
    assert reason in finding.detail


def test_usable_means_that_all_needed_parts_are_ok():
    needed = doctor.Finding(name="a", state="ok", detail="", needed=True)
    extra = doctor.Finding(name="b", state="missing", detail="")
    assert doctor.is_usable([needed, extra])


def test_missing_encoder_weights_have_a_download_command(findings):
    paper = findings["weights of eva-clip-g"]
    assert paper.state in ("missing", "ok") and not paper.needed
    assert paper.state == "ok" or "curl -L" in paper.fix


def test_encoder_weights_in_a_given_folder_are_hashed(tmp_path):
    path = publish("imagebind-sound", tmp_path)
    found = {finding.name: finding for finding in doctor._encoder_weights(tmp_path)}
    assert found["weights of imagebind-sound"].state == "ok"
    assert file_sha256(path)[:16] in found["weights of imagebind-sound"].detail
    assert "no hash is published" in found["weights of imagebind-sound"].detail
    assert found["weights of audiomae"].state == "missing"
