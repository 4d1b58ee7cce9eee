"""Modes of bodies: closed forms, damping, positions of strikes, ringing."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.errors import DataError
from foleyflow.simulation.contacts import Body
from foleyflow.simulation.materials import MATERIAL_NAMES, MATERIALS
from foleyflow.simulation.sound.modes import (
    HIGHEST_HZ,
    LOWEST_HZ,
    MOST_MODES,
    Modes,
    _material_filter,
    mass_kg,
    modes_of,
)
from foleyflow.simulation.sound.partials import membrane_hz, plate_hz
from foleyflow.simulation.sound.ringing import Strike, ring

RATE_HZ = 48_000
SHAPES = ("box", "sphere", "cylinder", "capsule", "plate", "bar", "bowl", "membrane")


def body(material: str = "wood", shape: str = "bar", **changes) -> Body:
    settings = {"name": "thing", "material": material, "shape": shape, "size_m": (0.5, 0.04, 0.004)}
    return Body(**(settings | changes))


def one_mode(frequency_hz: float, decay_per_s: float) -> Modes:
    return Modes(
        frequencies_hz=np.array([frequency_hz]),
        decays_per_s=np.array([decay_per_s]),
        gains=np.ones(1),
        orders=np.zeros((1, 3)),
        geometry="grid",
    )


def spectral_peak_hz(sound: np.ndarray, *, near_hz: float, cents: float = 200.0) -> float:
    padded = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 16 * len(sound)))
    frequencies = np.fft.rfftfreq(16 * len(sound), 1 / RATE_HZ)
    close = np.abs(1200 * np.log2(np.maximum(frequencies, 1.0) / near_hz)) < cents
    return float(frequencies[close][np.argmax(padded[close])])


def test_material_records_are_plausible_and_keep_their_order():
    # Trained models store this order as their classes.
    classes = "wood metal glass ceramic plastic rubber membrane stone cardboard"
    assert tuple(MATERIALS) == MATERIAL_NAMES == tuple(classes.split())
    for name, record in MATERIALS.items():
        assert record.name == name
        assert 0 < record.poisson < 0.5 and record.contact_pa <= record.young_pa
        assert record.alpha_per_s[0] < record.alpha_per_s[1]
        assert record.beta_s[0] < record.beta_s[1]


def test_a_thin_bar_rings_at_the_closed_form_frequencies():
    metal = MATERIALS["metal"]
    bar = body("metal", "bar", size_m=(0.6, 0.03, 0.003))
    modes = modes_of(bar)
    wave = np.array([4.730041, 7.853205, 10.995608])
    expected = wave**2 / (2 * np.pi * 0.6**2) * 0.003 / np.sqrt(12) * metal.bar_speed_mps
    sound = ring(
        modes,
        [Strike(sample=0, gains=np.ones(len(modes)), pulse=np.ones(1))],
        length=RATE_HZ,
        rate_hz=RATE_HZ,
    )
    for frequency_hz in expected:
        peak_hz = spectral_peak_hz(sound, near_hz=frequency_hz)
        assert abs(1200 * np.log2(peak_hz / frequency_hz)) < 5.0
    assert expected / expected[0] == pytest.approx([1.0, 2.757, 5.404], abs=0.001)


@pytest.mark.parametrize("material", MATERIAL_NAMES)
def test_a_material_emphasises_its_band(material: str):
    low, high = MATERIALS[material].band_hz
    middle, below, above = np.sqrt(low * high), low / 4, high * 4
    gains = _material_filter(np.array([middle, low, high, below, above]), MATERIALS[material])
    assert gains[0] > 0.9
    assert gains[1:3] == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert 20 * np.log10(gains[3:]) == pytest.approx([-48.2, -48.2], abs=0.1)


def test_a_membrane_rings_at_the_bessel_zeros():
    frequencies, diameters, _ = membrane_hz(5, radius_m=0.175)
    ratios = frequencies / frequencies[0]
    assert ratios == pytest.approx([1.0, 1.5933, 2.1355, 2.2954, 2.6531], abs=1e-3)
    assert list(diameters) == [0, 1, 2, 0, 3]
    modes = modes_of(body("membrane", "membrane", size_m=(0.35, 0.35, 0.2)))
    np.testing.assert_allclose(modes.frequencies_hz[:5], frequencies, rtol=1e-12)
    struck = Strike(sample=0, gains=modes.gains_at((0.0, 0.0, 0.0)), pulse=np.ones(1))
    sound = ring(modes, [struck], length=RATE_HZ // 2, rate_hz=RATE_HZ)
    peak_hz = spectral_peak_hz(sound, near_hz=frequencies[0])
    assert abs(1200 * np.log2(peak_hz / frequencies[0])) < 5.0


def test_a_square_free_plate_has_warburtons_first_modes():
    # Leissa's exact values for nu = 0.3 are lambda = 13.47, 19.60, 24.27; Warburton's
    # approximation agrees within a few percent.
    material = MATERIALS["wood"]
    m, n = np.array([1, 2]), np.array([1, 0])
    plate = plate_hz(m, n, length_m=0.3, width_m=0.3, thick_m=0.003, material=material)
    stiff = material.plate_speed_mps * 0.003 / np.sqrt(12)
    assert plate * 2 * np.pi * 0.3**2 / stiff == pytest.approx([13.47, 22.37], rel=0.06)


def test_thicker_bars_ring_higher_and_longer_bars_lower():
    thin, thick = body(size_m=(0.5, 0.04, 0.01)), body(size_m=(0.5, 0.04, 0.02))
    longer = body(size_m=(1.0, 0.04, 0.01))
    first = modes_of(thin).frequencies_hz[0]
    assert modes_of(thick).frequencies_hz[0] == pytest.approx(2 * first, rel=0.02)
    stretched = modes_of(longer).frequencies_hz
    assert np.abs(stretched - first / 4 * 2.757).min() < 0.01 * first  # its first is below 40 Hz


@pytest.mark.parametrize("material", MATERIAL_NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_body_has_usable_modes(material: str, shape: str):
    rng = np.random.default_rng(5)
    for size in (0.02, 0.1, 1.0):
        for hollow in (False, True):
            thing = body(material, shape, size_m=(size, 0.6 * size, 0.3 * size), hollow=hollow)
            modes = modes_of(thing, rng=rng)
            assert 1 <= len(modes) <= MOST_MODES
            assert (modes.frequencies_hz >= LOWEST_HZ).all()
            assert (modes.frequencies_hz <= HIGHEST_HZ).all()
            assert (np.diff(modes.frequencies_hz) >= 0).all()
            assert (modes.decays_per_s > 0).all()
            assert np.sum(modes.gains**2) == pytest.approx(1.0)
            assert np.isfinite(modes.gains_at((0.3, -0.7, 1.0))).all()
            assert mass_kg(thing) > 0


@pytest.mark.parametrize("shape", ["box", "sphere", "cylinder", "capsule", "plate", "bar", "bowl"])
@pytest.mark.parametrize("material", ["wood", "metal", "glass", "plastic"])
def test_hollow_bodies_ring_lower_and_longer(material: str, shape: str):
    size = (0.2, 0.15, 0.01) if shape in ("plate", "bar") else (0.12, 0.12, 0.12)
    solid = modes_of(body(material, shape, size_m=size))
    shell = modes_of(body(material, shape, size_m=size, hollow=True))
    assert shell.frequencies_hz[0] < solid.frequencies_hz[0]
    assert shell.decays_per_s[0] < solid.decays_per_s[0]


def test_damping_multiplies_decays():
    free, held = modes_of(body("metal")), modes_of(body("metal", damping=3.0))
    np.testing.assert_allclose(held.decays_per_s, 3 * free.decays_per_s, rtol=1e-12)


def test_two_bodies_of_one_kind_differ_slightly():
    first = modes_of(body(), rng=np.random.default_rng(1)).frequencies_hz[0]
    second = modes_of(body(), rng=np.random.default_rng(2)).frequencies_hz[0]
    assert first != second and abs(np.log2(first / second)) < 0.4


def test_a_strike_at_a_node_hardly_excites_the_mode():
    modes = modes_of(body("metal", "bar"))
    odd = np.flatnonzero(modes.orders[:, 0] == 3)[0]
    middle, end = modes.gains_at((0.0, 0.0, 0.0)), modes.gains_at((1.0, 0.0, 0.0))
    assert abs(middle[odd]) < 0.12 * abs(end[odd])


@pytest.mark.parametrize("decay_per_s", [3.0, 30.0, 200.0])
def test_the_envelope_decays_at_the_given_rate(decay_per_s: float):
    modes = one_mode(1000.0, decay_per_s)
    length = int(min(1.0, 6 / decay_per_s) * RATE_HZ)
    once = Strike(sample=0, gains=np.ones(1), pulse=np.ones(1))
    sound = ring(modes, [once], length=length, rate_hz=RATE_HZ)
    blocks = sound[: length // 480 * 480].reshape(-1, 480)  # ten periods each
    level = np.log(np.sqrt(np.mean(blocks**2, axis=1)))
    slope = np.polyfit(np.arange(len(level)) * 0.01, level, 1)[0]
    assert -slope == pytest.approx(decay_per_s, rel=0.01)


def test_ringing_equals_direct_convolution():
    rng = np.random.default_rng(3)
    modes = modes_of(body("wood", "plate", size_m=(0.4, 0.3, 0.01)), rng=rng)
    length = 12_000
    time_s = np.arange(length) / RATE_HZ
    strikes, expected = [], np.zeros(length)
    for sample, width in ((0, 1), (100, 40), (130, 40), (5000, 201), (11_950, 300)):
        gains, pulse = rng.standard_normal(len(modes)), rng.random(width)
        strikes.append(Strike(sample=sample, gains=gains, pulse=pulse))
        response = np.zeros(length)
        for gain, frequency, decay in zip(
            gains, modes.frequencies_hz, modes.decays_per_s, strict=True
        ):
            response += gain * np.exp(-decay * time_s) * np.cos(2 * np.pi * frequency * time_s)
        expected[sample:] += np.convolve(response, pulse)[: length - sample]
    sound = ring(modes, strikes[::-1], length=length, rate_hz=RATE_HZ)
    np.testing.assert_allclose(sound, expected, atol=len(modes) * 2e-5)


def test_unknown_material_unknown_shape_and_invalid_size_are_rejected():
    with pytest.raises(DataError, match="'cheese'"):
        modes_of(body("cheese"))
    with pytest.raises(DataError, match="'doughnut'"):
        modes_of(body(shape="doughnut"))
    with pytest.raises(DataError, match="three positive lengths"):
        modes_of(body(size_m=(0.1, 0.0, 0.1)))
