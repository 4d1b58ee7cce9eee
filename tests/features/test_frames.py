"""Decoded clips: frames, time stamps, sounds and labels."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.data.clips import open_split
from foleyflow.features.frames import Split, cache_frames, mono_sounds


@pytest.fixture
def data(fresh_data):
    return fresh_data("data")


def test_cache_contains_every_clip(data):
    clips, cache = open_split(data, "validation"), cache_frames(data, "validation")
    assert len(cache) == len(clips) == len(cache.offsets) - 1
    for index in range(len(clips)):
        clip = clips.load(index)
        np.testing.assert_array_equal(cache.clip_frames(index), clip.frames.pixels)
        np.testing.assert_array_equal(cache.clip_times_s(index), clip.frames.times_s)
        assert cache.labels[index] == clip.labels
        wanted = np.round(np.clip(clip.waveform.samples[0], -1, 1) * 32767)
        np.testing.assert_array_equal(cache.sounds[index], wanted)


def test_sounds_at_the_rate_of_the_clips_are_those_of_the_cache(data):
    cache = cache_frames(data, "validation")
    sounds = mono_sounds(Split.at(data, "validation"), cache.rate_hz)
    np.testing.assert_array_equal(sounds, cache.sounds)


def test_cache_of_changed_clips_is_replaced(data):
    cache_frames(data, "validation")
    (first,) = data.glob(".frames-validation-*")
    label_file = next((data / "validation").rglob("clip_*.json"))
    label_file.write_text(label_file.read_text() + "\n")
    cache_frames(data, "validation")
    (second,) = data.glob(".frames-validation-*")
    assert second != first
