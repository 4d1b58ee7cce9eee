"""Sounds of a library are placed to the sample, at the level of the cue, and vary by seed."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
from support.click_sounds import write_sound
from support.sound_folders import lag_samples, steady, strike, write_strikes

from foleyflow.cues.cue import Cue
from foleyflow.errors import DataError
from foleyflow.library import PlacedSounds, SoundLibrary, place

RATE_HZ = 48_000


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sounds"


@pytest.fixture
def placed(folder, tmp_path):
    """Places cues with the sounds of the folder."""

    def place_cues(cues, *, duration_s=4.0, rate_hz=RATE_HZ, seed=0, vary=False):
        library = SoundLibrary.open(folder, cache_folder=tmp_path / "cache")
        return place(cues, library, duration_s=duration_s, rate_hz=rate_hz, seed=seed, vary=vary)

    return place_cues


def knocks(times_s, **fields):
    return [Cue(time_s=float(time_s), material="wood", **fields) for time_s in times_s]


def amplitude(level_db):
    return 0.45 * 10 ** (level_db / 20)


@pytest.mark.parametrize("file_rate_hz", [22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
@pytest.mark.parametrize("vary", [False, True])
def test_onsets_are_on_the_cues(folder, placed, file_rate_hz, rate_hz, vary):
    write_strikes(folder, (0.5,), rate_hz=file_rate_hz, onset_sample=3217, ring_s=0.1)
    times_s = np.array([0.0, 0.31234, 0.7777, 1.5])
    stem, placements = placed(knocks(times_s), rate_hz=rate_hz, vary=vary)
    assert [placement.start_sample for placement in placements] == [
        int(time_s * rate_hz + 0.5) for time_s in times_s
    ]
    for placement, time_s in zip(placements, times_s, strict=True):
        lag = lag_samples(stem, time_s, rate_hz, rate_factor=placement.rate_factor)
        assert abs(lag) <= 1
        before = stem[max(placement.start_sample - 500, 0) : placement.start_sample]
        assert not before.any()


@pytest.mark.parametrize("name", ["wood.wav", "wood.flac", "wood.aiff", "wood.mp3", "wood.ogg"])
def test_onsets_of_formats(folder, placed, name):
    write_sound(folder / name, strike(onset_sample=7001), RATE_HZ)
    stem, _ = placed(knocks([1.0]))
    is_lossy = name.endswith(("mp3", "ogg"))
    assert abs(lag_samples(stem, 1.0, RATE_HZ)) <= (10 if is_lossy else 1)


def test_without_variation_samples_are_exact_copies_with_gain(folder, placed):
    sound = strike(onset_sample=700, level=0.3).astype(np.float32)
    write_sound(folder / "wood.wav", sound, RATE_HZ, subtype="FLOAT")
    stem, (placement,) = placed(knocks([0.5], level_db=-6.0))
    expected = sound[700:] * np.float32(amplitude(-6.0) / 0.3)
    np.testing.assert_allclose(stem[24_000 : 24_000 + len(expected)], expected, rtol=1e-6)
    assert np.count_nonzero(stem) == np.count_nonzero(expected)
    assert placement.gain_db == pytest.approx(20 * np.log10(amplitude(-6.0) / 0.3), abs=1e-5)
    assert placement.rate_factor == 1.0


@pytest.mark.parametrize("file_rate_hz", [44_100, 48_000])
@pytest.mark.parametrize("level_db", [-40.0, -7.5, 0.0, 12.0])
def test_the_peak_has_the_level_of_the_cue(folder, placed, file_rate_hz, level_db):
    write_strikes(folder, (0.02,), rate_hz=file_rate_hz)
    stem, _ = placed(knocks([0.5], level_db=level_db))
    assert np.abs(stem).max() == pytest.approx(amplitude(level_db), rel=1e-5)


def test_a_cue_without_level_has_the_one_that_the_model_assumes(folder, placed):
    write_strikes(folder, (0.5,))
    stem, _ = placed(knocks([0.5]))
    assert np.abs(stem).max() == pytest.approx(amplitude(-9.0), rel=1e-5)


def test_louder_cues_take_louder_recordings(folder, placed):
    write_strikes(folder, np.geomspace(0.01, 0.9, 10))
    levels_db = np.linspace(-30.0, 0.0, 10)
    order = np.random.default_rng(0).permutation(10)
    cues = [knocks([0.2 * place], level_db=levels_db[rank])[0] for place, rank in enumerate(order)]
    _, placements = placed(cues)
    assert [placement.file for placement in placements] == [f"wood/{rank}.wav" for rank in order]
    # Variation chooses a neighbour
    _, placements = placed(cues, vary=True)
    chosen = [int(placement.file[5:-4]) for placement in placements]
    assert np.abs(np.array(chosen) - order).max() <= 3
    assert np.corrcoef(chosen, order)[0, 1] > 0.9


@pytest.mark.parametrize("vary", [False, True])
@pytest.mark.parametrize("files", [2, 3, 7])
@pytest.mark.parametrize("loudest", [0.5, 0.05])
def test_no_file_twice_in_a_row(folder, placed, vary, files, loudest):
    write_strikes(folder, np.linspace(0.05, loudest, files))
    shutil.copy(folder / "wood" / "0.wav", folder / "wood" / "copy of 0.wav")
    _, placements = placed(knocks(0.05 * np.arange(60)), vary=vary)
    names = [placement.file.replace("copy of ", "") for placement in placements]
    assert len(names) == 60
    assert all(first != second for first, second in itertools.pairwise(names))


def test_a_single_file_is_repeated(folder, placed):
    write_strikes(folder, (0.5,))
    assert len(placed(knocks([0.1, 0.2, 0.3]), vary=True)[1]) == 3


def test_variation_is_small_and_follows_the_seed(folder, placed):
    write_strikes(folder, (0.3, 0.31, 0.32, 0.33))
    cues = knocks(0.3 * np.arange(12), level_db=-10.0)
    stem, placements = placed(cues, vary=True)
    again, same = placed(cues, vary=True)
    np.testing.assert_array_equal(stem, again)
    assert placements == same
    factors = np.array([placement.rate_factor for placement in placements])
    assert np.abs(12 * np.log2(factors)).max() <= 0.501
    assert np.unique(factors).size == 12
    for placement in placements:
        peak = np.abs(stem[placement.start_sample : placement.start_sample + 2000]).max()
        assert abs(20 * np.log10(peak / amplitude(-10.0))) <= 1.001
    other, _ = placed(cues, vary=True, seed=1)
    assert not np.array_equal(stem, other)


def test_a_cue_with_a_seed_keeps_its_variation(folder, placed):
    write_strikes(folder, (0.3,))
    stems = {
        (own, seed): placed(knocks([0.5], seed=own), vary=True, seed=seed)[0]
        for own in (3, 4, None)
        for seed in (0, 1)
    }
    np.testing.assert_array_equal(stems[3, 0], stems[3, 1])
    assert not np.array_equal(stems[3, 0], stems[4, 0])
    assert not np.array_equal(stems[None, 0], stems[None, 1])


def test_an_edit_of_one_cue_keeps_the_others(folder, placed):
    write_strikes(folder, (0.5,))
    cues = knocks([0.5, 1.0, 1.5])
    stem, _ = placed(cues, vary=True)
    edited, _ = placed([cues[0], cues[2]], vary=True)
    different = np.flatnonzero(stem != edited)
    assert 48_000 <= different[0] and different[-1] < 72_000


def test_indices_are_those_of_the_given_cues(folder, placed):
    write_strikes(folder, (0.5,))
    cues = [
        Cue(time_s=2.0, material="wood"),
        Cue(time_s=0.1, material="metal"),
        Cue(time_s=0.2, material="wood", enabled=False),
        Cue(time_s=1.0, material="wood"),
        Cue(time_s=0.3, material="wood", kind="scrape", end_s=1.0),
        Cue(time_s=4.0, material="wood"),  # at the end of the clip
    ]
    _, placements = placed(cues)
    assert [placement.cue_index for placement in placements] == [3, 0]


def test_a_sound_fades_out_at_the_end_of_the_clip(folder, placed):
    sound = np.tile(np.array([0.5, -0.5], np.float32), RATE_HZ)
    write_sound(folder / "wood.wav", sound, RATE_HZ, subtype="FLOAT")
    stem, _ = placed(knocks([0.5], level_db=0.0), duration_s=1.0)
    assert len(stem) == RATE_HZ
    copied = sound[: RATE_HZ // 2] * np.float32(0.45 / 0.5)
    np.testing.assert_allclose(stem[24_000:-480], copied[:-480], rtol=1e-5)
    assert stem[-1] == 0.0
    assert (np.abs(stem[-480:]) <= np.abs(copied[-480:]) + 1e-7).all()


@pytest.mark.parametrize("duration_s", [0.2, 0.5, 3.0])
@pytest.mark.parametrize("kind", ["roll", "scrape"])
def test_friction_lasts_as_long_as_its_cue(folder, placed, kind, duration_s):
    write_sound(folder / f"wood {kind}.wav", steady(onset_sample=900), RATE_HZ)
    cue = Cue(time_s=0.5, kind=kind, end_s=0.5 + duration_s, material="wood", level_db=-12.0)
    stem, (placement,) = placed([cue])
    sounding = np.flatnonzero(stem)
    assert sounding[0] == placement.start_sample == 24_000
    assert abs(sounding[-1] - (0.5 + duration_s) * RATE_HZ) <= 2
    # No repetition is louder or quieter than the others
    blocks = stem[24_000 : 24_000 + round(duration_s * RATE_HZ) - 480].reshape(-1, 480)
    rms = np.sqrt(np.mean(np.square(blocks), axis=1))
    assert np.abs(20 * np.log10(rms / amplitude(-12.0))).max() < 2.0


def test_friction_follows_its_level_curve(folder, placed):
    write_sound(folder / "wood_scrape.wav", steady(), RATE_HZ)
    curve_db = (-40.0, -10.0, -30.0)
    cue = Cue(time_s=1.0, kind="scrape", end_s=3.0, material="wood", level_curve_db=curve_db)
    stem, (placement,) = placed([cue])
    blocks = stem[48_000 : 3 * 48_000 - 480].reshape(-1, 480)
    times_s = 1.0 + (np.arange(len(blocks)) + 0.5) * 0.01
    expected_db = np.interp(times_s, [1.0, 2.0, 3.0], curve_db)
    found_db = 20 * np.log10(np.sqrt(np.mean(np.square(blocks), axis=1)) / 0.45)
    assert np.abs(found_db - expected_db).max() < 2.0
    assert placement.gain_db == pytest.approx(20 * np.log10(amplitude(-10.0) / 0.1), abs=0.2)


def test_a_changed_file_is_refused(folder, tmp_path):
    write_strikes(folder, (0.5,))
    library = SoundLibrary.open(folder, cache_folder=tmp_path / "cache")
    write_strikes(folder, (0.5,), ring_s=0.2)
    with pytest.raises(DataError, match="changed since the library was opened"):
        place(knocks([0.5]), library, duration_s=1.0, rate_hz=RATE_HZ, seed=0)


def test_any_stretch_has_the_same_samples(tmp_path):
    folder = write_strikes(tmp_path / "sounds", [0.3, 0.5], rate_hz=44_100)
    write_sound(folder / "metal" / "scrape.wav", steady(duration_s=0.2), 48_000)
    library = SoundLibrary.open(folder, cache_folder=tmp_path / "cache")
    cues = [
        Cue(time_s=0.1, material="wood"),
        Cue(time_s=0.2, material="wood", level_db=-20.0),
        Cue(time_s=0.3, kind="scrape", end_s=1.9, material="metal", level_curve_db=(-30, -9)),
    ]
    sounds = PlacedSounds.plan(cues, library, duration_s=2.0, rate_hz=48_000, seed=0)
    stem, placements = place(cues, library, duration_s=2.0, rate_hz=48_000, seed=0)
    assert sounds.placements == placements
    for first, last in ((0, 96_000), (1, 2), (5000, 60_001), (90_000, 96_000)):
        assert sounds.samples(first, last).tobytes() == stem[first:last].tobytes()
    assert not sounds.samples(96_000, 96_100).any()
    assert sounds.changed_samples(sounds.with_cues(cues)) == []
    moved = sounds.with_cues([*cues[:2], replace(cues[2], end_s=1.8)])
    assert sounds.changed_samples(moved) == [(14_400, 91_200)]


@pytest.mark.parametrize("vary", [False, True])
def test_any_stretch_of_the_sound_can_be_computed(folder, tmp_path, vary):
    """Stretches across blocks equal those of the sound that is computed at once."""
    write_strikes(folder, (0.05, 0.3), rate_hz=44_100, ring_s=1.4)
    write_sound(folder / "wood" / "scrape.wav", steady(duration_s=0.31), RATE_HZ)
    rubbed = Cue(
        time_s=0.4, kind="scrape", end_s=3.3, material="wood", level_curve_db=(-30.0, -6.0, -20.0)
    )
    cues = [*knocks([0.0, 0.2, 0.98, 1.7, 3.9]), rubbed]
    library = SoundLibrary.open(folder, cache_folder=tmp_path / "cache")
    sounds = PlacedSounds.plan(cues, library, duration_s=4.0, rate_hz=RATE_HZ, seed=3, vary=vary)
    stem, placements = place(cues, library, duration_s=4.0, rate_hz=RATE_HZ, seed=3, vary=vary)
    assert sounds.placements == placements
    for first, last in [(0, 1), (47_000, 49_000), (30_000, 190_000), (100_000, None)]:
        found = np.concatenate(list(sounds.blocks(first, last)))
        np.testing.assert_allclose(found, stem[first:last], rtol=1e-6, atol=1e-9)


def test_an_edit_changes_the_samples_of_its_sound_only(folder, tmp_path):
    write_strikes(folder, (0.4,), ring_s=0.3)
    library = SoundLibrary.open(folder, cache_folder=tmp_path / "cache")

    def planned(*times_s):
        return PlacedSounds.plan(
            knocks(times_s), library, duration_s=4.0, rate_hz=RATE_HZ, seed=0, vary=False
        )

    before, after = planned(0.5, 1.0, 2.0), planned(0.5, 1.1, 2.0)
    ((start, end),) = before.changed_samples(after)
    assert start == RATE_HZ and 1.4 * RATE_HZ <= end < 1.41 * RATE_HZ
    assert before.changed_samples(planned(2.0, 1.0, 0.5)) == []
    old, new = (np.concatenate(list(sounds.blocks())) for sounds in (before, after))
    np.testing.assert_array_equal(old[:start], new[:start])
    np.testing.assert_array_equal(old[end:], new[end:])
