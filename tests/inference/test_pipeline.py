"""The whole way on a real video: lengths to the sample, loudness, peaks, events."""

from __future__ import annotations

import json
import shutil
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from support.media_files import make_video, video_packet_bytes

from foleyflow.clock import count_at
from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.errors import CheckpointError, ConfigError, MediaError
from foleyflow.inference.latent_generation import GUESS_WINDOWS, Piece, WindowPlan
from foleyflow.inference.pipeline import FoleyFlow, _Notes, events_in_sound, pick_device
from foleyflow.media import loudness_lufs, probe
from foleyflow.pretrained import load_aligner, load_codec, load_flow
from foleyflow.signals import Waveform

RATE_HZ = 48_000
CEILING = 10 ** (-1 / 20)


@pytest.fixture(scope="module")
def model(smoke_model):
    return FoleyFlow.from_pretrained(smoke_model, device="cpu")


@pytest.fixture(scope="module")
def result(model, clip_file):
    return model.generate(clip_file)


def measured_lufs(samples: np.ndarray) -> float:
    return loudness_lufs(Waveform(samples=samples[None], rate_hz=RATE_HZ))


def test_what_comes_out(result, clip_file):
    assert result.waveform.shape == (count_at(1.6, RATE_HZ),)
    assert result.waveform.dtype == np.float32
    assert np.isfinite(result.waveform).all()
    assert result.waveform.std() > 0
    assert result.sample_rate_hz == RATE_HZ
    assert result.info == probe(clip_file)
    assert result.as_waveform().duration_s == pytest.approx(1.6)
    assert {"decode", "encode", "align", "flow", "codec", "total"} <= result.timings_s.keys()
    # Decoding and encoding overlap with the rest, so that only single parts are bounded, and the
    # sum of those that follow each other in the caller's thread.
    total_s = result.timings_s["total"]
    assert all(0 <= value <= total_s + 1e-3 for value in result.timings_s.values())
    assert sum(result.timings_s[name] for name in ("align", "flow", "codec")) <= total_s + 1e-3
    material, probability = result.material_guess
    assert 1 / 9 - 1e-6 <= probability <= 1
    assert material in ("wood", "metal", "glass", "ceramic", "plastic", "rubber", "membrane") or (
        material in ("stone", "cardboard")
    )
    assert result.warnings == []
    assert result.settings["seed"] == 0 and result.settings["material"] == "auto"


def test_blocks_make_up_the_waveform(result):
    blocks = list(result.blocks())
    assert all(block.ndim == 2 and block.shape[0] == 1 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks, 1)[0], result.waveform)


@pytest.mark.parametrize(
    ("rate", "n_frames"),
    [(Fraction(24_000, 1001), 23), (Fraction(30_000, 1001), 1), (Fraction(60), 97), (25, 41)],
    ids=["23.976", "one-frame", "60", "25"],
)
def test_the_sound_is_as_long_as_the_video_to_the_sample(model, tmp_path, rate, n_frames):
    path = make_video(tmp_path / "clip.mp4", rate=rate, n_frames=n_frames)
    result = model.generate(path)
    assert result.sample_count == round(float(n_frames / Fraction(rate)) * RATE_HZ)
    assert result.waveform.shape == (result.sample_count,)


@pytest.mark.parametrize("target_lufs", [-30.0, -23.0, -20.0])
def test_loudness_is_reached(model, clip_file, target_lufs):
    plain = model.generate(clip_file, loudness_lufs=None)
    loud = model.generate(clip_file, loudness_lufs=target_lufs)
    # The smoke model's noise is loud: nothing stands between it and a low target.
    assert measured_lufs(plain.waveform) > -40
    assert measured_lufs(loud.waveform) == pytest.approx(target_lufs, abs=0.5)
    scale = loud.waveform.std() / plain.waveform.std()
    np.testing.assert_allclose(loud.waveform, plain.waveform * scale, atol=1e-4)


@pytest.mark.parametrize("target_lufs", [0.0, -3.0, None])
def test_peaks_stay_below_the_ceiling(model, clip_file, target_lufs):
    result = model.generate(clip_file, loudness_lufs=target_lufs)
    peak = np.abs(result.waveform).max()
    assert peak <= CEILING * (1 + 1e-5)
    if target_lufs is not None:
        assert peak > 0.5 * CEILING


def test_the_same_seed_gives_the_same_bytes(model, result, clip_file):
    assert model.generate(clip_file).waveform.tobytes() == result.waveform.tobytes()
    other = model.generate(clip_file, seed=1)
    assert other.waveform.tobytes() != result.waveform.tobytes()
    assert other.settings["seed"] == 1


def test_what_is_believed_to_be_struck_is_what_sounds(model, result, clip_file):
    """Told the same or told nothing, it makes the same sound; another material is another."""
    guess, _ = result.material_guess
    told = model.generate(clip_file, seed=0, material=guess)
    np.testing.assert_array_equal(told.waveform, result.waveform)
    other = next(name for name in model.materials if name != guess)
    made = model.generate(clip_file, seed=0, material=other)
    assert made.waveform.tobytes() != result.waveform.tobytes()
    assert made.material_guess == result.material_guess


def test_settings_change_the_sound_and_are_noted(model, result, clip_file):
    for name, value in (("steps", 2), ("material", "metal")):
        changed = model.generate(clip_file, **{name: value})
        assert changed.settings[name] == value
        assert changed.waveform.shape == result.waveform.shape
        if name == "steps":
            assert not np.allclose(changed.waveform, result.waveform)


def test_progress_ends_with_the_clip(model, clip_file):
    done = []
    model.generate(clip_file, progress=done.append)
    assert done[-1] == pytest.approx(1.6)


def test_saving_a_video_copies_the_pictures(result, clip_file, tmp_path):
    path = result.save(tmp_path / "out.mp4")
    assert video_packet_bytes(path) == video_packet_bytes(clip_file)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == RATE_HZ
    with pytest.raises(MediaError, match="exists"):
        result.save(path)
    assert result.save(path, overwrite=True) == path


def test_saving_a_wav_keeps_every_sample(result, tmp_path):
    path = result.save(tmp_path / "out.wav")
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.rate == RATE_HZ
        assert sum(frame.samples for frame in container.decode(stream)) == result.sample_count


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"steps": 0}, "steps=0"),
        ({"guidance": 0.5}, "guidance=0.5"),
        ({"guidance": 21.0}, "guidance=21.0"),
        ({"material": "cheese"}, "material 'cheese': expected auto or one of .*wood"),
    ],
)
def test_settings_out_of_range_are_refused(model, clip_file, settings, message):
    with pytest.raises(ConfigError, match=message):
        model.generate(clip_file, **settings)


def test_parts_that_do_not_belong_together_are_refused(smoke_model):
    codec = Codec(CodecConfig(channels=16, encoder_width=8, decoder_width=8))
    aligner, flow = load_aligner(smoke_model), load_flow(smoke_model)
    with pytest.raises(ConfigError, match=r"model 'mixed': .* channels \[16, 48\]"):
        FoleyFlow(codec, aligner, flow, name="mixed")
    slow = Codec(CodecConfig(hop_samples=1920, encoder_width=8, decoder_width=8))
    with pytest.raises(ConfigError, match=r"model 'mixed': latent rates .*25.0"):
        FoleyFlow(slow, aligner, flow, name="mixed")
    FoleyFlow(load_codec(smoke_model), aligner, flow, name="whole")


def test_a_model_is_used_as_it_was_trained(smoke_model, tmp_path):
    trained = FoleyFlow.from_pretrained(smoke_model)
    assert (trained.plan.length, trained.path) == (10, "linear")
    other = tmp_path / "model"
    shutil.copytree(smoke_model, other)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    settings = config["components"]["flow"]["provenance"]["settings"]
    settings["windows"]["segments"], settings["objective"]["path"] = 20, "vp"
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    longer = FoleyFlow.from_pretrained(other)
    assert (longer.plan.length, longer.path) == (20, "vp")
    assert FoleyFlow.from_pretrained().plan == WindowPlan()


def threads_seen(model, clip_file, monkeypatch):
    """(thread, torch's count in it) at the encoder, the flow and the codec of one generation."""
    seen = {}
    for name in ("aligner.encoder", "flow", "codec.decoder"):
        module = model
        for part in name.split("."):
            module = getattr(module, part)
        plain = module.forward

        def noting(*values, name=name, plain=plain, **more):
            seen[name] = (threading.current_thread(), torch.get_num_threads())
            return plain(*values, **more)

        monkeypatch.setattr(module, "forward", noting)
    model.generate(clip_file)
    return seen


@pytest.mark.parametrize("count", [1, 2])
def test_every_stage_computes_on_as_many_threads_as_asked_for(
    smoke_model, clip_file, monkeypatch, count
):
    before = torch.get_num_threads()
    other = 3 - count
    torch.set_num_threads(other)  # a library user's own setting
    try:
        model = FoleyFlow.from_pretrained(smoke_model, device="cpu", threads=count)
        seen = threads_seen(model, clip_file, monkeypatch)
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(before)
    assert {number for _, number in seen.values()} == {count}
    assert seen["aligner.encoder"][0] is not threading.current_thread()
    assert seen["flow"][0] is threading.current_thread()


def test_threads_are_decided_by_the_size_unless_given(smoke_model, clip_file):
    assert FoleyFlow.from_pretrained().threads == 1
    assert FoleyFlow.from_pretrained(smoke_model, threads=0).threads == 1
    given = FoleyFlow.from_pretrained(smoke_model, threads=2)
    assert given.generate(clip_file).settings["threads"] == given.threads == 2
    with pytest.raises(ConfigError, match="threads=-1: expected 0 or more"):
        FoleyFlow.from_pretrained(smoke_model, threads=-1)


def test_progress_is_told_in_the_callers_thread(model, clip_file):
    told_in = set()
    model.generate(clip_file, progress=lambda done_s: told_in.add(threading.current_thread()))
    assert told_in == {threading.current_thread()}


def test_a_generation_that_fails_leaves_no_thread_and_no_setting(model, clip_file):
    def stop(done_s):
        raise KeyboardInterrupt

    before = threading.enumerate(), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        model.generate(clip_file, progress=stop)
    assert (threading.enumerate(), torch.get_num_threads()) == before


def test_what_is_kept_of_a_clip_does_not_hold_its_latents():
    notes = _Notes()
    probable = np.array([0.25, 0.75], np.float32)
    for number in range(GUESS_WINDOWS + 5):
        notes.add(Piece(latents=torch.zeros(1, 8, 4), events_s=(number + 0.5,), material=probable))
    assert notes.moments_s == [number + 0.5 for number in range(GUESS_WINDOWS + 5)]
    assert len(notes.materials) == GUESS_WINDOWS
    assert set(vars(notes)) == {"moments_s", "materials"}


def test_models_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"expected 'embedded' or a folder with config.json"):
        FoleyFlow.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "meta", "cuda:99"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(ConfigError, match=f"device '{name}'"):
        pick_device(name)


# ---------------------------------------------------------------------------------- events


def heard(moments_s, levels, duration_s=2.0):
    return events_in_sound(moments_s, levels, rate_hz=50.0, duration_s=duration_s)


def test_strength_is_the_level_just_after():
    levels = np.full(60, 1e-3, np.float32)
    levels[7], levels[27], levels[49] = 0.8, 0.4, 5.0  # the last one comes too late to count
    found = heard([0.11, 0.51, 0.91], levels)
    assert [event.time_s for event in found] == [0.11, 0.51]
    assert [event.strength for event in found] == pytest.approx([1.0, 0.5])


def test_events_at_the_ends_count_and_those_after_the_clip_do_not():
    levels = np.ones(50, np.float32)
    assert len(heard([0.0, 0.99], levels, duration_s=1.0)) == 2
    assert len(heard([0.0, 0.99], levels, duration_s=0.9)) == 1


def test_silence_has_no_events():
    assert heard([0.2], np.zeros(50, np.float32)) == ()
    assert heard([], np.ones(50, np.float32)) == ()
