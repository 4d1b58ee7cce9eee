"""Cue sheets stay in order and within the clip, and their edits have known results."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from support.random_cues import random_sheet

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError

ROLL = Cue(time_s=1.0, kind="roll", end_s=3.0, level_curve_db=(-3.0, -30.0))
SHEET = CueSheet(
    cues=(Cue(time_s=2.0, material="wood"), ROLL, Cue(time_s=0.5, enabled=False)), duration_s=4.0
)


def times_s(sheet: CueSheet) -> list[float]:
    return [cue.time_s for cue in sheet]


def test_a_sheet_is_a_sequence_in_the_order_of_time():
    assert times_s(SHEET) == [0.5, 1.0, 2.0]
    assert len(SHEET) == 3 and SHEET[1] == ROLL and SHEET[-1].material == "wood" and ROLL in SHEET
    assert SHEET.index(ROLL) == 1
    assert times_s(SHEET[1:]) == [1.0, 2.0] and SHEET[::-1] == SHEET
    assert SHEET[1:].duration_s == 4.0


@pytest.mark.parametrize("seed", range(20))
def test_equality_and_hash_do_not_depend_on_the_order_of_the_cues(seed):
    sheet = random_sheet(seed)
    shuffled = random.Random(seed).sample(sheet.cues, len(sheet))
    again = CueSheet(cues=shuffled, duration_s=sheet.duration_s)
    assert again == sheet and hash(again) == hash(sheet)
    assert again != CueSheet(cues=shuffled, duration_s=99.0)
    added = CueSheet(duration_s=sheet.duration_s)
    for cue in shuffled:
        added = added.add(cue)
    assert added == sheet


def test_a_hit_precedes_a_friction_of_the_same_time():
    hit = Cue(time_s=1.0)
    assert CueSheet(cues=(ROLL, hit)).cues == CueSheet(cues=(hit, ROLL)).cues == (hit, ROLL)


def test_repr_is_short():
    assert repr(SHEET) == "<CueSheet: 2 hits, 1 roll, 1 disabled in 4.0 s>"
    assert repr(CueSheet()) == "<CueSheet: no cues>"
    assert repr(SHEET[1:2]) == "<CueSheet: 1 roll in 4.0 s>"


def test_parts_of_a_sheet():
    assert times_s(SHEET.hits) == [0.5, 2.0]
    assert SHEET.frictions.cues == (ROLL,)
    assert times_s(SHEET.enabled) == [1.0, 2.0]
    assert times_s(SHEET.filter(lambda cue: cue.material == "wood")) == [2.0]
    assert SHEET.hits.duration_s == SHEET.enabled.duration_s == 4.0


def test_edits_return_new_sheets():
    before = list(SHEET)
    moved = SHEET.replace(0, time_s=3.5, enabled=True)
    assert times_s(moved) == [1.0, 2.0, 3.5] and moved[2].enabled
    assert times_s(SHEET.remove(-1)) == [0.5, 1.0]
    assert times_s(SHEET.add(Cue(time_s=1.5))) == [0.5, 1.0, 1.5, 2.0]
    scrape = SHEET.replace(2, kind="scrape", end_s=2.5)[2]
    assert (scrape.kind, scrape.end_s, scrape.material) == ("scrape", 2.5, "wood")
    assert list(SHEET) == before


def test_there_is_no_cue_beyond_the_last():
    for edit in (SHEET.remove, SHEET.replace, SHEET.__getitem__):
        with pytest.raises(IndexError):
            edit(3)


@pytest.mark.parametrize("seed", range(20))
def test_removing_an_added_cue_restores_the_sheet(seed):
    sheet = random_sheet(seed)
    cue = Cue(time_s=0.25, confidence=0.123)  # the random cues leave this time free
    longer = sheet.add(cue)
    assert longer.remove(longer.index(cue)) == sheet


def test_unknown_fields_are_refused():
    with pytest.raises(ConfigError, match=r"^volume: a cue has no such field$"):
        SHEET.replace(0, volume=3)


@pytest.mark.parametrize(
    ("cues", "message"),
    [
        ([1.0, 1.0], "hits at 1.0 s and 1.0 s: expected at least 1 ms between two hits"),
        ([1.0009, 1.0], "hits at 1.0 s and 1.0009 s: expected at least 1 ms between two hits"),
        ([-0.25], "time_s=-0.25: expected a time within the clip, 0..4.0 s"),
        ([4.25], "time_s=4.25: expected a time within the clip, 0..4.0 s"),
    ],
)
def test_hits_have_distinct_times_within_the_clip(cues, message):
    with pytest.raises(ConfigError) as caught:
        CueSheet(cues=[Cue(time_s=time_s) for time_s in cues], duration_s=4.0)
    assert str(caught.value) == message and caught.value.hint


def test_the_closest_allowed_cues():
    far = [Cue(time_s=time_s) for time_s in (0.0, 3600.0, 3600.001, 7199.999, 7200.0)]
    assert len(CueSheet(cues=far, duration_s=7200.0)) == 5
    rolls = (Cue(time_s=1.0), ROLL, ROLL, Cue(time_s=1.0, kind="scrape", end_s=1.2))
    assert len(CueSheet(cues=rolls, duration_s=3.0)) == 4


def test_an_end_after_the_clip_is_refused():
    message = r"^end_s=3\.0: expected a time within the clip, 0\.\.2\.5 s$"
    with pytest.raises(ConfigError, match=message):
        CueSheet(cues=(ROLL,), duration_s=2.5)
    with pytest.raises(ConfigError, match=r"^time_s=-1\.0: .* at least 0 s$"):
        CueSheet(cues=(Cue(time_s=-1.0),))


@pytest.mark.parametrize("duration_s", [0, -1.0, float("nan"), float("inf"), "4", True])
def test_a_duration_is_a_positive_number(duration_s):
    with pytest.raises(ConfigError, match=r"^duration_s=.*: expected a finite number above 0$"):
        CueSheet(duration_s=duration_s)


def test_shift_moves_starts_and_ends():
    shifted = SHEET.shift(0.75)
    assert times_s(shifted) == [1.25, 1.75, 2.75]
    assert shifted[1].end_s == 3.75 and shifted[1].level_curve_db == ROLL.level_curve_db
    assert shifted.shift(-0.75) == SHEET
    assert times_s(SHEET.shift(-0.5)) == [0.0, 0.5, 1.5]


def test_shift_ignores_rounding_errors_at_the_ends_of_the_clip():
    first = CueSheet(cues=(Cue(time_s=0.3),)).shift(-0.1).shift(-0.1).shift(-0.1)
    assert 0.3 - 0.1 - 0.1 - 0.1 < 0 and times_s(first) == [0.0]
    last = CueSheet(cues=(Cue(time_s=0.1),), duration_s=0.3).shift(0.2)
    assert 0.1 + 0.2 > 0.3 and times_s(last) == [0.3]


@pytest.mark.parametrize(
    ("by_s", "message"),
    [
        (
            1.5,
            "shift by 1.5 s: the roll at 1.0 s would leave the clip "
            "(end_s=4.5: expected a time within the clip, 0..4.0 s)",
        ),
        (
            -0.75,
            "shift by -0.75 s: the hit at 0.5 s would leave the clip "
            "(time_s=-0.25: expected a time within the clip, 0..4.0 s)",
        ),
        (float("nan"), "shift by nan s: expected a finite time"),
    ],
)
def test_shift_drops_no_cue(by_s, message):
    with pytest.raises(ConfigError) as caught:
        SHEET.shift(by_s)
    assert str(caught.value) == message and caught.value.hint


def test_quantise_moves_to_the_nearest_frame():
    # 0.125 s is at the middle of two frames and moves to the earlier one
    cues = (Cue(time_s=0.125), Cue(time_s=0.376, kind="roll", end_s=3.9), Cue(time_s=0.74))
    quantised = CueSheet(cues=cues, duration_s=4.0).quantise(np.array([0.0, 0.25, 0.5, 1.0, 3.0]))
    assert times_s(quantised) == [0.0, 0.5, 0.5] and times_s(quantised.hits) == [0.0, 0.5]
    assert quantised.frictions[0].end_s == 3.0 and quantised.duration_s == 4.0
    assert CueSheet().quantise([0.0]) == CueSheet()


def test_quantise_drops_no_cue():
    with pytest.raises(ConfigError) as caught:
        CueSheet(cues=(Cue(time_s=0.0), Cue(time_s=0.125))).quantise([0.0, 0.25])
    assert str(caught.value) == "hits at 0.0 s and 0.125 s: both would be at 0.0 s"
    assert caught.value.hint
    with pytest.raises(ConfigError) as caught:
        SHEET.quantise([2.0])
    assert str(caught.value) == (
        "roll from 1.0 s to 3.0 s: its start and end would both be at 2.0 s"
    )
    assert caught.value.hint


@pytest.mark.parametrize("seed", range(20))
def test_quantise_follows_its_definition(seed):
    rng = np.random.default_rng(seed)
    frames_s = np.cumsum(rng.uniform(0.02, 0.06, size=600))  # a variable frame rate
    cues = random_sheet(seed).cues
    sheet = CueSheet(cues=[cue for cue in cues if not cue.end_s or cue.end_s - cue.time_s > 0.1])

    def nearest(time_s):
        return None if time_s is None else float(frames_s[np.abs(frames_s - time_s).argmin()])

    expected = [
        dataclasses.replace(cue, time_s=nearest(cue.time_s), end_s=nearest(cue.end_s))
        for cue in sheet
    ]
    quantised = sheet.quantise(frames_s)
    assert quantised == CueSheet(cues=expected)
    assert quantised.quantise(frames_s) == quantised


@pytest.mark.parametrize("frames_s", [[], [[0.0, 1.0]], [0.0, 0.0], [1.0, 0.0], [0.0, np.nan]])
def test_frame_times_must_increase(frames_s):
    with pytest.raises(ConfigError, match=r"^frame_times_s: .* strictly increasing$"):
        SHEET.quantise(frames_s)
