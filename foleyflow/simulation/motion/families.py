"""The scene families and how often each is sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.motion.drops import sample_drops
from foleyflow.simulation.motion.drums import sample_drums
from foleyflow.simulation.motion.knocks import sample_knocks
from foleyflow.simulation.motion.rolls import sample_rolls
from foleyflow.simulation.motion.silent_scenes import sample_still
from foleyflow.simulation.motion.strikes import sample_strikes
from foleyflow.simulation.motion.sweeps import sample_sweeps
from foleyflow.simulation.scene import Scene


@dataclass(frozen=True, kw_only=True)
class SceneFamily:
    """One kind of scene.

    Attributes:
        sample: samples a scene from a random generator and a duration in seconds.
        fraction: of all clips; the fractions of `FAMILIES` sum to 1.
    """

    sample: Callable[[np.random.Generator, float], Scene]
    fraction: float


FAMILIES: dict[str, SceneFamily] = {
    "strikes": SceneFamily(sample=sample_strikes, fraction=0.36),
    "sweeps": SceneFamily(sample=sample_sweeps, fraction=0.10),
    "drums": SceneFamily(sample=sample_drums, fraction=0.14),
    "drops": SceneFamily(sample=sample_drops, fraction=0.18),
    "knocks": SceneFamily(sample=sample_knocks, fraction=0.06),
    "rolls": SceneFamily(sample=sample_rolls, fraction=0.08),
    "still": SceneFamily(sample=sample_still, fraction=0.08),
}


def sample_scene(rng: np.random.Generator, duration_s: float) -> Scene:
    """Sample a family by its fraction, and a scene of it; the same state gives the same scene."""
    names = list(FAMILIES)
    name = names[int(rng.choice(len(names), p=[FAMILIES[key].fraction for key in names]))]
    return FAMILIES[name].sample(rng, duration_s)
