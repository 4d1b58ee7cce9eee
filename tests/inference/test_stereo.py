"""Stereo results: where their cues are, what stays mono-compatible, and edits of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.cli_model import make_model
from support.media_files import make_video, square_painter
from support.sound_folders import write_strikes

from foleyflow import Cue, CueSheet, FoleyFlow
from foleyflow.errors import ConfigError
from foleyflow.inference.changes import changed_samples, samples_between
from foleyflow.inference.panning import LARGEST_LOSS_DB, channel_gains
from foleyflow.inference.stereo import passages_of
from foleyflow.media import measure_report
from foleyflow.media.sound_file import integer_levels

RATE_HZ = 48_000
CUES = CueSheet(
    cues=(
        Cue(time_s=0.5, material="wood", pan=-1.0),
        Cue(time_s=1.2, material="wood", pan=1.0),
        Cue(time_s=1.9, material="wood", pan=0.0),
        # Sounds at three positions that overlap
        Cue(time_s=2.6, material="metal", pan=-1.0),
        Cue(time_s=2.7, material="glass", pan=0.5),
        Cue(time_s=2.8, kind="scrape", end_s=3.4, material="wood", level_db=-12.0, pan=0.0),
    )
)
EDITS = {
    "pan": CUES.replace(1, pan=-0.5),
    "pan among others": CUES.replace(4, pan=-0.5),
    "material": CUES.replace(0, material="metal"),
    "level": CUES.replace(4, level_db=-30.0),
    "disabled": CUES.replace(2, enabled=False),
    "added": CUES.add(Cue(time_s=1.5, material="glass", pan=1.0)),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return FoleyFlow.from_pretrained(make_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(
        tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=100, painter=square_painter(7)
    )


@pytest.fixture(scope="module")
def mono(model, clip):
    return model.generate(clip, cues=CUES)


@pytest.fixture(scope="module")
def first(model, clip):
    return model.generate(clip, cues=CUES, stereo=True)


def part(sound: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    return sound[..., round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]


def level_db(sound: np.ndarray) -> float:
    return 10 * math.log10(np.mean(np.square(sound, dtype=np.float64)))


def changed_s(old, new) -> np.ndarray:
    """Times of the samples that differ in any channel, in seconds."""
    return np.flatnonzero((old.waveform != new.waveform).any(0)) / RATE_HZ


def test_the_mono_sound_is_the_same_and_the_sum_has_its_level(mono, first):
    assert (mono.channels, first.channels) == (1, 2)
    assert first.waveform.shape == (2, first.sample_count)
    assert (mono.settings["stereo"], first.settings["stereo"]) == (False, True)
    before = np.concatenate(list(first.mono_blocks()), axis=1)[0]
    assert before.tobytes() == mono.waveform.tobytes()
    total = first.waveform.sum(0, dtype=np.float64) / math.sqrt(2)
    assert -LARGEST_LOSS_DB <= level_db(total) - level_db(before) <= 0.01
    # No frequency loses more, and the loudness stays
    spectra = [np.abs(np.fft.rfft(sound.astype(np.float64))) for sound in (before, total)]
    power, summed = (np.add.reduceat(each**2, range(0, len(each), 4000)) for each in spectra)
    assert (10 * np.log10(summed / power) >= -LARGEST_LOSS_DB - 0.01).all()
    lufs = [measure_report(each.blocks(), RATE_HZ).integrated_lufs for each in (mono, first)]
    assert lufs[1] == pytest.approx(lufs[0], abs=0.2)


@pytest.mark.parametrize(("time_s", "pan"), [(0.5, -1.0), (1.2, 1.0), (1.9, 0.0)])
def test_a_cue_is_at_its_pan(mono, first, time_s, pan):
    sound = part(first.waveform, time_s - 0.02, time_s + 0.2)
    expected = part(mono.waveform, time_s - 0.02, time_s + 0.2)
    assert level_db(expected) > -60
    for channel, gain in zip(sound, channel_gains(pan), strict=True):
        np.testing.assert_allclose(channel, gain * expected, atol=1e-3)


def test_sounds_that_overlap_are_split(first):
    passages = passages_of(first.cues, first._take, RATE_HZ)
    assert [each.is_alone for each in passages] == [True] * 3 + [False] * 3
    left, right = (level_db(each) for each in part(first.waveform, 2.58, 2.68))
    assert left > right + 3  # the metal alone
    left, right = (level_db(each) for each in part(first.waveform, 2.72, 2.78))
    assert left < right + 6  # with the glass


def test_cues_without_a_pan_are_placed_by_the_picture(model, clip):
    given = CueSheet(cues=(Cue(time_s=0.3, material="wood"), Cue(time_s=2.0, material="wood")))
    result = model.generate(clip, cues=given, stereo=True)
    motion = result._take.analysis.motion
    assert [cue.pan for cue in result.cues] == [motion.pan(0.3), motion.pan(2.0)]
    assert None not in [cue.pan for cue in result.cues]
    assert model.generate(clip, cues=given).cues.cues == given.cues
    spotted = model.spot(clip)
    assert [cue.pan for cue in spotted] == [motion.pan(cue.time_s, cue.end_s) for cue in spotted]


def test_all_cues_in_the_centre_give_two_equal_channels(model, clip, mono):
    centred = CueSheet(cues=tuple(CUES.replace(k, pan=0.0)[k] for k in range(len(CUES))))
    result = model.generate(clip, cues=centred, stereo=True)
    left, right = result.waveform
    assert left.tobytes() == right.tobytes()
    np.testing.assert_allclose(left, mono.waveform / math.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_its_stretches_only(mono, first, name):
    old = first.waveform.tobytes()
    edited = first.rerender(EDITS[name])
    times_s = changed_s(first, edited)
    bounds_s = {
        "pan": (1.15, 1.3), "pan among others": (2.65, 3.3), "material": (0.45, 3.6),
        "level": (2.65, 3.3), "disabled": (1.85, 2.0), "added": (1.45, 2.1),
    }[name]  # fmt: skip
    assert len(times_s) and bounds_s[0] <= times_s.min() and times_s.max() <= bounds_s[1]
    assert first.waveform.tobytes() == old
    assert first.rerender(EDITS[name]).waveform.tobytes() == edited.waveform.tobytes()
    # The mono sound is that of an edited mono result
    alone = np.concatenate(list(edited.mono_blocks()), axis=1)[0]
    assert alone.tobytes() == mono.rerender(EDITS[name]).waveform.tobytes()
    if name == "pan":
        sound = part(edited.waveform, 1.18, 1.28)
        for channel, gain in zip(sound, channel_gains(-0.5), strict=True):
            np.testing.assert_allclose(channel, gain * part(alone, 1.18, 1.28), atol=1e-3)


def test_a_pan_is_no_edit_of_a_mono_result(mono):
    edited = mono.rerender(EDITS["pan"])
    assert edited.waveform.tobytes() == mono.waveform.tobytes()
    assert edited.cues[1].pan == -0.5
    assert mono.regenerate(2.0, 3.0, cues=EDITS["pan"]).cues[1].pan == -0.5


def test_a_range_keeps_both_channels_outside(first):
    new = first.regenerate(1.0, 2.2, seed=5)
    times_s = changed_s(first, new)
    assert 1.0 <= times_s.min() and times_s.max() < 2.2 and len(times_s) > 0.3 * RATE_HZ
    left, right = (level_db(each) for each in part(new.waveform, 1.19, 1.3))
    assert right > left + 5
    moved = first.regenerate(1.0, 2.2, seed=5, cues=EDITS["pan"])
    left, right = (level_db(each) for each in part(moved.waveform, 1.19, 1.3))
    assert left > right + 2
    with pytest.raises(ConfigError, match=r"the cues differ outside it \(hit at 1.2 s\)"):
        first.regenerate(2.0, 3.0, cues=EDITS["pan"])


@pytest.mark.parametrize("by", ["material", "cue"])
def test_stems_add_up_to_both_channels(first, by):
    total = np.zeros((2, first.sample_count), np.int64)
    for stem in first.stems(by):
        levels = integer_levels(stem.waveform, 24)
        total[:, stem.start_sample : stem.start_sample + levels.shape[1]] += levels
    np.testing.assert_array_equal(total, integer_levels(first.waveform, 24))


def test_recorded_sounds_are_panned(model, clip, tmp_path):
    write_strikes(tmp_path, [0.5], material="wood")
    options = {"cues": CUES, "library": tmp_path, "library_variation": False}
    mono, result = (model.generate(clip, **options, stereo=stereo) for stereo in (False, True))
    assert len(result.placements) == 3
    for time_s, pan in ((0.5, -1.0), (1.2, 1.0), (1.9, 0.0)):
        expected = part(mono.waveform, time_s, time_s + 0.2)
        for channel, gain in zip(
            part(result.waveform, time_s, time_s + 0.2), channel_gains(pan), strict=True
        ):
            np.testing.assert_allclose(channel, gain * expected, atol=1e-3)
    edited = result.rerender(result.cues.replace(0, pan=1.0))
    assert changed_s(result, edited).max() < 1.2


def test_takes_have_the_scores_of_their_mono_sound(model, clip):
    ranked, panned = (model.candidates(clip, count=2, cues=CUES, stereo=s) for s in (False, True))
    assert [each.scores for each in panned] == [each.scores for each in ranked]
    assert {each.result.channels for each in panned} == {2}


def test_without_enabled_cues_both_channels_are_silent(model, clip):
    result = model.generate(clip, cues=CueSheet(), stereo=True)
    assert result.waveform.shape == (2, result.sample_count) and not result.waveform.any()


def test_a_model_without_cues_refuses_stereo(tmp_path, clip):
    model = FoleyFlow.from_pretrained(
        make_model(tmp_path / "model", with_cue_tracks=False), device="cpu"
    )
    with pytest.raises(ConfigError, match="without cues to pan"):
        model.generate(clip, stereo=True)


def test_a_sound_becomes_stereo_and_mono_again_without_being_generated_again(mono, first):
    seconds: list[float] = []
    stereo = mono.with_stereo(True, progress=seconds.append)
    np.testing.assert_array_equal(stereo.waveform, first.waveform)
    assert stereo.cues == first.cues and stereo.settings == first.settings
    assert seconds == sorted(seconds) and seconds[-1] == pytest.approx(4.0, abs=0.1)
    edited = stereo.rerender(EDITS["pan among others"])
    back = edited.with_stereo(False)
    np.testing.assert_array_equal(back.waveform, mono.waveform)
    assert back.settings == mono.settings and back.channels == 1
    assert [edit.stereo for edit in back.edits] == [True, None, False]
    assert back.with_stereo(False) is back


def test_changed_samples_cover_both_channels(mono, first):
    edited = first.rerender(EDITS["pan"])
    changed = np.flatnonzero((first.waveform != edited.waveform).any(0))
    [(start, stop)] = changed_samples(first, edited)
    assert start <= changed.min() and changed.max() < stop
    np.testing.assert_array_equal(
        samples_between(edited, start, stop), edited.waveform[:, start:stop]
    )
    assert changed_samples(mono, first) is None
