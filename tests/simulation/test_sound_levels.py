"""Levels, pitches and decays that the synthesis states, against the sounds themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.sound.codec_sounds import sample_contact_log
from foleyflow.simulation.sound.levels import (
    FAINTEST_DB,
    NOMINAL_PEAK,
    STEP_S,
    level_db,
    rms_curve,
)
from foleyflow.simulation.sound.modes import modes_of
from foleyflow.simulation.sound.ringing import Strike, ring
from foleyflow.simulation.sound.room import sample_room
from foleyflow.simulation.sound.synthesis import SynthesisedSound, synthesise

RATE_HZ = 48_000
BALL = Body(name="ball", material="rubber", shape="sphere", size_m=(0.05, 0.05, 0.05))
BLOCK = Body(name="block", material="plastic", shape="box", size_m=(0.12, 0.1, 0.05), damping=4.0)
HIT = Impact(time_s=0.1, body="block", other="ball", impulse_ns=0.1, speed_mps=1.5)

# (seed, RMS, peak, mean product with a chirp) before levels were measured
FORMER_SOUNDS = (
    (0, 0.02566603, 0.59310967, -2.85271574e-06),
    (1, 0.00341253, 0.10738750, -6.47148748e-05),
    (2, 0.08612814, 0.62853688, 1.42249838e-04),
    (3, 0.02742976, 0.22974625, 2.45566388e-06),
    (4, 0.08195484, 0.63072073, 5.09768921e-06),
    (5, 0.02521210, 0.23959912, -1.87582191e-06),
    (6, 0.00663493, 0.11038572, -2.58603581e-05),
    (7, 0.02264144, 0.25234997, -1.33605292e-05),
)


def sound_of(*contacts: Impact | Friction, seed: int = 0, **settings) -> SynthesisedSound:
    log = ContactLog(
        bodies={"ball": BALL, "block": BLOCK},
        impacts=[each for each in contacts if isinstance(each, Impact)],
        frictions=[each for each in contacts if isinstance(each, Friction)],
    )
    settings = {"duration_s": 1.0, **settings}
    return synthesise(log, rng=np.random.default_rng(seed), **settings)


def roll(start_s: float, end_s: float, *, speed_mps: float = 0.6) -> Friction:
    return Friction(
        body="ball",
        other="block",
        kind="roll",
        times_s=np.array([start_s, end_s]),
        speed_mps=np.full(2, speed_mps),
        force_n=np.full(2, 3.0),
    )


def peak_db(waveform: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(waveform).max() / 0.45))


@pytest.mark.parametrize(("seed", "rms", "peak", "product"), FORMER_SOUNDS)
def test_measuring_levels_changes_no_waveform(seed, rms, peak, product):
    rng = np.random.default_rng(seed)
    log = sample_contact_log(rng, 1.2)
    room = sample_room(rng) if seed % 2 else None
    ambience_db = -50.0 if seed % 3 else None
    sound = synthesise(log, duration_s=1.0, rng=rng, room=room, ambience_db=ambience_db)
    samples = sound.waveform.astype(np.float64)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(rms, rel=1e-5)
    assert np.abs(samples).max() == pytest.approx(peak, rel=1e-5)
    chirp = np.cos(1e-5 * np.arange(len(samples)) ** 2)
    assert np.mean(samples * chirp) == pytest.approx(product, abs=1e-6 * rms + 1e-9)


def test_the_level_of_a_single_hit_is_the_peak_of_its_clip():
    errors = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        log = sample_contact_log(rng, 1.0)
        if not log.impacts:
            continue
        log = replace(log, impacts=[replace(log.impacts[0], time_s=0.01)], frictions=[])
        sound = synthesise(log, duration_s=1.0, rng=rng)
        errors.append(sound.impact_levels_db[0] - peak_db(sound.waveform))
    assert len(errors) > 100
    # The peak of a few slow beats is later than the search.
    assert np.abs(errors).max() < 0.6 and np.quantile(np.abs(errors), 0.98) < 1e-3


def test_hits_of_a_clip_have_their_own_levels():
    hits = [replace(HIT, time_s=0.1 + 0.3 * k, impulse_ns=0.3 / 4**k) for k in range(3)]
    sound = sound_of(*hits)
    parts = np.split(sound.waveform, [int(0.35 * RATE_HZ), int(0.65 * RATE_HZ)])
    expected = [peak_db(part) for part in parts]
    assert sound.impact_levels_db == pytest.approx(expected, abs=0.05)
    assert expected[0] > expected[1] + 6 > expected[2] + 12


def test_room_and_ambience_do_not_change_the_differences_between_levels():
    hits = [replace(HIT, time_s=0.1 + 0.2 * k, impulse_ns=0.3 / 2**k) for k in range(4)]
    plain = sound_of(*hits, roll(0.3, 0.8))
    room = sample_room(np.random.default_rng(1))
    recorded = sound_of(*hits, roll(0.3, 0.8), room=room, ambience_db=-40.0)
    levels = [np.array([*x.impact_levels_db, *x.friction_levels_db[0]]) for x in (plain, recorded)]
    np.testing.assert_allclose(np.diff(levels[0]), np.diff(levels[1]), atol=1e-9)


def test_impacts_outside_the_clip_have_no_level_and_silent_ones_the_lowest():
    outside = [replace(HIT, time_s=-0.1), replace(HIT, time_s=1.0)]
    silent = replace(HIT, time_s=0.5, impulse_ns=0.0)
    sound = sound_of(outside[0], HIT, silent, outside[1])
    assert [level is None for level in sound.impact_levels_db] == [True, False, False, True]
    assert sound.impact_levels_db[2] == FAINTEST_DB
    assert sound_of(silent).impact_levels_db == (FAINTEST_DB,)


def test_levels_are_relative_to_the_nominal_peak():
    amplitudes = NOMINAL_PEAK * np.array([2.0, 1.0, 0.1, 1e-6, 0.0])
    expected = [20 * np.log10(2), 0.0, -20.0, FAINTEST_DB, FAINTEST_DB]
    np.testing.assert_allclose(level_db(amplitudes), expected, atol=1e-12)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_rms_curve_of_a_tone_and_of_a_step(rate_hz: int):
    step = round(STEP_S * rate_hz)
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(10 * step) / rate_hz)
    np.testing.assert_allclose(rms_curve(tone, rate_hz=rate_hz), np.full(10, 0.5**0.5), rtol=1e-3)
    rising = np.repeat([0.0, 3.0], 4 * step)
    expected = [0, 0, 0, 3**0.5, 6**0.5, 3, 3, 3]  # means over three steps
    np.testing.assert_allclose(rms_curve(rising, rate_hz=rate_hz), expected)
    # The last step may be shorter, and so may the sound.
    assert rms_curve(np.full(step + 1, 2.0), rate_hz=rate_hz) == pytest.approx([2.0, 2.0])
    assert rms_curve(np.full(3, 2.0), rate_hz=rate_hz) == pytest.approx([2.0])
    assert len(rms_curve(np.zeros(0), rate_hz=rate_hz)) == 0


def test_the_curve_of_a_friction_is_that_of_its_sound():
    sound = sound_of(roll(0.2, 0.75))
    (curve,) = sound.friction_levels_db
    assert len(curve) == 14  # 0.55 s in steps of 0.04 s
    during = sound.waveform[int(0.2 * RATE_HZ) : int(0.75 * RATE_HZ)].astype(np.float64)
    np.testing.assert_allclose(curve, level_db(rms_curve(during, rate_hz=RATE_HZ)), atol=1e-3)
    total = np.sqrt(np.mean(10 ** (curve / 10)))
    assert NOMINAL_PEAK * total == pytest.approx(np.sqrt(np.mean(during**2)), rel=0.05)


def test_the_curve_of_a_friction_stays_within_the_clip():
    inside, before, silent, after = sound_of(
        roll(0.9, 1.5), roll(-0.5, 0.08), roll(0.5, 0.7, speed_mps=0.0), roll(1.2, 1.4)
    ).friction_levels_db
    assert (len(inside), len(before), len(after)) == (3, 2, 0)
    assert inside.min() > FAINTEST_DB and before.min() > FAINTEST_DB
    assert silent.tolist() == [FAINTEST_DB] * 5


def test_lowest_modes_are_those_of_the_varied_bodies():
    sound = sound_of(HIT, seed=5)
    rng = np.random.default_rng(5)
    modes = {body.name: modes_of(body, rng=rng) for body in (BALL, BLOCK)}
    for name, lowest in sound.lowest_modes.items():
        assert lowest.frequency_hz == modes[name].frequencies_hz.min()


def test_the_lowest_mode_falls_by_60_db_in_its_decay():
    modes = modes_of(Body(name="bell", material="metal", shape="bowl", size_m=(0.2, 0.2, 0.1)))
    alone = np.where(np.arange(len(modes)) == 0, 1.0, 0.0)
    count = round(modes.lowest.decay_s * RATE_HZ)
    strike = Strike(sample=0, gains=alone, pulse=np.ones(1))
    sound = ring(modes, [strike], length=2 * count, rate_hz=RATE_HZ)
    energies = [np.sum(half**2) for half in np.split(sound, 2)]
    assert 10 * np.log10(energies[1] / energies[0]) == pytest.approx(-60.0, abs=0.5)
