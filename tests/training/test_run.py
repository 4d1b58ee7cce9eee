"""The Python entry points for a training run and for the preparation of its data."""

from __future__ import annotations

import dataclasses

import pytest

from foleyflow.errors import ConfigError
from foleyflow.pretrained import load_codec
from foleyflow.recipes import recipe_named
from foleyflow.recipes.overrides import override
from foleyflow.training.run import prepare, run_config, train


def test_run_prints_nothing_and_returns_a_summary(simulated_data, tmp_path, capsys):
    recipe = override(recipe_named("codec", "smoke"), ["from_clips=true", "train.steps=2"])
    steps = []
    summary = train(  # on the device that is chosen automatically
        recipe,
        data=simulated_data,
        out=tmp_path / "run",
        progress=lambda step, figures: steps.append(step),
    )
    assert summary is not None
    assert (summary.model, summary.components) == (tmp_path / "run/model", ("codec",))
    assert summary.steps == 2 and summary.validation["step"] == 2
    assert steps == [1, 2, 2]  # two logged steps and one validation
    load_codec(summary.model)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.steps = 3


def test_config_names_task_recipe_and_initial_weights(smoke_runs, tmp_path):
    recipe = recipe_named("judge", "smoke")
    config = run_config(recipe, recipe_name="smoke", data=tmp_path)
    assert (config["task"], config["recipe"], config["init"]) == ("judge", "smoke", None)
    codec = recipe_named("codec", "smoke")
    config = run_config(codec, data=tmp_path, init=smoke_runs / "codec/model")
    assert config["init"].keys() == {"codec"}
    with pytest.raises(ConfigError, match="--lora 4: expected the model to adapt"):
        run_config(codec, data=tmp_path, lora_rank=4)


def test_preparation_counts_windows(smoke_runs, simulated_data):
    settings = [f"{part}={smoke_runs / part / 'model'}" for part in ("codec", "align")]
    align = override(recipe_named("align", "smoke"), settings[:1])
    assert prepare(align, simulated_data) == {"train": 6, "validation": 4}
    flow = override(recipe_named("flow", "smoke"), [*settings, "views=2"])
    assert prepare(flow, simulated_data) == {"train": 12, "validation": 4}


@pytest.mark.parametrize(("task", "name"), [("codec", "tiny"), ("flow", "distil")])
def test_recipes_without_cached_features_cannot_be_prepared(task, name, tmp_path):
    with pytest.raises(ConfigError, match="there is nothing to prepare"):
        prepare(recipe_named(task, name), tmp_path)
