"""What a scene tells the sound synthesis: bodies, impacts and friction, with exact times.

Scenes (kinematic or simulated) produce a `ContactLog`; `sound.py` turns it into a waveform and
`dataset.py` into labels. Neither renderer nor synthesiser is known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.materials import MATERIAL_NAMES

MATERIALS = MATERIAL_NAMES  # the former name, until all importers use `MATERIAL_NAMES`
Shape = Literal["box", "sphere", "cylinder", "capsule", "plate", "bar", "bowl", "membrane"]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A thing that can sound.

    Attributes:
        name: unique within the scene.
        material: one of `MATERIALS`.
        shape: the family of mode frequencies.
        size_m: (length, width, thickness or height), metres, all positive.
        hollow: shells ring lower and longer than solids; not visible in the picture.
        damping: multiplies the decay rates of the material (a hand that holds it, a soft support):
            1 for a free body.
    """

    name: str
    material: str
    shape: Shape
    size_m: tuple[float, float, float]
    hollow: bool = False
    damping: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Impact:
    """One contact that starts at an exact moment.

    Attributes:
        time_s: first touch, seconds on the clip's clock.
        body: name of the struck body.
        other: name of the striking body (both sound; the struck one more).
        impulse_ns: normal impulse, newton seconds.
        speed_mps: closing speed along the normal, metres per second.
        position: where on the struck body, each -1..1 along its axes (weights the modes).
    """

    time_s: float
    body: str
    other: str
    impulse_ns: float
    speed_mps: float
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Friction:
    """A contact that lasts: rolling or scraping.

    Attributes:
        body: name of the body that sounds.
        other: name of the body it moves on.
        kind: "roll" or "scrape".
        times_s: (K,) float64, increasing.
        speed_mps: (K,) contact speed at these times.
        force_n: (K,) normal force at these times, newton.
    """

    body: str
    other: str
    kind: Literal["roll", "scrape"]
    times_s: NDArray[np.float64]
    speed_mps: NDArray[np.float64]
    force_n: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ContactLog:
    """All that sounds in one clip, in the order of time."""

    bodies: dict[str, Body]
    impacts: list[Impact] = field(default_factory=list)
    frictions: list[Friction] = field(default_factory=list)
