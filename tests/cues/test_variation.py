"""Variation of cues in training: rates, and what stays as it was."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from foleyflow.cues.arrays import HIT, ROLL, UNKNOWN, CueArrays, hits
from foleyflow.cues.variation import CueVariation, vary_cues
from foleyflow.errors import ConfigError

NONE = CueVariation(**{each.name: 0.0 for each in fields(CueVariation)} | {"body_fraction": 1.0})


def cues() -> CueArrays:
    """Ten hits of two materials and a roll."""
    times_s = np.arange(11) * 0.3
    some = hits(times_s, levels_db=np.linspace(-20, 0, 11), materials=np.arange(11) % 2)
    ends_s, kinds = times_s.copy(), np.full(11, HIT)
    ends_s[5], kinds[5] = 2.0, ROLL
    return replace(
        some,
        ends_s=ends_s,
        kinds=kinds,
        curves_db=[np.array([-10.0, -5.0]) if k == ROLL else np.zeros(0) for k in kinds],
        strikers=np.full(11, 1),
        pitches_hz=np.full(11, 440.0),
        decays_s=np.full(11, 0.5),
    )


def varied(config: CueVariation, count: int = 400) -> list[CueArrays]:
    rng = np.random.default_rng(0)
    return [vary_cues(cues(), rng, config, duration_s=3.2, materials=4) for _ in range(count)]


def same(one: CueArrays, other: CueArrays) -> bool:
    return all(
        np.array_equal(value, getattr(other, name), equal_nan=True)
        for name, value in vars(one).items()
        if name != "curves_db"
    )


def test_without_variation_cues_stay_as_they_are():
    assert all(same(each, cues()) for each in varied(NONE, 20))


def test_the_default_leaves_times_of_half_of_the_windows():
    equal = [
        len(each) >= 10 and set(each.times_s[each.is_hit]) == set(cues().times_s[cues().is_hit])
        for each in varied(CueVariation())
    ]
    assert np.mean(equal) == pytest.approx(1 - CueVariation().wrong_fraction, abs=0.08)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("no_material_fraction", lambda c: c.materials == UNKNOWN),
        ("no_level_fraction", lambda c: np.isnan(c.levels_db)),
    ],
)
def test_attributes_are_left_out_in_windows_and_in_single_cues(name, left_out):
    found = [left_out(each) for each in varied(replace(NONE, **{name: 0.2}))]
    assert np.mean([each.all() for each in found]) == pytest.approx(0.2, abs=0.06)
    assert np.mean(np.concatenate(found)) == pytest.approx(1 - 0.8 * 0.8, abs=0.05)


def test_strikers_and_bodies_are_left_out_for_complete_windows():
    config = replace(NONE, no_striker_fraction=0.5, body_fraction=0.5)
    for values in (
        [each.strikers == UNKNOWN for each in varied(config)],
        [np.isnan(each.pitches_hz) & np.isnan(each.decays_s) for each in varied(config)],
    ):
        assert {bool(v.all()) for v in values} == {bool(v.any()) for v in values} == {True, False}
        assert np.mean([v.all() for v in values]) == pytest.approx(0.5, abs=0.08)


def test_errors_have_the_sizes_of_the_settings():
    config = replace(NONE, wrong_fraction=1.0, shift_s=0.01, level_error_db=3.0)
    differences = [
        (each.times_s - cues().times_s, each.levels_db - cues().levels_db)
        for each in varied(config)
        if (np.argsort(each.levels_db).size == 11)
    ]
    shifts, levels = (np.concatenate(each) for each in zip(*differences, strict=True))
    assert shifts.std() == pytest.approx(0.01, rel=0.1)
    assert levels.std() == pytest.approx(3.0, rel=0.1)


def test_hits_are_missing_and_added():
    missing = varied(replace(NONE, wrong_fraction=1.0, missing_fraction=0.3))
    assert np.mean([each.is_hit.sum() for each in missing]) == pytest.approx(7.0, abs=0.3)
    assert all((~each.is_hit).sum() == 1 for each in missing)
    added = varied(replace(NONE, wrong_fraction=1.0, added_fraction=0.3))
    assert np.mean([each.is_hit.sum() for each in added]) == pytest.approx(13.0, abs=0.3)
    assert all((np.diff(each.times_s) >= 0).all() for each in added)
    empty = hits(np.zeros(0))
    rng = np.random.default_rng(0)
    config = replace(NONE, wrong_fraction=1.0, added_fraction=1.0)
    some = vary_cues(empty, rng, config, duration_s=3.2, materials=4)
    assert len(some) == 3 and (some.materials == UNKNOWN).all()


def test_materials_are_confused_for_all_cues_of_a_material():
    config = replace(NONE, wrong_fraction=1.0, confused_fraction=1.0)
    found = varied(config)
    for each in found:
        for material in (0, 1):
            assert len(set(each.materials[cues().materials == material])) == 1
    assert {int(m) for each in found for m in each.materials} == {0, 1, 2, 3}


def test_fractions_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"cues: missing_fraction=1.5: expected 0..1"):
        CueVariation(missing_fraction=1.5)
    with pytest.raises(ConfigError, match=r"cues: shift_s=-1: expected at least 0"):
        CueVariation(shift_s=-1)
