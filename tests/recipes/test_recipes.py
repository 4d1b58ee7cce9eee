"""Recipes and their overrides; the smoke recipes by the command line, from clips to a model."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from foleyflow.alignment.model import Alignment
from foleyflow.cli.app import app
from foleyflow.data.clip_types import ClipEvent, ClipLabels
from foleyflow.data.clips import cache_frames
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.features.codec_latents import audible_events, clip_arrays, encode_all, window_source
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.parallel.precision import precision_on
from foleyflow.pretrained import load_codec
from foleyflow.recipes import RECIPES, recipe_named
from foleyflow.recipes.overrides import flat_keys, override
from foleyflow.system.processor import feature_text, processor_features, processor_name
from foleyflow.training.journal import read_journal
from foleyflow.weights import file_sha256, merge_models, read_record

TASKS = ("codec", "align", "flow")  # the parts of the model
ALL = [(task, name) for task, recipes in RECIPES.items() for name in recipes]


def train(*arguments: str):
    return CliRunner().invoke(app, ["train", *arguments])


# ---------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(("task", "name"), ALL)
def test_recipes_are_complete_and_explained(task, name):
    recipe = recipe_named(task, name)
    assert recipe == recipe_named(task, name)
    assert RECIPES[task][name].__doc__
    assert json.loads(json.dumps(dataclasses.asdict(recipe)))["train"]["steps"] > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.train = None


@pytest.mark.parametrize(("task", "name"), [("codec", "huge"), ("singing", "tiny")])
def test_unknown_recipes_are_refused_with_the_known_ones(task, name):
    with pytest.raises(ConfigError, match=r"expected one of .*(tiny|codec)") as caught:
        recipe_named(task, name)
    assert caught.value.hint.startswith("did you mean")


def test_the_literal_aligner_has_no_labels_and_hides_no_whole_clip():
    losses = recipe_named("align", "latents-only").losses
    assert (losses.onset, losses.material, losses.contrast, losses.fully_masked_fraction) == (
        0,
        0,
        0,
        0,
    )
    assert losses.latent > 0


def test_only_the_embedded_model_and_the_upper_reference_use_labels():
    labelled = {
        name
        for name in RECIPES["align"]
        for losses in [recipe_named("align", name).losses]
        if losses.material or (losses.onset and losses.onset_from == "labels")
    }
    assert labelled == {"tiny", "supervised", "smoke"}


def test_rivals_differ_from_vama_in_nothing_but_what_they_learn():
    vama = recipe_named("align", "vama")
    for name in ("cavp", "supervised", "vama-contrast", "slow-student", "teacher", "latents-only"):
        rival = recipe_named("align", name)
        assert (rival.encoder, rival.windows) == (vama.encoder, vama.windows), name
        assert (
            dataclasses.replace(rival.train, learning_rate=vama.train.learning_rate) == vama.train
        ), name
        assert rival.model.width == vama.model.width, name


def test_parts_of_the_embedded_model_fit_each_other():
    codec, align, flow = (recipe_named(task, "tiny") for task in TASKS)
    rates = {r.model.latent_rate_hz for r in (codec, align, flow)}
    assert rates == {50.0}
    assert codec.model.channels == align.model.latent_channels == flow.model.channels
    assert align.model.width == flow.model.guide_width
    assert align.windows == flow.windows
    assert align.windows.neighbours == align.encoder.window // 2
    assert len(flow.model.material_names) == align.model.materials


# ---------------------------------------------------------------------------------- overrides


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 3
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = "x"
    on: bool = False
    limit: int | None = None
    sizes: tuple[int, int, int] = (1, 2, 3)


def test_fields_are_parsed_by_their_types():
    before = Outer()
    after = override(
        before,
        [
            "inner.size=7",
            "inner.rate=2",
            "name=1e3",
            "on=TRUE",
            "limit=4",
            "inner.size = 8",
            "sizes=4, 5,6",
        ],
    )
    assert after == Outer(
        inner=Inner(size=8, rate=2.0), name="1e3", on=True, limit=4, sizes=(4, 5, 6)
    )
    assert isinstance(after.inner.rate, float)
    assert before == Outer()
    assert override(after, ["limit=none"]).limit is None
    assert flat_keys(before) == ["inner.size", "inner.rate", "name", "on", "limit", "sizes"]


@pytest.mark.parametrize(
    ("assignment", "message", "hint"),
    [
        ("inner.size", "expected key=value", "keys"),
        ("inner.sice=3", "--set inner.sice: no such setting", "did you mean inner.size?"),
        ("nane=3", "--set nane: no such setting", "did you mean name?"),
        ("inner=3", "--set inner: no such setting", "did you mean inner."),
        ("name.x=3", "--set name.x: no such setting", "did you mean name?"),
        ("inner.size=2.5", "--set inner.size=2.5: expected int", "keys"),
        ("inner.rate=fast", "--set inner.rate=fast: expected float", "keys"),
        ("on=1", "--set on=1: expected bool", "keys"),
        ("sizes=1,2", r"--set sizes=1,2: expected tuple\[int, int, int\]", "keys"),
        ("sizes=1,2,x", "--set sizes=x: expected int", "keys"),
        ("limit=some", r"--set limit=some: expected int \| None", "keys"),
    ],
)
def test_assignments_that_do_not_fit_are_refused(assignment, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        override(Outer(), [assignment])
    assert hint in caught.value.hint


@pytest.mark.parametrize(("task", "name"), ALL)
def test_every_number_of_a_recipe_can_be_set_to_itself(task, name):
    recipe = recipe_named(task, name)

    def value_of(key):
        node = recipe
        for part in key.split("."):
            node = getattr(node, part)
        return node

    numbers = [k for k in flat_keys(recipe) if isinstance(value_of(k), int | float | str)]
    assert len(numbers) > 15
    lists = [k for k in flat_keys(recipe) if isinstance(value_of(k), tuple)]
    settings = [f"{key}={value_of(key)}" for key in numbers]
    settings += [f"{key}={','.join(map(str, value_of(key)))}" for key in lists]
    assert override(recipe, settings) == recipe


# ---------------------------------------------------------------------------------- data


def labels(strengths: list[float]) -> ClipLabels:
    events = tuple(
        ClipEvent(
            time_s=0.1 * number,
            strength=strength,
            kind="impact",
            material="wood",
            other_material="metal",
            impulse_ns=1.0,
        )
        for number, strength in enumerate(strengths)
    )
    return ClipLabels(
        name="x",
        kind="drop",
        duration_s=4.0,
        material="wood",
        striker_material="metal",
        events=events,
        frictions=(),
    )


@pytest.mark.parametrize(
    ("strengths", "heard"),
    [
        ([], []),
        ([0.9, 0.71, 0.69, 0.8], [0.0, 0.1, 0.3]),  # 0.2 below the strongest is no event
        ([0.2, 0.13, 0.11], [0.0, 0.1]),  # and nothing is heard below 0.12
        ([0.05], []),
    ],
)
def test_masked_events_are_left_out(strengths, heard):
    assert audible_events(labels(strengths)).tolist() == pytest.approx(heard)


def test_a_codec_that_is_not_there_is_said_in_a_line(simulated_data, tmp_path):
    config = recipe_named("align", "smoke").windows
    with pytest.raises(CheckpointError, match="nowhere"):
        window_source(
            simulated_data, "validation", codec_folder=tmp_path / "nowhere", config=config
        )


def test_latents_are_made_once_and_again_for_another_codec(smoke_runs, simulated_data, tmp_path):
    config = recipe_named("align", "smoke").windows
    folder = smoke_runs / "codec/model"
    before = sorted(simulated_data.glob(".latents-validation-*.npy"))
    source = window_source(simulated_data, "validation", codec_folder=folder, config=config)
    assert sorted(simulated_data.glob(".latents-validation-*.npy")) == before and before
    clips = clip_arrays(cache_frames(simulated_data, "validation"))
    wanted = encode_all(load_codec(folder), clips, batch=3)
    np.testing.assert_allclose(source.latents, wanted, atol=2e-2)
    assert wanted.shape == (4, 60, 48)
    # Another codec, by a byte of its weights' file, has latents of its own.
    merge_models([folder], tmp_path / "model")
    codec = load_codec(folder)
    with torch.no_grad():
        codec.latent_mean += 1.0
    from foleyflow.weights import save_component

    record = read_record(folder, "codec")
    save_component(tmp_path / "model", "codec", module=codec, config=record.config, provenance={})
    other = window_source(
        simulated_data, "validation", codec_folder=tmp_path / "model", config=config
    )
    assert len(list(simulated_data.glob(".latents-validation-*.npy"))) == len(before) + 1
    assert not np.allclose(other.latents, source.latents, atol=0.1)


# ---------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("task", TASKS)
def test_smoke_runs_leave_everything_that_explains_them(smoke_runs, task):
    run = smoke_runs / task
    config = json.loads((run / "config.json").read_text())
    assert (config["task"], config["recipe"]) == (task, "smoke")
    assert config["settings"]["train"]["steps"] == 4
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["cpu"] == processor_name()
    assert environment["cpu_features"] == feature_text(processor_features())
    wanted = precision_on(torch.device("cpu")) if config["settings"]["train"]["bf16"] else "fp32"
    assert environment["precision"] == wanted
    entries = read_journal(run / "journal.jsonl")
    losses = [entry for entry in entries if f"{task}/loss" in entry]
    assert [entry["step"] for entry in losses] == [1, 2, 3, 4]
    assert all(np.isfinite(entry[f"{task}/loss"]) for entry in losses)
    record = read_record(run / "model", task)
    assert record.provenance["settings"] == config["settings"]
    assert record.provenance["validation"] == entries[-1]
    assert any(key.startswith("validation/") for key in entries[-1])


def test_the_flow_goes_from_its_first_stage_to_its_second(smoke_runs):
    entries = read_journal(smoke_runs / "flow/journal.jsonl")
    steps = [entry for entry in entries if "flow/loss" in entry]
    assert ["slope" in entry for entry in steps] == [False, False, True, True]


@pytest.fixture
def train_flow(smoke_runs, simulated_data, tmp_path):
    """Trains a flow on the smoke runs' codec and aligner: (recipe, settings) to a folder."""

    def run(recipe: str, settings: list[str], *more: str):
        out = tmp_path / recipe
        command = ["flow", "--recipe", recipe, "--data", str(simulated_data), "--out", str(out)]
        parts = [f"{part}={smoke_runs / part / 'model'}" for part in ("codec", "align")]
        for setting in parts + settings:
            command += ["--set", setting]
        result = train(*command, *more)
        assert result.exit_code == 0, result.output
        return out

    return run


def test_a_flow_is_polished_from_another_run(smoke_runs, train_flow):
    settings = ["stages.dcf_steps=0", "stages.polish_steps=4"]
    out = train_flow("smoke", settings, "--init", str(smoke_runs / "flow/model"))
    entries = read_journal(out / "journal.jsonl")
    mismatches = [entry["mismatch"] for entry in entries if "mismatch" in entry]
    assert len(mismatches) == 4 and all(np.isfinite(mismatches))
    state = load_file(out / "state.safetensors")
    begun = load_file(smoke_runs / "flow/model/flow.safetensors")
    for name, value in begun.items():
        assert torch.equal(state[f"critic/module/real.{name}"], value.float()), name


def test_models_are_taken_over_for_the_latents_of_another_codec(
    smoke_runs, simulated_data, tmp_path
):
    """Aligner and flow go on with a codec of more channels; what knows latents begins anew."""

    def run(task: str, *settings: str, init: Path | None = None) -> Path:
        command = [task, "--recipe", "smoke", "--data", str(simulated_data)]
        command += [part for setting in settings for part in ("--set", setting)]
        command += ["--out", str(tmp_path / task)]
        result = train(*command, *(["--init", str(init)] if init else []))
        assert result.exit_code == 0, result.output
        return tmp_path / task / "model"

    still = ("new_latents=true", "train.learning_rate=1e-12")
    codec = f"codec={run('codec', 'model.channels=6')}"
    align = run(
        "align",
        codec,
        "model.latent_channels=6",
        *still,
        init=smoke_runs / "align/model",
    )
    flow = run(
        "flow",
        codec,
        f"align={align}",
        "model.channels=6",
        *still,
        init=smoke_runs / "flow/model",
    )
    for name, folder, new in (
        ("align", align, {"latent_head.weight", "latent_head.bias", "target_mean"}),
        ("flow", flow, {"enter.weight", "leave.weight", "latent_mean", "latent_deviation"}),
    ):
        found = load_file(folder / f"{name}.safetensors")
        begun = load_file(smoke_runs / name / "model" / f"{name}.safetensors")
        same = {key for key in begun if torch.equal(found[key], begun[key])}
        assert new <= begun.keys() - same
        assert all(
            key.startswith(("latent_", "target_", "enter.", "leave."))
            for key in begun.keys() - same
        )


def test_a_flow_is_distilled_from_another_run(smoke_runs, simulated_data, train_flow):
    guided, others = (set(simulated_data.glob(name)) for name in (".guided-*", ".pairs-train-*"))
    settings = [f"teacher={smoke_runs / 'flow/model'}", "windows.segments=10"]
    settings += ["pairs.count=6", "pairs.solver_steps=2", "pairs.longest_context=10"]
    settings += ["train.steps=2", "train.batch_clips=2", "train.log_every=1"]
    out = train_flow("distil", settings)
    assert set(simulated_data.glob(".guided-*")) == guided  # the features are the flow's own
    (pairs,) = set(simulated_data.glob(".pairs-train-*.npy")) - others
    assert np.load(pairs).shape == (6, 40, 48)
    entries = read_journal(out / "journal.jsonl")
    assert [e["step"] for e in entries if "flow/loss" in e] == [1, 2]
    assert np.isfinite(entries[-1]["validation/map_error"])
    assert (
        read_record(out / "model", "flow").config
        == read_record(smoke_runs / "flow/model", "flow").config
    )


def test_a_diffusion_baseline_makes_sound_by_the_same_command(
    smoke_model, train_flow, clip_file, tmp_path
):
    out = train_flow("smoke", ["model.predicts=noise", "model.static=true", "model.prior_path=vp"])
    model = tmp_path / "baseline"
    merge_models([smoke_model], model)
    merge_models([out / "model"], model)  # in place of the flow
    record = read_record(model, "flow")
    assert (record.config["predicts"], record.config["static"]) == ("noise", True)
    result = FoleyFlow.from_pretrained(model).generate(clip_file, steps=3)
    assert np.isfinite(result.waveform).all() and result.waveform.std() > 0


def test_the_codec_knows_the_statistics_of_its_latents(smoke_runs):
    codec = load_codec(smoke_runs / "codec/model")
    assert float(codec.latent_mean.abs().max()) > 1e-3
    assert not torch.equal(codec.latent_deviation, torch.ones(48))
    assert float(codec.latent_deviation.min()) > 0


def test_what_was_trained_makes_sound(smoke_model, clip_file, tmp_path):
    model = FoleyFlow.from_pretrained(smoke_model)
    result = model.generate(clip_file)
    assert result.save(tmp_path / "out.mp4").stat().st_size > 0
    assert result.waveform.std() > 0
    for task in TASKS:
        assert file_sha256(smoke_model / f"{task}.safetensors")


@pytest.fixture
def codec_run(smoke_runs, simulated_data, tmp_path):
    """A copy of the codec's run and the arguments that made it."""
    out = tmp_path / "codec"
    shutil.copytree(smoke_runs / "codec", out)
    return out, ["codec", "--recipe", "smoke", "--data", str(simulated_data), "--out", str(out)]


def test_the_same_command_again_changes_nothing(codec_run):
    out, command = codec_run
    before = {p.name: p.read_bytes() for p in (out / "model").iterdir()}
    journal = (out / "journal.jsonl").read_bytes()
    result = train(*command)
    assert result.exit_code == 0, result.output
    assert (out / "journal.jsonl").read_bytes() == journal
    assert (out / "model/codec.safetensors").read_bytes() == before["codec.safetensors"]


def test_a_run_may_be_made_longer(codec_run):
    out, command = codec_run
    result = train(*command, "--set", "train.steps=5")
    assert result.exit_code == 0, result.output
    steps = [e["step"] for e in read_journal(out / "journal.jsonl") if "codec/loss" in e]
    assert steps == [1, 2, 3, 4, 5]


def test_other_settings_in_the_same_folder_are_refused(codec_run):
    out, command = codec_run
    before = (out / "config.json").read_bytes()
    result = train(*command, "--set", "losses.kl=0.5")
    assert result.exit_code == 2
    assert "was begun with other settings: settings.losses.kl" in result.output
    assert "another --out" in result.output
    assert (out / "config.json").read_bytes() == before


def test_a_run_that_never_began_binds_to_nothing(tmp_path, smoke_runs, simulated_data):
    out, codec = tmp_path / "align", f"codec={smoke_runs / 'codec/model'}"
    command = ["align", "--recipe", "smoke", "--out", str(out), "--set", codec]
    wrong = train(*command, "--data", str(tmp_path / "nothing"))
    assert wrong.exit_code == 2
    assert "no manifest.json" in wrong.output
    assert not out.exists()
    # The right folder is not refused for the wrong one that was given before.
    right = train(*command, "--data", str(simulated_data), "--dry-run")
    assert right.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("codec", "--set", "train.stepps=3"), "did you mean train.steps?"),
        (("codec", "--set", "train.steps=many"), "train.steps=many: expected int"),
        (("codec", "--set", "train.steps=0"), "train.steps=0: expected at least 1"),
        (("codec", "--recipe", "huge"), "recipe 'huge' of codec: expected one of tiny, polish"),
        (("sing",), "task 'sing': expected one of codec, align, flow"),
    ],
)
def test_wrong_usage_is_one_line_and_a_hint(arguments, message, tmp_path):
    result = train(*arguments, "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_settings_and_does_nothing(tmp_path):
    result = train("flow", "--set", "train.steps=7", "--out", str(tmp_path / "run"), "--dry-run")
    assert result.exit_code == 0
    settings = json.loads(result.stdout)["settings"]
    assert settings["train"]["steps"] == 7
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------- scales


@pytest.mark.parametrize(("name", "aligner_m", "flow_m"), [("base", 154, 157), ("large", 597, 592)])
def test_scales_have_the_size_that_they_say_and_fit_each_other(name, aligner_m, flow_m):
    align, flow = recipe_named("align", name), recipe_named("flow", name)
    with torch.device("meta"):
        aligner = Alignment(align.model, encoder=MotionEncoder(align.encoder))
        network = FlowTransformer(flow.model)
    for module, wanted_m in ((aligner, aligner_m), (network, flow_m)):
        count = sum(parameter.numel() for parameter in module.parameters())
        assert count / 1e6 == pytest.approx(wanted_m, abs=0.5)
    assert align.model.width == align.encoder.dim == flow.model.guide_width
    assert align.model.latent_rate_hz == flow.model.latent_rate_hz == 50.0
    assert align.model.latent_channels == flow.model.channels
    assert align.windows == flow.windows == recipe_named("flow", "tiny").windows
    assert flow.align == f"runs/align-{name}/model"
    for recipe in (align, flow):  # on 1 to 64 GPUs, in parts of one clip or more
        assert recipe.train.batch_clips % 64 == 0
    assert flow.stages.dcf_steps < flow.train.steps


@pytest.mark.parametrize("name", ["base", "large"])
def test_scales_train_by_the_command_line(simulated_data, smoke_runs, tmp_path, name):
    """Made narrow by settings; all else is as it is."""
    common = ["--recipe", name, "--data", str(simulated_data), "--device", "cpu"]
    settings = ["train.steps=2", "train.batch_clips=2", "train.validate_every=2"]
    settings += ["windows.segments=10", "model.heads=2", "model.width=16"]
    settings += [f"codec={smoke_runs / 'codec/model'}"]
    for task, own in (
        ("align", ["encoder.widths=4,4,8", "encoder.dim=16"]),
        ("flow", ["model.guide_width=16", f"align={tmp_path / 'align/model'}"]),
    ):
        command = [task, *common, "--out", str(tmp_path / task)]
        for setting in [*settings, *own]:
            command += ["--set", setting]
        result = train(*command)
        assert result.exit_code == 0, result.output
        recipe = recipe_named(task, name)
        config = read_record(tmp_path / task / "model", task).config
        shape = config if task == "flow" else config["model"]
        for key in ("layers", "video_layers", "decoder_layers"):
            assert shape.get(key) == getattr(recipe.model, key, None)
