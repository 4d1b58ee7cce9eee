"""Targets of a network that predicts cues, in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foleyflow.cues.arrays import ROLL, SCRAPE, UNKNOWN, hits
from foleyflow.cues.targets import NO_FRICTION, ROLLING, SCRAPING, cue_targets

RATE_HZ = 50.0


def test_a_hit_gives_its_attributes_to_its_frame_and_the_neighbours():
    cues = hits(np.array([0.21]), levels_db=np.array([-12.0]), materials=np.array([2]))
    found = cue_targets(replace(cues, strikers=np.array([1])), 20, rate_hz=RATE_HZ)
    assert np.flatnonzero(~np.isnan(found.levels_db)).tolist() == [9, 10, 11]
    assert set(found.levels_db[9:12]) == {-12.0}
    assert found.materials[9:12].tolist() == [2, 2, 2] and found.materials[8] == UNKNOWN
    assert found.strikers[9:12].tolist() == [1, 1, 1] and found.strikers[12] == UNKNOWN
    assert (found.friction == NO_FRICTION).all() and np.isnan(found.friction_levels_db).all()


def test_of_neighbouring_hits_each_has_its_frame_and_the_louder_one_what_is_between():
    times_s, levels_db = np.array([0.21, 0.25]), np.array([-30.0, -5.0])
    cues = hits(times_s, levels_db=levels_db, materials=np.array([0, 1]))
    found = cue_targets(cues, 20, rate_hz=RATE_HZ)
    assert found.levels_db[9:14].tolist() == [-30, -30, -5, -5, -5]
    assert found.materials[9:14].tolist() == [0, 0, 1, 1, 1]


def test_hits_at_the_borders_of_a_window():
    cues = hits(
        np.array([-0.01, 0.401]), levels_db=np.array([-3.0, -6.0]), materials=np.array([0, 1])
    )
    found = cue_targets(cues, 20, rate_hz=RATE_HZ)
    assert found.materials[[0, 1, 18, 19]].tolist() == [0, UNKNOWN, UNKNOWN, 1]


def test_friction_has_a_class_a_level_and_materials_where_no_hit_is():
    one = hits(np.array([0.1, 0.2]), levels_db=np.array([-20.0, -3.0]), materials=np.array([2, 1]))
    cues = replace(
        one,
        ends_s=np.array([0.3, 0.2]),
        kinds=np.array([ROLL, 0]),
        curves_db=[np.array([-40.0, -20.0]), np.zeros(0)],
        strikers=np.array([0, UNKNOWN]),
    )
    found = cue_targets(cues, 20, rate_hz=RATE_HZ)
    assert np.flatnonzero(found.friction == ROLLING).tolist() == list(range(5, 15))
    centres_s = (np.arange(5, 15) + 0.5) / RATE_HZ
    expected_db = np.interp(centres_s, [0.1, 0.3], [-40.0, -20.0])
    np.testing.assert_allclose(found.friction_levels_db[5:15], expected_db, atol=1e-4)
    assert found.materials[5:15].tolist() == [2] * 4 + [1] * 3 + [2] * 3
    assert found.strikers[5:15].tolist() == [0] * 4 + [UNKNOWN] * 3 + [0] * 3


def test_of_two_frictions_the_louder_one_counts():
    one = hits(np.array([0.0, 0.0]), levels_db=np.array([-20.0, -10.0]))
    cues = replace(one, ends_s=np.array([0.4, 0.2]), kinds=np.array([ROLL, SCRAPE]))
    found = cue_targets(cues, 20, rate_hz=RATE_HZ)
    assert found.friction.tolist() == [SCRAPING] * 10 + [ROLLING] * 10
    assert found.friction_levels_db[[0, 19]].tolist() == [-10.0, -20.0]
