"""Partials of ideal shapes: their frequencies, weights and node counts, by closed-form formulas.

`modes.py` adds damping, radiation and the differences between bodies of one kind.

References: L. Kinsler et al., "Fundamentals of Acoustics", 4th ed. (bars, membranes, plates);
G. Warburton, "The Vibration of Rectangular Plates", Proc. IMechE 168, 1954; N. Fletcher &
T. Rossing, "The Physics of Musical Instruments", 2nd ed. (circular plates, bells, glasses);
A. French, "In Vino Veritas: A study of wineglass acoustics", Am. J. Phys. 51, 1983; H. Lamb, "On
the vibrations of an elastic sphere", 1882; W. Baker, "Axisymmetric modes of vibration of thin
spherical shell", JASA 33, 1961; Y. Yu, "Free vibrations of thin cylindrical shells", J. Appl.
Mech. 22, 1955.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import jn_zeros

from foleyflow.errors import DataError
from foleyflow.simulation.contacts import Body
from foleyflow.simulation.materials import Material

# A drum head: mylar of 0.19 mm at a medium tension.
TENSION_N_PER_M = 2000.0
HEAD_KG_PER_M2 = 0.262

Geometry = Literal["grid", "disc", "round"]


@dataclass(frozen=True, kw_only=True)
class Partials:
    """The ideal partials of a body, in any order.

    Attributes:
        frequencies_hz: (F,) float64.
        weights: (F,) float64, relative amplitudes, about 1.
        orders: (F, 3) float64, node counts along the body's axes ("grid": half waves along x, y,
            z; "disc": nodal diameters, Bessel zero, unused; "round": nodal diameters, half waves
            along the axis, unused).
        geometry: meaning of `orders`.
    """

    frequencies_hz: NDArray[np.float64]
    weights: NDArray[np.float64]
    orders: NDArray[np.float64]
    geometry: Geometry


def is_membrane(body: Body) -> bool:
    """Whether a body sounds as a stretched skin: a drum is a cylinder that sounds by its head."""
    return body.shape == "membrane" or body.material == "membrane"


def partials_of(body: Body, material: Material) -> Partials:
    """Return all partials of a body, audible or not.

    Raises:
        DataError: the shape is unknown.
    """
    if is_membrane(body):
        return _membrane(body, material)
    if body.shape not in _SHAPES:
        raise DataError(
            f"body {body.name!r} has the shape {body.shape!r}",
            hint=f"choose one of {', '.join(_SHAPES)}",
        )
    partials = _SHAPES[body.shape](body, material)
    if body.hollow and body.shape in ("bar", "plate"):
        # A core of air or foam is softer in shear and lighter.
        return replace(partials, frequencies_hz=0.65 * partials.frequencies_hz)
    return partials


def bar_hz(count: int, *, length_m: float, gyration_m: float, material: Material) -> NDArray:
    """Return the bending modes of a free-free bar, with shear and rotary inertia for thick ones.

    The radius of gyration of the section is thickness/sqrt(12), or diameter/4.

    Returns:
        (count,) float64, Hz. A thin bar has the ratios 1 : 2.757 : 5.404 : 8.933.

    Reference: Kinsler ch. 3.11; first-order Timoshenko correction (Fletcher & Rossing 2.17).
    """
    n = np.arange(1, count + 1)
    wave = (2 * n + 1) * np.pi / 2
    wave[: min(count, 2)] = (4.730041, 7.853205)[: min(count, 2)]
    thin = wave**2 / (2 * np.pi * length_m**2) * gyration_m * material.bar_speed_mps
    shear = material.young_pa / (0.85 * material.shear_pa)
    return thin / np.sqrt(1 + (wave * gyration_m / length_m) ** 2 * (1 + shear))


def membrane_hz(count: int, *, radius_m: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return the modes of an ideal round membrane, by rising frequency.

    Returns:
        (count,) Hz, (count,) nodal diameters, (count,) Bessel zeros. Ratios 1 : 1.594 : 2.136.

    Reference: Kinsler ch. 4.4, f = j_mn / (2 pi a) sqrt(T / sigma).
    """
    diameters = np.repeat(np.arange(14), 6)
    zeros = np.concatenate([jn_zeros(m, 6) for m in range(14)])
    first = np.argsort(zeros, kind="stable")[:count]
    speed = (TENSION_N_PER_M / HEAD_KG_PER_M2) ** 0.5
    return zeros[first] * speed / (2 * np.pi * radius_m), diameters[first], zeros[first]


def plate_hz(
    m: NDArray, n: NDArray, *, length_m: float, width_m: float, thick_m: float, material: Material
) -> NDArray[np.float64]:
    """Return the bending modes of a rectangular plate with free edges.

    Args:
        m, n: node counts along length and width (0 and 1: rigid motions of that direction).

    Returns:
        frequencies, Hz, of the shape of `m`; 0 for rigid motions.

    Reference: Warburton 1954, table 1 (free-free) and equation 14.
    """
    (gx, hx, jx), (gy, hy, jy) = _warburton(m), _warburton(n)
    ratio, poisson = length_m / width_m, material.poisson
    square = gx**4 + gy**4 * ratio**4
    square = square + 2 * ratio**2 * (poisson * hx * hy + (1 - poisson) * jx * jy)
    stiff = material.plate_speed_mps * thick_m / 12**0.5
    return np.asarray(np.sqrt(np.maximum(square, 0.0)) * np.pi / (2 * length_m**2) * stiff)


def _warburton(order: NDArray) -> tuple[NDArray, ...]:
    """Warburton's coefficients G, H and J for a node count."""
    half = np.maximum(order - 0.5, 0.5)
    general = (half, half**2 * (1 - 2 / (half * np.pi)), half**2 * (1 + 6 / (half * np.pi)))
    special = ((0.0, 0.0, 1.506), (0.0, 0.0, 1.248), (0.0, 12 / np.pi**2, 5.017))
    conditions = [order == 0, order == 1, order == 2]
    return tuple(
        np.select(conditions, list(first_three), values)
        for values, first_three in zip(general, special, strict=True)
    )


def _membrane(body: Body, material: Material) -> Partials:
    frequencies, diameters, zeros = membrane_hz(60, radius_m=_radius_m(body))
    return _partials("disc", (frequencies, 1 / (1.0 + 0.5 * diameters), (diameters, zeros, 0)))


def _bar(body: Body, material: Material) -> Partials:
    """Bending across the thin side, across the wide side (weaker), and stretching along the bar."""
    long, middle, thin = np.argsort(body.size_m)[::-1]
    return _partials(
        "grid",
        _bending(body, material, 24, 1.0, axis=long, across=thin),
        _bending(body, material, 24, 0.45, axis=long, across=middle),
        _stretching(body, material, 8, 0.2, axis=long),
    )


def _plate(body: Body, material: Material) -> Partials:
    thin = int(np.argmin(body.size_m))
    a, b = (axis for axis in range(3) if axis != thin)
    m, n = (grid.ravel() for grid in np.meshgrid(np.arange(26), np.arange(26), indexing="ij"))
    bends = m + n >= 2
    m, n = m[bends], n[bends]
    frequencies = plate_hz(
        m,
        n,
        length_m=body.size_m[a],
        width_m=body.size_m[b],
        thick_m=body.size_m[thin],
        material=material,
    )
    return _partials("grid", (frequencies, 1.0, _along({a: m, b: n})))


def _box(body: Body, material: Material) -> Partials:
    """A thick bar along each axis, bending both ways, and compression along each axis."""
    if body.hollow:
        return _hollow_box(body, material)
    parts = []
    for axis in range(3):
        for across in (other for other in range(3) if other != axis):
            parts.append(_bending(body, material, 8, 1.0, axis=axis, across=across))
        parts.append(_stretching(body, material, 6, 0.5, axis=axis))
    return _partials("grid", *parts)


def _hollow_box(body: Body, material: Material) -> Partials:
    """Three pairs of walls, each a plate held at its edges.

    f = pi/2 sqrt(D / rho h) (m^2/a^2 + n^2/b^2)
    """
    stiff = material.plate_speed_mps * _wall_m(body, material) / 12**0.5
    m, n = (grid.ravel() for grid in np.meshgrid(np.arange(1, 13), np.arange(1, 13)))
    parts = []
    for across in range(3):
        a, b = (axis for axis in range(3) if axis != across)
        square = (m / body.size_m[a]) ** 2 + (n / body.size_m[b]) ** 2
        frequencies = np.pi / 2 * stiff * square * (1 + 0.03 * across)
        parts.append((frequencies, 1.0, _along({a: m, b: n})))
    return _partials("grid", *parts)


def _sphere(body: Body, material: Material) -> Partials:
    radius = float(np.mean(body.size_m)) / 2
    if body.hollow:
        n = np.arange(2, 30)
        thick = _wall_m(body, material) / radius
        total = n * (n + 1.0) + 1 + 3 * material.poisson
        product = 4 * (1 - material.poisson**2) * (n * (n + 1.0) - 2)
        square = (total - np.sqrt(total**2 - product)) / 2 + thick**2 / 12 * (n**2 - 1.0) ** 2
        frequencies = np.sqrt(square) * material.plate_speed_mps / (2 * np.pi * radius)
    else:
        # Roots of Lamb's equation for a Poisson solid, in units of shear speed over radius
        n = np.array([2, 1, 3, 0, 2, 4, 1, 5, 3, 6, 2, 7, 4, 5])
        roots = (2.640, 3.424, 3.916, 4.440, 4.865, 5.009, 5.8, 6.03, 6.45, 7.0, 7.4, 8.0, 8.2, 9.6)
        speed = (material.shear_pa / material.density_kg_per_m3) ** 0.5
        frequencies = np.array(roots) * speed / (2 * np.pi * radius)
    return _partials("round", (frequencies, 1 / np.sqrt(np.maximum(n, 1.0)), (n, 0, 0)))


def _cylinder(body: Body, material: Material) -> Partials:
    """A disc, a rod, or if hollow a can or pipe; the axis is z."""
    length, radius = body.size_m[2], _radius_m(body)
    if body.hollow:
        return _tube(body, material)
    if length < radius:
        return _disc(material, thick_m=length, radius_m=radius)
    bend = bar_hz(24, length_m=length, gyration_m=radius / 2, material=material)
    stretch, weight, (_, _, count) = _stretching(body, material, 8, 0.35, axis=2)
    return _partials(
        "round", (bend, 1.0, (1, np.arange(2, 26), 0)), (stretch, weight, (0, count, 0))
    )


def _disc(material: Material, *, thick_m: float, radius_m: float) -> Partials:
    """A free circular plate. Reference: Fletcher & Rossing table 3.1."""
    diameters, circles, lambda_squared = np.array(
        [
            (2, 0, 5.253), (0, 1, 9.084), (3, 0, 12.23), (1, 1, 20.52), (4, 0, 21.6),
            (5, 0, 33.1), (2, 1, 35.25), (0, 2, 38.55), (6, 0, 46.2), (3, 1, 52.91),
            (1, 2, 59.86), (7, 0, 61.5), (4, 1, 73.1), (8, 0, 78.9), (2, 2, 83.9),
            (0, 3, 87.8), (5, 1, 96.0), (3, 2, 111.3), (1, 3, 119.0), (4, 2, 142.0),
            (0, 4, 156.8), (2, 3, 153.3), (3, 3, 190.7), (1, 4, 198.0), (2, 4, 242.0),
        ]
    ).T  # fmt: skip
    stiff = material.plate_speed_mps * thick_m / 12**0.5
    frequencies = lambda_squared * stiff / (2 * np.pi * radius_m**2)
    return _partials("round", (frequencies, 1.0, (diameters, circles, 0)))


def _tube(body: Body, material: Material) -> Partials:
    """A thin cylindrical shell: n nodal diameters, m half waves along the axis (Yu 1955)."""
    radius = _radius_m(body)
    thick = _wall_m(body, material) / radius
    n, m = (grid.ravel() for grid in np.meshgrid(np.arange(2, 21), np.arange(0, 12)))
    axial = (m * np.pi * radius / body.size_m[2]) ** 2
    stretch = (1 - material.poisson**2) * axial**2 / (axial + n**2) ** 2
    bend = thick**2 / 12 * (axial + n**2) ** 2
    frequencies = np.sqrt(stretch + bend) * material.plate_speed_mps / (2 * np.pi * radius)
    return _partials("round", (frequencies, 1 / np.sqrt(n + m), (n, m, 0)))


def _bowl(body: Body, material: Material) -> Partials:
    """The rim moves as a ring that the height makes stiffer (French 1983); more rings above it."""
    radius, height = _radius_m(body), body.size_m[2]
    ratio = 2.0 * material.wall_ratio * (0.7 if body.hollow else 1.0)
    n, m = (grid.ravel() for grid in np.meshgrid(np.arange(2, 21), np.arange(0, 6)))
    ring = n * (n**2 - 1.0) / np.sqrt(n**2 + 1.0)
    stiffened = np.sqrt(1 + (4 / 3) * (radius / max(height, 0.5 * radius)) ** 4 / n**2)
    shape = np.sqrt((ring * stiffened) ** 2 + (6.0 * m * (1 + 0.2 * n)) ** 2)
    stiff = material.plate_speed_mps * ratio / (12**0.5 * 2 * np.pi * radius)
    return _partials("round", (shape * stiff, 1 / (1.0 + m), (n, m, 0)))


_SHAPES: dict[str, Callable[[Body, Material], Partials]] = {
    "bar": _bar,
    "plate": _plate,
    "box": _box,
    "sphere": _sphere,
    "cylinder": _cylinder,
    "capsule": _cylinder,
    "bowl": _bowl,
    "membrane": _membrane,
}

# Frequencies, their weight or weights, and three node counts per frequency
NodeCounts = tuple[ArrayLike, ArrayLike, ArrayLike]
Part = tuple[NDArray, ArrayLike, NodeCounts]


def _radius_m(body: Body) -> float:
    return 0.25 * (body.size_m[0] + body.size_m[1])


def _wall_m(body: Body, material: Material) -> float:
    return max(material.wall_ratio * min(body.size_m), 3e-4)


def _along(counts: dict[int, NDArray]) -> NodeCounts:
    """Node counts along some axes, 0 along the others."""
    return counts.get(0, 0), counts.get(1, 0), counts.get(2, 0)


def _bending(
    body: Body, material: Material, count: int, weight: float, *, axis: int, across: int
) -> Part:
    """Bending modes along one axis, in the direction of another one."""
    gyration_m = body.size_m[across] / 12**0.5
    bend = bar_hz(count, length_m=body.size_m[axis], gyration_m=gyration_m, material=material)
    return bend, weight, _along({axis: np.arange(2, count + 2)})


def _stretching(body: Body, material: Material, count: int, weight: float, *, axis: int) -> Part:
    """Longitudinal modes along one axis."""
    counts = np.arange(1, count + 1)
    frequencies = counts * material.bar_speed_mps / (2 * body.size_m[axis])
    return frequencies, weight, _along({axis: counts})


def _partials(geometry: Geometry, *parts: Part) -> Partials:
    """Join parts of the spectrum; scalar weights and node counts apply to a full part."""
    return Partials(
        frequencies_hz=np.concatenate([hz for hz, _, _ in parts]),
        weights=np.concatenate(
            [np.broadcast_to(np.asarray(weight, float), hz.shape) for hz, weight, _ in parts]
        ),
        orders=np.concatenate(
            [
                np.stack([np.broadcast_to(np.asarray(n, float), hz.shape) for n in counts], axis=1)
                for hz, _, counts in parts
            ]
        ),
        geometry=geometry,
    )
