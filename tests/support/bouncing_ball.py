"""A small scene family for tests: a ball that bounces twice a second.

Its contact times, speeds and heights have a closed form. Two more families kill their process, once
or always, and one raises an error.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import mujoco
import numpy as np

from foleyflow.simulation.contacts import Body, ContactLog, Impact
from foleyflow.simulation.scene import Scene, SceneMotion

RADIUS_M = 0.1
RISE_M = 0.3
PERIOD_S = 0.5
CRASH_MARK = "FOLEYFLOW_TEST_CRASH_MARK"  # names a file; the process that creates it is killed


def height_m(time_s: float) -> float:
    """Return the height of the ball's centre; it touches the floor at 0.25 s, 0.75 s, ..."""
    phase = ((time_s + PERIOD_S / 2) % PERIOD_S) / PERIOD_S
    return RADIUS_M + RISE_M * 4.0 * phase * (1.0 - phase)


def contact_times_s(duration_s: float) -> np.ndarray:
    """Return the times at which the ball touches the floor."""
    return np.arange(PERIOD_S / 2, duration_s, PERIOD_S)


def sample_scene(rng: np.random.Generator, duration_s: float) -> Scene:
    """Build a ball of a random material over a wooden floor."""
    spec = mujoco.MjSpec()
    material = str(rng.choice(["metal", "plastic", "stone"]))
    floor = spec.worldbody.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.6, 0.6, 0.05], pos=[0, 0, -0.05]
    )
    ball = spec.worldbody.add_body(name="ball", mocap=True)
    skin = ball.add_geom(name="ball_skin", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[RADIUS_M] * 3)
    for geom in (floor, skin):
        geom.contype = geom.conaffinity = 0
    speed_mps = 4.0 * RISE_M / PERIOD_S
    impacts = [
        Impact(
            time_s=float(time_s),
            body="floor",
            other="ball",
            impulse_ns=2 * 0.1 * speed_mps,
            speed_mps=speed_mps,
        )
        for time_s in contact_times_s(duration_s)
    ]
    bodies = {
        "floor": Body(name="floor", material="wood", shape="plate", size_m=(1.2, 1.2, 0.1)),
        "ball": Body(name="ball", material=material, shape="sphere", size_m=(0.2, 0.2, 0.2)),
    }

    def compute_motion(model: mujoco.MjModel) -> SceneMotion:
        mocap = model.body("ball").mocapid[0]

        def pose(data: mujoco.MjData, time_s: float) -> None:
            data.mocap_pos[mocap] = (0.0, 0.0, height_m(time_s))
            mujoco.mj_kinematics(model, data)

        return SceneMotion(log=ContactLog(bodies=bodies, impacts=impacts), pose=pose)

    return Scene(
        spec=spec,
        kind="drop",
        duration_s=duration_s,
        looks={"floor": "wood", "ball_skin": material},
        focus_m=(0.0, 0.0, 0.2),
        extent_m=0.4,
        compute_motion=compute_motion,
    )


def crash_once(rng: np.random.Generator, duration_s: float) -> Scene:
    """Kill the first process that calls this, as a graphics driver might; then build a ball."""
    mark = Path(os.environ[CRASH_MARK])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sample_scene(rng, duration_s)


def crash_always(rng: np.random.Generator, duration_s: float) -> Scene:
    """Kill every process that calls this."""
    os.kill(os.getpid(), signal.SIGKILL)
    return sample_scene(rng, duration_s)


def fail_to_build(rng: np.random.Generator, duration_s: float) -> Scene:
    """Raise an error, as a faulty family would."""
    raise ValueError("this scene has no floor")
