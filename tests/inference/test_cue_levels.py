"""Levels of hits and frictions: synthetic sounds, streams, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from support.media_files import make_video

from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.cue import NOMINAL_PEAK, Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.cue_levels import (
    EARLY_S,
    LARGEST_GAIN_DB,
    RAMP_S,
    RELEASE_S,
    HitGain,
    HitLevels,
    correct_friction,
    hit_curve_db,
)
from foleyflow.inference.pipeline import FoleyFlow

RATE_HZ = 48_000


def hit(time_s: float, level_db: float | None, *, decay_s: float = 0.15) -> Cue:
    return Cue(time_s=time_s, level_db=level_db, decay_s=decay_s)


def ringing(hits: list[tuple[float, float]], *, duration_s: float = 2.0) -> np.ndarray:
    """Decaying tones at times with levels in dB, which fall by 60 dB in 0.15 s."""
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    sound = np.zeros(len(times_s))
    for time_s, level_db in hits:
        since_s = times_s - time_s
        tone = np.cos(2 * np.pi * 800 * since_s) * 10 ** (-3 * since_s / 0.15)
        sound += np.where(since_s >= -1e-9, tone, 0) * NOMINAL_PEAK * 10 ** (level_db / 20)
    return sound.astype(np.float32)


def corrected(sound: np.ndarray, cues: list[Cue], *, block: int = 5000) -> np.ndarray:
    blocks = [sound[first : first + block] for first in range(0, len(sound), block)]
    found = np.concatenate(list(HitLevels(cues, RATE_HZ).correct(blocks)))
    assert found.dtype == np.float32 and len(found) == len(sound)
    return found


def peak_db(sound: np.ndarray, start_s: float, end_s: float) -> float:
    piece = sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    return 20 * float(np.log10(np.abs(piece).max() / NOMINAL_PEAK))


def test_hits_get_the_levels_of_their_cues():
    sound = ringing([(0.5, -20.0), (1.0, -4.0), (1.5, -9.0)])
    cues = [hit(0.5, -12.0), hit(1.0, -10.0), hit(1.5, None)]
    found = corrected(sound, cues)
    assert peak_db(found, 0.49, 0.6) == pytest.approx(-12.0, abs=0.01)
    assert peak_db(found, 0.99, 1.1) == pytest.approx(-10.0, abs=0.01)
    # The gain holds while the hit rings, and what is left to the model stays
    inside = slice(round(0.5 * RATE_HZ), round(0.6 * RATE_HZ))
    np.testing.assert_allclose(found[inside], sound[inside] * 10 ** (8 / 20), rtol=1e-4)
    unchanged = np.r_[: round(0.48 * RATE_HZ), round(1.5 * RATE_HZ) : len(sound)]
    np.testing.assert_array_equal(found[unchanged], sound[unchanged])


@pytest.mark.parametrize("block", [1, 480, 96_000])
def test_the_size_of_blocks_does_not_matter(block):
    sound = ringing([(0.1, -20.0), (0.16, -4.0), (0.4, 0.0)], duration_s=0.5)
    cues = [hit(0.1, -12.0), hit(0.16, -10.0), hit(0.4, -3.0)]
    np.testing.assert_array_equal(corrected(sound, cues, block=block), corrected(sound, cues))


def test_gains_are_limited():
    found = corrected(ringing([(0.5, -40.0)]), [hit(0.5, 0.0)])
    assert peak_db(found, 0.49, 0.6) == pytest.approx(-40.0 + LARGEST_GAIN_DB, abs=0.01)


@pytest.mark.parametrize(("first_db", "gain_db"), [(-6.0, 0.0), (3.0, 3.0)])
def test_a_hit_that_does_not_stand_out_ends_a_cut_but_gets_no_higher_gain(first_db, gain_db):
    # The second hit is 30 dB below what still rings
    sound = ringing([(0.5, 0.0), (0.54, -40.0)])
    levels = HitLevels([hit(0.5, first_db), hit(0.54, 0.0)], RATE_HZ)
    list(levels.correct([sound]))
    assert [round(gain.gain_db, 2) for gain in levels.gains] == [first_db, gain_db]


def test_a_hit_below_what_still_rings_keeps_the_gain_of_the_last_one():
    levels = HitLevels([hit(0.5, -6.0), hit(0.54, -40.0)], RATE_HZ)
    list(levels.correct([ringing([(0.5, 0.0), (0.54, 0.0)])]))
    assert [round(gain.gain_db, 2) for gain in levels.gains] == [-6.0, -6.0]


def test_sound_before_an_attack_hides_a_hit_only_if_something_rings():
    """Noise before the first attack of a changed stretch kept a hit 15 dB too loud."""
    sound = ringing([(0.47, -2.0), (0.5, -5.0)])
    friction = Cue(time_s=0.4, end_s=0.9, kind="scrape")
    alone, after_hit, in_friction = (
        HitLevels([hit(0.5, -20.0)], RATE_HZ, gains=gains, frictions=frictions)
        for gains, frictions in (
            ([], ()),
            ([HitGain(time_s=0.45, ring_end_s=0.6, gain_db=-3.0)], ()),
            ([], (friction,)),
        )
    )
    for levels in (alone, after_hit, in_friction):
        levels.first_sample = round(0.46 * RATE_HZ)
        list(levels.correct([sound[levels.first_sample :]]))
    found_db = 20 * np.log10(np.abs(sound[round(0.488 * RATE_HZ) :]).max() / NOMINAL_PEAK)
    assert alone.gains[-1].gain_db == pytest.approx(-20 - found_db, abs=0.01)
    assert after_hit.gains[-1].gain_db == pytest.approx(-3.0)
    assert in_friction.gains[-1].gain_db == 0.0


@pytest.mark.parametrize("gap_s", [0.004, 0.012, 0.028])
@pytest.mark.parametrize(("levels_db", "raw_db"), [((-47.0, -6.0), -3.0), ((-6.0, -47.0), -12.0)])
def test_near_hits_have_together_the_level_of_the_louder_one(gap_s, levels_db, raw_db):
    cues = [hit(0.5, levels_db[0]), hit(0.5 + gap_s, levels_db[1])]
    found = corrected(ringing([(0.5, raw_db), (0.5 + gap_s, raw_db - 30)]), cues)
    assert peak_db(found, 0.49, 0.6) == pytest.approx(-6.0, abs=0.01)


def test_a_near_hit_of_an_unknown_level_stays():
    sound = ringing([(0.5, -3.0), (0.51, -3.0)])
    for levels_db in ((None, -47.0), (-47.0, None)):
        cues = [hit(0.5, levels_db[0]), hit(0.51, levels_db[1])]
        np.testing.assert_array_equal(corrected(sound, cues), sound)


def test_a_later_part_of_a_sound_continues_with_the_gain_of_the_hit_before_it():
    sound = ringing([(0.5, -20.0), (1.0, -4.0)])
    cues = [hit(0.5, -12.0, decay_s=2.0), hit(1.0, -10.0)]
    complete = HitLevels(cues, RATE_HZ)
    expected = np.concatenate(list(complete.correct([sound])))
    first = round(0.9 * RATE_HZ)
    part = HitLevels(cues, RATE_HZ, first_sample=first, gains=complete.gains[:1])
    np.testing.assert_array_equal(
        np.concatenate(list(part.correct([sound[first:]]))), expected[first:]
    )


def test_the_gain_curve_has_a_ramp_before_a_hit_and_a_release_after_its_ring():
    gains = [HitGain(time_s=1.0, ring_end_s=1.5, gain_db=-8.0)]
    attack_s = 1.0 - EARLY_S
    times_s = [0.9, attack_s - RAMP_S, attack_s - RAMP_S / 2, attack_s, 1.5, 1.5 + RELEASE_S / 4, 2]
    curve_db = hit_curve_db(gains, np.array(times_s))
    np.testing.assert_allclose(curve_db, [0, 0, -4, -8, -8, -6, 0], atol=1e-9)


@pytest.mark.parametrize("block", [777, 96_000])
def test_friction_follows_its_level_curve(block):
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal(2 * RATE_HZ) * NOMINAL_PEAK * 10 ** (-20 / 20)).astype(np.float32)
    cue = Cue(time_s=0.5, end_s=1.5, kind="roll", level_curve_db=(-30.0, -15.0, -30.0))
    blocks = [noise[first : first + block] for first in range(0, len(noise), block)]
    cues = arrays_of([cue], ())
    found = np.concatenate(list(correct_friction(blocks, cues, rate_hz=RATE_HZ)))
    assert len(found) == len(noise)
    for time_s, level_db in ((0.65, -25.5), (1.0, -15.7), (1.35, -25.5)):
        piece = found[round((time_s - 0.05) * RATE_HZ) : round((time_s + 0.05) * RATE_HZ)]
        rms_db = 20 * np.log10(np.sqrt(np.mean(np.square(piece))) / NOMINAL_PEAK)
        assert rms_db == pytest.approx(level_db, abs=0.8)
    outside = np.r_[: round(0.45 * RATE_HZ), round(1.55 * RATE_HZ) : len(noise)]
    np.testing.assert_array_equal(found[outside], noise[outside])


def test_sound_without_friction_of_a_given_level_stays():
    sound = ringing([(0.5, -20.0)])
    for cue in (hit(0.5, 0.0), Cue(time_s=0.2, end_s=1.0, kind="scrape")):
        found = list(correct_friction([sound], arrays_of([cue], ()), rate_hz=RATE_HZ))
        np.testing.assert_array_equal(np.concatenate(found), sound)


def test_generated_hits_have_the_levels_of_their_cues(tmp_path):
    clip = make_video(tmp_path / "clip.mp4", n_frames=75)
    cues = CueSheet(
        cues=(
            Cue(time_s=0.6, level_db=-6.0, material="wood"),
            Cue(time_s=1.8, level_db=-3.0, material="wood"),
        ),
        duration_s=3.0,
    )
    model = FoleyFlow.from_pretrained(device="cpu")
    loud = model.generate(clip, cues=cues, loudness_lufs=None)
    edited = loud.rerender(cues.replace(1, level_db=0.0))
    for result, second_db in ((loud, -3.0), (edited, 0.0)):
        assert peak_db(result.waveform, 0.59, 0.66) == pytest.approx(-6.0, abs=0.1)
        assert peak_db(result.waveform, 1.79, 1.86) == pytest.approx(second_db, abs=0.1)


@pytest.mark.parametrize("quiet_first", [True, False])
def test_a_quiet_cue_near_another_one_does_not_change_its_level(tmp_path, quiet_first):
    """A cue of -47 dB, 4 ms from another one, came out loud or made the other one quiet."""
    clip = make_video(tmp_path / "clip.mp4", n_frames=75)
    times_s = (1.004, 1.0) if quiet_first else (1.0, 1.004)
    cues = CueSheet(
        cues=(
            Cue(time_s=times_s[0], level_db=-20.0, material="wood"),
            Cue(time_s=times_s[1], level_db=-47.0, material="wood"),
        ),
        duration_s=3.0,
    )
    model = FoleyFlow.from_pretrained(device="cpu")
    both = model.generate(clip, cues=cues, loudness_lufs=None)
    assert peak_db(both.waveform, 0.98, 1.2) == pytest.approx(-20.0, abs=0.5)
    # Also if it is added later
    loud = cues.filter(lambda cue: cue.level_db == -20.0)
    edited = model.generate(clip, cues=loud, loudness_lufs=None).rerender(cues)
    assert peak_db(edited.waveform, 0.98, 1.2) == pytest.approx(-20.0, abs=0.5)
