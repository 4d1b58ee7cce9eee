"""The stretches that edits of cues change, in closed form."""

from __future__ import annotations

import math

import pytest

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.stretches import (
    LONGEST_DECAYS_S,
    Stretch,
    changed_stretches,
    end_of_ring_s,
)
from foleyflow.simulation.materials import MATERIALS

CUES = CueSheet(
    cues=(
        Cue(time_s=1.0, material="glass"),
        Cue(time_s=3.0, material="rubber"),
        Cue(time_s=4.0, kind="roll", end_s=5.0, material="wood"),
        Cue(time_s=7.0, decay_s=0.6, enabled=False),
        Cue(time_s=9.8, material="metal"),
    ),
    duration_s=10.0,
)
GLASS_S = 0.86 * 40 / 60


def changed(new: CueSheet, old: CueSheet = CUES) -> list[tuple[float, float]]:
    stretches = changed_stretches(old, new, duration_s=10.0)
    assert stretches == changed_stretches(new, old, duration_s=10.0)
    assert all(isinstance(each, Stretch) for each in stretches)
    return [(pytest.approx(each.start_s), pytest.approx(each.end_s)) for each in stretches]


@pytest.mark.parametrize(
    ("material", "decay_s", "ring_s"),
    [
        ("glass", None, GLASS_S),
        ("glass", 3.0, 2.0),  # its own decay counts
        ("rubber", None, 0.1),  # at least
        (None, None, 1.0),
        ("copper", None, 1.0),
        (None, 0.6, 0.4),
    ],
)
def test_a_ring_ends_when_it_has_fallen_by_40_db(material, decay_s, ring_s):
    hit = Cue(time_s=2.0, material=material, decay_s=decay_s)
    assert end_of_ring_s(hit) == pytest.approx(2.0 + ring_s)
    roll = Cue(time_s=2.0, kind="roll", end_s=3.0, material=material, decay_s=decay_s)
    assert end_of_ring_s(roll) == pytest.approx(3.0 + ring_s)


def test_the_longest_decays_are_those_of_the_simulated_materials():
    for name, material in MATERIALS.items():
        longest_s = 2 * math.log(1000.0) / material.alpha_per_s[0]
        assert LONGEST_DECAYS_S[name] == pytest.approx(longest_s, rel=0.03)


def test_equal_sheets_and_silent_changes_have_no_stretch():
    assert changed(CUES) == []
    assert changed(CUES.replace(3, time_s=7.5, material="metal")) == []  # it is disabled
    assert changed(CUES.remove(3)) == []
    assert changed(CUES.replace(0, confidence=0.4)) == []


def test_a_changed_cue_has_one_stretch_from_50_ms_before_it():
    assert changed(CUES.replace(0, level_db=-6.0)) == [(0.95, 1.0 + GLASS_S)]
    assert changed(CUES.replace(0, seed=3)) == [(0.95, 1.0 + GLASS_S)]
    assert changed(CUES.remove(1)) == [(2.95, 3.1)]
    assert changed(CUES.replace(2, end_s=4.5)) == [(3.95, 5.0 + 0.1)]
    assert changed(CUES.replace(3, enabled=True)) == [(6.95, 7.4)]
    # The longer one of the rings before and after
    assert changed(CUES.replace(0, material="stone")) == [(0.95, 1.0 + GLASS_S)]
    assert changed(CUES.replace(1, decay_s=3.0)) == [(2.95, 5.0)]


def test_stretches_end_with_the_clip():
    assert changed(CUES.replace(4, level_db=0.0)) == [(9.75, 10.0)]
    assert changed(CUES.add(Cue(time_s=0.01, material="wood"))) == [(0.0, 0.11)]


def test_a_moved_cue_has_two_stretches_unless_they_are_close():
    assert changed(CUES.replace(1, time_s=6.0)) == [(2.95, 3.1), (5.95, 6.1)]
    assert changed(CUES.replace(1, time_s=3.3)) == [(2.95, 3.4)]
    both = CUES.replace(0, level_db=-1.0).replace(4, level_db=-1.0)
    assert changed(both) == [(0.95, 1.0 + GLASS_S), (9.75, 10.0)]
