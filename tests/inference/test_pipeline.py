"""Generation from a video to a saved file: length, loudness, peaks, settings and threads."""

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
from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import CheckpointError, ConfigError, MediaError
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.windows import WindowPlan
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


def test_the_result_describes_the_sound(model, result, clip_file):
    assert result.waveform.shape == (count_at(1.6, RATE_HZ),)
    assert result.waveform.dtype == np.float32
    assert np.isfinite(result.waveform).all()
    assert result.waveform.std() > 0
    assert result.sample_rate_hz == RATE_HZ
    assert result.info == probe(clip_file)
    assert result.as_waveform().duration_s == pytest.approx(1.6)
    assert {"decode", "encode", "align", "flow", "codec", "total"} <= result.timings_s.keys()
    # Decoding and encoding run in other threads, so only single parts and the sum of the parts in
    # the caller's thread are bounded.
    total_s = result.timings_s["total"]
    assert all(0 <= value <= total_s + 1e-3 for value in result.timings_s.values())
    assert sum(result.timings_s[name] for name in ("align", "flow", "codec")) <= total_s + 1e-3
    assert {cue.material for cue in result.cues} == {None}  # the aligner has no attributes
    assert result.cues.duration_s == result.info.duration_s
    assert result.warnings == []
    assert result.settings["seed"] == 0 and result.settings["material"] == "auto"


def test_blocks_join_to_the_waveform(result):
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
def test_the_target_loudness_is_reached(model, clip_file, target_lufs):
    plain = model.generate(clip_file, loudness_lufs=None)
    loud = model.generate(clip_file, loudness_lufs=target_lufs)
    # The smoke model's noise is loud enough for every target.
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


def test_spotted_cues_give_the_sound_of_the_found_ones(model, result, clip_file):
    cues = model.spot(clip_file)
    assert cues == result.cues and len(cues) > 0
    given = model.generate(clip_file, cues=cues)
    assert given.waveform.tobytes() == result.waveform.tobytes()
    assert given.cues == cues


def test_cues_and_sensitivity_change_the_sound(model, result, clip_file):
    # The sensitivity at which half of the enabled cues stay enabled
    enabled = result.cues.enabled
    sensitivity = 1 - sorted(cue.confidence for cue in enabled)[len(enabled) // 2]
    for changes in (
        {"cues": CueSheet(cues=(Cue(time_s=0.4, material="wood"),))},
        {"cues": CueSheet()},
        {"sensitivity": sensitivity},
    ):
        changed = model.generate(clip_file, **changes)
        assert len(changed.cues.enabled) < len(result.cues.enabled)
        assert changed.waveform.tobytes() != result.waveform.tobytes()
    counts = [
        len(model.spot(clip_file, sensitivity=value).enabled) for value in (1e-9, sensitivity, 0.99)
    ]
    assert 0 == counts[0] < counts[1] < counts[2]


def test_a_given_material_replaces_those_of_all_cues(model, result, clip_file):
    sounds = {result.waveform.tobytes()}
    for material in ("wood", "metal"):
        made = [
            model.generate(clip_file, cues=cues, material=material) for cues in (None, result.cues)
        ]
        for each in made:
            assert {cue.material for cue in each.cues} == {material}
            assert [cue.time_s for cue in each.cues] == [cue.time_s for cue in result.cues]
        (sound,) = {each.waveform.tobytes() for each in made}
        sounds.add(sound)
    assert len(sounds) == 3


def test_a_silent_sound_is_a_warning(result, tmp_path):
    still = make_video(
        tmp_path / "still.mp4",
        n_frames=25,
        painter=lambda index: np.full((64, 96, 3), 90, np.uint8),
    )
    silent = FoleyFlow.from_pretrained(device="cpu").generate(still)
    assert len(silent.cues.enabled) == 0 and np.abs(silent.waveform).max() < 1e-3
    no_hit, is_silent = silent.warnings
    assert "nothing will sound" in no_hit and "generated sound is silent" in is_silent
    assert result._take.warnings() == []


def test_warnings_of_spotting_are_in_the_result_and_logged(model, clip_file, caplog):
    result = model.generate(clip_file, sensitivity=1e-9)
    assert len(result.cues.enabled) == 0
    assert any("nothing will sound" in text for text in result.warnings)
    model.spot(clip_file, sensitivity=1e-9)
    assert [record.getMessage() for record in caplog.records] == [
        f"{clip_file}: {text}" for text in result.warnings if "nothing will sound" in text
    ]


def test_settings_change_the_sound_and_are_recorded(model, result, clip_file):
    for name, value in (("steps", 2), ("material", "metal")):
        changed = model.generate(clip_file, **{name: value})
        assert changed.settings[name] == value
        assert changed.waveform.shape == result.waveform.shape
        if name == "steps":
            assert not np.allclose(changed.waveform, result.waveform)


def test_progress_ends_at_the_end_of_the_clip(model, clip_file):
    done = []
    model.generate(clip_file, progress=done.append)
    assert done[-1] == pytest.approx(1.6)


def test_saving_a_video_copies_the_video_packets(result, clip_file, tmp_path):
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
        ({"sensitivity": 1.0}, "sensitivity=1.0"),
        ({"material": "cheese"}, "material 'cheese': expected auto or one of .*wood"),
    ],
)
def test_settings_out_of_range_are_refused(model, clip_file, settings, message):
    with pytest.raises(ConfigError, match=message):
        model.generate(clip_file, **settings)


def test_parts_that_do_not_fit_each_other_are_refused(smoke_model):
    codec = Codec(CodecConfig(channels=16, encoder_width=8, decoder_width=8))
    aligner, flow = load_aligner(smoke_model), load_flow(smoke_model)
    with pytest.raises(ConfigError, match=r"model 'mixed': .* channels \[16, 64\]"):
        FoleyFlow(codec, aligner, flow, name="mixed")
    slow = Codec(CodecConfig(hop_samples=1920, encoder_width=8, decoder_width=8))
    with pytest.raises(ConfigError, match=r"model 'mixed': latent rates .*25.0"):
        FoleyFlow(slow, aligner, flow, name="mixed")
    FoleyFlow(load_codec(smoke_model), aligner, flow, name="matching")


def test_a_model_uses_the_windows_and_path_of_its_training(smoke_model, tmp_path):
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


def threads_by_stage(model, clip_file, monkeypatch):
    """(thread, torch's thread count) of the encoder, the flow and the codec in one generation."""
    found = {}
    for name in ("aligner.encoder", "flow", "codec.decoder"):
        module = model
        for part in name.split("."):
            module = getattr(module, part)
        plain = module.forward

        def recording(*values, name=name, plain=plain, **more):
            found[name] = (threading.current_thread(), torch.get_num_threads())
            return plain(*values, **more)

        monkeypatch.setattr(module, "forward", recording)
    model.generate(clip_file)
    return found


@pytest.mark.parametrize("count", [1, 2])
def test_every_stage_uses_the_given_number_of_threads(smoke_model, clip_file, monkeypatch, count):
    before = torch.get_num_threads()
    other = 3 - count
    torch.set_num_threads(other)  # the setting of a user of the library
    try:
        model = FoleyFlow.from_pretrained(smoke_model, device="cpu", threads=count)
        found = threads_by_stage(model, clip_file, monkeypatch)
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(before)
    assert {number for _, number in found.values()} == {count}
    assert found["aligner.encoder"][0] is not threading.current_thread()
    assert found["flow"][0] is threading.current_thread()


def test_threads_follow_the_model_size_unless_given(smoke_model, clip_file):
    assert FoleyFlow.from_pretrained().threads == 1
    assert FoleyFlow.from_pretrained(smoke_model, threads=0).threads == 1
    given = FoleyFlow.from_pretrained(smoke_model, threads=2)
    assert given.generate(clip_file).settings["threads"] == given.threads == 2
    with pytest.raises(ConfigError, match="threads=-1: expected 0 or more"):
        FoleyFlow.from_pretrained(smoke_model, threads=-1)


def test_progress_is_called_in_the_callers_thread(model, clip_file):
    threads = set()
    model.generate(clip_file, progress=lambda done_s: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


def test_a_failed_generation_leaves_no_thread_and_no_changed_setting(model, clip_file):
    def stop(done_s):
        raise KeyboardInterrupt

    before = threading.enumerate(), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        model.generate(clip_file, progress=stop)
    assert (threading.enumerate(), torch.get_num_threads()) == before


def test_missing_models_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"expected 'embedded' or a folder with config.json"):
        FoleyFlow.from_pretrained(tmp_path)
