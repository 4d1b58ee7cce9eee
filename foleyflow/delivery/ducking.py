"""The gain that lowers a sound around stretches of time, and leaves it unchanged elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Ducking:
    """How far and how fast a sound is lowered around stretches.

    The gain in dB falls along a half cosine that ends at the start of a stretch, stays at
    `-depth_db` until its end, and rises along a half cosine.

    Attributes:
        depth_db: by how much the sound is lowered.
        attack_s: length of the fall.
        release_s: length of the rise.
    """

    depth_db: float = 9.0
    attack_s: float = 0.05
    release_s: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"{name}={value}: expected 0 or more", hint="give a number >= 0")

    def gain_db(
        self, times_s: NDArray[np.float64], stretches: Sequence[tuple[float, float]]
    ) -> NDArray[np.float64]:
        """The gain at each of the increasing times, in dB; 0 away from all (start, end) stretches.

        Where the curves of two stretches overlap, the lower gain holds.
        """
        gain_db = np.zeros(len(times_s))
        for start_s, end_s in stretches:
            first = np.searchsorted(times_s, start_s - self.attack_s)
            stop = np.searchsorted(times_s, end_s + self.release_s, side="right")
            times = times_s[first:stop]
            depth = np.minimum(
                _share(times - start_s, self.attack_s), _share(end_s - times, self.release_s)
            )
            np.minimum(gain_db[first:stop], -self.depth_db * depth, out=gain_db[first:stop])
        return gain_db


def ducked_blocks(
    blocks: Iterable[NDArray[np.float32]],
    rate_hz: int,
    stretches: Sequence[tuple[float, float]],
    ducking: Ducking,
) -> Iterator[NDArray[np.float32]]:
    """Apply the gain of `ducking` to (channels, n) blocks; samples outside keep their values."""
    position = 0
    for block in blocks:
        start_s = position / rate_hz
        position += block.shape[1]
        end_s = position / rate_hz
        near = [
            stretch
            for stretch in stretches
            if stretch[0] - ducking.attack_s < end_s and stretch[1] + ducking.release_s > start_s
        ]
        if near:
            times_s = np.arange(position - block.shape[1], position) / rate_hz
            gain = 10.0 ** (ducking.gain_db(times_s, near) / 20.0)
            block = block * gain.astype(np.float32)
        yield block


def _share(since_s: NDArray[np.float64], length_s: float) -> NDArray[np.float64]:
    """A half cosine from 0 at `-length_s` to 1 at 0, constant outside; a step without length."""
    if length_s == 0.0:
        return (since_s >= 0.0).astype(np.float64)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(since_s / length_s + 1.0, 0.0, 1.0))
