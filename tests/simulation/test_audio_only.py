"""Clips without videos: the same sounds and labels, and what refuses them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from support import bouncing_ball

from foleyflow.data.build.check import check_data
from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, DataError
from foleyflow.features.frames import Split, cache_frames, mono_sounds
from foleyflow.simulation.dataset.clip_files import clip_labels
from foleyflow.simulation.dataset.clip_simulation import VideoSettings, simulate_clip
from foleyflow.simulation.dataset.selection import select_clips
from foleyflow.simulation.dataset.simulate import simulate
from foleyflow.simulation.motion.families import FAMILIES


def simulate_two(out, **settings):
    settings = {"duration_s": 1.0, "workers": 1, **settings}
    return simulate(out, clips=2, seed=5, sample_scene=bouncing_ball.sample_scene, **settings)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Two clips with videos."""
    out = tmp_path_factory.mktemp("filmed") / "set"
    simulate_two(out)
    return out


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """The same clips without videos."""
    out = tmp_path_factory.mktemp("sounds") / "set"
    summary = simulate_two(out, audio_only=True)
    assert (summary.clips, summary.frames) == (2, 0) and summary.clips_per_core_s > 0
    return out


def test_sounds_and_labels_are_the_same_without_videos(filmed, sounds):
    files = {path.name for path in sounds.rglob("*") if path.is_file()}
    clips = {f"clip_{index:06d}.{ending}" for index in (0, 1) for ending in ("flac", "json")}
    assert files == {"manifest.json", *clips}
    with_videos, alone = SimulatedClips(filmed, "train"), SimulatedClips(sounds, "train")
    for index in range(2):
        paths = [each.paths[index].with_suffix(".flac") for each in (with_videos, alone)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert alone.labels(index) == with_videos.labels(index)
        assert alone.entry(index) == {**with_videos.entry(index), "frame_rate_hz": None}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_video_does_not_change_the_sound_of_any_family(family):
    few_frames = VideoSettings(width=32, height=32, rate=Fraction(2), samples=1)
    for number in range(2):
        alone, filmed = (
            simulate_clip(
                np.random.SeedSequence((9, number)),
                sample_scene=FAMILIES[family].sample,
                duration_s=1.5,
                settings=few_frames,
                audio_only=audio_only,
            )
            for audio_only in (True, False)
        )
        assert alone.sound.waveform.tobytes() == filmed.sound.waveform.tobytes()
        assert alone.sound_bits == filmed.sound_bits
        labels, expected = (
            clip_labels(clip, "clip_000000", split="train", seed=0) for clip in (alone, filmed)
        )
        assert labels == {**expected, "frame_rate_hz": None}
        assert alone.video is None and len(filmed.video.frames) == 3


def test_clips_without_videos_have_sounds_labels_and_fingerprint(filmed, sounds, tmp_path):
    clips, split = SimulatedClips(sounds, "train"), Split.at(sounds, "train")
    assert split.fingerprint == clips.fingerprint != SimulatedClips(filmed, "train").fingerprint
    assert [labels.name for labels in split.labels()] == ["train/clip_000000", "train/clip_000001"]
    for index, sound in enumerate(mono_sounds(split, 48_000)):
        expected = SimulatedClips(filmed, "train").load(index).waveform.samples
        assert np.abs(sound / 32767 - expected[0]).max() < 2e-5
        np.testing.assert_array_equal(clips.load_sound(index).samples, expected)
    (check,) = check_data(sounds)
    assert (check.clips, check.decoded, check.problems) == (2, 2, ())
    assert select_clips(sounds, tmp_path / "wood", material="wood", without=False) == {"train": 2}
    assert SimulatedClips(tmp_path / "wood", "train").labels(1) == clips.labels(1)


def test_frames_of_clips_without_videos_are_refused(sounds):
    clips = SimulatedClips(sounds, "train")
    for read in (lambda: clips.load(0), lambda: cache_frames(sounds, "train")):
        with pytest.raises(DataError) as raised:
            read()
        assert (
            str(raised.value) == f"{sounds} has sounds without frames, expected clips with videos"
        )
        assert raised.value.hint == "simulate into another folder without --audio-only"
    assert not list(sounds.glob(".frames*"))


def test_a_folder_has_either_clips_with_videos_or_without(filmed, sounds, tmp_path):
    with pytest.raises(DataError, match="audio_only=False, asked for True"):
        simulate_two(filmed, audio_only=True)
    with pytest.raises(DataError, match="audio_only=True, asked for False"):
        simulate_two(sounds)
    with pytest.raises(ConfigError, match=r"rate_hz=2\.0: expected none with audio_only"):
        simulate_two(tmp_path / "set", audio_only=True, rate_hz=2.0)
