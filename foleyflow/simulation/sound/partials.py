"""Ideal partials of simple shapes: frequencies, how lively each is, and its nodes on the body.

Textbook formulas for bars, plates, shells, spheres and membranes, no finite elements: a scene's
bodies are simple shapes, and a listener knows a shape by its family of partials. Damping,
radiation and a body's own irregularities are added in `modes.py`.

Sources: L. Kinsler et al., "Fundamentals of Acoustics", 4th ed. (bars, membranes, plates);
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
from numpy.typing import NDArray
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
        weights: (F,) float64, how lively each is, about 1.
        orders: (F, 3) float64, node counts along the body's axes ("grid": half waves along x, y,
            z; "disc": nodal diameters, Bessel zero, unused; "round": nodal diameters, half waves
            along the axis, unused).
        geometry: how `orders` are read.
    """

    frequencies_hz: NDArray[np.float64]
    weights: NDArray[np.float64]
    orders: NDArray[np.float64]
    geometry: Geometry


def is_membrane(body: Body) -> bool:
    """Whether a body sounds as a stretched skin, whatever its outer shape.

    Source: ours (a drum is a cylinder that sounds by its head).
    """
    return body.shape == "membrane" or body.material == "membrane"


def partials_of(body: Body, material: Material) -> Partials:
    """The ideal partials of a body.

    Args:
        body: its shape and size.
        material: what it is made of.

    Returns:
        all partials of its family, audible or not.

    Raises:
        DataError: a shape that has no family.

    Source: see the file's head.
    """
    if is_membrane(body):
        return _membrane(body, material)
    if body.shape not in _FAMILIES:
        raise DataError(
            f"body {body.name!r} has the shape {body.shape!r}",
            hint=f"choose one of {', '.join(_FAMILIES)}",
        )
    partials = _FAMILIES[body.shape](body, material)
    if body.hollow and body.shape in ("bar", "plate"):
        # A core of air or foam: softer in shear, lighter (ours).
        return replace(partials, frequencies_hz=0.65 * partials.frequencies_hz)
    return partials


def bar_hz(count: int, *, length_m: float, gyration_m: float, material: Material) -> NDArray:
    """Bending modes of a free-free bar, with shear and rotary inertia for thick ones.

    Args:
        count: how many.
        length_m: length of the bar.
        gyration_m: radius of gyration of its section: thickness/sqrt(12), or diameter/4.
        material: what it is made of.

    Returns:
        (count,) float64, Hz. A thin bar has the ratios 1 : 2.757 : 5.404 : 8.933.

    Source: Kinsler ch. 3.11; first-order Timoshenko correction (Fletcher & Rossing 2.17).
    """
    n = np.arange(1, count + 1)
    wave = (2 * n + 1) * np.pi / 2
    wave[: min(count, 2)] = (4.730041, 7.853205)[: min(count, 2)]
    thin = wave**2 / (2 * np.pi * length_m**2) * gyration_m * material.bar_speed_mps
    shear = material.young_pa / (0.85 * material.shear_pa)
    return thin / np.sqrt(1 + (wave * gyration_m / length_m) ** 2 * (1 + shear))


def membrane_hz(count: int, *, radius_m: float) -> tuple[NDArray, NDArray, NDArray]:
    """Modes of an ideal round membrane, by rising frequency.

    Returns:
        (count,) Hz, (count,) nodal diameters, (count,) Bessel zeros. Ratios 1 : 1.594 : 2.136.

    Source: Kinsler ch. 4.4, f = j_mn / (2 pi a) sqrt(T / sigma).
    """
    diameters = np.repeat(np.arange(14), 6)
    zeros = np.concatenate([jn_zeros(m, 6) for m in range(14)])
    first = np.argsort(zeros, kind="stable")[:count]
    speed = (TENSION_N_PER_M / HEAD_KG_PER_M2) ** 0.5
    return zeros[first] * speed / (2 * np.pi * radius_m), diameters[first], zeros[first]


def plate_hz(
    m: NDArray, n: NDArray, *, length_m: float, width_m: float, thick_m: float, material: Material
) -> NDArray[np.float64]:
    """Bending modes of a rectangular plate with free edges.

    Args:
        m, n: node counts along length and width (0 and 1: rigid motions of that direction).
        length_m, width_m, thick_m: sizes.
        material: what it is made of.

    Returns:
        frequencies, Hz, of the shape of `m`; 0 for rigid motions.

    Source: Warburton 1954, table 1 (free-free) and equation 14.
    """
    (gx, hx, jx), (gy, hy, jy) = _warburton(m), _warburton(n)
    ratio, poisson = length_m / width_m, material.poisson
    square = gx**4 + gy**4 * ratio**4
    square = square + 2 * ratio**2 * (poisson * hx * hy + (1 - poisson) * jx * jy)
    stiff = material.plate_speed_mps * thick_m / 12**0.5
    return np.asarray(np.sqrt(np.maximum(square, 0.0)) * np.pi / (2 * length_m**2) * stiff)


def _warburton(order: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    half = np.maximum(order - 0.5, 0.5)
    rest = (half, half**2 * (1 - 2 / (half * np.pi)), half**2 * (1 + 6 / (half * np.pi)))
    special = ((0.0, 0.0, 1.506), (0.0, 0.0, 1.248), (0.0, 12 / np.pi**2, 5.017))
    columns = []
    for values, (zero, one, two) in zip(rest, special, strict=True):
        columns.append(np.select([order == 0, order == 1, order == 2], [zero, one, two], values))
    return columns[0], columns[1], columns[2]


def _membrane(body: Body, material: Material) -> Partials:
    radius = 0.25 * (body.size_m[0] + body.size_m[1])
    frequencies, diameters, zeros = membrane_hz(60, radius_m=radius)
    orders = np.stack([diameters, zeros, np.zeros(len(zeros))], axis=1)
    return Partials(
        frequencies_hz=frequencies,
        weights=1 / (1.0 + 0.5 * diameters),
        orders=orders.astype(np.float64),
        geometry="disc",
    )


def _bar(body: Body, material: Material) -> Partials:
    # Bending across the thin side, across the wide side (weaker), and stretching along the bar.
    long, middle, thin = np.argsort(body.size_m)[::-1]
    length = body.size_m[long]
    parts, weights, orders = [], [], []
    for across, weight in ((thin, 1.0), (middle, 0.45)):
        gyration = body.size_m[across] / 12**0.5
        bend = bar_hz(24, length_m=length, gyration_m=gyration, material=material)
        parts.append(bend)
        weights.append(np.full(24, weight))
        orders.append(_along(long, np.arange(2, 26)))
    stretch = np.arange(1, 9) * material.bar_speed_mps / (2 * length)
    parts.append(stretch)
    weights.append(np.full(8, 0.2))
    orders.append(_along(long, np.arange(1, 9)))
    return _grid(parts, weights, orders)


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
    orders = np.zeros((len(m), 3))
    orders[:, a], orders[:, b] = m, n
    return _grid([frequencies], [np.ones(len(m))], [orders])


def _box(body: Body, material: Material) -> Partials:
    if body.hollow:
        return _hollow_box(body, material)
    # A thick bar along each axis, bending both ways, and compression along each axis.
    parts, weights, orders = [], [], []
    for axis in range(3):
        length = body.size_m[axis]
        for across in (other for other in range(3) if other != axis):
            gyration = body.size_m[across] / 12**0.5
            bend = bar_hz(8, length_m=length, gyration_m=gyration, material=material)
            parts.append(bend)
            weights.append(np.full(8, 1.0))
            orders.append(_along(axis, np.arange(2, 10)))
        count = np.arange(1, 7)
        parts.append(count * material.bar_speed_mps / (2 * length))
        weights.append(np.full(6, 0.5))
        orders.append(_along(axis, count))
    return _grid(parts, weights, orders)


def _hollow_box(body: Body, material: Material) -> Partials:
    # Three pairs of walls, each a plate held at its edges: f = pi/2 sqrt(D/rho h)(m2/a2 + n2/b2).
    wall = _wall_m(body, material)
    stiff = material.plate_speed_mps * wall / 12**0.5
    m, n = (grid.ravel() for grid in np.meshgrid(np.arange(1, 13), np.arange(1, 13)))
    parts, weights, orders = [], [], []
    for across in range(3):
        a, b = (axis for axis in range(3) if axis != across)
        square = (m / body.size_m[a]) ** 2 + (n / body.size_m[b]) ** 2
        parts.append(np.pi / 2 * stiff * square * (1 + 0.03 * across))
        weights.append(np.ones(len(m)))
        placed = np.zeros((len(m), 3))
        placed[:, a], placed[:, b] = m, n
        orders.append(placed)
    return _grid(parts, weights, orders)


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
        # Roots of Lamb's equation for a Poisson solid, in units of shear speed over radius.
        n = np.array([2, 1, 3, 0, 2, 4, 1, 5, 3, 6, 2, 7, 4, 5])
        roots = (2.640, 3.424, 3.916, 4.440, 4.865, 5.009, 5.8, 6.03, 6.45, 7.0, 7.4, 8.0, 8.2, 9.6)
        speed = (material.shear_pa / material.density_kg_per_m3) ** 0.5
        frequencies = np.array(roots) * speed / (2 * np.pi * radius)
    orders = np.stack([n, np.zeros(len(n)), np.zeros(len(n))], axis=1)
    return _round([frequencies], [1 / np.sqrt(np.maximum(n, 1.0))], [orders])


def _cylinder(body: Body, material: Material) -> Partials:
    # Its axis is z; a disc, a rod, or with `hollow` a can or pipe.
    length, radius = body.size_m[2], 0.25 * (body.size_m[0] + body.size_m[1])
    if body.hollow:
        return _tube(body, material, length_m=length, radius_m=radius)
    if length < radius:
        return _disc(material, thick_m=length, radius_m=radius)
    count = np.arange(2, 26)
    bend = bar_hz(24, length_m=length, gyration_m=radius / 2, material=material)
    stretch = np.arange(1, 9) * material.bar_speed_mps / (2 * length)
    zeros = np.zeros(24)
    return _round(
        [bend, stretch],
        [np.ones(24), np.full(8, 0.35)],
        [
            np.stack([zeros + 1, count, zeros], axis=1),
            np.stack([zeros[:8], np.arange(1, 9), zeros[:8]], axis=1),
        ],
    )


def _capsule(body: Body, material: Material) -> Partials:
    return _cylinder(body, material)


def _disc(material: Material, *, thick_m: float, radius_m: float) -> Partials:
    # Free circular plate (Fletcher & Rossing table 3.1): nodal diameters, circles, lambda squared.
    table = np.array(
        [
            (2, 0, 5.253), (0, 1, 9.084), (3, 0, 12.23), (1, 1, 20.52), (4, 0, 21.6),
            (5, 0, 33.1), (2, 1, 35.25), (0, 2, 38.55), (6, 0, 46.2), (3, 1, 52.91),
            (1, 2, 59.86), (7, 0, 61.5), (4, 1, 73.1), (8, 0, 78.9), (2, 2, 83.9),
            (0, 3, 87.8), (5, 1, 96.0), (3, 2, 111.3), (1, 3, 119.0), (4, 2, 142.0),
            (0, 4, 156.8), (2, 3, 153.3), (3, 3, 190.7), (1, 4, 198.0), (2, 4, 242.0),
        ]
    )  # fmt: skip
    stiff = material.plate_speed_mps * thick_m / 12**0.5
    frequencies = table[:, 2] * stiff / (2 * np.pi * radius_m**2)
    orders = np.stack([table[:, 0], table[:, 1], np.zeros(len(table))], axis=1)
    return _round([frequencies], [np.ones(len(table))], [orders])


def _tube(body: Body, material: Material, *, length_m: float, radius_m: float) -> Partials:
    # Thin cylindrical shell (Yu 1955): n nodal diameters, m half waves along the axis.
    thick = _wall_m(body, material) / radius_m
    n, m = (grid.ravel() for grid in np.meshgrid(np.arange(2, 21), np.arange(0, 12)))
    axial = (m * np.pi * radius_m / length_m) ** 2
    stretch = (1 - material.poisson**2) * axial**2 / (axial + n**2) ** 2
    bend = thick**2 / 12 * (axial + n**2) ** 2
    frequencies = np.sqrt(stretch + bend) * material.plate_speed_mps / (2 * np.pi * radius_m)
    orders = np.stack([n, m, np.zeros(len(n))], axis=1)
    return _round([frequencies], [1 / np.sqrt(n + m)], [orders])


def _bowl(body: Body, material: Material) -> Partials:
    # The rim swings as a ring, stiffened by the height (French 1983); rings of it above.
    radius, height = 0.25 * (body.size_m[0] + body.size_m[1]), body.size_m[2]
    ratio = 2.0 * material.wall_ratio * (0.7 if body.hollow else 1.0)
    n, m = (grid.ravel() for grid in np.meshgrid(np.arange(2, 21), np.arange(0, 6)))
    ring = n * (n**2 - 1.0) / np.sqrt(n**2 + 1.0)
    stiffened = np.sqrt(1 + (4 / 3) * (radius / max(height, 0.5 * radius)) ** 4 / n**2)
    shape = np.sqrt((ring * stiffened) ** 2 + (6.0 * m * (1 + 0.2 * n)) ** 2)
    stiff = material.plate_speed_mps * ratio / (12**0.5 * 2 * np.pi * radius)
    orders = np.stack([n, m, np.zeros(len(n))], axis=1)
    return _round([shape * stiff], [1 / (1.0 + m)], [orders])


_FAMILIES: dict[str, Callable[[Body, Material], Partials]] = {
    "bar": _bar,
    "plate": _plate,
    "box": _box,
    "sphere": _sphere,
    "cylinder": _cylinder,
    "capsule": _capsule,
    "bowl": _bowl,
    "membrane": _membrane,
}


def _wall_m(body: Body, material: Material) -> float:
    return max(material.wall_ratio * min(body.size_m), 3e-4)


def _along(axis: int, counts: NDArray) -> NDArray[np.float64]:
    orders = np.zeros((len(counts), 3))
    orders[:, axis] = counts
    return orders


def _grid(parts: list, weights: list, orders: list) -> Partials:
    return _joined(parts, weights, orders, "grid")


def _round(parts: list, weights: list, orders: list) -> Partials:
    return _joined(parts, weights, orders, "round")


def _joined(parts: list, weights: list, orders: list, geometry: Geometry) -> Partials:
    return Partials(
        frequencies_hz=np.concatenate(parts).astype(np.float64),
        weights=np.concatenate(weights).astype(np.float64),
        orders=np.concatenate(orders).astype(np.float64),
        geometry=geometry,
    )
