"""Contacts of a scene: sounding bodies, impacts and frictions with exact times.

Scenes (kinematic or simulated) produce a `ContactLog`; `sound.synthesis` turns it into a waveform
and `dataset.clip_files` into labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["box", "sphere", "cylinder", "capsule", "plate", "bar", "bowl", "membrane"]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body that makes sound.

    Attributes:
        name: unique within the scene.
        material: a key of `materials.MATERIALS`.
        shape: selects the formula of the mode frequencies.
        size_m: (length, width, thickness or height), metres, all positive.
        hollow: shells ring at lower frequencies and longer than solids; not visible in the picture.
        damping: factor on the decay rates of the material, for a body that is held or lies on a
            soft support; 1 for a free body.
    """

    name: str
    material: str
    shape: Shape
    size_m: tuple[float, float, float]
    hollow: bool = False
    damping: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Impact:
    """One contact that starts at an exact time.

    Attributes:
        time_s: first contact, seconds from the start of the clip.
        body: name of the struck body.
        other: name of the striking body (both make sound; the struck one is louder).
        impulse_ns: normal impulse, newton seconds.
        speed_mps: closing speed along the normal, metres per second.
        position: point on the struck body, each -1..1 along its axes (weights the modes).
    """

    time_s: float
    body: str
    other: str
    impulse_ns: float
    speed_mps: float
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Friction:
    """A lasting contact: rolling or scraping.

    Attributes:
        body: name of the body that makes sound.
        other: name of the body that it moves on.
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
    """All contacts of one clip that make sound, in the order of time."""

    bodies: dict[str, Body]
    impacts: list[Impact] = field(default_factory=list)
    frictions: list[Friction] = field(default_factory=list)
