"""Cues that are proposed for hand-made curves of an aligner."""

from __future__ import annotations

import numpy as np
import pytest
from support.hand_made_analysis import MATERIALS, analysis_of, attributes_of, bumps

from foleyflow.errors import ConfigError
from foleyflow.inference.calibration import Calibration
from foleyflow.inference.spotting import spot_cues
from foleyflow.inference.windows import WindowPlan

PLAN = WindowPlan(length=12, context=3, ahead=2)


def spot(onsets, *, duration_s=2.0, attributes=None, materials=MATERIALS, **settings):
    """The spotting, with an analysis and otherwise default settings."""
    names = ("sensitivity", "calibration")
    chosen = {name: settings.pop(name) for name in names if name in settings}
    analysis = analysis_of(onsets, duration_s=duration_s, attributes=attributes, **settings)
    return spot_cues(analysis, materials=materials, **{"calibration": Calibration()} | chosen)


def times_of(cues) -> list[float]:
    return [cue.time_s for cue in cues]


def test_peaks_become_hits_and_uncertain_ones_are_disabled():
    found = spot(bumps(2.0, (0.31, 0.9), (0.75, 0.3), (1.41, 0.6), (1.8, 0.05)))
    assert times_of(found.cues) == pytest.approx([0.31, 0.75, 1.41], abs=0.003)
    assert [cue.enabled for cue in found.cues] == [True, False, True]
    assert [cue.confidence for cue in found.cues] == pytest.approx([0.9, 0.3, 0.6], abs=0.05)
    assert all(cue.kind == "hit" and cue.level_db is None for cue in found.cues)
    assert found.cues.duration_s == 2.0 and found.warnings == ()


@pytest.mark.parametrize("plan", [PLAN, WindowPlan.of_length(8)])
def test_a_hit_at_the_border_of_two_windows_is_found_once(plan):
    for time_s in np.arange(0.05, 2.9, 0.037):
        curve = bumps(3.0, (time_s, 0.9))
        assert times_of(spot(curve, duration_s=3.0, plan=plan).cues) == pytest.approx(
            [time_s], abs=0.004
        )


def test_hits_after_the_end_of_the_clip_do_not_count():
    # The last segment reaches beyond the clip
    found = spot(bumps(1.01, (0.5, 0.9), (1.035, 0.9)), duration_s=1.01)
    assert times_of(found.cues) == pytest.approx([0.5], abs=0.003)


@pytest.mark.parametrize("duration_s", [1.00006, 1.00004, 0.99996])
def test_rounded_times_stay_within_the_clip(duration_s):
    curve = bumps(duration_s, (0.999, 0.9))
    rolling = attributes_of(len(curve), roll=0.9)
    found = spot(curve, duration_s=duration_s, attributes=rolling)
    assert len(found.cues.frictions) == 1
    assert found.cues.frictions[0].end_s == pytest.approx(duration_s, abs=1e-4)


def test_a_higher_sensitivity_enables_the_same_hits_and_more():
    peaks = [(0.1 + 0.15 * k, height) for k, height in enumerate(np.geomspace(0.03, 0.95, 12))]
    curves = {
        "certain": bumps(2.0, *peaks),
        "uncertain": bumps(2.0, *peaks[:8]),  # the highest is below the threshold
    }
    for curve in curves.values():
        counts, before = [], set()
        for sensitivity in (0.01, 0.1, 0.3, 0.5, 0.6, 0.8, 0.95, 0.999):
            enabled = set(times_of(spot(curve, sensitivity=sensitivity).cues.enabled))
            assert before <= enabled
            counts.append(len(enabled))
            before = enabled
        assert counts[0] < counts[3] < counts[-1] == len(spot(curve, sensitivity=0.999).cues)


def test_at_the_default_sensitivity_the_threshold_is_that_of_the_calibration():
    calibration = Calibration(slope=2.0, offset=-1.0, threshold=0.7)
    # confidence = sigmoid(2 logit(p) - 1) = 0.7
    limit = 1 / (1 + np.exp(-(np.log(0.7 / 0.3) + 1) / 2))
    assert calibration.confidence(limit) == pytest.approx(0.7)
    for probability, enabled in ((limit - 0.01, False), (limit + 0.01, True)):
        assert calibration.enables(calibration.confidence(probability), 0.5) == enabled
    # Logits of threshold and sensitivity add up
    assert calibration.enables(0.31, 0.7) == calibration.enables(0.51, 0.5) is False
    assert Calibration().enables(0.31, 0.7) and not Calibration().enables(0.29, 0.7)


@pytest.mark.parametrize("sensitivity", [0.0, 1.0, -1.0, float("nan")])
def test_a_sensitivity_out_of_range_is_refused(sensitivity):
    with pytest.raises(ConfigError, match="expected a number above 0 and below 1"):
        spot(bumps(1.0), duration_s=1.0, sensitivity=sensitivity)


def test_without_a_certain_hit_those_that_stand_out_are_enabled_with_a_warning():
    curve = bumps(2.0, (0.3, 0.06), (0.8, 0.1), (1.3, 0.03), (1.7, 0.045))
    found = spot(curve)
    # At least 0.35 of the highest, and six times the median
    assert times_of(found.cues.enabled) == pytest.approx([0.3, 0.8, 1.7], abs=0.003)
    assert len(found.cues) == 3
    (warning,) = found.warnings
    assert "no hit was found with confidence" in warning and "(3; check them" in warning
    # Nothing stands out from a curve that is as high everywhere
    nothing = spot(bumps(2.0, (0.3, 0.1), (0.8, 0.1), floor=0.03))
    assert len(nothing.cues.enabled) == 0 and "nothing will sound" in nothing.warnings[0]
    # A lower sensitivity asks for fewer hits
    assert len(spot(curve, sensitivity=0.49).cues.enabled) == 0


@pytest.mark.parametrize("floor", [0.0, 0.001, 0.03])
def test_a_still_clip_has_no_cues_and_a_warning(floor):
    found = spot(bumps(2.0, floor=floor))
    assert len(found.cues.enabled) == 0
    (warning,) = found.warnings
    assert "nothing will sound" in warning and "--sensitivity" in warning and "--cues" in warning


def test_hits_have_no_material_without_attributes_or_names():
    curve = bumps(2.0, (0.3, 0.9), (1.0, 0.9), (1.5, 0.2))
    found = spot(curve), spot(curve, materials=(), attributes=attributes_of(len(curve)))
    for each in found:
        assert [cue.material for cue in each.cues] == [None] * 3


def test_materials_of_hits_follow_their_own_and_all_probabilities():
    curve = bumps(2.0, (0.3, 0.9), (0.8, 0.9), (1.3, 0.9), (1.8, 0.2))
    rows = np.full((len(curve), 3), (0.8, 0.15, 0.05))
    rows[55:75] = (0.02, 0.03, 0.95)  # the third hit is glass without doubt
    rows[35:45] = (0.4, 0.55, 0.05)  # the second one is hardly metal
    found = spot(curve, attributes=attributes_of(len(curve), materials=rows))
    assert [cue.material for cue in found.cues] == ["wood", "wood", "glass", "wood"]


def test_levels_are_relative_to_the_loudest_enabled_hit():
    curve = bumps(2.0, (0.3, 0.9), (0.8, 0.9), (1.3, 0.2))
    levels_db = np.full(len(curve), -15.0)
    levels_db[35:45], levels_db[55:75] = -45.0, 3.0
    rolling = np.zeros(len(curve))
    rolling[75:95] = 0.9
    found = spot(
        curve,
        attributes=attributes_of(
            len(curve), levels_db=levels_db, roll=rolling, friction_levels_db=-30.0
        ),
    )
    assert [cue.level_db for cue in found.cues.hits] == [0.0, -30.0, 6.0]  # 18 is too loud
    assert set(found.cues.frictions[0].level_curve_db) == {-15.0}


def test_friction_has_its_kind_times_and_level_curve():
    count = len(bumps(3.0))
    roll, scrape = np.zeros(count), np.zeros(count)
    roll[20:50] = 0.8  # 0.4 s to 1.0 s
    roll[34:38] = 0.1  # a break of 80 ms does not count
    scrape[90:96] = 0.9  # 120 ms are too short
    scrape[110:160] = 0.7  # to the end of the clip and beyond it
    levels_db = -60 + np.arange(count) * 0.25
    found = spot(
        bumps(3.0),
        duration_s=3.0,
        attributes=attributes_of(count, roll=roll, scrape=scrape, friction_levels_db=levels_db),
    )
    first, second = found.cues
    assert (first.kind, first.time_s, first.end_s) == ("roll", 0.4, 1.0)
    assert (second.kind, second.time_s, second.end_s) == ("scrape", 2.2, 3.0)
    assert len(first.level_curve_db) == 7 and len(second.level_curve_db) == 9
    # The curve is linear in time: 0.25 dB per frame from -60 dB
    for cue in found.cues:
        steps_s = np.linspace(cue.time_s, cue.end_s, len(cue.level_curve_db))
        expected = -60 + 0.25 * (50 * steps_s - 0.5)
        np.testing.assert_allclose(cue.level_curve_db, expected, atol=0.2)
    assert found.warnings == ()  # friction sounds
    assert 0.6 < first.confidence < 0.9


def test_the_same_analysis_gives_an_equal_sheet():
    curve = bumps(2.0, (0.3, 0.9), (1.0, 0.4))
    assert spot(curve).cues == spot(curve).cues
