"""Edits of cues change the sound in their stretches only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.cli_model import make_model
from support.media_files import make_video

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result import Generated
from foleyflow.inference.stretches import changed_stretches

RATE_HZ = 48_000
DURATION_S = 8.0  # three windows, which meet at 2.8 s and 5.36 s
CUES = CueSheet(
    cues=(
        Cue(time_s=0.5, material="wood"),
        Cue(time_s=1.5, material="glass", seed=3),
        Cue(time_s=2.6, material="membrane"),
        Cue(time_s=4.2, material="stone", enabled=False),
        Cue(time_s=6.9, material="plastic"),
    ),
    duration_s=DURATION_S,
)
ROLL = Cue(time_s=2.5, kind="roll", end_s=5.5, level_curve_db=(-30.0, -6.0), material="wood")
EDITS = {
    "level": CUES.replace(0, level_db=-30.0),
    "material": CUES.replace(0, material="ceramic"),
    "seed": CUES.replace(4, seed=4),
    "another seed": CUES.replace(1, seed=4),
    "moved a little": CUES.shift(0.0).replace(2, time_s=2.63),
    "moved across a border": CUES.replace(0, time_s=5.4),
    "at the very start": CUES.add(Cue(time_s=0.0, material="stone")),
    "at the very end": CUES.add(Cue(time_s=DURATION_S, material="metal")),
    "across a border": CUES.add(Cue(time_s=2.79, material="metal")),
    "removed": CUES.remove(2),
    "disabled": CUES.replace(2, enabled=False),
    "enabled": CUES.replace(3, enabled=True),
    "friction over three windows": CUES.add(ROLL),
    "everything": CUES.filter(lambda cue: False).add(Cue(time_s=0.0, decay_s=20.0)),
}


@pytest.fixture(scope="module", params=[False, True], ids=["labels", "tracks"])
def model(request, tmp_path_factory):
    folder = make_model(tmp_path_factory.mktemp("model"), with_cue_tracks=request.param)
    return FoleyFlow.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=200)


@pytest.fixture(scope="module")
def first(model, clip) -> Generated:
    return model.generate(clip, cues=CUES)


def inside(old: CueSheet, new: CueSheet) -> np.ndarray:
    """Which samples the edit may change, (n,)."""
    samples = np.zeros(round(DURATION_S * RATE_HZ), bool)
    for stretch in changed_stretches(old, new, duration_s=DURATION_S):
        samples[round(stretch.start_s * RATE_HZ) : round(stretch.end_s * RATE_HZ)] = True
    return samples


def check_edit(old: Generated, new: Generated) -> None:
    """Samples differ inside the stretches and nowhere else."""
    may_change = inside(old.cues, new.cues)
    before, after = old.waveform, new.waveform
    assert after.dtype == np.float32 and after.shape == before.shape
    assert np.isfinite(after).all() and np.abs(after).max() <= 1.0
    assert before[~may_change].tobytes() == after[~may_change].tobytes()
    assert (before != after)[may_change].mean() > 0.9


@pytest.mark.parametrize("name", EDITS)
def test_samples_outside_the_stretches_are_identical(first, name):
    before = first.waveform.tobytes()
    edited = first.rerender(EDITS[name])
    assert edited.cues == EDITS[name]
    check_edit(first, edited)
    # The first result is still what it was, and the edit can be repeated
    assert first.waveform.tobytes() == before and first.cues == CUES
    assert first.rerender(EDITS[name]).waveform.tobytes() == edited.waveform.tobytes()


def test_the_sound_is_continuous_at_the_ends_of_a_stretch(first):
    """The difference to the old sound fades in and out."""
    difference = first.rerender(EDITS["level"]).waveform - first.waveform
    (stretch,) = changed_stretches(CUES, EDITS["level"], duration_s=DURATION_S)
    start, stop = round(stretch.start_s * RATE_HZ), round(stretch.end_s * RATE_HZ)
    largest = np.abs(difference).max()
    for edge in (difference[start : start + 5], difference[stop - 5 : stop]):
        assert 0 < np.abs(edge).max() < 0.05 * largest


def test_edits_in_a_row_keep_each_other(first):
    one = first.rerender(CUES.replace(0, material="ceramic"))
    two = one.rerender(one.cues.replace(4, material="rubber"))
    check_edit(first, one)
    check_edit(one, two)
    # The second edit of the same stretch replaces the first one there
    again = one.rerender(one.cues.replace(0, material="stone"))
    check_edit(one, again)
    assert len(again._take.sound_patches) == len(again._take.latent_patches) == 1
    assert len(two._take.sound_patches) == 2
    # An overlapping edit keeps the part of the first one that it does not touch
    three = one.rerender(one.cues.add(Cue(time_s=0.56, material="stone")))
    check_edit(one, three)
    assert not inside(one.cues, three.cues).all()


def test_an_edit_can_be_undone_and_made_again(first):
    edited = first.rerender(EDITS["removed"])
    undone = edited.rerender(CUES)
    check_edit(edited, undone)
    outside = ~inside(CUES, EDITS["removed"])
    assert undone.waveform[outside].tobytes() == first.waveform[outside].tobytes()
    again = undone.rerender(EDITS["removed"])
    check_edit(undone, again)
    assert again.rerender(CUES).cues == first.cues


def test_equal_sheets_and_disabled_cues_change_nothing(first):
    silent = CUES.replace(3, time_s=4.4, material="metal").replace(0, confidence=0.5)
    for cues in (CUES, CueSheet(cues=CUES.cues, duration_s=100.0), silent, CUES.remove(3)):
        same = first.rerender(cues)
        assert same.waveform.tobytes() == first.waveform.tobytes()
        assert same.cues.cues == cues.cues and same.cues.duration_s == DURATION_S
        assert same._take is first._take


def test_two_distant_edits_leave_what_is_between_them(first):
    both = CUES.replace(0, level_db=-3.0).replace(4, level_db=-3.0)
    edited = first.rerender(both)
    check_edit(first, edited)
    assert not inside(CUES, both)[RATE_HZ : 6 * RATE_HZ].any()
    assert len(edited._take.sound_patches) == 2


def test_an_edited_result_is_complete(first, tmp_path):
    edited = first.rerender(EDITS["friction over three windows"])
    assert edited.settings == first.settings and edited.settings is not first.settings
    assert edited.timings_s.keys() == {"total"}
    edited.save(tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").stat().st_size > 0
    assert edited.timings_s.keys() == {"total", "mux"} and "mux" not in first.timings_s
    np.testing.assert_array_equal(
        np.concatenate([block[0] for block in edited.blocks()]), edited.waveform
    )


def test_fields_that_the_model_does_not_use_are_warned_of(model, first):
    edited = first.rerender(CUES.replace(0, level_db=-3.0, pitch_hz=300.0).add(ROLL))
    if model.flow.config.cue_materials:
        assert edited.warnings == []
    else:
        unused, friction = edited.warnings
        assert "level_curve_db, pitch_hz" in unused
        assert "no sound for rolls and scrapes" in friction
    assert first.warnings == first.rerender(CUES).warnings == []


def test_a_sound_that_does_not_fit_its_gain_is_clipped_with_a_warning(first):
    loud = dataclasses.replace(first._take, gain=1000.0 * first._take.gain)
    edited = dataclasses.replace(first, _take=loud).rerender(EDITS["level"])
    assert np.abs(edited.waveform[RATE_HZ // 2 : RATE_HZ]).max() <= 1000
    assert any("was clipped" in text for text in edited.warnings)


@pytest.mark.parametrize(
    ("cue", "message"),
    [
        (Cue(time_s=9.0), r"time_s=9.0: expected a time within the clip, 0..8.0 s"),
        (Cue(time_s=1.0, material="cheese"), r"material 'cheese': expected one of wood"),
    ],
)
def test_cues_that_do_not_fit_are_refused(model, first, clip, cue, message):
    sheet = CueSheet(cues=(cue,))
    with pytest.raises(ConfigError, match=message):
        first.rerender(sheet)
    with pytest.raises(ConfigError, match=message):
        model.generate(clip, cues=sheet)
