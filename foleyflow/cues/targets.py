"""Targets for a network that predicts cues: attributes per latent frame, from exact cues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import centres_s
from foleyflow.cues.arrays import ROLL, UNKNOWN, CueArrays

NEAR_FRAMES = 1  # on each side of a hit's frame that have its attributes too
NO_FRICTION, ROLLING, SCRAPING = 0, 1, 2  # classes of friction


@dataclass(frozen=True, kw_only=True)
class CueTargets:
    """Attributes of the cues of one window.

    Attributes:
        levels_db: (L,) float32, level of the hit in or next to the frame; NaN without one.
        materials, strikers: (L,) int64 classes of its bodies, or of those of friction; `UNKNOWN`
            without either.
        friction: (L,) int64, `NO_FRICTION`, `ROLLING` or `SCRAPING`; of two, the louder one.
        friction_levels_db: (L,) float32; NaN without friction.
    """

    levels_db: NDArray[np.float32]
    materials: NDArray[np.int64]
    strikers: NDArray[np.int64]
    friction: NDArray[np.int64]
    friction_levels_db: NDArray[np.float32]


def cue_targets(cues: CueArrays, count: int, *, rate_hz: float) -> CueTargets:
    """The targets of a window of `count` latent frames; times count from its start.

    Of two hits next to each other, each has its own frame, and the louder one those between them.
    """
    levels_db = np.full(count, np.nan, np.float32)
    materials, strikers = (np.full(count, UNKNOWN, np.int64) for _ in range(2))
    hits = cues.take(cues.is_hit)
    frames = np.floor(hits.times_s * rate_hz).astype(np.int64)
    # From the faintest to the loudest, first the neighbours and then the frames of the hits
    order = np.argsort(np.nan_to_num(hits.levels_db, nan=-np.inf), kind="stable")
    for reach in (NEAR_FRAMES, 0):
        for index in order:
            first, last = max(frames[index] - reach, 0), min(frames[index] + reach + 1, count)
            if first < last:
                levels_db[first:last] = hits.levels_db[index]
                materials[first:last] = hits.materials[index]
                strikers[first:last] = hits.strikers[index]
    # Friction
    friction = np.full(count, NO_FRICTION, np.int64)
    friction_levels_db = np.full(count, np.nan, np.float32)
    centres = centres_s(count, rate_hz)
    for index in np.flatnonzero(~cues.is_hit).tolist():
        inside = np.flatnonzero((centres >= cues.times_s[index]) & (centres < cues.ends_s[index]))
        own_db = cues.friction_levels_db(index, centres[inside])
        louder = ~(friction_levels_db[inside] >= own_db)
        chosen = inside[louder]
        friction[chosen] = ROLLING if cues.kinds[index] == ROLL else SCRAPING
        friction_levels_db[chosen] = own_db[louder]
        chosen = chosen[np.isnan(levels_db[chosen])]  # frames without a hit
        materials[chosen], strikers[chosen] = cues.materials[index], cues.strikers[index]
    return CueTargets(
        levels_db=levels_db,
        materials=materials,
        strikers=strikers,
        friction=friction,
        friction_levels_db=friction_levels_db,
    )
