"""The scene families and how often each is drawn.

A family is a function from chance and a duration to a `Scene`; its dressing and filming are
elsewhere (`stage.py`, `render.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.simulation.motion.drops import draw_drops
from foleyflow.simulation.motion.drums import draw_drums
from foleyflow.simulation.motion.knocks import draw_knocks
from foleyflow.simulation.motion.rolls import draw_rolls
from foleyflow.simulation.motion.silent_scenes import draw_still
from foleyflow.simulation.motion.strikes import draw_strikes
from foleyflow.simulation.scene import Scene


@dataclass(frozen=True, kw_only=True)
class SceneFamily:
    """One kind of scene.

    Attributes:
        draw: makes a scene from chance and a duration in seconds.
        share: of all clips; the shares of `FAMILIES` sum to 1.
    """

    draw: Callable[[np.random.Generator, float], Scene]
    share: float


FAMILIES: dict[str, SceneFamily] = {
    "strikes": SceneFamily(draw=draw_strikes, share=0.42),
    "drums": SceneFamily(draw=draw_drums, share=0.14),
    "drops": SceneFamily(draw=draw_drops, share=0.20),
    "knocks": SceneFamily(draw=draw_knocks, share=0.06),
    "rolls": SceneFamily(draw=draw_rolls, share=0.08),
    "still": SceneFamily(draw=draw_still, share=0.10),
}


def draw_scene(rng: np.random.Generator, duration_s: float) -> Scene:
    """Draw a family by its share, and a scene of it.

    Args:
        rng: the only source of chance; the same state gives the same scene.
        duration_s: of the clip, positive.

    Source: ours.
    """
    names = list(FAMILIES)
    name = names[int(rng.choice(len(names), p=[FAMILIES[key].share for key in names]))]
    return FAMILIES[name].draw(rng, duration_s)
