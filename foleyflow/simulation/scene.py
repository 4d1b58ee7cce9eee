"""What a scene is: a MuJoCo world, what its parts are made of, and how it moves and sounds.

A scene family (`drops.py`, `strikes.py`, ...) builds a `Scene`; `stage.py` dresses it (textures,
lights, camera) and `render.py` films it. Motion is a function of time, so that a film camera may
ask for any moment, between frames too (motion blur, any frame rate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco

from foleyflow.simulation.contacts import ContactLog


@dataclass(frozen=True, kw_only=True)
class Performance:
    """How a scene went.

    Attributes:
        log: all contacts that sound, times in seconds from the start of the clip.
        pose: `pose(data, time_s)` puts the world into its state at that time, ready to be drawn
            (kinematics are up to date on return). Times may come in any order.
    """

    log: ContactLog
    pose: Callable[[mujoco.MjData, float], None]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A world before it is dressed and filmed.

    Attributes:
        spec: the world's bodies and geoms, without cameras, lights, textures or backdrop.
        kind: the family's name ("drop", "strike", "drum", "knock", "roll", "still").
        duration_s: seconds.
        looks: geom name -> what it looks like: a material of `contacts.MATERIALS`, or "skin",
            "cloth", "ground", "wall", "leaf" for things that don't sound or are only seen.
        focus_m: the point the camera looks at, roughly where contacts happen.
        extent_m: the radius around it that the picture should hold.
        azimuth_deg: (low, high) directions that see the action (MuJoCo's free camera).
        elevation_deg: (low, high) camera elevation; negative looks down.
        play: runs the scene on the compiled model; called once, after dressing.
    """

    spec: mujoco.MjSpec
    kind: str
    duration_s: float
    looks: dict[str, str]
    focus_m: tuple[float, float, float]
    extent_m: float
    azimuth_deg: tuple[float, float] = (0.0, 360.0)
    elevation_deg: tuple[float, float] = (-60.0, -8.0)
    play: Callable[[mujoco.MjModel], Performance]
