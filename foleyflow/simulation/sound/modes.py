"""Modes of a body: frequencies, decays, and how strongly a strike at a position excites each.

The partials of the ideal shape (`partials.py`) are damped, filtered by radiation and material, and
varied, because no two bodies sound the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import jv

from foleyflow.errors import DataError
from foleyflow.simulation.constants import SOUND_SPEED_MPS
from foleyflow.simulation.contacts import Body
from foleyflow.simulation.materials import MATERIALS, Material
from foleyflow.simulation.sound.partials import HEAD_KG_PER_M2, Geometry, is_membrane, partials_of

LOWEST_HZ = 40.0
HIGHEST_HZ = 20_000.0
MOST_MODES = 56
# Real objects have edges, handles and uneven walls that lower their first modes; an ideal small
# solid would be silent below 20 kHz. Fundamentals are therefore lowered towards the middle of the
# material's band, those of membranes towards this frequency.
BRIGHTEST_HZ = 2500.0


@dataclass(frozen=True, kw_only=True)
class LowestMode:
    """The lowest mode of a body; `decay_s` is the time in which it falls by 60 dB."""

    frequency_hz: float
    decay_s: float


@dataclass(frozen=True, kw_only=True)
class Modes:
    """The K modes of one body, by rising frequency.

    Attributes:
        frequencies_hz: (K,) float64.
        decays_per_s: (K,) float64, amplitudes fall as exp(-decay t).
        gains: (K,) float64, signed: how well each mode radiates; their squares sum to 1.
        orders: (K, 3) float64, node counts, as in `Partials`.
        geometry: meaning of `orders`.
    """

    frequencies_hz: NDArray[np.float64]
    decays_per_s: NDArray[np.float64]
    gains: NDArray[np.float64]
    orders: NDArray[np.float64]
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.frequencies_hz)

    @property
    def lowest(self) -> LowestMode:
        """The mode of the lowest frequency."""
        return LowestMode(
            frequency_hz=float(self.frequencies_hz[0]),
            decay_s=float(np.log(1000.0) / self.decays_per_s[0]),
        )

    @property
    def duration_s(self) -> float:
        """Time in which the slowest mode falls by 60 dB, seconds."""
        return float(np.log(1000.0) / self.decays_per_s.min())

    def gains_at(self, position: ArrayLike) -> NDArray[np.float64]:
        """Return how strongly a strike excites each mode, including radiation.

        The mode shapes are those of the ideal free plate (cosines), membrane (Bessel functions)
        and ring (cosines of the angle), smoothed over the finite area of a contact.

        Args:
            position: (3,), each clipped to -1..1 along the body's axes.

        Returns:
            (K,) float64, signed; the squares sum to about 1 on average over the body.
        """
        x, y, z = np.clip(position, -1.0, 1.0)
        first, second, third = self.orders.T
        if self.geometry == "grid":
            shape = _cosine_shape(first, x) * _cosine_shape(second, y) * _cosine_shape(third, z)
        elif self.geometry == "disc":
            radius, angle = min(1.0, float(np.hypot(x, y))), float(np.arctan2(y, x))
            norm = np.abs(jv(first + 1, second)) * np.where(first > 0, np.sqrt(0.5), 1.0)
            shape = jv(first, second * radius) * np.cos(first * angle) / norm
        else:
            angle = float(np.arctan2(y, x))
            shape = np.sqrt(2) * np.cos(first * angle) * _cosine_shape(second, z)
        return self.gains * np.copysign(np.sqrt(shape**2 + 0.02), shape)


def _cosine_shape(order: NDArray, u: float) -> NDArray[np.float64]:
    """Mode shapes along one axis at -1 <= u <= 1; 1 for order 0."""
    return np.where(order > 0, np.sqrt(2) * np.cos(np.pi * order * (u + 1) / 2), 1.0)


def modes_of(body: Body, *, rng: np.random.Generator | None = None) -> Modes:
    """Return the modes of a body from its shape, size and material.

    Args:
        body: with three positive sizes.
        rng: varies the tuning, the damping and each mode; None gives the ideal body, with
            closed-form frequencies and the middle of the damping ranges.

    Returns:
        At most `MOST_MODES` modes within `LOWEST_HZ`..`HIGHEST_HZ`; at least one. Their decay is
        (alpha + beta w^2) / 2 (Rayleigh damping).

    Raises:
        DataError: the material is not in `materials.MATERIALS`, or a size is not positive.
    """
    material = material_of(body)
    if len(body.size_m) != 3 or not all(0 < size < np.inf for size in body.size_m):
        raise DataError(
            f"body {body.name!r}: size_m={body.size_m!r}, expected three positive lengths",
            hint="give length, width and thickness in metres",
        )
    partials = partials_of(body, material)
    frequencies, weights, orders = partials.frequencies_hz, partials.weights, partials.orders

    # Tuning: vary the body, lower very high fundamentals, raise inaudible spectra
    common, single, damping = 1.0, np.ones(len(frequencies)), (0.5, 0.5)
    if rng is not None:
        spread = 0.10 if is_membrane(body) else 0.04  # drums are tuned to different notes
        common = float(np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))
        single = np.exp(0.004 * rng.standard_normal(len(frequencies)))
        damping = (float(rng.random()), float(rng.random()))
    fundamental = frequencies.min()
    brightest = BRIGHTEST_HZ if is_membrane(body) else float(np.sqrt(np.prod(material.band_hz)))
    if fundamental > brightest:
        frequencies = frequencies * (fundamental / brightest) ** -0.85
    if fundamental < LOWEST_HZ / 4 and frequencies.max() < 4 * LOWEST_HZ:
        frequencies = frequencies * (2 * LOWEST_HZ / fundamental)
    frequencies = frequencies * common * single

    # Selection: audible modes, by rising frequency, at most `MOST_MODES`
    audible = (frequencies >= LOWEST_HZ) & (frequencies <= HIGHEST_HZ)
    if not audible.any():
        audible[np.argmin(np.abs(np.log(frequencies / 1000.0)))] = True
        frequencies = np.clip(frequencies, LOWEST_HZ, HIGHEST_HZ)
    order = np.flatnonzero(audible)
    order = order[np.argsort(frequencies[order], kind="stable")]
    chosen, factor = _thin_out(len(order))
    order = order[chosen]
    frequencies, weights, orders = frequencies[order], weights[order] * factor, orders[order]

    # Damping
    alpha = _interpolate(material.alpha_per_s, damping[0])
    beta = _interpolate(material.beta_s, damping[1])
    omega = 2 * np.pi * frequencies
    decays = 0.5 * (alpha + beta * omega**2) * body.damping * (0.8 if body.hollow else 1.0)
    decays = np.minimum(decays, 0.25 * omega)

    # Gains
    gains = weights * _radiation(frequencies, body) * (frequencies / frequencies[0]) ** -0.1
    gains = gains * _material_filter(frequencies, material)
    if rng is not None:
        gains = gains * np.exp(0.35 * rng.standard_normal(len(gains)))
        gains = gains * rng.choice((-1.0, 1.0), len(gains))
    else:
        gains = gains * np.where(np.arange(len(gains)) % 2, -1.0, 1.0)
    return Modes(
        frequencies_hz=frequencies,
        decays_per_s=decays,
        gains=gains / np.sqrt(np.sum(gains**2)),
        orders=orders,
        geometry=partials.geometry,
    )


def material_of(body: Body) -> Material:
    """Return the record of a body's material.

    Raises:
        DataError: the material is not in `materials.MATERIALS`.
    """
    if body.material not in MATERIALS:
        raise DataError(
            f"body {body.name!r} has the unknown material {body.material!r}",
            hint=f"choose one of {', '.join(MATERIALS)}",
        )
    return MATERIALS[body.material]


def mass_kg(body: Body) -> float:
    """Return the mass of a body from its size, shape and material (of a membrane, by its area)."""
    material = material_of(body)
    length, width, height = body.size_m
    if is_membrane(body):
        return HEAD_KG_PER_M2 * np.pi / 4 * length * width + 0.05
    fill = {"sphere": 0.52, "cylinder": 0.79, "capsule": 0.7, "bowl": 0.12}.get(body.shape, 1.0)
    if body.hollow:
        fill *= min(1.0, 6 * material.wall_ratio)
    return float(material.density_kg_per_m3 * fill * length * width * height)


def reduced_mass_kg(first: Body, second: Body) -> float:
    """Return the reduced mass of two bodies that collide."""
    first_kg, second_kg = mass_kg(first), mass_kg(second)
    return first_kg * second_kg / (first_kg + second_kg)


def _thin_out(count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices of at most `MOST_MODES` of `count` modes, and factors for their weights.

    The lowest modes are kept; of the others, a few represent their neighbours too.
    """
    if count <= MOST_MODES:
        return np.arange(count), np.ones(count)
    low = MOST_MODES // 3
    high = np.unique(np.geomspace(low, count - 1, MOST_MODES - low).astype(np.int64))
    factor = np.sqrt(np.maximum(np.gradient(high.astype(np.float64)), 1.0))
    return np.concatenate([np.arange(low), high]), np.concatenate([np.ones(low), factor])


def _interpolate(limits: tuple[float, float], position: float) -> float:
    low, high = limits
    return float(low * (high / low) ** position)


def _material_filter(frequencies_hz: NDArray, material: Material) -> NDArray[np.float64]:
    """Gains that emphasise the material's band: 24 dB less per octave outside it."""
    low, high = material.band_hz
    below, above = (low / frequencies_hz) ** 8, (frequencies_hz / high) ** 8
    return np.asarray(1.0 / np.sqrt((1 + below) * (1 + above)))


def _radiation(frequencies_hz: NDArray, body: Body) -> NDArray[np.float64]:
    """Radiation gains: a body small against the wavelength moves air from its front to its back."""
    _, middle, largest = sorted(body.size_m)
    radius = 0.5 * float(np.sqrt(middle * largest))
    x = 2 * np.pi * frequencies_hz * radius / SOUND_SPEED_MPS
    return x / np.sqrt(1 + x**2)
