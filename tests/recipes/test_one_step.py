"""The sequence of recipes that distils a large flow into one step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.cli_model import run_cli, settings_flags

from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.pretrained import load_flow
from foleyflow.recipes import recipe_named
from foleyflow.training.journal import read_journal

NAMES = ("base", "large", "published")


@pytest.mark.parametrize("name", NAMES)
def test_stages_change_only_the_training(name):
    origin = recipe_named("flow", name)
    kept = ("model", "objective", "windows", "views", "codec", "align", "context", "fine_power")
    for stage in ("matching", "quarters", "merge", "polish"):
        recipe = recipe_named("flow", f"{name}-{stage}")
        for field in kept:
            assert getattr(recipe, field) == getattr(origin, field), (stage, field)
        assert recipe.train.batch_clips == origin.train.batch_clips
    assert dataclasses.replace(
        recipe_named("flow", f"{name}-matching").train, steps=origin.train.steps
    ) == (origin.train)


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_those_of_the_embedded_model(name):
    """Flow matching, 24 Euler steps to four, four to one, polish; each fills its run."""
    matching, quarters, merge, polish = (
        recipe_named("flow", f"{name}-{stage}")
        for stage in ("matching", "quarters", "merge", "polish")
    )
    assert matching.stages.dcf_steps == matching.train.steps == 200_000
    for recipe in (quarters, merge, polish):
        stages = recipe.stages
        assert stages.dcf_steps == 0
        assert stages.merge_steps + stages.polish_steps == recipe.train.steps
        assert recipe.train.warmup_steps < recipe.train.steps / 4
        assert 1 / (1 - recipe.train.ema) < recipe.train.steps / 4
    small = [recipe_named("flow", stage).stages for stage in ("quarters", "merge")]
    for recipe, known in zip((quarters, merge), small, strict=True):
        found = recipe.stages
        assert (found.merged_jumps, found.merged_steps) == (known.merged_jumps, known.merged_steps)
    rates = [each.train.learning_rate for each in (matching, quarters, merge, polish)]
    assert rates == sorted(rates, reverse=True) and rates[0] > rates[1] == rates[2] > rates[3]


def test_the_sequence_gives_a_flow_of_one_step(smoke_runs, simulated_data, clip_file, tmp_path):
    """Every command of the sequence at tiny size, from flow matching to a generated sound."""
    parts = [f"{part}={smoke_runs / part / 'model'}" for part in ("codec", "align")]
    tiny = ["model.heads=2", "model.width=16", "model.layers=1", "model.condition_width=16"]
    tiny += ["windows.segments=10", "context.shortest_context=4", "context.longest_context=10"]
    tiny += ["train.steps=3", "train.batch_clips=2", "train.log_every=1", "train.validate_every=3"]
    own = {
        "matching": ["stages.dcf_steps=3", "train.learning_rate=1e-2"],
        "quarters": ["stages.merge_steps=3"],
        "merge": ["stages.merge_steps=3"],
        "polish": ["stages.polish_steps=3"],
    }

    def run(stage: str, name: str, init: str | None = None, *settings: str) -> dict:
        command = ["train", "flow", "--recipe", f"base-{stage}", "--device", "cpu"]
        command += ["--data", simulated_data, "--out", tmp_path / name]
        if init is not None:
            command += ["--init", tmp_path / init / "model"]
        flags = settings_flags(*parts, *tiny, *own[stage], *settings)
        outcome = run_cli(*command, *flags)
        assert outcome.status == 0, outcome.stderr
        entries = read_journal(tmp_path / name / "journal.jsonl")
        return next(entry for entry in entries if "flow/loss" in entry)

    assert {"merge_error", "mismatch", "interval_error"}.isdisjoint(run("matching", "flow"))
    assert "merge_error" in run("quarters", "flow-4", "flow")
    assert "merge_error" in run("merge", "flow-1", "flow-4")
    assert np.isfinite(run("polish", "flow-p1", "flow-1")["mismatch"])
    real = f"real={tmp_path / 'flow' / 'model'}"
    assert np.isfinite(run("polish", "flow-p2", "flow-p1", real)["mismatch"])
    state = load_file(tmp_path / "flow-p2" / "state.safetensors")
    begun = load_file(tmp_path / "flow/model/flow.safetensors")
    for key, value in begun.items():
        assert torch.equal(state[f"critic/module/real.{key}"], value.float()), key
    # The flow map appears with the first distillation
    for name, has_map in (("flow", 0), ("flow-4", 1), ("flow-1", 1), ("flow-p2", 1)):
        assert int(load_flow(tmp_path / name / "model").trained_intervals) == has_map
    polished = [tmp_path / name / "model" for name in ("flow-p1", "flow-p2")]
    assert run_cli("average", *polished, "--out", tmp_path / "average").status == 0
    found = [load_file(each / "flow.safetensors") for each in (*polished, tmp_path / "average")]
    name = "output_conv.weight"
    mean = (found[0][name].float() + found[1][name].float()) / 2
    torch.testing.assert_close(found[2][name].float(), mean, rtol=1e-3, atol=1e-4)
    models = [smoke_runs / part / "model" for part in ("codec", "align")]
    assert run_cli("bundle", *models, tmp_path / "average", "--out", tmp_path / "all").status == 0
    generated = FoleyFlow.from_pretrained(tmp_path / "all").generate(clip_file, steps=1)
    assert np.isfinite(generated.waveform).all()
