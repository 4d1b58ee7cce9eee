"""The modes of a body: frequencies, decays, and how strongly a strike at a place excites each.

Takes the ideal partials of `partials.py`, adds damping, radiation and what makes each body
different from the next. No waveform is made here (`ringing.py`), nothing is struck (`sound.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import jv

from foleyflow.errors import DataError
from foleyflow.simulation.contacts import Body
from foleyflow.simulation.materials import MATERIALS, Material
from foleyflow.simulation.sound.partials import HEAD_KG_PER_M2, Geometry, is_membrane, partials_of

LOWEST_HZ = 40.0
HIGHEST_HZ = 20_000.0
MOST_MODES = 56
# Real objects have edges, handles and uneven walls that lower their first modes; an ideal small
# solid would be silent below 20 kHz. Fundamentals above the middle of the material's band, for
# membranes above this, are drawn in (ours).
BRIGHTEST_HZ = 2500.0
SOUND_SPEED_MPS = 343.0


@dataclass(frozen=True, kw_only=True)
class Modes:
    """The partials of one body (K of them, by rising frequency).

    Attributes:
        frequencies_hz: (K,) float64.
        decays_per_s: (K,) float64, amplitudes fall as exp(-decay t).
        gains: (K,) float64, signed: how well each mode radiates; their squares add up to 1.
        orders: (K, 3) float64, node counts, as in `Partials`.
        geometry: how `orders` are read.
    """

    frequencies_hz: NDArray[np.float64]
    decays_per_s: NDArray[np.float64]
    gains: NDArray[np.float64]
    orders: NDArray[np.float64]
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.frequencies_hz)

    def at(self, position: tuple[float, float, float]) -> NDArray[np.float64]:
        """How strongly a strike at a place excites each mode, radiation included.

        Args:
            position: each -1..1 along the body's axes.

        Returns:
            (K,) float64, signed; its squares add up to about 1 on average over the body.

        Source: mode shapes of the ideal free plate (cosines), membrane (Bessel functions) and
            ring (cosines of the angle); the floor, for the finite patch of a contact, is ours.
        """
        x, y, z = (float(np.clip(u, -1.0, 1.0)) for u in position)
        first, second, third = self.orders.T
        if self.geometry == "grid":
            shape = np.ones(len(self))
            for order, u in ((first, x), (second, y), (third, z)):
                wave = np.cos(np.pi * order * (u + 1) / 2)
                shape = shape * np.where(order > 0, np.sqrt(2) * wave, 1.0)
        elif self.geometry == "disc":
            radius, angle = min(1.0, float(np.hypot(x, y))), float(np.arctan2(y, x))
            norm = np.abs(jv(first + 1, second)) * np.where(first > 0, np.sqrt(0.5), 1.0)
            shape = jv(first, second * radius) * np.cos(first * angle) / norm
        else:
            angle = float(np.arctan2(y, x))
            shape = np.sqrt(2) * np.cos(first * angle)
            wave = np.cos(np.pi * second * (z + 1) / 2)
            shape = shape * np.where(second > 0, np.sqrt(2) * wave, 1.0)
        smeared = np.copysign(np.sqrt(shape**2 + 0.02), shape)
        return self.gains * smeared


def modes_of(body: Body, *, rng: np.random.Generator | None = None) -> Modes:
    """The partials of a body from its shape, size and material.

    Args:
        body: what sounds.
        rng: draws the body's own damping, a common detuning and a small one per mode; without
            it the ideal body: closed-form frequencies, the middle of the damping ranges.

    Returns:
        At most `MOST_MODES` modes within `LOWEST_HZ`..`HIGHEST_HZ`; at least one.

    Raises:
        DataError: a material that is not in `materials.MATERIALS`, a size that is not positive.

    Source: `partials.py`; d = (alpha + beta w^2) / 2 (Rayleigh); the rest is ours.
    """
    material = material_of(body)
    if len(body.size_m) != 3 or not all(0 < size < np.inf for size in body.size_m):
        raise DataError(
            f"body {body.name!r}: size_m={body.size_m!r}, expected three positive lengths",
            hint="give length, width and thickness in metres",
        )
    family = partials_of(body, material)
    frequencies, weights, orders = family.frequencies_hz.copy(), family.weights, family.orders
    spread = 0.10 if is_membrane(body) else 0.04  # drums are tuned, other things just made
    common, single, tones = 1.0, np.ones(len(frequencies)), 0.5
    if rng is not None:
        common = float(np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))
        single = np.exp(0.004 * rng.standard_normal(len(frequencies)))
        tones = float(rng.random())
    fundamental = frequencies.min()
    brightest = BRIGHTEST_HZ if is_membrane(body) else float(np.sqrt(np.prod(material.band_hz)))
    if fundamental > brightest:
        frequencies *= (fundamental / brightest) ** -0.85
    if fundamental < LOWEST_HZ / 4 and frequencies.max() < 4 * LOWEST_HZ:
        frequencies *= 2 * LOWEST_HZ / fundamental
    frequencies = frequencies * common * single

    keep = (frequencies >= LOWEST_HZ) & (frequencies <= HIGHEST_HZ)
    if not keep.any():
        keep[np.argmin(np.abs(np.log(frequencies / 1000.0)))] = True
        frequencies = np.clip(frequencies, LOWEST_HZ, HIGHEST_HZ)
    frequencies, weights, orders = frequencies[keep], weights[keep], orders[keep]
    order = np.argsort(frequencies, kind="stable")
    chosen, share = _thinned(len(order))
    order = order[chosen]
    frequencies, weights, orders = frequencies[order], weights[order] * share, orders[order]

    alpha = _between(material.alpha_per_s, tones)
    beta = _between(material.beta_s, float(rng.random()) if rng is not None else 0.5)
    omega = 2 * np.pi * frequencies
    decays = 0.5 * (alpha + beta * omega**2) * body.damping * (0.8 if body.hollow else 1.0)
    decays = np.minimum(decays, 0.25 * omega)

    gains = weights * _radiation(frequencies, body) * (frequencies / frequencies[0]) ** -0.1
    gains = gains * _colour(frequencies, material)
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
        geometry=family.geometry,
    )


def material_of(body: Body) -> Material:
    """The record of a body's material.

    Raises:
        DataError: a material that is not in `materials.MATERIALS`.

    Source: ours.
    """
    if body.material not in MATERIALS:
        raise DataError(
            f"body {body.name!r} has the material {body.material!r}",
            hint=f"choose one of {', '.join(MATERIALS)}",
        )
    return MATERIALS[body.material]


def mass_kg(body: Body) -> float:
    """Mass of a body from its size, shape and material (a membrane's by its area).

    Source: volumes of the ideal shapes; hollow ones by the wall's share, ours.
    """
    material = material_of(body)
    length, width, height = body.size_m
    if is_membrane(body):
        return HEAD_KG_PER_M2 * np.pi / 4 * length * width + 0.05
    fill = {"sphere": 0.52, "cylinder": 0.79, "capsule": 0.7, "bowl": 0.12}.get(body.shape, 1.0)
    if body.hollow:
        fill *= min(1.0, 6 * material.wall_ratio)
    return float(material.density_kg_per_m3 * fill * length * width * height)


def _thinned(count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # The lowest modes as they are; of a dense rest every so many, each for its neighbours too.
    if count <= MOST_MODES:
        return np.arange(count), np.ones(count)
    low = MOST_MODES // 3
    rest = np.unique(np.geomspace(low, count - 1, MOST_MODES - low).astype(np.int64))
    chosen = np.concatenate([np.arange(low), rest])
    share = np.ones(len(chosen))
    share[low:] = np.sqrt(np.maximum(np.gradient(rest.astype(np.float64)), 1.0))
    return chosen, share


def _between(range_: tuple[float, float], share: float) -> float:
    low, high = range_
    return float(low * (high / low) ** share)


def _colour(frequencies_hz: NDArray, material: Material) -> NDArray[np.float64]:
    # What a material is heard by beside its damping: 24 dB less per octave outside of its band.
    low, high = material.band_hz
    below, above = (low / frequencies_hz) ** 8, (frequencies_hz / high) ** 8
    return np.asarray(1.0 / np.sqrt((1 + below) * (1 + above)))


def _radiation(frequencies_hz: NDArray, body: Body) -> NDArray[np.float64]:
    # A body that is small against the wavelength pushes air from front to back instead of out.
    largest = sorted(body.size_m)[1:]
    reach = 0.5 * float(np.sqrt(largest[0] * largest[1]))
    x = 2 * np.pi * frequencies_hz * reach / SOUND_SPEED_MPS
    return x / np.sqrt(1 + x**2)
