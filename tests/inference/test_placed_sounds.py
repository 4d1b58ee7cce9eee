"""Edits of cues of a result with a sound library."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.cli_model import make_model
from support.click_sounds import write_sound
from support.media_files import make_video
from support.sound_folders import steady, write_strikes

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.stretches import changed_stretches
from foleyflow.library import SoundLibrary, split_cues

RATE_HZ = 48_000
DURATION_S = 4.0
CUES = CueSheet(
    cues=(
        Cue(time_s=0.5, material="wood", level_db=-12.0),
        Cue(time_s=1.5, material="glass", level_db=-12.0),
        Cue(time_s=1.9, kind="scrape", end_s=2.6, material="metal", level_db=-20.0),
        Cue(time_s=3.9, material="wood", level_db=-12.0),
    ),
    duration_s=DURATION_S,
)
EDITS = {
    "level": CUES.replace(0, level_db=-20.0),
    "moved": CUES.replace(0, time_s=1.4),
    "at the end": CUES.replace(3, time_s=3.99),
    "removed": CUES.remove(0),
    "longer scrape": CUES.replace(2, end_s=3.0),
    "to the library": CUES.replace(1, material="wood"),
    "to the model": CUES.replace(0, material="stone"),
    "of the model": CUES.replace(1, level_db=-20.0),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return FoleyFlow.from_pretrained(make_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    write_strikes(folder, [0.3, 0.5])
    sound = steady(duration_s=0.3)
    write_sound(folder / "metal" / "scrape.wav", sound, RATE_HZ, subtype="FLOAT")
    return SoundLibrary.open(folder, cache_folder=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=100)


@pytest.fixture(scope="module")
def first(model, clip, library):
    return model.generate(clip, cues=CUES, library=library, loudness_lufs=None)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_its_stretches_only(first, library, name):
    edited = first.rerender(EDITS[name])
    old, new = (split_cues(sheet, library)[0] for sheet in (CUES, EDITS[name]))
    may_change = np.zeros(len(first.waveform), bool)
    for stretch in changed_stretches(old, new, duration_s=DURATION_S):
        may_change[round(stretch.start_s * RATE_HZ) : round(stretch.end_s * RATE_HZ)] = True
    for start, end in first._take.placed.changed_samples(edited._take.placed):
        may_change[start:end] = True
    before, after = first.waveform, edited.waveform
    assert before[~may_change].tobytes() == after[~may_change].tobytes()
    assert (before != after).any() and not may_change.all()


@pytest.mark.parametrize("name", ["level", "moved", "at the end", "removed", "longer scrape"])
def test_an_edit_of_recorded_sounds_equals_a_new_generation(model, clip, first, library, name):
    edited = first.rerender(EDITS[name])
    again = model.generate(clip, cues=EDITS[name], library=library, loudness_lufs=None)
    assert np.abs(edited.waveform - again.waveform).max() < 1e-6
    assert edited.placements == again.placements


def test_edits_can_be_undone(first):
    for name in ("to the library", "to the model", "longer scrape"):
        restored = first.rerender(EDITS[name]).rerender(CUES)
        assert restored.placements == first.placements
        assert np.isfinite(restored.waveform).all()
    undone = first.rerender(EDITS["longer scrape"]).rerender(CUES)
    assert np.abs(undone.waveform - first.waveform).max() < 1e-6


def test_a_model_without_cues_takes_no_library(tmp_path, clip, library):
    model = FoleyFlow.from_pretrained(
        make_model(tmp_path / "model", with_cue_tracks=False), device="cpu"
    )
    with pytest.raises(ConfigError, match="a library was given"):
        model.generate(clip, library=library)


def test_a_range_keeps_recorded_sounds_outside_it(model, library, clip):
    first = model.generate(clip, cues=CUES, library=library)
    new = first.regenerate(0.3, 1.2, cues=EDITS["level"])
    places = np.flatnonzero(new.waveform != first.waveform) / RATE_HZ
    assert 0.3 <= places.min() and places.max() < 1.2
    assert new.placements[0] != first.placements[0]
    assert new.placements[1:] == first.placements[1:]
    # A new seed of the model leaves the variation of recorded sounds as it is
    assert first.regenerate(0.3, 1.2).placements == first.placements


def test_stems_contain_the_recorded_sounds_of_their_cues(model, library, clip):
    result = model.generate(clip, cues=CUES, library=library, loudness_lufs=None)
    stems = {stem.name: stem for stem in result.stems()}
    assert list(stems) == ["wood", "glass", "metal"]
    total = np.sum([stem.waveform.astype(np.float64) for stem in stems.values()], axis=0)
    assert np.abs(total - result.waveform).max() <= 0.5 / 2**23
    placed = result._take.placed
    for name, indices in (("wood", (0, 3)), ("metal", (2,))):
        own = tuple(sound for sound in placed.sounds if sound.cue_index in indices)
        recorded = result._take.gain * dataclasses.replace(placed, sounds=own).samples(
            0, result.sample_count
        )
        without = np.square(result.waveform - recorded).sum()
        assert np.square(stems[name].waveform - recorded).sum() < 0.5 * without
