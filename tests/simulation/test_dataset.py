"""Data sets of simulated clips: files, reproducibility, resuming, crashes, reading back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from support import bouncing_ball

from foleyflow.data.clip_types import labels_from
from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, DataError
from foleyflow.features.frames import cache_frames
from foleyflow.media.probe import probe
from foleyflow.simulation.dataset import clip_files
from foleyflow.simulation.dataset.clip_simulation import simulate_clip
from foleyflow.simulation.dataset.simulate import clip_seed, simulate, write_example
from foleyflow.simulation.materials import MATERIALS
from foleyflow.simulation.motion.families import FAMILIES
from foleyflow.simulation.picture.textures import LOOKS, Look


def _simulate(out, clips=2, seed=5, **settings):
    settings = {
        "duration_s": 1.0,
        "workers": 1,
        "sample_scene": bouncing_ball.sample_scene,
        **settings,
    }
    return simulate(out, clips=clips, seed=seed, **settings)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Three clips in two shards: (folder, summary, calls of progress)."""
    out = tmp_path_factory.mktemp("clips") / "set"
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_files, "SHARD_CLIPS", 2)
        summary = _simulate(
            out, clips=3, progress=lambda done, wanted: calls.append((done, wanted))
        )
    return out, summary, calls


@pytest.fixture(scope="module")
def root(simulated):
    """The folder of these clips."""
    return simulated[0]


def test_files_on_disk(simulated):
    out, summary, calls = simulated
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    clips = [("00000", 0), ("00000", 1), ("00001", 2)]
    expected = [
        f"train/{shard}/clip_{index:06d}.{ending}"
        for shard, index in clips
        for ending in ("flac", "json", "mp4")
    ]
    assert files == ["manifest.json", *expected]
    assert (summary.clips, summary.skipped, summary.crashes) == (3, 0, 0)
    assert calls == [(0, 3), (2, 3), (3, 3)]
    assert summary.frames == sum(len(SimulatedClips(out, "train").load(i).frames) for i in range(3))


def test_a_given_frame_rate_changes_the_frames_but_not_the_sound(root, tmp_path):
    _simulate(tmp_path / "slow", clips=2, rate_hz=2.0)
    varied, slow = SimulatedClips(root, "train"), SimulatedClips(tmp_path / "slow", "train")
    for index in range(2):
        assert len(slow.load(index).frames) == 2
        np.testing.assert_array_equal(
            slow.load(index).waveform.samples, varied.load(index).waveform.samples
        )
    with pytest.raises(DataError, match=r"frame_rate_hz=2\.0, asked for None"):
        _simulate(tmp_path / "slow", clips=2)
    with pytest.raises(ConfigError, match="1 to 120 frames"):
        _simulate(tmp_path / "fast", rate_hz=500.0)


def test_labels_describe_the_contacts_of_the_scene(root):
    entry = json.loads((root / "train/00000/clip_000001.json").read_text())
    assert entry["id"] == "train/clip_000001"
    assert entry["material"] == "wood"
    assert entry["striker_material"] in ("metal", "plastic", "stone")
    assert [event["time_s"] for event in entry["events"]] == [0.25, 0.75]
    event = entry["events"][0]
    assert (event["body"], event["other"], event["kind"]) == ("floor", "ball", "impact")
    assert event["strength"] == pytest.approx(clip_files.strength_01(0.48), abs=1e-4)


def test_labels_state_levels_pitch_and_decay():
    seed = np.random.SeedSequence(2)
    settings = {"sample_scene": FAMILIES["rolls"].sample, "duration_s": 3.0, "audio_only": True}
    clip = simulate_clip(seed, **settings)
    entry = clip_files.clip_labels(clip, "clip_000000", split="train", seed=0)
    assert entry["generator_version"] == clip_files.GENERATOR_VERSION
    labels = labels_from(json.loads(json.dumps(entry)))
    assert labels.events and labels.frictions
    sound = clip.sound
    assert [e.level_db for e in labels.events] == pytest.approx(sound.impact_levels_db, abs=5e-3)
    for friction, logged, curve in zip(
        labels.frictions, clip.log.frictions, sound.friction_levels_db, strict=True
    ):
        assert friction.level_db == pytest.approx(curve, abs=5e-3)
        # The curve covers the friction.
        span_s = friction.end_s - friction.start_s
        assert 0 <= len(friction.level_db) * friction.step_s - span_s < friction.step_s + 1e-4
        lowest = sound.lowest_modes[logged.body]
        assert friction.pitch_hz == pytest.approx(lowest.frequency_hz, rel=1e-4)
        assert friction.decay_s == pytest.approx(lowest.decay_s, rel=1e-3)
    for event, hit in zip(labels.events, clip.log.impacts, strict=True):
        assert event.pitch_hz == pytest.approx(sound.lowest_modes[hit.body].frequency_hz, rel=1e-4)


def test_labels_of_an_earlier_generator_are_rejected(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    # One label file without the levels
    path = copy / "train/00000/clip_000000.json"
    entry = json.loads(path.read_text())
    del entry["events"][0]["level_db"]
    path.write_text(json.dumps(entry))
    with pytest.raises(DataError, match=r"clip_000000\.json is damaged: KeyError\('level_db'\)"):
        SimulatedClips(copy, "train").labels(0)
    # A data set of version 5
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "generator_version": 5}))
    with pytest.raises(DataError, match=r"generator version 5.*expected version 6") as raised:
        cache_frames(copy, "train")
    assert raised.value.hint.startswith("simulate again")
    with pytest.raises(DataError, match="generator_version=5, asked for 8"):
        _simulate(copy, clips=3)


def test_strength_is_logarithmic_between_its_limits():
    middle = np.sqrt(clip_files.WEAKEST_NS * clip_files.STRONGEST_NS)
    strengths = [clip_files.strength_01(x) for x in (0.0, 1e-3, middle, 3.0, 50.0)]
    assert strengths == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])


def test_the_same_seed_gives_the_same_clips(root, tmp_path):
    _simulate(tmp_path / "again", clips=1)
    for ending in ("json", "flac"):
        name = f"train/00000/clip_000000.{ending}"
        assert (root / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    first = SimulatedClips(root, "train").load(0).frames
    second = SimulatedClips(tmp_path / "again", "train").load(0).frames
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.times_s, second.times_s)


def test_clips_differ_from_each_other(root):
    clips = SimulatedClips(root, "train")
    first, second = clips.load(0), clips.load(1)
    assert first.frames.pixels.shape != second.frames.pixels.shape or not np.array_equal(
        first.frames.pixels, second.frames.pixels
    )
    assert not np.array_equal(first.waveform.samples, second.waveform.samples)


def test_splits_and_seeds_have_no_random_state_in_common():
    states = {
        tuple(clip_seed(split, seed, index).generate_state(4))
        for split in ("train", "validation", "test")
        for seed in range(5)
        for index in range(50)
    }
    assert len(states) == 3 * 5 * 50


def test_sound_and_video_are_as_long_as_the_clip(root):
    clips = SimulatedClips(root, "train")
    for index in range(len(clips)):
        clip = clips.load(index)
        assert clip.waveform.samples.shape == (1, 48_000)
        assert clip.frames.times_s[0] == 0.0
        assert 1.0 - 2.5 / 15 < clip.frames.times_s[-1] < 1.0
        assert clip.frames.pixels.shape[1:] == (112, 112, 3)


def test_sound_starts_at_the_contact(root):
    for index in range(3):
        samples = SimulatedClips(root, "train").load(index).waveform.samples[0]
        before = np.abs(samples[:11_990]).max()
        after = np.abs(samples[12_000:12_960]).max()
        assert after > 10 * before


def test_a_rerun_simulates_only_missing_clips(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_files, "SHARD_CLIPS", 2)
        again = _simulate(root, clips=3)
        assert (again.clips, again.skipped) == (0, 3)
        stamp = (root / "train/00000/clip_000000.mp4").stat().st_mtime_ns
        (root / "train/00001/clip_000002.json").unlink()
        repaired = _simulate(root, clips=3)
    assert (repaired.clips, repaired.skipped) == (1, 2)
    assert (root / "train/00000/clip_000000.mp4").stat().st_mtime_ns == stamp
    assert not list((root / "train").glob(".unfinished*"))


@pytest.mark.parametrize("other", [{"seed": 6}, {"duration_s": 2.0}])
def test_other_settings_in_the_same_folder_are_rejected(root, other):
    with pytest.raises(DataError, match="holds clips with"):
        _simulate(root, **other)


def test_a_folder_with_other_files_is_rejected(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        _simulate(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clips": 0}, "clips=0"),
        ({"seed": -1}, "seed=-1"),
        ({"split": "dev"}, "split='dev'"),
        ({"duration_s": 0.1}, "duration_s=0.1"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_settings_out_of_range_are_rejected(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        _simulate(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_the_shard_of_a_crashed_worker_is_retried(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(bouncing_ball.CRASH_MARK, str(tmp_path / "mark"))
    summary = _simulate(tmp_path / "set", clips=1, sample_scene=bouncing_ball.crash_once)
    assert summary.crashes == 1
    assert len(SimulatedClips(tmp_path / "set", "train")) == 1
    assert "attempt 2 of 3" in caplog.text


def test_a_shard_that_always_crashes_is_an_error(tmp_path):
    with pytest.raises(DataError, match="died 3 times"):
        _simulate(tmp_path / "set", clips=1, sample_scene=bouncing_ball.crash_always)


def test_an_exception_in_a_scene_is_reported(tmp_path):
    with pytest.raises(DataError, match="this scene has no floor"):
        _simulate(tmp_path / "set", clips=1, sample_scene=bouncing_ball.fail_to_build)


def test_cache_contains_every_clip(root):
    clips = SimulatedClips(root, "train")
    cache = cache_frames(root, "train")
    assert len(cache) == 3
    for index in range(3):
        clip = clips.load(index)
        np.testing.assert_array_equal(cache.clip_frames(index), clip.frames.pixels)
        np.testing.assert_array_equal(cache.clip_times_s(index), clip.frames.times_s)
        assert np.abs(cache.sounds[index] / 32767 - clip.waveform.samples[0]).max() < 2e-5
        assert cache.labels[index] == clip.labels


def test_cache_is_reused_until_the_clips_change(root, tmp_path):
    root = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns(".frames*"))
    before = cache_frames(root, "train")
    (first,) = root.glob(".frames-train-*")
    stamp = (first / "frames.npy").stat().st_mtime_ns
    assert cache_frames(root, "train").fingerprint == before.fingerprint
    assert (first / "frames.npy").stat().st_mtime_ns == stamp
    label_file = root / "train/00000/clip_000000.json"
    label_file.write_text(label_file.read_text() + "\n")
    after = cache_frames(root, "train")
    assert after.fingerprint != before.fingerprint
    (second,) = root.glob(".frames-train-*")
    assert second != first


def test_reading_missing_data_is_rejected(root, tmp_path):
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        SimulatedClips(tmp_path, "train")
    with pytest.raises(DataError, match="has no split 'test'"):
        SimulatedClips(root, "test")


def test_example_has_the_given_size_and_frame_count(tmp_path):
    path = tmp_path / "example.mp4"
    video = write_example(path, seed=1, duration_s=0.5, width=256, height=144, fps=25.0)
    info = probe(path)
    assert (info.width, info.height) == (256, 144)
    assert len(video.frames) == 13
    with pytest.raises(ConfigError, match="unknown scene family 'opera'"):
        write_example(path, seed=1, family="opera")


def test_a_material_is_added_by_one_record_and_a_look(monkeypatch):
    ice = replace(MATERIALS["glass"], name="ice", texture="frost")
    monkeypatch.setitem(MATERIALS, "ice", ice)
    monkeypatch.setitem(LOOKS, "frost", Look({"flat": 1.0}, lambda rng: ((0, 0, 1), (1, 1, 1))))

    def draw_icy_scene(rng, duration_s):
        scene = bouncing_ball.sample_scene(rng, duration_s)

        def compute_motion(model):
            motion = scene.compute_motion(model)
            bodies = {
                name: replace(body, material="ice") for name, body in motion.log.bodies.items()
            }
            return replace(motion, log=replace(motion.log, bodies=bodies))

        return replace(
            scene, looks=dict.fromkeys(scene.looks, "ice"), compute_motion=compute_motion
        )

    seed = np.random.SeedSequence(0)
    clip = simulate_clip(seed, sample_scene=draw_icy_scene, duration_s=0.5)
    labels = clip_files.clip_labels(clip, "clip_000000", split="train", seed=0)
    assert labels["material"] == labels["striker_material"] == "ice"
    assert clip.sound.waveform.any()
