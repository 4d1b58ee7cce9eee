"""Training and generation over small versions of the published encoders."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from support.cli_model import run_cli, settings_flags
from support.flow_networks import random_condition
from support.media_files import make_video
from support.small_encoders import PAIRS, WIDTH, publish
from support.small_vggsound import FRAME_RATE

from foleyflow.alignment.model import Alignment
from foleyflow.data.windows import ClipArrays, WindowSource
from foleyflow.encoders import catalogue
from foleyflow.encoders.frame_adapter import FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.frozen import TOKENS
from foleyflow.errors import CheckpointError, ConfigError, DataError
from foleyflow.experiments.tables.definitions import TABLES
from foleyflow.experiments.tables.recipes import aligner_recipe
from foleyflow.features.encoder_features import (
    FRONT_END_VERSION,
    Weights,
    resample_to_segments,
    video_features,
)
from foleyflow.features.frames import Split
from foleyflow.features.store import store_folder
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.inference.feature_stream import FeatureStream
from foleyflow.inference.video_frames import frames_for_encoder
from foleyflow.media import probe, read_waveform
from foleyflow.pretrained import load_aligner, load_aligner_with_encoder
from foleyflow.recipes import recipe_named
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.training.journal import read_journal
from foleyflow.weights import read_record, save_component

CLIP_S = 2.5  # of the fixture `vggsound_folder`
TINY = (
    "train.steps=2",
    "train.batch_clips=2",
    "train.validate_every=2",
    "train.log_every=1",
    "model.width=16",
    "model.heads=2",
    "model.video_layers=1",
    "model.audio_layers=1",
    "model.decoder_layers=1",
    "windows.segments=8",
    "bottleneck=4",
)


@pytest.mark.parametrize("small_encoders", PAIRS[::2], indirect=True, ids="+".join)
def test_literal_recipe_trains_two_steps(small_encoders, vggsound_folder, tmp_path):
    video, sound, weights = small_encoders
    command = ["train", "align", "--recipe", "literal", "--data", vggsound_folder]
    command += ["--out", tmp_path / "run", "--device", "cpu"]
    encoders = (f"video={video}", f"sound={sound}", f"weights_dir={weights}")
    outcome = run_cli(*command, *settings_flags(*TINY, *encoders))
    assert outcome.status == 0, outcome.stderr
    journal = read_journal(tmp_path / "run" / "journal.jsonl")
    losses = [entry["align/loss"] for entry in journal if "align/loss" in entry]
    assert len(losses) == 2 and np.isfinite(losses).all()
    aligner = load_aligner(tmp_path / "run" / "model")
    assert (
        aligner.student is None
        and isinstance(aligner.encoder, FrameAdapter)
        and aligner.encoder.config.published == video
    )
    assert aligner.config.latent_channels == WIDTH
    # Features are cached in the data set.
    for start in (
        f".video_features-train-{video}-",
        f".sound_features-train-{sound}-",
        ".mono_sounds-train-8000-",
    ):
        assert list(vggsound_folder.glob(f"{start}*")), start
    # A store of the front end that padded the samples has another name
    split = Split.at(vggsound_folder, "train")
    sha256 = Weights.of(catalogue.sound_encoder(sound), str(weights)).sha256
    shape = aligner.config.segment_s, aligner.config.latents_per_segment
    name = f"sound_features-train-{sound}"
    assert not store_folder(vggsound_folder, name, sha256, *shape, split.fingerprint).exists()
    key = (sha256, FRONT_END_VERSION, *shape, split.fingerprint)
    assert store_folder(vggsound_folder, name, *key).is_dir()


def small_aligner(video: str, sound: str) -> Alignment:
    """An aligner over small encoders with random weights."""
    recipe = recipe_named("align", "published")
    recipe = dataclasses.replace(recipe, video=video, sound=sound, student="own")
    sizes = dict(width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1)
    model = dataclasses.replace(recipe.model, **sizes)
    return dataclasses.replace(recipe, model=model).random_aligner()


@pytest.mark.parametrize("small_encoders", PAIRS, indirect=True, ids="+".join)
def test_full_size_frames_pass_through_both_stages(small_encoders):
    """Encoder at 224 x 224, aligner and one step of the flow give finite latents."""
    video, sound, weights = small_encoders
    aligner = small_aligner(video, sound).eval()
    encoder = catalogue.load_encoder(catalogue.video_encoder(video), weights)
    pixels = torch.randint(0, 256, (8, 3, 224, 224), dtype=torch.uint8)
    times_s = torch.arange(8)[None] / 8.0
    with torch.no_grad():
        features = aligner.encode_video(encoder(pixels)[None])
        guidance = aligner.flow_condition(features, times_s, segments=6)
        flow = FlowTransformer(
            FlowConfig(width=16, layers=1, heads=2, condition_width=16, latents_per_segment=8)
        ).eval()
        noise = torch.randn(1, 48, flow.config.channels)
        condition = dataclasses.replace(
            random_condition(1, 48, width=16, channels=flow.config.channels),
            video=guidance.video,
            states=guidance.states,
        )
        latents = sample(flow, condition, noise, steps=1, guidance=1.0)
    assert features.shape == (1, 8, 16) and guidance.video.shape == (1, 48, 16)
    assert latents.shape == noise.shape and latents.isfinite().all()


@pytest.mark.parametrize("small_encoders", PAIRS[:1], indirect=True, ids="+".join)
def test_features_are_cached_for_each_file_of_weights(small_encoders, vggsound_folder, monkeypatch):
    video, _, weights = small_encoders
    loads = []
    load = catalogue.load_encoder
    monkeypatch.setattr(
        catalogue, "load_encoder", lambda *given: loads.append(given) or load(*given)
    )

    def features():
        folder = str(weights)
        found = Weights.of(catalogue.video_encoder(video), folder)
        return video_features(Split.at(vggsound_folder, "train"), found)

    first = features()
    assert first.values.shape[1:] == (TOKENS, WIDTH) and first.values.dtype == np.float16
    counts = np.diff(first.offsets)
    assert (counts >= CLIP_S * 6).all() and (counts <= CLIP_S * 8 + 1).all()
    again = features()
    assert len(loads) <= 1 and np.array_equal(first.values, again.values)
    publish("imagebind-video", weights, seed=3)
    other = features()
    assert not np.array_equal(first.values, other.values)


def test_features_are_resampled_to_the_nearest_segment():
    """The segment whose centre is nearest to the only nonzero column is the strongest."""
    for name in ("imagebind-sound", "audiomae"):
        encoder = catalogue.SOUND_ENCODERS[name].wrap(torch.nn.Identity())
        grid = torch.zeros(40, encoder.rule.rows, 3)
        grid[10] = 1.0
        rows = resample_to_segments(grid, encoder, segments=20, segment_s=0.16, bands=8)
        assert rows.shape == (160, 3)
        strongest = int(rows.unflatten(0, (20, 8)).mean((1, 2)).argmax())
        column_s = encoder.rule.first_s + 10 * encoder.rule.column_s
        assert abs((strongest + 0.5) * 0.16 - column_s) <= 0.08 + 1e-6, name


def test_all_adapter_parameters_get_gradients():
    config = FrameAdapterConfig(published="mae", tokens=5, token_width=12, dim=8)
    adapter = FrameAdapter(config)
    tokens = torch.randn(2, 3, 5, 12).half()
    out = adapter(tokens)
    assert out.shape == (2, 3, 8) and out.dtype == torch.float32
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapter.parameters())


def test_audiomae_student_requires_its_training_format():
    recipe = recipe_named("align", "published")
    assert recipe.student == "audiomae" and recipe.sound_rate_hz == 16_000
    with pytest.raises(ConfigError, match=r"48000 Hz: expected 0\.16 s, 16, 128 and 16000 Hz"):
        dataclasses.replace(recipe, sound_rate_hz=48_000).random_aligner()


def test_literal_recipe_has_the_papers_settings():
    recipe = recipe_named("align", "literal")
    assert (recipe.video, recipe.sound, recipe.sound_rate_hz) == ("eva-clip-g", "audiomae", 8000)
    frames = recipe.windows.segments * recipe.model.mel_frames_per_segment
    assert (frames, recipe.model.mel_bands) == (128, 128)
    assert recipe.windows.segments * recipe.windows.segment_s == pytest.approx(10.0)
    losses, train = recipe.losses, recipe.train
    assert (losses.ratio, losses.fully_masked_fraction) == (0.8, 0.0)
    assert (losses.mel, losses.energy, losses.onset, losses.material, losses.contrast) == (0,) * 5
    assert (train.learning_rate, train.batch_clips, train.weight_decay) == (1e-4, 128, 0.0)


def test_table_3_has_the_paper_s_six_pairs():
    cells = TABLES["table3"]["alignment"].cells
    recipes = [aligner_recipe(cell, seed=1, settings=()) for cell in cells]
    assert len({(recipe.video, recipe.sound) for recipe in recipes}) == 6
    assert {recipe.train.seed for recipe in recipes} == {1}


def test_stored_features_cannot_be_augmented(vggsound_folder, tmp_path):
    recipe = recipe_named("align", "literal")
    with pytest.raises(CheckpointError, match=r"expected its weights in"):
        dataclasses.replace(recipe, weights_dir=str(tmp_path)).source(vggsound_folder, "train")
    windows = dataclasses.replace(recipe.windows, augment=True)
    arrays = ClipArrays(
        frames=np.zeros((4, 5, 3), np.float16),
        times_s=np.arange(4) / 8,
        offsets=np.array([0, 4]),
        sounds=np.zeros((1, 80_000), np.int16),
        rate_hz=8000,
        event_times_s=[np.zeros(0)],
        materials=np.array([-1]),
    )
    with pytest.raises(DataError, match="augmented"):
        WindowSource(arrays, np.zeros((1, 512, 3), np.float16), windows)


@pytest.mark.parametrize("small_encoders", PAIRS[1:2], indirect=True, ids="+".join)
def test_complete_pipeline_on_the_command_line(small_encoders, vggsound_folder, tmp_path):
    """Codec, aligner and flow are trained on real clips, bundled, and used by `generate`."""
    video, sound, weights = small_encoders
    runs = {task: tmp_path / task for task in ("codec", "align", "flow")}
    small_codec = [
        f"model.{name}={value}"
        for name, value in {
            **dict.fromkeys(("encoder_width", "decoder_width"), 32),
            **dict.fromkeys(("encoder_blocks", "decoder_blocks", "fine_blocks"), 1),
        }.items()
    ]
    short = [setting for setting in TINY if setting.startswith(("train.", "windows."))]
    encoders = [f"video={video}", f"sound={sound}", f"weights_dir={weights}"]
    settings = {
        "codec": [*small_codec, "losses.crop_s=0.2", *short[:4]],
        "align": [*TINY, *encoders],
        "flow": [
            *short,
            *("model.heads=2", "model.width=16", "model.layers=1", "model.condition_width=16"),
            *("stages.dcf_steps=1", f"codec={runs['codec'] / 'model'}"),
            *(f"align={runs['align'] / 'model'}", f"weights_dir={weights}"),
        ],
    }
    recipes = {"codec": "clips", "align": "published", "flow": "published"}
    for task, out in runs.items():
        command = ["train", task, "--recipe", recipes[task], "--data", vggsound_folder]
        command += ["--out", out, "--device", "cpu", *settings_flags(*settings[task])]
        outcome = run_cli(*command)
        assert outcome.status == 0, outcome.stderr
    student = load_aligner(runs["align"] / "model").student
    published_trunk = catalogue.load_encoder(catalogue.sound_encoder(sound), weights).trunk
    for name, value in published_trunk.state_dict().items():  # frozen, and stored in half precision
        torch.testing.assert_close(
            student.trunk.state_dict()[name], value, atol=1e-4, rtol=1e-3, msg=name
        )
    assert any(adapter.widen.weight.abs().max() > 0 for adapter in student.adapters)
    parts = [out / "model" for out in runs.values()]
    outcome = run_cli("bundle", *parts, "--out", tmp_path / "model", "--json")
    assert outcome.answer["components"] == ["align", "codec", "flow"]
    clip = make_video(tmp_path / "clip.mp4", rate=FRAME_RATE, n_frames=90, width=320, height=180)
    command = ["generate", clip, "--model", tmp_path / "model", "--json"]
    outcome = run_cli(*command, "--weights-dir", weights)
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert answer["duration_s"] == pytest.approx(90 / FRAME_RATE, abs=1 / 48_000)
    assert {cue.get("material") for cue in answer["cues"]} <= {None}
    generated = read_waveform(tmp_path / "clip.foley.mp4").mono()
    assert np.isfinite(generated).all() and np.abs(generated).max() > 0
    outcome = run_cli(*command, "--overwrite", "--weights-dir", tmp_path)
    assert outcome.status == 2 and "expected its weights in" in outcome.stderr


@pytest.mark.parametrize("small_encoders", PAIRS[:2], indirect=True, ids="+".join)
def test_streamed_frames_have_the_stored_features(small_encoders, vggsound_folder, tmp_path):
    video, sound, weights = small_encoders
    aligner = small_aligner(video, sound)
    stored = {"model": dataclasses.asdict(aligner.config)}
    stored["encoder"] = dataclasses.asdict(aligner.encoder.config)
    save_component(tmp_path, "align", module=aligner, config=stored, provenance={"test": True})
    found = Weights.of(catalogue.video_encoder(video), str(weights))
    split = Split.at(vggsound_folder, "train")
    rows = video_features(split, found)
    last = rows.offsets[1]
    with torch.no_grad():
        times = torch.from_numpy(rows.times_s[:last])[None]
        values = torch.from_numpy(rows.values[:last].copy())[None]
        known = load_aligner(tmp_path).encode_video(values)
        loaded = load_aligner_with_encoder(tmp_path, weights)
        with split.clips.files(0) as (path, _):
            stream = FeatureStream(loaded, frames_for_encoder(probe(path), loaded), Stopwatch())
            found_values, times_s = stream.between(0.0, 10.0)
    assert torch.allclose(times_s[0].double(), times[0], atol=1e-6)
    assert torch.allclose(found_values, known, atol=2e-3)


@pytest.mark.parametrize("small_encoders", PAIRS[:1], indirect=True, ids="+".join)
def test_published_audioset_trains_on_two_data_sets(small_encoders, vggsound_folder, tmp_path):
    """Stored features of both are joined, and the record of the model has the fractions."""
    video, sound, weights = small_encoders
    other = shutil.copytree(vggsound_folder, tmp_path / "other")
    command = ["train", "align", "--recipe", "published-audioset", "--device", "cpu"]
    command += ["--data", vggsound_folder, "--data", f"{other}=0.5", "--out", tmp_path / "run"]
    settings = (f"video={video}", f"sound={sound}", f"weights_dir={weights}", "student=own")
    outcome = run_cli(*command, *settings_flags(*TINY, *settings))
    assert outcome.status == 0, outcome.stderr
    shares = read_record(tmp_path / "run" / "model", "align").provenance["sampling"]
    assert [share["fraction"] for share in shares] == pytest.approx([2 / 3, 1 / 3])
    assert {share["label_balance"] for share in shares} == {0.5}
    assert [share["excluded"] for share in shares] == [0, 0]
