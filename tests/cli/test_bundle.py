"""`foleyflow bundle` on folders with components of a small model."""

from __future__ import annotations

import json

from safetensors.torch import load_file
from support.cli_model import make_model, run_cli


def part_of(model, name: str, folder):
    """A model folder with one component of a model."""
    record = json.loads((model / "config.json").read_text())["components"][name]
    folder.mkdir()
    (folder / f"{name}.safetensors").write_bytes((model / f"{name}.safetensors").read_bytes())
    content = {"format": 1, "components": {name: record}}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_parts_are_collected_and_replaced(tmp_path):
    model, other = make_model(tmp_path / "model"), make_model(tmp_path / "other", seed=1)
    names = ("codec", "align", "flow")
    parts = [part_of(model, name, tmp_path / name) for name in names]
    out = tmp_path / "out"
    outcome = run_cli("bundle", *parts[:2], "--out", out, "--json")
    assert outcome.status == 0, outcome.stderr
    assert outcome.answer == {"model": str(out), "components": ["align", "codec"]}
    outcome = run_cli("bundle", parts[2], part_of(other, "codec", tmp_path / "new"), "--out", out)
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout == f"{out}: align, codec, flow\n"
    for name, source in (("align", model), ("codec", other), ("flow", model)):
        file = f"{name}.safetensors"
        assert (out / file).read_bytes() == (source / file).read_bytes(), name
    assert load_file(out / "flow.safetensors")


def test_component_in_two_parts_is_rejected(tmp_path):
    model = make_model(tmp_path / "model")
    part = part_of(model, "flow", tmp_path / "flow")
    outcome = run_cli("bundle", model, part, "--out", tmp_path / "out")
    assert outcome.status == 2 and "'flow'" in outcome.error_lines[0]
    assert not (tmp_path / "out").exists()


def test_folder_without_a_model_is_rejected(tmp_path):
    outcome = run_cli("bundle", tmp_path, "--out", tmp_path / "out")
    assert outcome.status == 2 and "config.json" in outcome.error_lines[0]
    assert outcome.error_lines[1].startswith("  hint: ")
