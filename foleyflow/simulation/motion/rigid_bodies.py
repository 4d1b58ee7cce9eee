"""Simulation of free rigid bodies, and extraction of impacts and frictions from its contacts.

The simulation runs on the bare model of the scene, before cameras, lights and a backdrop are added,
so that these cannot change what happens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.constants import GRAVITY_MPS2
from foleyflow.simulation.contacts import Friction, Impact
from foleyflow.simulation.materials import MATERIALS
from foleyflow.simulation.motion.kinematic_world import refresh
from foleyflow.simulation.motion.rotations import NO_ROTATION, ORIGIN, Quat, Vec, as_vec
from foleyflow.simulation.scene import PoseFunction

STEP_S = 0.001

# Impacts with a smaller impulse, a lower closing speed or a smaller fraction of the strongest
# impulse of the clip are inaudible, and so are frictions with a lower speed.
MIN_IMPULSE_NS = 0.002
MIN_IMPACT_MPS = 0.15
MIN_IMPULSE_FRACTION = 0.012
MIN_FRICTION_MPS = 0.05
FRICTION_SAMPLE_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Release:
    """When and how a free body starts to move.

    Attributes:
        name: of the body (its free joint is `NAME_free`).
        time_s: the body is held at its position until then.
        position: metres.
        rotation: its orientation.
        velocity: at the release, metres per second, world.
        spin: angular velocity at the release, radians per second, body frame.
    """

    name: str
    time_s: float
    position: Vec
    rotation: Quat = NO_ROTATION
    velocity: Vec = ORIGIN
    spin: Vec = ORIGIN


@dataclass(frozen=True, kw_only=True)
class PairContacts:
    """Contacts of one pair of bodies, one entry per step in which they touch.

    Attributes:
        steps: (K,) step numbers, increasing.
        force_n: (K,) total normal force.
        approach_mps: (K,) fastest approach along a normal, before the forces of the step act.
        slip_mps: (K,) sliding speed at the contact.
        travel_mps: (K,) speed of the second body's centre of mass along the surface.
        depth_m: (K,) deepest overlap.
        position: (K, 3) a contact point, world.
    """

    steps: NDArray[np.int64]
    force_n: NDArray[np.float64]
    approach_mps: NDArray[np.float64]
    slip_mps: NDArray[np.float64]
    travel_mps: NDArray[np.float64]
    depth_m: NDArray[np.float64]
    position: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The motion and the contacts of a simulation.

    Attributes:
        times_s: (K,) float64.
        states: body name -> (K, 7) float64, position and quaternion.
        contacts: pair of body names -> its contacts.
    """

    times_s: NDArray[np.float64]
    states: dict[str, NDArray[np.float64]]
    contacts: dict[tuple[str, str], PairContacts]

    def pose_function(self, model: mujoco.MjModel) -> PoseFunction:
        """Return the pose function of the free bodies for a model that contains them."""
        entries = [
            (int(model.joint(f"{name}_free").qposadr[0]), states)
            for name, states in self.states.items()
        ]
        start_s, last = float(self.times_s[0]), len(self.times_s) - 1

        def pose(data: mujoco.MjData, time_s: float) -> None:
            step = min(max((time_s - start_s) / STEP_S, 0.0), float(last))
            index = min(int(step), last - 1)
            fraction = step - index
            for address, states in entries:
                here, there = states[index], states[index + 1]
                sign = 1.0 if float(here[3:] @ there[3:]) >= 0.0 else -1.0
                mixed = (1.0 - fraction) * here
                mixed[:3] += fraction * there[:3]
                mixed[3:] += fraction * sign * there[3:]
                mixed[3:] /= np.sqrt(mixed[3:] @ mixed[3:])
                data.qpos[address : address + 7] = mixed
            refresh(model, data)

        return pose


@dataclass(frozen=True, kw_only=True)
class ContactEvents:
    """(event, position) pairs of a recording in the order of time; positions are (3,), world.

    Attributes:
        impacts: with the contact point.
        frictions: with the contact point halfway through each.
    """

    impacts: list[tuple[Impact, NDArray[np.float64]]]
    frictions: list[tuple[Friction, NDArray[np.float64]]]

    def within(self, center_m: Vec, radius_m: float) -> ContactEvents:
        """Return the events inside a sphere: objects that left the picture make no sound."""
        return ContactEvents(
            impacts=[e for e in self.impacts if math.dist(e[1], center_m) <= radius_m],
            frictions=[e for e in self.frictions if math.dist(e[1], center_m) <= radius_m],
        )


class _ContactRecorder:
    """Copies of the contacts of each step; they are evaluated after the simulation."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._arrays: list[tuple[NDArray, ...]] = []

    def record(self, data: mujoco.MjData, step: int) -> None:
        """Copy the contacts of this step."""
        contact = data.contact
        address = contact.efc_address
        force = np.where(address >= 0, data.efc_force[np.maximum(address, 0)], 0.0)
        of_contacts = (contact.geom, contact.pos, contact.frame[:, :3], contact.dist)
        of_bodies = (data.cvel, data.subtree_com, data.xipos)
        self._steps.append(step)
        self._arrays.append((force, *(array.copy() for array in of_contacts + of_bodies)))

    def by_pair(self, model: mujoco.MjModel) -> dict[tuple[str, str], PairContacts]:
        """Group the contacts by pairs of bodies."""
        if not self._steps:
            return {}
        # One entry per contact; `record` is its step
        contact_arrays, body_arrays = (
            list(zip(*(arrays[part] for arrays in self._arrays), strict=True))
            for part in (slice(0, 5), slice(5, 8))
        )
        force, geoms, position, normal, distance = map(np.concatenate, contact_arrays)
        twists, pivots, centers = map(np.array, body_arrays)
        record = np.repeat(np.arange(len(self._steps)), [len(part) for part in contact_arrays[0]])
        pairs = np.array(model.geom_bodyid)[geoms]
        depth = -distance
        roots = np.array(model.body_rootid)

        def velocity(body: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.float64]:
            twist = twists[record, body]
            return twist[:, 3:] + np.cross(twist[:, :3], at - pivots[record, roots[body]])

        # Relative velocity at the contact: along the normal and along the surface
        relative = velocity(pairs[:, 1], position) - velocity(pairs[:, 0], position)
        along = np.einsum("ij,ij->i", relative, normal)
        slip = np.linalg.norm(relative - along[:, None] * normal, axis=1)
        # Velocity of the second body's centre along the surface
        first, second = pairs.min(axis=1), pairs.max(axis=1)
        center_velocity = velocity(second, centers[record, second])
        normal_speed = np.einsum("ij,ij->i", center_velocity, normal)
        travel = np.linalg.norm(center_velocity - normal_speed[:, None] * normal, axis=1)
        # One history per pair, several contacts of a step combined
        steps = np.array(self._steps)[record]
        contacts = {}
        for a, b in np.unique(np.stack([first, second], axis=1), axis=0):
            selected = np.flatnonzero((first == a) & (second == b))
            pair_steps, start = np.unique(steps[selected], return_index=True)
            contacts[(model.body(int(a)).name, model.body(int(b)).name)] = PairContacts(
                steps=pair_steps,
                force_n=np.add.reduceat(force[selected], start),
                approach_mps=np.maximum.reduceat(-along[selected], start),
                slip_mps=np.maximum.reduceat(slip[selected], start),
                travel_mps=travel[selected][start],
                depth_m=np.maximum.reduceat(depth[selected], start),
                position=position[selected][start],
            )
        return contacts


def enable_collisions(geom: mujoco.MjsGeom, material: str) -> None:
    """Let a geom collide, bounce and slide according to its material.

    Reference: MuJoCo manual, "Solver parameters": solref is (time constant, damping ratio); their
    product is the time scale of a contact.
    """
    record = MATERIALS[material]
    geom.contype, geom.conaffinity = 1, 1
    geom.solref = [0.0015 / record.contact_damping, record.contact_damping]
    geom.solimp = [0.95, 0.99, 0.001, 0.5, 2.0]
    geom.friction = [record.sliding_friction, 0.003, 0.0002]


def set_simulation_options(spec: mujoco.MjSpec) -> None:
    """Set the options that all simulated scenes share."""
    spec.option.timestep = STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC  # gives the normal force directly
    spec.option.gravity = [0.0, 0.0, -GRAVITY_MPS2]


def simulate(
    model: mujoco.MjModel, releases: list[Release], *, start_s: float, end_s: float
) -> Recording:
    """Simulate the world and record states and contacts.

    Args:
        model: compiled from the bare scene.
        releases: one per free body.
        start_s: may be negative (motion in progress when the clip begins).
        end_s: end of the clip.
    """
    data = mujoco.MjData(model)
    count = round((end_s - start_s) / STEP_S) + 2
    entries = []
    for release in releases:
        joint = model.joint(f"{release.name}_free")
        qpos, qvel = int(joint.qposadr[0]), int(joint.dofadr[0])
        data.qpos[qpos : qpos + 7] = [*release.position, *release.rotation]
        entries.append((release, qpos, qvel))
    states = np.empty((count, model.nq))
    recorder = _ContactRecorder()
    waiting = sorted(entries, key=lambda entry: -entry[0].time_s)
    quiet_checks = 0
    for step in range(count):
        # Release the bodies whose time has come and hold the others
        time_s = start_s + step * STEP_S
        while waiting and time_s >= waiting[-1][0].time_s:
            release, _, qvel = waiting.pop()
            data.qvel[qvel : qvel + 6] = [*release.velocity, *release.spin]
        for release, qpos, qvel in waiting:
            data.qpos[qpos : qpos + 7] = [*release.position, *release.rotation]
            data.qvel[qvel : qvel + 6] = 0.0
        # Record the state, advance, record the contacts
        states[step] = data.qpos
        mujoco.mj_step(model, data)
        if data.ncon:
            recorder.record(data, step)
        # Stop early when everything has been at rest for about 0.1 s
        if step % 8 == 0:
            is_quiet = not waiting and float(np.abs(data.qvel).max()) < 0.02
            quiet_checks = quiet_checks + 1 if is_quiet else 0
        if quiet_checks > 12:
            states[step + 1 :] = data.qpos
            break
    return Recording(
        times_s=start_s + STEP_S * np.arange(count, dtype=np.float64),
        states={r.name: states[:, qpos : qpos + 7].copy() for r, qpos, _ in entries},
        contacts=recorder.by_pair(model),
    )


def extract_events(model: mujoco.MjModel, recording: Recording) -> ContactEvents:
    """Extract all audible impacts and frictions of a recording."""
    return ContactEvents(
        impacts=_extract_impacts(model, recording), frictions=_extract_frictions(recording)
    )


def _extract_impacts(
    model: mujoco.MjModel, recording: Recording
) -> list[tuple[Impact, NDArray[np.float64]]]:
    """Extract impacts: bursts of normal force far above the weight of the lighter body.

    A burst begins where the pair comes into contact, or where the force rises sharply in a lasting
    contact; bursts of one pair that begin within 20 ms are one impact. Its time is that of the step
    in which it was found minus overlap / speed. The lighter of two bodies is the struck one.
    """
    impacts: list[tuple[Impact, NDArray[np.float64]]] = []
    start_s = float(recording.times_s[0])
    for (first, second), contacts in recording.contacts.items():
        threshold_n = 3.5 * _free_mass_kg(model, recording, first, second) * GRAVITY_MPS2
        steps, force = contacts.steps, contacts.force_n
        last_step = -1000
        for index in np.flatnonzero(force > threshold_n):
            step = int(steps[index])
            is_new_burst = step - last_step > 20
            last_step = step
            if not is_new_burst:
                continue
            # Go back to the step in which the burst begins
            begin = int(index)
            while (
                begin > 0
                and steps[begin - 1] == steps[begin] - 1
                and steps[index] - steps[begin - 1] <= 4
                and force[begin - 1] > 0.25 * threshold_n
            ):
                begin -= 1
            # Impulse and closing speed
            window = (steps >= steps[begin]) & (steps < steps[begin] + 12)
            impulse = float(force[window].sum()) * STEP_S
            speed = float(contacts.approach_mps[begin : int(index) + 1].max())
            if impulse < MIN_IMPULSE_NS or speed < MIN_IMPACT_MPS:
                continue
            # Time of the contact within the step
            is_first_touch = begin == 0 or steps[begin - 1] < steps[begin] - 1
            back_s = min(float(contacts.depth_m[begin]) / speed, STEP_S) if is_first_touch else 0.0
            # A cup that falls is the audible body, not the floor
            struck, striker = (second, first) if _heavier(model, first, second) else (first, second)
            position = contacts.position[begin]
            impact = Impact(
                time_s=start_s + int(steps[begin]) * STEP_S - back_s,
                body=struck,
                other=striker,
                impulse_ns=impulse,
                speed_mps=speed,
                position=_relative_position(model, recording, struck, position, step),
            )
            impacts.append((impact, position))
    strongest_ns = max((impact.impulse_ns for impact, _ in impacts), default=0.0)
    audible = [e for e in impacts if e[0].impulse_ns >= MIN_IMPULSE_FRACTION * strongest_ns]
    return sorted(audible, key=lambda entry: (entry[0].time_s, entry[0].body, entry[0].other))


def _extract_frictions(recording: Recording) -> list[tuple[Friction, NDArray[np.float64]]]:
    """Extract rolling and sliding: each stretch in which a pair touches and moves."""
    frictions: list[tuple[Friction, NDArray[np.float64]]] = []
    for (first, second), contacts in recording.contacts.items():
        steps, travel, slip = contacts.steps, contacts.travel_mps, contacts.slip_mps
        moving = np.maximum(travel, slip) > MIN_FRICTION_MPS
        cut = np.flatnonzero((np.diff(steps) > 12) | (np.diff(moving.astype(int)) != 0)) + 1
        for part in np.split(np.arange(len(steps)), cut):
            if len(part) < 60 or not moving[part[0]]:
                continue
            sliding = bool(np.median(slip[part]) > 0.5 * np.median(travel[part]))
            force = np.convolve(contacts.force_n[part], np.ones(15) / 15, mode="same")
            sampled = part[::FRICTION_SAMPLE_STEPS]
            friction = Friction(
                body=second,
                other=first,
                kind="scrape" if sliding else "roll",
                times_s=recording.times_s[steps[sampled]],
                speed_mps=(slip if sliding else travel)[sampled],
                force_n=force[::FRICTION_SAMPLE_STEPS],
            )
            frictions.append((friction, contacts.position[int(part[len(part) // 2])]))
    return sorted(frictions, key=lambda entry: float(entry[0].times_s[0]))


def _free_mass_kg(model: mujoco.MjModel, recording: Recording, first: str, second: str) -> float:
    """Return the mass of the lighter free body of a pair."""
    masses = [
        float(model.body(name).mass[0]) for name in (first, second) if name in recording.states
    ]
    return min(masses, default=1.0)


def _heavier(model: mujoco.MjModel, first: str, second: str) -> bool:
    """Return whether the first body is fixed to the world or heavier than the second."""
    a, b = model.body(first), model.body(second)
    if int(a.dofnum[0]) == 0:
        return True
    return int(b.dofnum[0]) > 0 and float(a.mass[0]) >= float(b.mass[0])


def _relative_position(
    model: mujoco.MjModel, recording: Recording, name: str, point: NDArray[np.float64], step: int
) -> Vec:
    """Return a world point in -1..1 along a body's axes."""
    body = model.body(name)
    if name in recording.states:
        state = recording.states[name][step]
        origin, rotation = state[:3], state[3:]
    else:
        origin, rotation = np.array(body.pos), np.array(body.quat)
    inverse, local = np.empty(4), np.empty(3)
    mujoco.mju_negQuat(inverse, rotation)
    mujoco.mju_rotVecQuat(local, point - origin, inverse)
    size = float(model.geom_rbound[body.geomadr[0]]) or 1.0
    return as_vec(np.clip(local / size, -1.0, 1.0))
