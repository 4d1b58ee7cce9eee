"""The scene families and how often each is drawn.

A family is a function from chance and a duration to a `Scene`; its dressing and filming are
elsewhere (`stage.py`, `render.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foleyflow.data.physics.families.drops import draw_drops
from foleyflow.data.physics.families.drums import draw_drums
from foleyflow.data.physics.families.knocks import draw_knocks
from foleyflow.data.physics.families.rolls import draw_rolls
from foleyflow.data.physics.families.still import draw_still
from foleyflow.data.physics.families.strikes import draw_strikes
from foleyflow.data.physics.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of scene.

    Attributes:
        draw: makes a scene from chance and a duration in seconds.
        share: of all clips; the shares of `FAMILIES` sum to 1.
    """

    draw: Callable[[np.random.Generator, float], Scene]
    share: float


FAMILIES: dict[str, Family] = {
    "strikes": Family(draw=draw_strikes, share=0.42),
    "drums": Family(draw=draw_drums, share=0.14),
    "drops": Family(draw=draw_drops, share=0.20),
    "knocks": Family(draw=draw_knocks, share=0.06),
    "rolls": Family(draw=draw_rolls, share=0.08),
    "still": Family(draw=draw_still, share=0.10),
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
