"""The paper's own representation on the command line, from training to a video with sound."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from support.cli_model import run_cli, settings_flags
from support.media_files import Sound, make_video
from support.small_encoders import PAIRS
from support.small_vggsound import FRAME_RATE, hum

from foleyflow.codec.feature_codec import FeatureCodec
from foleyflow.codec.vocoder import GriffinLim, NeuralVocoder
from foleyflow.encoders import catalogue
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.media import probe, read_waveform
from foleyflow.pretrained import load_aligner, load_codec
from foleyflow.recipes import recipe_named

SHORT = (
    "train.steps=2",
    "train.batch_clips=2",
    "train.validate_every=2",
    "train.log_every=1",
)
SMALL_ALIGNER = (
    "model.width=16",
    "model.heads=2",
    "model.video_layers=1",
    "model.audio_layers=1",
    "model.decoder_layers=1",
    "windows.segments=8",
    "bottleneck=4",
)
SMALL_CODEC = (
    "model.width=16",
    "model.blocks=1",
    "model.fine_width=16",
    "model.fine_blocks=1",
    "losses.crop_segments=8",
)
SMALL_FLOW = (
    "model.heads=2",
    "model.width=16",
    "model.layers=1",
    "model.condition_width=16",
    "stages.dcf_steps=1",
    "windows.segments=8",
    "context.shortest_context=8",
    "context.longest_context=16",
)


def train(task, recipe, data, out, *settings):
    """Runs `foleyflow train` and returns the model folder."""
    command = ["train", task, "--recipe", recipe, "--data", data, "--out", out, "--device", "cpu"]
    outcome = run_cli(*command, *settings_flags(*settings))
    assert outcome.status == 0, outcome.stderr
    return out / "model"


def test_parts_of_literal_fit_together():
    codec, align, flow = (recipe_named(task, "literal") for task in ("codec", "align", "flow"))
    rates = {r.model.latent_rate_hz for r in (codec, align, flow)}
    assert rates == {51.2}
    assert codec.model.bands == align.model.latents_per_segment == flow.model.latents_per_segment
    assert codec.model.channels == align.model.latent_channels == 768
    assert align.model.width == flow.model.condition_width
    assert flow.windows == align.windows
    initialised = recipe_named("align", "literal-audiomae")
    assert dataclasses.replace(initialised, student="own", trains_trunk=False) == align
    assert codec.model.hop_samples * 8 * 64 == 10 * codec.model.rate_hz  # 64 segments are 10 s
    assert flow.train.steps == align.train.steps
    assert (flow.train.learning_rate, flow.train.batch_clips) == (1e-4, 128)


def check_trained_student(align, sound, weights):
    """The student's trunk is near the published one, and not equal to it."""
    student = load_aligner(align).student
    published = catalogue.load_encoder(catalogue.sound_encoder(sound), weights).trunk.state_dict()
    trained = student.trunk.state_dict()["blocks.0.attn.qkv.weight"]
    difference = (trained - published["blocks.0.attn.qkv.weight"]).abs().max()
    assert 1e-5 < difference < 0.01
    assert student.config.frames_per_segment == 2


@pytest.mark.parametrize("small_encoders", PAIRS[1:2], indirect=True, ids="+".join)
def test_literal_ends_with_sound(small_encoders, vggsound_folder, tmp_path):
    """Vocoder, aligner, codec and flow are trained, bundled and used by `generate`."""
    video, sound, weights = small_encoders
    folder = f"weights_dir={weights}"
    vocoder = train("vocoder", "smoke", vggsound_folder, tmp_path / "vocoder")
    encoders = (f"video={video}", f"sound={sound}", folder)
    settings = (*SHORT, *SMALL_ALIGNER, *encoders)
    align = train("align", "literal-audiomae", vggsound_folder, tmp_path / "align", *settings)
    check_trained_student(align, sound, weights)
    settings = (*SHORT, *SMALL_CODEC, folder)
    codecs = {
        name: train("codec", "literal", vggsound_folder, tmp_path / name, *settings, vocoder_set)
        for name, vocoder_set in (("neural", f"vocoder={vocoder}"), ("griffin-lim", "vocoder="))
    }
    kinds = {name: load_codec(each) for name, each in codecs.items()}
    assert all(isinstance(codec, FeatureCodec) for codec in kinds.values())
    assert isinstance(kinds["neural"].vocoder, NeuralVocoder)
    assert isinstance(kinds["griffin-lim"].vocoder, GriffinLim)
    # The features are those that the aligner's training has stored
    assert len(list(vggsound_folder.glob(f".sound_features-train-{sound}-*"))) == 1

    clip = make_video(
        tmp_path / "clip.mp4",
        rate=FRAME_RATE,
        n_frames=90,
        width=320,
        height=180,
        sound=Sound(samples=hum(1, 7.5)[:, ::2], rate_hz=8000),  # its own sound, at 8 kHz
    )
    generated = {}
    for name, codec in codecs.items():
        parts = (f"codec={codec}", f"align={align}", folder)
        run = tmp_path / f"flow-{name}"
        flow = train("flow", "literal", vggsound_folder, run, *SHORT, *SMALL_FLOW, *parts)
        model = tmp_path / f"model-{name}"
        outcome = run_cli("bundle", codec, align, flow, "--out", model, "--json")
        assert outcome.answer["components"] == ["align", "codec", "flow"]
        out = tmp_path / f"{name}.mp4"
        command = ["generate", clip, "-o", out, "--model", model, "--weights-dir", weights]
        outcome = run_cli(*command, "--json")
        assert outcome.status == 0, outcome.stderr
        assert outcome.answer["duration_s"] == pytest.approx(90 / FRAME_RATE, abs=1 / 8000)
        found = read_waveform(out)
        generated[name] = found.mono()
        assert found.duration_s == pytest.approx(probe(clip).duration_s, abs=0.1)
        assert np.isfinite(found.samples).all() and np.abs(found.samples).max() > 0
    assert not np.array_equal(generated["neural"], generated["griffin-lim"])

    # Mixed with the clip's own sound at 8 kHz
    command = ["generate", clip, "-o", tmp_path / "mixed.mp4", "--model", model, "--mix", "mix"]
    outcome = run_cli(*command, "--weights-dir", weights)
    assert outcome.status == 0, outcome.stderr
    assert read_waveform(tmp_path / "mixed.mp4").duration_s == pytest.approx(7.5, abs=0.1)

    # Scored against a true sound at 8 kHz
    for name, path in (("generated", out), ("reference", clip)):
        (tmp_path / name).mkdir()
        shutil.copy(path, tmp_path / name / "clip.mp4")
    folders = (tmp_path / "generated", tmp_path / "reference")
    outcome = run_cli("evaluate", *folders, "--metrics", "log_spectral_distance", "--json")
    assert outcome.status == 0, outcome.stderr
    assert "log_spectral_distance" in outcome.stdout

    # Other outputs: a sound file, and a stretch with another seed
    model = FoleyFlow.from_pretrained(model, weights_dir=weights, device="cpu")
    result = model.generate(clip)
    assert result.sample_rate_hz == 32_000
    result.save(tmp_path / "clip.wav")
    written = read_waveform(tmp_path / "clip.wav")
    assert written.rate_hz == 32_000
    assert written.samples.shape[1] == round(90 / FRAME_RATE * 32_000)
    other = result.regenerate(2.0, 3.0)
    changed = np.flatnonzero(np.abs(result.waveform - other.waveform) > 1e-6) / 32_000
    assert 1.9 < changed.min() < changed.max() < 3.1
