"""Reverberation of a small room: a few early echoes and a decaying tail.

The room is independent of the scene's geometry. The direct sound is neither changed nor delayed, so
events keep their exact times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, oaconvolve

from foleyflow.simulation.constants import SOUND_SPEED_MPS


@dataclass(frozen=True, kw_only=True)
class RoomParameters:
    """A shoebox room with a listener in it.

    Attributes:
        t60_s: time in which the tail falls by 60 dB, 0.05..3.
        wet: energy of all reflections relative to the direct sound, 0..1.
        size_m: length, width, height.
        distance_m: from source to listener.
        cutoff_hz: frequency above which the walls absorb.
        seed: determines the positions of source and listener, and the tail.
    """

    t60_s: float
    wet: float
    size_m: tuple[float, float, float]
    distance_m: float
    cutoff_hz: float
    seed: int

    def __post_init__(self) -> None:
        if not (0.05 <= self.t60_s <= 3.0 and 0.0 <= self.wet <= 1.0 and self.cutoff_hz > 0):
            raise ValueError(
                f"t60_s={self.t60_s}, wet={self.wet}, cutoff_hz={self.cutoff_hz}: expected "
                "0.05..3, 0..1 and a positive frequency"
            )
        if min(*self.size_m, self.distance_m) <= 0:
            raise ValueError(f"size_m={self.size_m}, distance_m={self.distance_m}: expected > 0")


def sample_room(rng: np.random.Generator) -> RoomParameters:
    """Sample a living room, a kitchen or a workshop with a T60 of 0.1..0.8 s."""
    length, width, height = rng.uniform((2.5, 2.2, 2.2), (8.0, 6.0, 3.5)).tolist()
    return RoomParameters(
        t60_s=float(0.1 * 8.0 ** rng.random()),
        wet=float(0.02 * 10.0 ** rng.random()),
        size_m=(length, width, height),
        distance_m=float(rng.uniform(0.5, 2.0)),
        cutoff_hz=float(2500.0 * 4.0 ** rng.random()),
        seed=int(rng.integers(2**32)),
    )


def room_response(room: RoomParameters, *, rate_hz: int) -> NDArray[np.float64]:
    """Return the room's impulse response; the direct sound is its first sample, exactly 1.

    Returns:
        (t60_s * rate_hz + early echoes,) float64.

    Reference: J. Allen & D. Berkley, "Image method for efficiently simulating small-room
        acoustics", JASA 65, 1979 (echoes of first and second order); tail: exponentially
        decaying noise (J. Moorer, "About this reverberation business", 1979).
    """
    # Image sources of first and second order
    rng = np.random.default_rng(room.seed)
    size = np.array(room.size_m)
    listener = size * rng.uniform(0.25, 0.75, 3)
    direction = rng.standard_normal(3)
    source = np.clip(
        listener + room.distance_m * direction / np.linalg.norm(direction), 0.1, size - 0.1
    )
    steps = np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1])).reshape(3, -1).T
    order = np.abs(steps).sum(axis=1)
    steps, order = steps[(order > 0) & (order <= 2)], order[(order > 0) & (order <= 2)]
    mirrored = np.where(steps == 0, source, np.where(steps < 0, -source, 2 * size - source))
    distances = np.linalg.norm(mirrored - listener, axis=1)
    direct = np.linalg.norm(source - listener)
    delays = np.maximum(1, (distances - direct) / SOUND_SPEED_MPS * rate_hz).astype(np.int64)
    # Amplitudes of the echoes; the absorption of the walls follows from T60 by Sabine's formula
    area = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorbed = np.clip(0.161 * size.prod() / (area * room.t60_s), 0.05, 0.9)
    taps = (1 - absorbed) ** (order / 2) * direct / distances * rng.choice((-1.0, 1.0), len(order))

    # Tail: decaying noise with the energy of the echoes
    length = int(room.t60_s * rate_hz) + int(delays.max()) + 1
    time_s = np.arange(length) / rate_hz
    tail = rng.standard_normal(length) * np.exp(-6.91 * time_s / room.t60_s)
    begin = int(np.median(delays))
    tail *= np.clip((np.arange(length) - begin) / max(begin, 1), 0.0, 1.0)
    reflections = np.zeros(length)
    np.add.at(reflections, delays, taps)
    early, late = float(np.sum(taps**2)), float(np.sum(tail**2))
    reflections += tail * np.sqrt(early / max(late, 1e-12))

    # Low-pass filter and level of the reflections
    keep = np.exp(-2 * np.pi * room.cutoff_hz / rate_hz)
    reflections = np.asarray(lfilter([1 - keep], [1, -keep], reflections))
    reflections *= np.sqrt(room.wet / max(float(np.sum(reflections**2)), 1e-12))
    reflections[0] = 1.0
    return reflections


def reverberate(
    dry: NDArray[np.float64], room: RoomParameters, *, rate_hz: int
) -> NDArray[np.float64]:
    """Return a dry sound (N,) with the reverberation of a room, (N,) float64."""
    nonzero = np.flatnonzero(dry)
    if not len(nonzero):
        return dry
    first = nonzero[0]  # the silence before it stays exact
    reflections = room_response(room, rate_hz=rate_hz)
    reflections[0] = 0.0
    wet = dry.copy()
    wet[first:] += oaconvolve(dry[first:], reflections)[: len(dry) - first]
    wet[first] = dry[first]
    return wet
