"""`foleyflow average` on components of small models."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file, save_file
from support.cli_model import make_model, run_cli

from foleyflow.pretrained import load_flow
from foleyflow.weights import file_sha256, read_record


def test_the_mean_of_flows_is_stored_with_their_hashes(tmp_path):
    models = [make_model(tmp_path / str(seed), seed=seed) for seed in range(3)]
    out = tmp_path / "out"
    outcome = run_cli("average", *models, "--out", out, "--json")
    assert outcome.status == 0, outcome.stderr
    assert outcome.answer == {"model": str(out), "components": ["flow"]}
    tensors = [load_file(model / "flow.safetensors") for model in models]
    found = load_file(out / "flow.safetensors")
    assert found.keys() == tensors[0].keys()
    moved = 0
    for name, value in found.items():
        mean = sum(each[name].double() for each in tensors) / 3
        torch.testing.assert_close(value.double(), mean, rtol=1e-3, atol=1e-6)
        moved += not torch.equal(value, tensors[0][name])
    assert moved > len(found) / 4
    load_flow(out)
    hashes = [file_sha256(model / "flow.safetensors") for model in models]
    assert read_record(out, "flow").provenance["average_of"] == hashes


def test_models_that_do_not_fit_are_refused(tmp_path):
    first, second = make_model(tmp_path / "first"), make_model(tmp_path / "second", seed=1)
    out = tmp_path / "out"
    outcome = run_cli("average", first, "--out", out)
    assert outcome.status == 2 and "expected at least two" in outcome.error_lines[0]
    # Another flag of training
    path, config = second / "flow.safetensors", second / "config.json"
    tensors = load_file(path)
    tensors["trained_intervals"] = 1 - tensors["trained_intervals"]
    save_file(tensors, path)
    record = json.loads(config.read_text())
    record["components"]["flow"]["sha256"] = file_sha256(path)
    config.write_text(json.dumps(record))
    outcome = run_cli("average", first, second, "--out", out)
    assert outcome.status == 2 and "'trained_intervals'" in outcome.error_lines[0]
    # Another shape
    record["components"]["flow"]["config"]["layers"] = 2
    config.write_text(json.dumps(record))
    outcome = run_cli("average", first, second, "--out", out)
    assert outcome.status == 2 and "the configuration of 'flow' differs" in outcome.error_lines[0]
    assert not out.exists()
