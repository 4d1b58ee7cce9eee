"""Low-rank adapters: only they are trained, and merging preserves the output."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.cli_model import run_cli, settings_flags
from support.flow_networks import random_condition, random_flow

from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, MissingExtra
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.pretrained import load_flow
from foleyflow.training.lora import add_adapters_, merge_adapters_


def network() -> FlowTransformer:
    config = FlowConfig(channels=4, width=16, layers=2, heads=2, condition_width=8)
    return random_flow(config, deviation=0.1).train().requires_grad_(True)


def output(model: FlowTransformer) -> torch.Tensor:
    """Output for a fixed input."""
    condition = random_condition(2, 12, width=8, channels=4)
    one = torch.ones(2)
    return model(
        torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(1)),
        r=0 * one,
        tau=one,
        guidance_scale=one,
        embedded=model.embed(condition),
        condition=condition,
    )


def test_missing_peft_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match="'peft'") as caught:
        add_adapters_(network(), 4)
    assert "foleyflow[finetune]" in caught.value.hint


@pytest.mark.parametrize(("module", "rank"), [(torch.nn.Linear(2, 2), 4), (None, 0)])
def test_invalid_ranks_and_models_are_rejected(module, rank):
    with pytest.raises(ConfigError, match=rf"--lora {rank}: expected a rank of at least 1"):
        add_adapters_(module or network(), rank)


def test_lora_requires_init(tmp_path):
    outcome = run_cli("train", "flow", "--lora", "4", "--out", tmp_path)
    assert outcome.status == 2 and "--lora 4: expected the model" in outcome.stderr


def test_only_adapters_are_trained_and_merging_preserves_the_output():
    pytest.importorskip("peft", reason="adapters need the extra 'finetune' (peft)")
    plain = network()
    model = copy.deepcopy(plain)
    names = add_adapters_(model, 3)
    assert {"blocks.0.attention.query", "blocks.1.feed.2", "blocks.1.modulation"} <= set(names)
    assert not any("unfold" in name or "global_condition" in name for name in names)
    torch.testing.assert_close(output(model), output(plain), rtol=0, atol=0)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * len(names) and all("lora_" in name for name in learning)
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(3):
        optimiser.zero_grad()
        (output(model) - 1.0).square().mean().backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != (name in learning), name
    adapted = output(model)
    assert float((adapted - output(plain)).detach().abs().max()) > 1e-2
    merge_adapters_(model)
    torch.testing.assert_close(output(model), adapted, rtol=1e-4, atol=1e-5)
    assert model.state_dict().keys() == plain.state_dict().keys()
    changed = {
        name.removesuffix(".weight")
        for name, value in model.state_dict().items()
        if not torch.equal(value, plain.state_dict()[name])
    }
    assert changed == set(names)
    # The change of a layer has the rank of its adapter.
    layer = "blocks.0.attention.query.weight"
    added = model.state_dict()[layer] - plain.state_dict()[layer]
    assert int(torch.linalg.matrix_rank(added, atol=1e-5)) == 3


@pytest.mark.parametrize("task", ["flow", "align"])
def test_model_is_adapted_on_the_command_line(simulated_data, smoke_runs, tmp_path, task):
    pytest.importorskip("peft", reason="adapters need the extra 'finetune' (peft)")
    init = smoke_runs / task / "model"
    command = ["train", task, "--recipe", "smoke", "--data", simulated_data, "--out", tmp_path]
    command += ["--device", "cpu", "--init", init, "--lora", "2"]
    parts = ("codec", "align") if task == "flow" else ("codec",)
    command += settings_flags(*(f"{part}={smoke_runs / part / 'model'}" for part in parts))
    outcome = run_cli(*command, "--set", "train.steps=2", "--json")
    assert outcome.status == 0, outcome.stderr
    outcome = run_cli(*command, "--set", "train.steps=4", "--json")  # resumes
    assert outcome.status == 0, outcome.stderr
    adapted, before = (load_file(f / f"{task}.safetensors") for f in (tmp_path / "model", init))
    assert adapted.keys() == before.keys()
    changed = [name for name in adapted if not torch.equal(adapted[name], before[name])]
    assert changed and all("blocks." in name and name.endswith("weight") for name in changed)
    if task == "flow":
        assert isinstance(load_flow(tmp_path / "model"), FlowTransformer)
    outcome = run_cli(*command, "--lora", "3")
    assert outcome.status == 2 and "started with other settings: lora" in outcome.stderr


def test_clips_are_selected_by_material(simulated_data, tmp_path):
    def materials(folder: Path) -> list[set[str]]:
        clips = SimulatedClips(folder, "train")
        return [
            {s.material for s in (*clips.labels(i).events, *clips.labels(i).frictions)}
            for i in range(len(clips))
        ]

    there = materials(simulated_data)
    material = sorted(set.union(*there))[0]
    for flag, out in (("--material", tmp_path / "of"), ("--without", tmp_path / "without")):
        wanted = [found for found in there if (material in found) == (flag == "--material")]
        done = run_cli("data", "select", simulated_data, out, flag, material)
        assert done.status == 0, done.stderr
        if wanted:
            assert f"{len(wanted)} clips of train" in done.stdout
            assert materials(out) == wanted
            assert len(SimulatedClips(out, "train").load(0).frames) > 10
