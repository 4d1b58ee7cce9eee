"""Sweeps: the tool is in the plants when it sounds, and passes above them when it does not."""

from __future__ import annotations

import math
from itertools import pairwise

import mujoco
import numpy as np
import pytest

from foleyflow.simulation.motion.kinematic_world import KinematicWorld
from foleyflow.simulation.motion.rotations import align_axes
from foleyflow.simulation.motion.strikers import add_striker
from foleyflow.simulation.motion.sweeps import (
    Sweep,
    _add_contacts,
    _drive,
    _sample_sweeps,
    sample_sweeps,
)

MIDDLE = (0.0, 0.0, 0.3)
AXIS = (0.0, 1.0, 0.0)


def swept(sweeps: list[Sweep]):
    world = KinematicWorld("strike", 4.0, np.random.default_rng(0))
    striker = add_striker(world, "arm", tool="stick")
    world.bodies["plants"] = striker.body
    frame = (MIDDLE, align_axes((1.0, 0.0, 0.3), AXIS))
    _drive(world, striker, sweeps, frame, 0.3)
    for sweep in sweeps:
        _add_contacts(world, striker, sweep, 0.1)
    scene = world.build_scene(focus_m=MIDDLE, extent_m=0.5)
    model = scene.spec.compile()
    return model, mujoco.MjData(model), scene.compute_motion(model)


def tip_of(model, data) -> np.ndarray:
    return data.geom_xpos[model.body("arm_tool").geomadr[0]]


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_the_tip_passes_the_middle_at_the_speed_of_the_sweep(direction):
    sweep = Sweep(time_s=1.0, speed_mps=2.0, direction=direction, raised_m=0.0)
    model, data, motion = swept([sweep])
    places = []
    for time_s in (0.995, 1.0, 1.005):
        motion.pose(data, time_s)
        places.append(tip_of(model, data).copy())
    assert np.linalg.norm(places[1] - MIDDLE) < 0.05  # the tip is a small ball
    velocity = (places[2] - places[0]) / 0.01
    assert velocity[1] == pytest.approx(2.0 * direction, rel=0.15)
    # It goes on to the other side
    motion.pose(data, 1.3)
    assert tip_of(model, data)[1] * direction > 0.1


def test_a_raised_sweep_passes_above_and_makes_no_sound():
    model, data, motion = swept([Sweep(time_s=1.0, speed_mps=2.0, direction=1.0, raised_m=0.2)])
    motion.pose(data, 1.0)
    assert tip_of(model, data)[2] > MIDDLE[2] + 0.15
    assert not motion.log.impacts
    assert not motion.log.frictions


def test_the_loudest_touch_is_where_the_tool_enters():
    sweeps = [
        Sweep(time_s=1.0, speed_mps=2.0, direction=1.0, raised_m=0.0),
        Sweep(time_s=2.5, speed_mps=2.0, direction=-1.0, raised_m=0.0),
    ]
    _, _, motion = swept(sweeps)
    for sweep in sweeps:
        own = [hit for hit in motion.log.impacts if abs(hit.time_s - sweep.time_s) < 0.3]
        strongest = max(own, key=lambda hit: hit.impulse_ns)
        assert strongest.time_s == pytest.approx(sweep.time_s - 0.05)
        # The others are more than 10 dB weaker, most of them inaudible as events of their own
        others = [hit.impulse_ns for hit in own if hit is not strongest]
        assert max(others) < 0.34 * strongest.impulse_ns
    assert len(motion.log.frictions) == 2


def test_sampled_sweeps_leave_time_for_the_way_back():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sweeps, half_m = _sample_sweeps(rng, 4.0)
        assert 0.1 < half_m < 0.5
        for before, after in pairwise(sweeps):
            assert after.time_s - before.time_s >= 0.3
            assert after.direction == -before.direction or after.direction == before.direction == 1


def test_scenes_have_plants_or_a_thing_and_finite_poses():
    scene = sample_sweeps(np.random.default_rng(1), 4.0)
    model = scene.spec.compile()
    motion = scene.compute_motion(model)
    data = mujoco.MjData(model)
    motion.pose(data, 0.0)
    assert {"plants", "arm_tool"} <= set(motion.log.bodies)
    assert math.isfinite(float(data.geom_xpos.sum()))
