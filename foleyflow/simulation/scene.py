"""A simulated scene: a MuJoCo world, its materials, its motion and its contacts.

A scene family (`motion.drops`, `motion.strikes`, ...) builds a `Scene`; `picture.stage` adds
textures, lights and a camera, and `picture.render` renders it. Motion is a function of time: a
camera may ask for any time, also between frames (motion blur, any frame rate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco

from foleyflow.simulation.contacts import ContactLog

PoseFunction = Callable[[mujoco.MjData, float], None]


@dataclass(frozen=True, kw_only=True)
class SceneMotion:
    """The contacts and the motion of a scene.

    Attributes:
        log: all contacts that make sound, times in seconds from the start of the clip.
        pose: `pose(data, time_s)` sets the state of the world at a time and updates the kinematics,
            so that it can be rendered. Times may come in any order.
    """

    log: ContactLog
    pose: PoseFunction


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A world before textures, lights and a camera are added.

    Attributes:
        spec: bodies and geoms, without cameras, lights, textures or backdrop.
        kind: name of the family ("drop", "strike", "drum", "knock", "roll", "still").
        duration_s: seconds.
        looks: geom name -> its appearance: a material of `materials.MATERIALS`, or "skin", "cloth",
            "ground", "wall", "leaf" for parts that make no sound.
        focus_m: the point that the camera looks at, roughly where contacts happen.
        extent_m: the radius around it that the picture should contain.
        azimuth_deg: (low, high) directions from which the action is visible (MuJoCo's free camera).
        elevation_deg: (low, high) camera elevation; negative looks down.
        compute_motion: returns contacts and motion for the compiled model; call it once, after
            `stage.decorate_scene` if frames are rendered. The contacts do not depend on the model.
    """

    spec: mujoco.MjSpec
    kind: str
    duration_s: float
    looks: dict[str, str]
    focus_m: tuple[float, float, float]
    extent_m: float
    azimuth_deg: tuple[float, float] = (0.0, 360.0)
    elevation_deg: tuple[float, float] = (-60.0, -8.0)
    compute_motion: Callable[[mujoco.MjModel], SceneMotion]
