"""Whole data sets: what lies on disk, same seed same clips, resuming, crashes, reading back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support import bouncing_ball

from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, DataError
from foleyflow.features.frames import cache_frames
from foleyflow.media.probe import probe
from foleyflow.simulation.dataset import clip_files
from foleyflow.simulation.dataset.simulate import clip_seed, simulate, write_example


def _make(out, clips=2, seed=5, **settings):
    settings = {"duration_s": 1.0, "workers": 1, "draw_scene": bouncing_ball.draw_scene, **settings}
    return simulate(out, clips=clips, seed=seed, **settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three clips in two shards: (folder, summary, progress calls)."""
    out = tmp_path_factory.mktemp("clips") / "set"
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_files, "SHARD_CLIPS", 2)
        summary = _make(out, clips=3, progress=lambda done, wanted: calls.append((done, wanted)))
    return out, summary, calls


def test_files_on_disk(made):
    out, summary, calls = made
    there = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    clips = [("00000", 0), ("00000", 1), ("00001", 2)]
    wanted = [
        f"train/{shard}/clip_{index:06d}.{ending}"
        for shard, index in clips
        for ending in ("flac", "json", "mp4")
    ]
    assert there == ["manifest.json", *wanted]
    assert (summary.clips, summary.skipped, summary.crashes) == (3, 0, 0)
    assert calls == [(0, 3), (2, 3), (3, 3)]
    assert summary.frames == sum(len(SimulatedClips(out, "train").load(i).frames) for i in range(3))


def test_a_given_rate_changes_the_pictures_and_no_sound(made, tmp_path):
    out, _, _ = made
    _make(tmp_path / "slow", clips=2, rate_hz=2.0)
    varied, slow = SimulatedClips(out, "train"), SimulatedClips(tmp_path / "slow", "train")
    for index in range(2):
        assert len(slow.load(index).frames) == 2
        np.testing.assert_array_equal(
            slow.load(index).waveform.samples, varied.load(index).waveform.samples
        )
    with pytest.raises(DataError, match=r"frame_rate_hz=2\.0, asked for None"):
        _make(tmp_path / "slow", clips=2)
    with pytest.raises(ConfigError, match="1 to 120 frames"):
        _make(tmp_path / "fast", rate_hz=500.0)


def test_labels_say_what_the_scene_did(made):
    out, _, _ = made
    entry = json.loads((out / "train/00000/clip_000001.json").read_text())
    assert entry["id"] == "train/clip_000001"
    assert entry["material"] == "wood"
    assert entry["striker_material"] in ("metal", "plastic", "stone")
    assert [event["time_s"] for event in entry["events"]] == [0.25, 0.75]
    event = entry["events"][0]
    assert (event["body"], event["other"], event["kind"]) == ("floor", "ball", "impact")
    assert event["strength"] == pytest.approx(clip_files.strength_01(0.48), abs=1e-4)


def test_strength_is_the_logarithm_between_its_ends():
    middle = np.sqrt(clip_files.WEAKEST_NS * clip_files.STRONGEST_NS)
    strengths = [clip_files.strength_01(x) for x in (0.0, 1e-3, middle, 3.0, 50.0)]
    assert strengths == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])


def test_same_seed_same_clips(made, tmp_path):
    out, _, _ = made
    _make(tmp_path / "again", clips=1)
    for ending in ("json", "flac"):
        name = f"train/00000/clip_000000.{ending}"
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    first = SimulatedClips(out, "train").load(0).frames
    second = SimulatedClips(tmp_path / "again", "train").load(0).frames
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.times_s, second.times_s)


def test_clips_differ_from_each_other(made):
    clips = SimulatedClips(made[0], "train")
    first, second = clips.load(0), clips.load(1)
    assert first.frames.pixels.shape != second.frames.pixels.shape or not np.array_equal(
        first.frames.pixels, second.frames.pixels
    )
    assert not np.array_equal(first.waveform.samples, second.waveform.samples)


def test_splits_and_seeds_share_no_chance():
    states = {
        tuple(clip_seed(split, seed, index).generate_state(4))
        for split in ("train", "validation", "test")
        for seed in range(5)
        for index in range(50)
    }
    assert len(states) == 3 * 5 * 50


def test_sound_and_video_are_as_long_as_the_clip(made):
    clips = SimulatedClips(made[0], "train")
    for index in range(len(clips)):
        clip = clips.load(index)
        assert clip.waveform.samples.shape == (1, 48_000)
        assert clip.frames.times_s[0] == 0.0
        assert 1.0 - 2.5 / 15 < clip.frames.times_s[-1] < 1.0
        assert clip.frames.pixels.shape[1:] == (112, 112, 3)


def test_sound_begins_at_the_contact(made):
    for index in range(3):
        samples = SimulatedClips(made[0], "train").load(index).waveform.samples[0]
        before = np.abs(samples[:11_990]).max()
        after = np.abs(samples[12_000:12_960]).max()
        assert after > 10 * before


def test_the_same_command_again_makes_only_what_is_missing(made):
    out, _, _ = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_files, "SHARD_CLIPS", 2)
        again = _make(out, clips=3)
        assert (again.clips, again.skipped) == (0, 3)
        stamp = (out / "train/00000/clip_000000.mp4").stat().st_mtime_ns
        (out / "train/00001/clip_000002.json").unlink()
        mended = _make(out, clips=3)
    assert (mended.clips, mended.skipped) == (1, 2)
    assert (out / "train/00000/clip_000000.mp4").stat().st_mtime_ns == stamp
    assert not list((out / "train").glob(".unfinished*"))


@pytest.mark.parametrize("other", [{"seed": 6}, {"duration_s": 2.0}])
def test_other_settings_in_the_same_folder_are_refused(made, other):
    with pytest.raises(DataError, match="holds clips with"):
        _make(made[0], **other)


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        _make(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clips": 0}, "clips=0"),
        ({"seed": -1}, "seed=-1"),
        ({"split": "dev"}, "split='dev'"),
        ({"duration_s": 0.1}, "duration_s=0.1"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path, wrong, says):
    with pytest.raises(ConfigError, match=says):
        _make(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_a_worker_that_dies_costs_one_attempt(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(bouncing_ball.CRASH_MARK, str(tmp_path / "mark"))
    summary = _make(tmp_path / "set", clips=1, draw_scene=bouncing_ball.draw_crash_once)
    assert summary.crashes == 1
    assert len(SimulatedClips(tmp_path / "set", "train")) == 1
    assert "attempt 2 of 3" in caplog.text


def test_a_shard_that_always_crashes_is_given_up(tmp_path):
    with pytest.raises(DataError, match="died 3 times"):
        _make(tmp_path / "set", clips=1, draw_scene=bouncing_ball.draw_crash_always)


def test_a_fault_in_a_scene_is_told(tmp_path):
    with pytest.raises(DataError, match="this scene has no floor"):
        _make(tmp_path / "set", clips=1, draw_scene=bouncing_ball.draw_failure)


def test_cache_holds_every_clip(made):
    out, _, _ = made
    clips = SimulatedClips(out, "train")
    cache = cache_frames(out, "train")
    assert len(cache) == 3
    for index in range(3):
        clip = clips.load(index)
        np.testing.assert_array_equal(cache.clip_frames(index), clip.frames.pixels)
        np.testing.assert_array_equal(cache.clip_times_s(index), clip.frames.times_s)
        assert np.abs(cache.sounds[index] / 32767 - clip.waveform.samples[0]).max() < 2e-5
        assert cache.labels[index] == clip.labels


def test_cache_is_reused_until_the_clips_change(made, tmp_path):
    import shutil

    root = shutil.copytree(made[0], tmp_path / "copy", ignore=shutil.ignore_patterns(".frames*"))
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


def test_reading_what_is_not_there_is_refused(made, tmp_path):
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        SimulatedClips(tmp_path, "train")
    with pytest.raises(DataError, match="has no split 'test'"):
        SimulatedClips(made[0], "test")


def test_example_is_large_and_silent(tmp_path):
    path = tmp_path / "example.mp4"
    clip = write_example(path, seed=1, duration_s=0.5, width=256, height=144, fps=25.0)
    info = probe(path)
    assert (info.width, info.height) == (256, 144)
    assert len(clip.frames) == 13
    with pytest.raises(ConfigError, match="unknown scene family 'opera'"):
        write_example(path, seed=1, family="opera")
