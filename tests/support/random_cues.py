"""Random cue sheets, with every field and with names that need quoting."""

from __future__ import annotations

import random

from foleyflow.cues.cue import LARGEST_SEED, Cue
from foleyflow.cues.sheet import CueSheet

NAMES = ("wood", "metal", 'old "oak", wet; 50 %', "Glas für Öl", "太鼓", "'=1+1", "null", "true")


def random_sheet(seed: int) -> CueSheet:
    """Up to 40 cues in 0..12 s, 90 ms apart, with half of the optional fields set."""
    rng = random.Random(seed)
    duration_s = rng.choice((12.0, 4 + 9 * rng.random() + 12, None))
    count = rng.randrange(41)
    cues = tuple(_random_cue(rng, 0.3 * (index + 0.7 * rng.random())) for index in range(count))
    return CueSheet(cues=cues, duration_s=duration_s)


def _random_cue(rng: random.Random, time_s: float) -> Cue:
    def sometimes(value):
        return value if rng.random() < 0.5 else None

    kind = rng.choice(("hit", "roll", "scrape"))
    curve = [rng.uniform(-60, 12) for _ in range(rng.choice((0, 2, 3, 17)))]
    return Cue(
        time_s=time_s,
        kind=kind,
        end_s=None if kind == "hit" else rng.uniform(time_s + 1e-6, 12),
        level_db=sometimes(rng.uniform(-60, 12)),
        level_curve_db=() if kind == "hit" else tuple(curve),
        material=sometimes(rng.choice(NAMES)),
        striker=sometimes(rng.choice(NAMES)),
        pitch_hz=sometimes(rng.uniform(20, 20_000)),
        decay_s=sometimes(rng.uniform(0.005, 20)),
        pan=sometimes(rng.choice((-1.0, 0.0, 1.0, rng.uniform(-1, 1)))),
        seed=sometimes(rng.choice((0, LARGEST_SEED, rng.randrange(2**63)))),
        enabled=rng.random() < 0.8,
        confidence=sometimes(rng.choice((0.0, 1.0, rng.random(), 5e-324))),
    )
