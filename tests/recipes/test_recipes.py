"""Recipes, their overrides, and training runs on the command line."""

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
from support.cli_model import run_cli, settings_flags

from foleyflow.alignment.model import Alignment
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.parallel.precision import precision_on
from foleyflow.pretrained import load_codec
from foleyflow.recipes import RECIPES, recipe_named
from foleyflow.recipes.overrides import flat_keys, override
from foleyflow.system.processor import feature_text, processor_features, processor_name
from foleyflow.training.journal import read_journal
from foleyflow.training.task import RENAMED_SETTINGS
from foleyflow.weights import file_sha256, merge_models, read_record

TASKS = ("codec", "align", "flow")
ALL = [(task, name) for task, recipes in RECIPES.items() for name in recipes]


def train(*arguments, settings=()) -> None:
    """Runs `foleyflow train`, which must succeed."""
    outcome = run_cli("train", *arguments, *settings_flags(*settings))
    assert outcome.status == 0, outcome.stderr


# ---------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(("task", "name"), ALL)
def test_recipes_are_complete_and_documented(task, name):
    recipe = recipe_named(task, name)
    assert recipe == recipe_named(task, name)
    assert RECIPES[task][name].__doc__
    assert json.loads(json.dumps(dataclasses.asdict(recipe)))["train"]["steps"] > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.train = None


@pytest.mark.parametrize(("task", "name"), [("codec", "huge"), ("singing", "tiny")])
def test_unknown_recipes_are_rejected(task, name):
    with pytest.raises(ConfigError, match=r"expected one of .*(tiny|codec)") as caught:
        recipe_named(task, name)
    assert caught.value.hint.startswith("did you mean")


def test_latents_only_uses_no_labels_and_hides_no_complete_clip():
    losses = recipe_named("align", "latents-only").losses
    assert losses.onset == losses.material == losses.contrast == losses.fully_masked_fraction == 0
    assert losses.latent > 0


def test_only_the_embedded_model_and_the_upper_bound_use_labels():
    labelled = {
        name
        for name in RECIPES["align"]
        for losses in [recipe_named("align", name).losses]
        if losses.material or (losses.onset and losses.onset_from == "labels")
    }
    assert labelled == {"tiny", "supervised", "smoke"}


def test_baselines_differ_from_vama_only_in_losses():
    vama = recipe_named("align", "vama")
    for name in (
        "vama-no-onset",
        "onset",
        "cavp",
        "cavp-onset",
        "supervised",
        "vama-contrast",
        "slow-student",
        "teacher",
        "latents-only",
    ):
        baseline = recipe_named("align", name)
        assert (baseline.encoder, baseline.windows) == (vama.encoder, vama.windows), name
        rate = vama.train.learning_rate
        assert dataclasses.replace(baseline.train, learning_rate=rate) == vama.train, name
        assert baseline.model.width == vama.model.width, name


def test_the_onset_term_is_crossed_with_reconstruction_and_contrast():
    """Rows of table 2: with and without the same onset term."""
    losses = {
        name: recipe_named("align", name).losses
        for name in ("vama", "vama-no-onset", "cavp", "cavp-onset", "onset")
    }
    onset = losses["vama"].onset
    for without, with_onset in (("vama-no-onset", "vama"), ("cavp", "cavp-onset")):
        assert losses[without].onset == 0 < onset == losses[with_onset].onset
        assert dataclasses.replace(losses[without], onset=onset) == losses[with_onset]
    alone, both = losses["onset"], losses["cavp-onset"]
    assert (alone.latent, alone.mel, alone.energy, alone.onset) == (0, 0, 0, onset)
    assert not alone.contrasts and both.contrasts and not both.latent
    for other in (alone, both, losses["vama"]):  # the same masks and targets
        for name in ("ratio", "masks_per_clip", "fully_masked_fraction", "onset_from"):
            assert getattr(other, name) == getattr(losses["vama"], name)


def test_parts_of_the_embedded_model_fit_together():
    codec, align, flow = (recipe_named(task, "tiny") for task in TASKS)
    rates = {r.model.latent_rate_hz for r in (codec, align, flow)}
    assert rates == {50.0}
    assert codec.model.channels == align.model.latent_channels == flow.model.channels
    assert align.model.width == flow.model.condition_width
    assert align.windows == flow.windows
    assert align.windows.neighbours == align.encoder.window // 2
    assert len(flow.model.cue_materials) == align.model.materials


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
    settings = ["inner.size=7", "inner.rate=2", "name=1e3", "on=TRUE", "limit=4"]
    after = override(before, [*settings, "inner.size = 8", "sizes=4, 5,6"])
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
def test_invalid_assignments_are_rejected(assignment, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        override(Outer(), [assignment])
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("task", "name", "assignment"),
    [
        ("codec", "tiny", "train.decay_share=0.25"),
        ("align", "tiny", "losses.draws=3"),
        ("align", "tiny", "new_latents=true"),
        ("flow", "tiny", "stages.critic_turns=3"),
        ("flow", "tiny", "stages.map_weight=0.5"),
        ("flow", "distil", "pairs.context_share=0.75"),
        ("judge", "sync", "losses.small_share=0.5"),
    ],
)
def test_renamed_settings_work_with_a_warning(task, name, assignment, caplog):
    old, value = assignment.split("=")
    new = RENAMED_SETTINGS[old]
    recipe = recipe_named(task, name)
    assert override(recipe, [assignment]) == override(recipe, [f"{new}={value}"]) != recipe
    assert caplog.messages == [
        f"--set {old}: is now {new}; the old name works in this release only"
    ]


def test_every_renamed_setting_exists():
    keys = {key for task, name in ALL for key in flat_keys(recipe_named(task, name))}
    assert set(RENAMED_SETTINGS.values()) <= keys
    assert not set(RENAMED_SETTINGS) & keys


@pytest.mark.parametrize(("task", "name"), ALL)
def test_every_field_can_be_set_to_its_own_value(task, name):
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


# ---------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("task", TASKS)
def test_smoke_runs_record_settings_and_environment(smoke_runs, task):
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


def test_flow_run_has_two_stages(smoke_runs):
    entries = read_journal(smoke_runs / "flow/journal.jsonl")
    steps = [entry for entry in entries if "flow/loss" in entry]
    assert ["interval_error" in entry for entry in steps] == [False, False, True, True]


@pytest.fixture
def train_flow(smoke_runs, simulated_data, tmp_path):
    """Trains a flow on the smoke runs' codec and aligner and returns its folder."""

    def run(recipe: str, settings: list[str], *more: str):
        out = tmp_path / recipe
        command = ["flow", "--recipe", recipe, "--data", simulated_data, "--out", out]
        parts = [f"{part}={smoke_runs / part / 'model'}" for part in ("codec", "align")]
        train(*command, *more, settings=parts + settings)
        return out

    return run


def test_flow_is_polished_from_another_run(smoke_runs, train_flow):
    settings = ["stages.dcf_steps=0", "stages.polish_steps=4"]
    out = train_flow("smoke", settings, "--init", smoke_runs / "flow/model")
    entries = read_journal(out / "journal.jsonl")
    mismatches = [entry["mismatch"] for entry in entries if "mismatch" in entry]
    assert len(mismatches) == 4 and all(np.isfinite(mismatches))
    state = load_file(out / "state.safetensors")
    begun = load_file(smoke_runs / "flow/model/flow.safetensors")
    for name, value in begun.items():
        assert torch.equal(state[f"critic/module/real.{name}"], value.float()), name


def test_models_are_initialised_from_models_of_another_codec(smoke_runs, simulated_data, tmp_path):
    """Only tensors that depend on the latents are new for a codec with another width."""

    def run(task: str, *settings: str, init: bool = True) -> Path:
        command = [task, "--recipe", "smoke", "--data", simulated_data, "--out", tmp_path / task]
        if init:
            command += ["--init", smoke_runs / task / "model"]
            settings += ("reinitialise_latents=true", "train.learning_rate=1e-12")
        train(*command, settings=settings)
        return tmp_path / task / "model"

    codec = f"codec={run('codec', 'model.channels=6', init=False)}"
    align = run("align", codec, "model.latent_channels=6")
    flow = run("flow", codec, f"align={align}", "model.channels=6")
    new_in_flow = {"input_conv.weight", "output_conv.weight", "latent_mean", "latent_deviation"}
    for name, folder, new in (
        ("align", align, {"latent_head.weight", "latent_head.bias", "target_mean"}),
        ("flow", flow, new_in_flow),
    ):
        found = load_file(folder / f"{name}.safetensors")
        begun = load_file(smoke_runs / name / "model" / f"{name}.safetensors")
        same = {key for key in begun if torch.equal(found[key], begun[key])}
        assert new <= begun.keys() - same
        assert all(
            key.startswith(("latent_", "target_", "input_conv.", "output_conv."))
            for key in begun.keys() - same
        )


def test_an_encoder_with_more_layers_starts_from_one_without_them(
    smoke_runs, simulated_data, tmp_path
):
    out = tmp_path / "align"
    train(
        *("align", "--recipe", "smoke", "--data", simulated_data, "--out", out),
        *("--init", smoke_runs / "align/model"),
        settings=[
            f"codec={smoke_runs / 'codec/model'}",
            "encoder.middle_pairs=1",
            "encoder.rounds=1",
            "reinitialise_deeper=true",
            "train.learning_rate=1e-12",
        ],
    )
    found, begun = (
        load_file(folder / "model/align.safetensors") for folder in (out, smoke_runs / "align")
    )
    assert all(torch.equal(found[key], value) for key, value in begun.items())
    added = {".".join(key.split(".")[:2]) for key in found.keys() - begun.keys()}
    assert added == {"encoder.middle_pairs", "encoder.rounds"}


def test_an_aligner_learns_attributes_from_one_without_them(smoke_runs, simulated_data, tmp_path):
    out = tmp_path / "align"
    settings = [
        f"codec={smoke_runs / 'codec/model'}",
        "model.predicts_attributes=true",
        "losses.cue_material=0.3",
        "reinitialise_attributes=true",
        "train.learning_rate=1e-12",
    ]
    train(
        *("align", "--recipe", "smoke", "--data", simulated_data, "--out", out),
        *("--init", smoke_runs / "align/model"),
        settings=settings,
    )
    found, begun = (
        load_file(folder / "model/align.safetensors") for folder in (out, smoke_runs / "align")
    )
    assert all(torch.equal(found[key], value) for key, value in begun.items())
    assert {key.split(".")[0] for key in found.keys() - begun.keys()} == {"attribute_head"}
    entries = read_journal(out / "journal.jsonl")
    assert all(np.isfinite(entry["cue_material"]) for entry in entries if "cue_material" in entry)
    assert any("cue_material" in entry for entry in entries)


def test_flow_is_distilled_from_another_run(smoke_runs, simulated_data, train_flow):
    teacher = train_flow("smoke", ["model.cue_materials="]) / "model"
    conditions = set(simulated_data.glob(".flow_conditions-*"))
    others = set(simulated_data.glob(".pairs-train-*"))
    settings = [f"teacher={teacher}", "windows.segments=10"]
    settings += ["pairs.count=6", "pairs.solver_steps=2", "pairs.longest_context=10"]
    settings += ["train.steps=2", "train.batch_clips=2", "train.log_every=1"]
    out = train_flow("distil", settings)
    assert set(simulated_data.glob(".flow_conditions-*")) == conditions  # those of the flow
    (pairs,) = set(simulated_data.glob(".pairs-train-*")) - others
    assert np.load(pairs / "solutions.npy").shape == (6, 40, 64)
    entries = read_journal(out / "journal.jsonl")
    assert [e["step"] for e in entries if "flow/loss" in e] == [1, 2]
    assert np.isfinite(entries[-1]["validation/map_error"])
    assert read_record(out / "model", "flow").config == read_record(teacher, "flow").config
    with_cues = override(recipe_named("flow", "distil"), [f"teacher={smoke_runs / 'flow/model'}"])
    with pytest.raises(ConfigError, match="expected a flow without cue tracks"):
        with_cues.build(simulated_data)


def test_diffusion_baseline_generates_sound(smoke_model, train_flow, clip_file, tmp_path):
    out = train_flow("smoke", ["model.predicts=noise", "model.static=true", "model.prior_path=vp"])
    model = tmp_path / "baseline"
    merge_models([smoke_model], model)
    merge_models([out / "model"], model)  # replaces the flow
    record = read_record(model, "flow")
    assert (record.config["predicts"], record.config["static"]) == ("noise", True)
    result = FoleyFlow.from_pretrained(model).generate(clip_file, steps=3)
    assert np.isfinite(result.waveform).all() and result.waveform.std() > 0


def test_codec_has_statistics_of_its_latents(smoke_runs):
    codec = load_codec(smoke_runs / "codec/model")
    assert float(codec.latent_mean.abs().max()) > 1e-3
    assert not torch.equal(codec.latent_deviation, torch.ones(48))
    assert float(codec.latent_deviation.min()) > 0


def test_trained_model_generates_sound(smoke_model, clip_file, tmp_path):
    model = FoleyFlow.from_pretrained(smoke_model)
    result = model.generate(clip_file)
    assert result.save(tmp_path / "out.mp4").stat().st_size > 0
    assert result.waveform.std() > 0
    for task in TASKS:
        assert file_sha256(smoke_model / f"{task}.safetensors")


@pytest.fixture
def codec_run(smoke_runs, simulated_data, tmp_path):
    """A copy of the codec's run, and the arguments of its command."""
    out = tmp_path / "codec"
    shutil.copytree(smoke_runs / "codec", out)
    return out, ["codec", "--recipe", "smoke", "--data", simulated_data, "--out", out]


def test_run_with_old_names_of_settings_can_be_resumed(codec_run):
    out, command = codec_run
    path = out / "config.json"
    config = json.loads(path.read_text())
    config["settings"]["train"]["decay_share"] = config["settings"]["train"].pop("decay_fraction")
    path.write_text(json.dumps(config))
    train(*command, settings=["train.steps=5"])
    assert "decay_fraction" in path.read_text() and "decay_share" not in path.read_text()


def test_failed_start_leaves_no_folder(tmp_path, smoke_runs, simulated_data):
    out, codec = tmp_path / "align", f"codec={smoke_runs / 'codec/model'}"
    command = ["align", "--recipe", "smoke", "--out", out, "--set", codec]
    wrong = run_cli("train", *command, "--data", tmp_path / "nothing")
    assert wrong.status == 2
    assert "no manifest.json" in wrong.stderr
    assert not out.exists()
    # The failed start does not fix the settings of the run folder.
    train(*command, "--data", simulated_data, "--dry-run")


# ---------------------------------------------------------------------------------- scales


@pytest.mark.parametrize(("name", "aligner_m", "flow_m"), [("base", 154, 158), ("large", 597, 592)])
def test_large_recipes_have_their_documented_sizes(name, aligner_m, flow_m):
    align, flow = recipe_named("align", name), recipe_named("flow", name)
    with torch.device("meta"):
        aligner = Alignment(align.model, encoder=MotionEncoder(align.encoder))
        network = FlowTransformer(flow.model)
    for module, wanted_m in ((aligner, aligner_m), (network, flow_m)):
        count = sum(parameter.numel() for parameter in module.parameters())
        assert count / 1e6 == pytest.approx(wanted_m, abs=0.5)
    assert align.model.width == align.encoder.dim == flow.model.condition_width
    assert align.model.latent_rate_hz == flow.model.latent_rate_hz == 50.0
    assert align.model.latent_channels == flow.model.channels
    assert align.windows == flow.windows == recipe_named("flow", "tiny").windows
    assert flow.align == f"runs/align-{name}/model"
    for recipe in (align, flow):  # 1 to 64 GPUs
        assert recipe.train.batch_clips % 64 == 0
    assert flow.stages.dcf_steps < flow.train.steps


@pytest.mark.parametrize("name", ["base", "large"])
def test_large_recipes_train_on_the_command_line(simulated_data, smoke_runs, tmp_path, name):
    """The widths are reduced by settings."""
    common = ["--recipe", name, "--data", simulated_data, "--device", "cpu"]
    settings = ["train.steps=2", "train.batch_clips=2", "train.validate_every=2"]
    settings += ["windows.segments=10", "model.heads=2", "model.width=16"]
    settings += [f"codec={smoke_runs / 'codec/model'}"]
    for task, own in (
        ("align", ["encoder.widths=4,4,8", "encoder.dim=16"]),
        ("flow", ["model.condition_width=16", f"align={tmp_path / 'align/model'}"]),
    ):
        train(task, *common, "--out", tmp_path / task, settings=[*settings, *own])
        recipe = recipe_named(task, name)
        config = read_record(tmp_path / task / "model", task).config
        shape = config if task == "flow" else config["model"]
        for key in ("layers", "video_layers", "decoder_layers"):
            assert shape.get(key) == getattr(recipe.model, key, None)
