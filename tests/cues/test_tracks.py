"""Condition tracks: closed forms for single cues, windows, and attributes left to the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foleyflow.cues.arrays import ROLL, SCRAPE, CueArrays, hits
from foleyflow.cues.tracks import (
    ASSUMED_LEVEL_DB,
    FALL_TIMES_S,
    LONGEST_SINCE_S,
    QUIETEST_DB,
    TrackLayout,
    condition_tracks,
    level_01,
)

RATE_HZ, COUNT = 50.0, 100
LAYOUT = TrackLayout(materials=3)


def hit(time_s: float, *, level_db: float = 0.0, material: int = 1) -> CueArrays:
    return hits(np.array([time_s]), levels_db=np.array([level_db]), materials=np.array([material]))


def friction(start_s: float, end_s: float, curve_db, *, kind: int = ROLL) -> CueArrays:
    one = hit(start_s)
    return replace(
        one, ends_s=np.array([end_s]), kinds=np.array([kind]), curves_db=[np.array(curve_db)]
    )


def parts(cues: CueArrays, count: int = COUNT) -> dict[str, np.ndarray]:
    tracks = condition_tracks(cues, count, rate_hz=RATE_HZ, layout=LAYOUT)
    assert tracks.shape == (count, LAYOUT.channels) and tracks.dtype == np.float32
    assert np.isfinite(tracks).all()
    return {name: tracks[:, channels] for name, channels in LAYOUT.slices.items()}


def test_the_groups_cover_all_channels_once():
    covered = [index for s in LAYOUT.slices.values() for index in range(s.start, s.stop)]
    assert covered == list(range(LAYOUT.channels))


def test_levels_are_one_at_0_db_and_zero_at_the_quietest():
    levels = level_01(np.array([6.0, 0.0, QUIETEST_DB / 2, QUIETEST_DB, -90.0]))
    np.testing.assert_allclose(levels, [1.1, 1.0, 0.5, 0.0, 0.0])


def test_a_hit_is_in_its_frame_and_rings_from_there():
    found = parts(hit(0.524, level_db=-30.0))  # 4 ms after the start of frame 26
    assert np.argmax(found["onset"][:, 0]) == 26 and found["onset"][26, 0] == 1
    assert found["onset"][26, 1] == pytest.approx(0.524 * 50 - 26.5, abs=1e-5)
    assert np.flatnonzero(found["level"][:, 0]).tolist() == [26]
    assert found["struck"][26].tolist() == pytest.approx([0, 0.5, 0, 0])
    assert not found["struck"][:26].any() and not found["struck"][27:].any()
    ringing = found["ringing"].reshape(COUNT, 4, len(FALL_TIMES_S))
    assert not ringing[:26].any() and not ringing[:, [0, 2, 3]].any()
    since_s = (np.arange(26, COUNT) + 0.5) / RATE_HZ - 0.524
    for index, fall_s in enumerate(FALL_TIMES_S):
        falling = level_01(-30.0 - 8.685889638 * np.maximum(since_s, 0) / fall_s)
        np.testing.assert_allclose(ringing[26:, 1, index], falling, atol=1e-5)


def test_time_since_the_last_hit():
    two = hit(0.5).concatenate(hit(0.7))
    since = parts(two)["onset"][:, 2:]
    expected_s = np.full(COUNT, LONGEST_SINCE_S)
    centres_s = (np.arange(COUNT) + 0.5) / RATE_HZ
    expected_s[25:35], expected_s[35:] = centres_s[25:35] - 0.5, centres_s[35:] - 0.7
    np.testing.assert_allclose(since[:, 0], np.log(0.02 + expected_s) / 4, atol=1e-5)
    np.testing.assert_allclose(since[:, 1], np.exp(-expected_s / 0.1), atol=1e-5)
    assert (parts(two.take(np.zeros(2, bool)))["onset"][:, 2] == since[0, 0]).all()


def test_a_window_of_a_longer_clip_has_the_same_tracks():
    """Cues before a window ring into it, as they do in the longer clip."""
    rng = np.random.default_rng(0)
    cues = hits(
        np.sort(rng.uniform(0, 2, 12)),
        levels_db=rng.uniform(-40, 0, 12),
        materials=rng.integers(-1, 3, 12),
    )
    complete = parts(cues)
    window = parts(cues.shift(-0.8), 60)
    for name, values in window.items():
        np.testing.assert_allclose(values, complete[name][40:], atol=1e-5, err_msg=name)


def test_what_is_left_to_the_model_has_its_own_channels():
    unknown = hits(np.array([0.5]))
    found, known = parts(unknown), parts(hit(0.5, level_db=ASSUMED_LEVEL_DB, material=2))
    assert found["struck"][25, 3] == found["level"][25, 0] == known["struck"][25, 2]
    assert found["level"][25:, 1].all() and not found["level"][:25, 1].any()
    assert not known["level"][:, 1].any()
    assert not found["body"].any()


def test_of_two_hits_in_one_frame_the_louder_one_gives_the_offset():
    for louder_first in (True, False):
        levels = np.array([-10.0, -20.0] if louder_first else [-20.0, -10.0])
        cues = hits(np.array([0.502, 0.517]), levels_db=levels, materials=np.array([0, 2]))
        found = parts(cues)
        time_s = 0.502 if louder_first else 0.517
        assert found["onset"][25, 1] == pytest.approx((time_s - 0.51) * 50, abs=1e-5)
        assert found["level"][25, 0] == pytest.approx(level_01(np.array(-10.0)))
        assert np.count_nonzero(found["struck"][25]) == 2


def test_friction_follows_its_level_curve():
    found = parts(friction(0.5, 1.5, [-60.0, -10.0, -60.0], kind=SCRAPE))
    levels = found["friction"][:, 1]
    centres_s = (np.arange(COUNT) + 0.5) / RATE_HZ
    expected = level_01(np.interp(centres_s, [0.5, 1.0, 1.5], [-60.0, -10.0, -60.0]))
    inside = (centres_s > 0.5) & (centres_s < 1.5)
    np.testing.assert_allclose(levels[inside], expected[inside], atol=1e-5)
    assert not levels[centres_s < 0.48].any() and not levels[centres_s > 1.52].any()
    assert found["friction_kind"][50].tolist() == [0, 1, 0]
    assert not found["struck"].any() and not found["onset"][:, 0].any()


def test_friction_without_a_level_is_marked():
    one = replace(friction(0.5, 1.5, []), levels_db=np.array([np.nan]))
    found = parts(one)
    assert found["friction_kind"][50].tolist() == [1, 0, 1]
    assert found["friction"][50, 1] == pytest.approx(level_01(np.array(ASSUMED_LEVEL_DB)))


def test_pitch_and_decay_hold_until_the_next_cue():
    first = replace(hit(0.5), pitches_hz=np.array([2**9.5]), decays_s=np.array([np.exp(1.0)]))
    body = parts(first.concatenate(hit(1.0)))["body"]
    assert not body[:25].any() and not body[50:].any()
    np.testing.assert_allclose(body[25:50], np.tile([1, 0, 1, 1], (25, 1)), atol=1e-5)


def test_cues_outside_the_window_leave_no_trace():
    assert not any(
        values[:, :1].any() for name, values in parts(hit(2.5)).items() if name != "onset"
    )
    nothing = parts(hits(np.zeros(0)))
    for name, values in parts(hit(-60.0)).items():
        np.testing.assert_array_equal(values, nothing[name])
