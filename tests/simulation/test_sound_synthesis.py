"""Waveforms of contact logs: times, levels, materials, rolling, rooms, determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foleyflow.errors import DataError
from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.sound.room import RoomParameters, reverberate, room_response, sample_room
from foleyflow.simulation.sound.synthesis import contact_duration_s, force_pulse, synthesise

RATE_HZ = 48_000
STICK = Body(name="stick", material="wood", shape="bar", size_m=(0.3, 0.02, 0.02))
HIT = Impact(
    time_s=0.1234,
    body="thing",
    other="stick",
    impulse_ns=0.2,
    speed_mps=2.0,
    position=(0.4, 0.2, 0.6),
)


def thing(material: str, shape: str = "plate", size_m=(0.3, 0.2, 0.012), **changes) -> Body:
    return Body(name="thing", material=material, shape=shape, size_m=size_m, **changes)


def hits_sound(body: Body, *impacts: Impact, duration_s: float = 1.0, seed: int = 7, **settings):
    log = ContactLog(
        bodies={"thing": body, "stick": STICK}, impacts=list(impacts or (HIT,)), frictions=[]
    )
    rng = np.random.default_rng(seed)
    return synthesise(log, duration_s=duration_s, rng=rng, **settings).waveform


def ring_time_s(sound: np.ndarray) -> float:
    """Return the time from the onset until the remaining energy is 30 dB below the total."""
    left = np.cumsum(sound[::-1].astype(np.float64) ** 2)[::-1]
    return (np.flatnonzero(left > 1e-3 * left[0])[-1] - np.flatnonzero(sound)[0]) / RATE_HZ


def centroid_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(np.sum(power * np.fft.rfftfreq(len(sound), 1 / RATE_HZ)) / power.sum())


def over_seeds(measure, body: Body) -> float:
    return float(np.median([measure(hits_sound(body, duration_s=3.0, seed=s)) for s in range(5)]))


def test_shape_type_and_range():
    sound = hits_sound(thing("wood"), duration_s=0.7)
    assert sound.shape == (33_600,) and sound.dtype == np.float32
    assert np.abs(sound).max() <= 1.0


@pytest.mark.parametrize("material", ["wood", "metal", "rubber", "membrane"])
@pytest.mark.parametrize("time_s", [0.0, 0.1234, 0.50001])
def test_an_impact_starts_at_its_sample(material: str, time_s: float):
    room = sample_room(np.random.default_rng(1))
    sound = hits_sound(thing(material), replace(HIT, time_s=time_s), room=room)
    assert np.flatnonzero(sound)[0] == round(time_s * RATE_HZ)


def test_one_seed_gives_the_same_bytes_and_another_seed_others():
    room = sample_room(np.random.default_rng(1))
    first = hits_sound(thing("glass"), room=room, ambience_db=-60.0)
    again = hits_sound(thing("glass"), room=room, ambience_db=-60.0)
    other = hits_sound(thing("glass"), room=room, ambience_db=-60.0, seed=8)
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize("material", ["wood", "metal", "membrane"])
def test_a_larger_impulse_is_louder(material: str):
    impulses = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    levels = [
        float(np.sqrt(np.mean(hits_sound(thing(material), replace(HIT, impulse_ns=i)) ** 2)))
        for i in impulses
    ]
    assert (np.diff(levels) > 0).all()


def test_the_level_within_a_clip_is_proportional_to_the_impulse():
    late = replace(HIT, time_s=0.6, impulse_ns=HIT.impulse_ns / 4)
    ratios = []
    for seed in range(9):  # hits differ slightly
        sound = hits_sound(thing("wood"), HIT, late, seed=seed)
        first, second = np.split(sound, [int(0.55 * RATE_HZ)])
        ratios.append(np.sqrt(np.sum(first**2) / np.sum(second**2)))
    assert np.median(ratios) == pytest.approx(4.0, rel=0.1)
    assert max(ratios) < 8.0 and min(ratios) > 2.0


def test_a_faster_hit_has_a_shorter_contact_and_a_brighter_sound():
    body = thing("wood")
    slow, fast = (contact_duration_s(body, STICK, speed_mps=v) for v in (0.3, 5.0))
    assert fast < slow
    assert slow / fast == pytest.approx((5.0 / 0.3) ** 0.2)
    dull = hits_sound(thing("metal"), replace(HIT, speed_mps=0.1))
    bright = hits_sound(thing("metal"), replace(HIT, speed_mps=5.0))
    assert centroid_hz(bright) > centroid_hz(dull)


def test_a_rubber_tip_sounds_duller_than_a_metal_one():
    def with_tip(material: str) -> np.ndarray:
        tip = Body(name="tip", material=material, shape="sphere", size_m=(0.03,) * 3)
        log = ContactLog(
            bodies={"thing": thing("metal"), "tip": tip}, impacts=[replace(HIT, other="tip")]
        )
        return synthesise(log, duration_s=1.0, rng=np.random.default_rng(0)).waveform

    assert centroid_hz(with_tip("metal")) > 1.5 * centroid_hz(with_tip("rubber"))


def test_the_lighter_body_is_audible_next_to_a_heavy_one():
    floor = Body(name="thing", material="stone", shape="plate", size_m=(4.0, 4.0, 0.1), damping=4.0)
    cup = Body(name="cup", material="metal", shape="bowl", size_m=(0.1, 0.1, 0.1))
    log = ContactLog(bodies={"thing": floor, "cup": cup}, impacts=[replace(HIT, other="cup")])
    dropped = synthesise(log, duration_s=2.0, rng=np.random.default_rng(0)).waveform
    assert ring_time_s(dropped) > 5 * ring_time_s(hits_sound(floor, duration_s=2.0))


def test_force_pulse_has_unit_sum_and_the_length_of_the_contact():
    pulse = force_pulse(0.002, rate_hz=RATE_HZ)
    assert len(pulse) == 96 and (pulse > 0).all()
    assert pulse.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(pulse, pulse[::-1], atol=1e-15)


def test_ring_times_follow_the_order_of_materials():
    times = {m: over_seeds(ring_time_s, thing(m)) for m in ("metal", "glass", "ceramic", "wood")}
    times |= {m: over_seeds(ring_time_s, thing(m)) for m in ("plastic", "rubber")}
    assert times["metal"] > 1.5 * times["glass"]
    assert times["glass"] > times["ceramic"] > 1.5 * times["wood"]
    assert times["wood"] > times["plastic"] > times["rubber"]


def test_brightness_follows_the_order_of_materials():
    drum = Body(name="thing", material="membrane", shape="membrane", size_m=(0.35, 0.35, 0.2))
    metal, glass, wood = (over_seeds(centroid_hz, thing(m)) for m in ("metal", "glass", "wood"))
    assert min(metal, glass) > wood > over_seeds(centroid_hz, drum)


@pytest.mark.parametrize("hollow", [False, True])
def test_ordinary_clips_are_neither_too_quiet_nor_clipped(hollow: bool):
    for material in ("wood", "metal", "glass", "plastic", "rubber", "stone", "cardboard"):
        body = thing(material, "box", (0.15, 0.1, 0.1), hollow=hollow)
        for impulse_ns, speed_mps in ((0.02, 0.3), (0.2, 2.0), (0.8, 6.0)):
            hit = replace(HIT, impulse_ns=impulse_ns, speed_mps=speed_mps)
            assert 0.05 < np.abs(hits_sound(body, hit)).max() < 0.951


def test_a_log_without_contacts_gives_exact_silence_or_only_ambience():
    log = ContactLog(bodies={"thing": thing("metal")})
    rng = np.random.default_rng(0)
    room = sample_room(rng)
    assert not synthesise(log, duration_s=1.0, rng=rng, room=room).waveform.any()
    quiet = synthesise(log, duration_s=1.0, rng=rng, ambience_db=-60.0).waveform
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2)) / 0.45) == pytest.approx(-60.0, abs=0.1)
    assert len(synthesise(log, duration_s=0.0, rng=rng, ambience_db=-60.0).waveform) == 0


def test_impacts_outside_the_clip_are_left_out():
    outside = (replace(HIT, time_s=-0.2), replace(HIT, time_s=1.0))
    assert not hits_sound(thing("metal"), *outside).any()


def friction_sound(
    kind: str, speed_mps: float, *, seed: int = 0, force_n: float = 3.0
) -> np.ndarray:
    ball = Body(name="ball", material="wood", shape="sphere", size_m=(0.06, 0.06, 0.06))
    friction = Friction(
        body="ball",
        other="thing",
        kind=kind,
        times_s=np.array([0.2, 1.2]),
        speed_mps=np.full(2, speed_mps),
        force_n=np.full(2, force_n),
    )
    table = thing("wood", size_m=(0.8, 0.6, 0.03))
    log = ContactLog(bodies={"ball": ball, "thing": table}, frictions=[friction])
    return synthesise(log, duration_s=1.5, rng=np.random.default_rng(seed)).waveform


@pytest.mark.parametrize("kind", ["roll", "scrape"])
def test_rolling_and_scraping_are_louder_and_brighter_at_higher_speed(kind: str):
    sounds = [friction_sound(kind, speed) for speed in (0.1, 0.3, 0.9, 2.0)]
    assert (np.diff([np.sqrt(np.mean(s**2)) for s in sounds]) > 0).all()
    assert centroid_hz(sounds[-1]) > centroid_hz(sounds[0])
    assert np.sqrt(np.mean(friction_sound(kind, 0.9, force_n=9.0) ** 2)) > np.sqrt(
        np.mean(sounds[2] ** 2)
    )


def test_rolling_is_audible_only_during_the_friction():
    sound = friction_sound("roll", 0.8)
    assert not sound[: int(0.2 * RATE_HZ)].any()
    ended = sound[int(1.3 * RATE_HZ) :]
    assert np.abs(ended).max() < 0.02 * np.abs(sound).max()
    assert not friction_sound("roll", 0.0).any()


@pytest.mark.parametrize("t60_s", [0.2, 0.6])
def test_a_room_decays_with_its_t60(t60_s: float):
    room = RoomParameters(
        t60_s=t60_s, wet=0.2, size_m=(5.0, 4.0, 2.6), distance_m=1.0, cutoff_hz=6000.0, seed=3
    )
    response = room_response(room, rate_hz=RATE_HZ)
    assert response[0] == 1.0
    assert np.sum(response[1:] ** 2) == pytest.approx(0.2, rel=0.05)
    left = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1])
    begin, end = (np.flatnonzero(left > left[0] - fall)[-1] for fall in (12.0, 32.0))
    assert 3 * (end - begin) / RATE_HZ == pytest.approx(t60_s, rel=0.25)


def test_a_room_keeps_length_and_direct_sound():
    click = np.zeros(4000)
    click[100] = 0.5
    wet = reverberate(click, sample_room(np.random.default_rng(0)), rate_hz=RATE_HZ)
    assert wet.shape == click.shape
    assert np.abs(wet[:100]).max() < 1e-12 and wet[100] == pytest.approx(0.5)


def test_invalid_input_is_rejected():
    with pytest.raises(DataError, match="'hammer'"):
        hits_sound(thing("wood"), replace(HIT, other="hammer"))
    with pytest.raises(DataError, match="not finite"):
        hits_sound(thing("wood"), replace(HIT, impulse_ns=float("nan")))
    room = sample_room(np.random.default_rng(0))
    with pytest.raises(ValueError, match="t60_s=9"):
        replace(room, t60_s=9.0)
