"""The codec with discriminators as a task: phases, losses, checkpoints, export, banks of sounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import shared_training
from support.cli_model import losses, run_cli, settings_flags

from foleyflow.codec.adversarial_losses import judge_frozen
from foleyflow.errors import ConfigError
from foleyflow.pretrained import load_codec
from foleyflow.recipes import recipe_named
from foleyflow.recipes.overrides import override
from foleyflow.training.checkpoint import STATE_NAME
from foleyflow.training.tasks.adversarial_codec import (
    CODEC,
    DISCRIMINATORS,
    AdversarialCodecTask,
    AdversarialConfig,
)
from foleyflow.training.tasks.codec import CodecLossConfig


@pytest.fixture
def task() -> AdversarialCodecTask:
    return shared_training.adversarial_codec_task()


@pytest.fixture
def batch(task) -> dict[str, torch.Tensor]:
    return task.sample_batch(np.random.default_rng(0), 4)


def test_the_codec_learns_alone_before_the_first_step_of_its_discriminators(task, batch):
    assert task.begin_step(1, {}) == (CODEC,)
    assert task.begin_step(2, {}) == (DISCRIMINATORS, CODEC)
    torch.manual_seed(0)
    _, before = task.loss(CODEC, batch, 1)
    assert "adversarial" not in before
    torch.manual_seed(0)
    _, after = task.loss(CODEC, batch, 2)
    assert {name: after[name] for name in before} == before
    assert after["adversarial"] > 0 and after["feature_matching"] > 0


def test_each_phase_has_gradients_of_its_own_module(task, batch):
    for phase, other in ((DISCRIMINATORS, CODEC), (CODEC, DISCRIMINATORS)):
        for module in task.modules.values():
            module.zero_grad(set_to_none=True)
        task.loss(phase, batch, 2)[0].backward()
        assert all(p.grad is not None for p in task.modules[phase].parameters())
        assert all(p.grad is None for p in task.modules[other].parameters())


def test_weights_of_zero_leave_the_reconstruction_losses(task, batch):
    task.adversarial = replace(task.adversarial, adversarial=0.0, feature_matching=0.0)
    torch.manual_seed(0)
    with_discriminators, _ = task.loss(CODEC, batch, 2)
    torch.manual_seed(0)
    without, _ = task.loss(CODEC, batch, 0)
    assert float(with_discriminators.detach()) == float(without.detach())


def test_discriminators_learn_to_recognise_a_codec_that_is_not_trained(task):
    optimiser = torch.optim.AdamW(task.modules[DISCRIMINATORS].parameters(), 1e-2)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(30):
        loss, figures = task.loss(DISCRIMINATORS, task.sample_batch(rng, 8), 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(figures["discriminators_right"])
    assert np.mean(found[-5:]) > 0.9
    with torch.no_grad():
        assert task.validate(task.modules)["recognised"] > 0.9
    # The gradient of the codec's loss then points somewhere
    sound = task.sample_batch(rng, 2)["sound"].requires_grad_()
    sum(each.scores.mean() for each in judge_frozen(task._discriminators, sound)).backward()
    assert float(sound.grad.abs().max()) > 0


def test_resumed_runs_end_with_the_same_codec_discriminators_and_optimisers(tmp_path):
    shared_training.run("codec", tmp_path / "complete")
    shared_training.run("codec", tmp_path / "resumed", steps=3)
    shared_training.run("codec", tmp_path / "resumed")
    complete, resumed = (load_file(tmp_path / n / STATE_NAME) for n in ("complete", "resumed"))
    assert complete.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in complete.items())
    groups = {"/".join(name.split("/")[:2]) for name in complete}
    parts = ("module", "average", "optimiser")
    assert groups == {f"{phase}/{part}" for phase in (CODEC, DISCRIMINATORS) for part in parts}
    entries, again = (
        [entry for entry in losses(tmp_path / name) if "codec/loss" in entry]
        for name in ("complete", "resumed")
    )
    assert entries == again and len(entries) == 6


@pytest.mark.parametrize("name", ["smoke-general", "smoke-mel"])
def test_command_trains_codecs_for_general_sound(name, simulated_data, tmp_path):
    command = ["train", "codec", "--recipe", name, "--device", "cpu", "--json"]
    outcome = run_cli(*command, "--data", simulated_data, "--out", tmp_path)
    assert outcome.status == 0, outcome.stderr
    codec = load_codec(tmp_path / "model")
    assert codec.config == recipe_named("codec", name).model
    stored = load_file(tmp_path / "model" / "codec.safetensors")
    assert not [key for key in stored if key.startswith("by_")]  # no discriminators
    sound = 0.1 * torch.randn(1, 4 * codec.config.hop_samples)
    latents = codec.encode(sound)
    assert bool(latents.isfinite().all()) and codec.decode(latents).shape == sound.shape
    steps = [entry for entry in losses(tmp_path) if "codec/loss" in entry]
    assert ["discriminators/loss" in entry for entry in steps] == [False, True, True, True]


def test_the_recipe_also_trains_at_44_khz(simulated_data, tmp_path):
    settings = ("model.rate_hz=44100", "model.strides=2,3,3,7,7", "train.steps=2")
    full = override(recipe_named("codec", "general"), settings)
    assert full.model.latent_rate_hz == 50.0
    command = ["train", "codec", "--recipe", "smoke-general", "--device", "cpu"]
    command += ["--data", simulated_data, "--out", tmp_path, *settings_flags(*settings)]
    outcome = run_cli(*command)
    assert outcome.status == 0, outcome.stderr
    assert load_codec(tmp_path / "model").config.hop_samples == 882


def test_sounds_of_clips_are_prepared_before_a_training(fresh_data):
    data = fresh_data("data")
    outcome = run_cli("data", "prepare", "codec", "--recipe", "smoke-general", "--data", data)
    assert outcome.status == 0, outcome.stderr
    stores = {path.name.rpartition("-")[0] for path in data.glob(".mono_sounds-*")}
    assert stores == {".mono_sounds-train-48000", ".mono_sounds-validation-48000"}


def test_a_fraction_of_the_sounds_comes_from_a_bank():
    made = shared_training.adversarial_codec_task()
    sounds, bank = np.full((3, 4800), 1000, np.int16), np.full((5, 4800), -1000, np.int16)
    task = AdversarialCodecTask(
        made.adversarial,
        codec=made.modules["codec"],
        losses=CodecLossConfig(crop_s=0.05),
        sounds=sounds,
        validation_sounds=sounds,
        bank=bank,
        bank_fraction=0.25,
    )
    batch = task.sample_batch(np.random.default_rng(0), 2000)
    assert batch["sound"].shape == (2000, 2400)
    assert int(batch["clip"].max()) == 4
    assert torch.equal(task.sample_batch(np.random.default_rng(0), 2000)["clip"], batch["clip"])
    fifth = (batch["clip"] >= 3).float().mean()  # sounds that only the bank has: 2 of its 5
    assert float(fifth) == pytest.approx(0.25 * 2 / 5, abs=0.02)


def test_negative_weights_are_refused():
    with pytest.raises(ConfigError, match="adversarial=-1"):
        AdversarialConfig(adversarial=-1.0)
