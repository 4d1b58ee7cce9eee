"""A small room around a dry sound: a few early echoes and a decaying tail.

No geometry of the scene enters: the picture rarely shows the room. The direct sound passes
unchanged and undelayed, so that events keep their exact times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, oaconvolve

SOUND_SPEED_MPS = 343.0


@dataclass(frozen=True, kw_only=True)
class RoomParameters:
    """A shoebox room with a listener in it.

    Attributes:
        t60_s: time in which the tail falls by 60 dB, 0.05..3.
        wet: energy of all reflections relative to the direct sound, 0..1.
        size_m: length, width, height.
        distance_m: from source to listener.
        bright_hz: above this the walls absorb.
        seed: places source and listener, and draws the tail.
    """

    t60_s: float
    wet: float
    size_m: tuple[float, float, float]
    distance_m: float
    bright_hz: float
    seed: int

    def __post_init__(self) -> None:
        if not (0.05 <= self.t60_s <= 3.0 and 0.0 <= self.wet <= 1.0 and self.bright_hz > 0):
            raise ValueError(
                f"t60_s={self.t60_s}, wet={self.wet}, bright_hz={self.bright_hz}: expected "
                "0.05..3, 0..1 and a positive frequency"
            )
        if min(*self.size_m, self.distance_m) <= 0:
            raise ValueError(f"size_m={self.size_m}, distance_m={self.distance_m}: expected > 0")


def random_room(rng: np.random.Generator) -> RoomParameters:
    """A living room, a kitchen, a workshop: T60 of 0.1..0.8 s, more or less of it heard.

    Source: ours.
    """
    size = rng.uniform((2.5, 2.2, 2.2), (8.0, 6.0, 3.5))
    return RoomParameters(
        t60_s=float(0.1 * 8.0 ** rng.random()),
        wet=float(0.02 * 10.0 ** rng.random()),
        size_m=(float(size[0]), float(size[1]), float(size[2])),
        distance_m=float(rng.uniform(0.5, 2.0)),
        bright_hz=float(2500.0 * 4.0 ** rng.random()),
        seed=int(rng.integers(2**32)),
    )


def room_response(room: RoomParameters, *, rate_hz: int) -> NDArray[np.float64]:
    """The room's impulse response; the direct sound is its first sample, exactly 1.

    Args:
        room: what it is like.
        rate_hz: samples per second.

    Returns:
        (t60_s * rate_hz + early echoes,) float64.

    Source: J. Allen & D. Berkley, "Image method for efficiently simulating small-room
        acoustics", JASA 65, 1979 (echoes of first and second order); tail: exponentially
        decaying noise (J. Moorer, "About this reverberation business", 1979).
    """
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
    # What the walls keep, from T60 by Sabine's formula.
    area = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorbed = np.clip(0.161 * size.prod() / (area * room.t60_s), 0.05, 0.9)
    taps = (1 - absorbed) ** (order / 2) * direct / distances * rng.choice((-1.0, 1.0), len(order))

    length = int(room.t60_s * rate_hz) + int(delays.max()) + 1
    time_s = np.arange(length) / rate_hz
    tail = rng.standard_normal(length) * np.exp(-6.91 * time_s / room.t60_s)
    begin = int(np.median(delays))
    ramp = np.clip((np.arange(length) - begin) / max(begin, 1), 0.0, 1.0)
    tail *= ramp
    reflections = np.zeros(length)
    np.add.at(reflections, delays, taps)
    early, late = float(np.sum(taps**2)), float(np.sum(tail**2))
    reflections += tail * np.sqrt(early / max(late, 1e-12))
    keep = np.exp(-2 * np.pi * room.bright_hz / rate_hz)
    reflections = np.asarray(lfilter([1 - keep], [1, -keep], reflections))
    reflections *= np.sqrt(room.wet / max(float(np.sum(reflections**2)), 1e-12))
    reflections[0] = 1.0
    return reflections


def reverberate(
    dry: NDArray[np.float64], room: RoomParameters, *, rate_hz: int
) -> NDArray[np.float64]:
    """A dry sound as it is heard in a room, of the same length.

    Args:
        dry: (N,) samples.
        room: the room.
        rate_hz: samples per second.

    Returns:
        (N,) float64.

    Source: `room_response`.
    """
    sounding = np.flatnonzero(dry)
    if not len(sounding):
        return dry
    # From the first sound on, so that the silence before it stays exact.
    first = sounding[0]
    reflections = room_response(room, rate_hz=rate_hz)
    reflections[0] = 0.0
    wet = dry.copy()
    wet[first:] += oaconvolve(dry[first:], reflections)[: len(dry) - first]
    wet[first] = dry[first]
    return wet
