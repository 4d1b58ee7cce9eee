"""Tables over published encoders: the same cells, with the losses of the small recipes."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.small_encoders import publish, small
from typer.testing import CliRunner

from foleyflow.cli.app import app
from foleyflow.encoders import catalogue
from foleyflow.experiments.tables.definitions import aligner_cell, part_of
from foleyflow.experiments.tables.recipes import aligner_recipe, flow_recipe
from foleyflow.recipes.flow import DistilRecipe
from foleyflow.recipes.published import PublishedRecipe, published, published_flow

PARTS = [("table2", "alignment"), ("table2", "flow"), ("table4", "flow")]
PARTS += [("table5", "alignment"), ("table5", "flow")]
SIZE = (
    "base_steps=2",
    "further_steps=2",
    "train.batch_clips=2",
    "train.validate_every=2",
    "windows.segments=7",
    "model.heads=2",
    "model.width=16",
    "model.layers=1",
    "context.shortest_context=4",
    "context.longest_context=10",
    "aligner.train.steps=2",
    "aligner.train.batch_clips=2",
    "aligner.train.validate_every=2",
    "aligner.windows.segments=7",
    "aligner.model.heads=2",
    "aligner.model.width=16",
    "aligner.model.video_layers=1",
    "aligner.model.audio_layers=1",
    "aligner.model.decoder_layers=1",
    "aligner.bottleneck=4",
)


def ablate(*arguments: object):
    return CliRunner().invoke(app, ["ablate", *map(str, arguments)])


@pytest.mark.parametrize(("name", "stage"), PARTS)
def test_a_plan_needs_no_weights_and_has_the_same_cells(name, stage, tmp_path):
    command = (name, "--stage", stage, "--dry-run", "--out", tmp_path / "out")
    own, over = (
        list(json.loads(ablate(*command, "--encoders", encoders).stdout)["cells"])
        for encoders in ("own", "published")
    )
    assert over == [f"published-{cell}" for cell in own if cell != "supervised"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["vama", "vama-no-onset", "cavp", "onset", "none", "ratio-0.3"])
def test_an_aligner_has_the_losses_of_the_small_recipe(name):
    own = aligner_recipe(aligner_cell(name), seed=1, settings=())
    over = aligner_recipe(aligner_cell(f"published-{name}"), seed=1, settings=())
    assert isinstance(over, PublishedRecipe) and over.losses == own.losses
    assert over.model.contrast_width == own.model.contrast_width
    expected = published()
    model = dataclasses.replace(expected.model, contrast_width=own.model.contrast_width)
    seeded = dataclasses.replace(expected.train, seed=1)
    assert over == dataclasses.replace(expected, losses=own.losses, model=model, train=seeded)


def test_flows_have_the_shape_windows_and_updates_of_the_published_recipe(tmp_path):
    _, table = part_of("table4", None, encoders="published")
    expected = published_flow()
    for cell in table.cells:
        recipe = flow_recipe(cell, seed=0, settings=(), align=tmp_path, begin=tmp_path)
        first = cell.begins_with is None
        assert recipe.train.steps == (200_000 if first else 100_000)
        assert recipe.windows == expected.windows
        assert recipe.train.learning_rate == expected.train.learning_rate
        if not isinstance(recipe, DistilRecipe):
            assert recipe.model.width == expected.model.width
            assert recipe.model.latents_per_segment == expected.model.latents_per_segment


@pytest.mark.parametrize("name", ["table3", "targets"])
def test_tables_that_name_their_own_encoders_are_refused(name):
    result = ablate(name, "--encoders", "published", "--dry-run")
    assert result.exit_code == 2
    assert f"table '{name}': expected no --encoders" in result.output


@pytest.fixture
def weights(monkeypatch, tmp_path, timm):
    """A folder of random weights for small versions of the recipe's encoders."""
    recipe = published()
    for name, known in (
        (recipe.video, catalogue.VIDEO_ENCODERS),
        (recipe.sound, catalogue.SOUND_ENCODERS),
    ):
        monkeypatch.setitem(known, name, small(name))
        publish(name, tmp_path / "weights")
    return tmp_path / "weights"


def test_a_table_over_published_encoders_runs_from_weights_to_figures(
    weights, simulated_data, tmp_path
):
    settings = [*SIZE, f"weights_dir={weights}", f"aligner.weights_dir={weights}"]
    command = ["table2", "--stage", "flow", "--encoders", "published", "--seeds", 1]
    command += ["--data", simulated_data, "--out", tmp_path / "out", "--clips", 4]
    command += ["--device", "cpu"]
    for name in ("none", "onset", "cavp", "cavp-onset", "vama-no-onset"):
        command += ["--without", name]
    command += [part for each in settings for part in ("--set", each)]
    result = ablate(*command)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out" / "table2-flow-published.json").read_text())
    assert written["encoders"] == "published"
    rows = written["rows"]
    assert list(rows) == [
        f"published-vama-{cell}"
        for cell in ("static-dcf@25", "static-gdcf@1", "dynamic-dcf@25", "dynamic-gdcf@1")
    ] + ["published-vama-dynamic-dcf@1"]
    assert all(
        "KLD-sim" in row["columns"] and "onset F1" in row["columns"] for row in rows.values()
    )
