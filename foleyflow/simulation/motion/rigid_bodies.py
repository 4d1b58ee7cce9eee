"""Free rigid bodies: simulates them once, keeps the motion, and reads impacts and friction off it.

Kinematic scenes (`puppet.py`) need none of this. The simulation runs on the scene's own bare model,
before any dressing, so that cameras, lights and backdrops can't change what happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.contacts import Friction, Impact
from foleyflow.simulation.motion.kinematic_world import refresh
from foleyflow.simulation.motion.rotations import UPRIGHT, Quat, Vec

STEP_S = 0.001
GRAVITY_MPS2 = 9.81
#: Kilograms per cubic metre.
DENSITY = {
    "wood": 650.0, "metal": 7000.0, "glass": 2500.0, "ceramic": 2300.0, "plastic": 1000.0,
    "rubber": 1100.0, "membrane": 900.0, "stone": 2600.0, "cardboard": 300.0,
}  # fmt: skip
#: Damping ratio d of a contact; a bounce keeps about exp(-pi d / sqrt(1 - d^2)) of the speed.
CONTACT_DAMPING = {
    "wood": 0.28, "metal": 0.16, "glass": 0.16, "ceramic": 0.2, "plastic": 0.22,
    "rubber": 0.07, "membrane": 0.1, "stone": 0.3, "cardboard": 0.6,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Release:
    """When and how a free body starts to fall.

    Attributes:
        name: of the body (its free joint is called `NAME_free`).
        time_s: it is held at its place until then.
        place: where, metres.
        turn: its orientation.
        speed: velocity at the release, metres per second, world.
        spin: angular velocity at the release, radians per second, body frame.
    """

    name: str
    time_s: float
    place: Vec
    turn: Quat = UPRIGHT
    speed: Vec = (0.0, 0.0, 0.0)
    spin: Vec = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A simulated motion and what touched.

    Attributes:
        times_s: (K,) float64.
        states: body name -> (K, 7) float64, place and quaternion.
        touches: pair of body names -> its contact history.
    """

    times_s: NDArray[np.float64]
    states: dict[str, NDArray[np.float64]]
    touches: dict[tuple[str, str], Touches]

    def posing(self, model: mujoco.MjModel) -> Callable[[mujoco.MjData, float], None]:
        """A pose function for a (dressed) model with the same free bodies."""
        rows = [
            (int(model.joint(f"{name}_free").qposadr[0]), states)
            for name, states in self.states.items()
        ]
        start_s, last = float(self.times_s[0]), len(self.times_s) - 1

        def pose(data: mujoco.MjData, time_s: float) -> None:
            at = min(max((time_s - start_s) / STEP_S, 0.0), float(last))
            index = min(int(at), last - 1)
            share = at - index
            for address, states in rows:
                here, there = states[index], states[index + 1]
                sign = 1.0 if float(here[3:] @ there[3:]) >= 0.0 else -1.0
                mixed = (1.0 - share) * here
                mixed[:3] += share * there[:3]
                mixed[3:] += share * sign * there[3:]
                mixed[3:] /= np.sqrt(mixed[3:] @ mixed[3:])
                data.qpos[address : address + 7] = mixed
            refresh(model, data)

        return pose


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Impacts and frictions read off a recording, and where they happen.

    Attributes:
        impacts: in order of time.
        impact_places_m: (N, 3) float64, world.
        frictions: in order of time.
        friction_places_m: (M, 3) float64, world, the middle of each.
    """

    impacts: list[Impact]
    impact_places_m: NDArray[np.float64]
    frictions: list[Friction]
    friction_places_m: NDArray[np.float64]

    def within(self, centre_m: Vec, radius_m: float) -> Heard:
        """What happens inside a ball: things that left the picture are not heard.

        Source: ours.
        """
        near = np.linalg.norm(self.impact_places_m - centre_m, axis=1) <= radius_m
        close = np.linalg.norm(self.friction_places_m - centre_m, axis=1) <= radius_m
        return Heard(
            impacts=[impact for impact, keep in zip(self.impacts, near, strict=True) if keep],
            impact_places_m=self.impact_places_m[near],
            frictions=[f for f, keep in zip(self.frictions, close, strict=True) if keep],
            friction_places_m=self.friction_places_m[close],
        )


@dataclass(frozen=True, kw_only=True)
class Touches:
    """History of one pair of bodies, one entry per step in which they touch.

    Attributes:
        steps: (K,) step numbers, increasing.
        force_n: (K,) summed normal force.
        approach_mps: (K,) fastest approach along a normal, before the step's forces act.
        slip_mps: (K,) sliding speed at the contact.
        travel_mps: (K,) speed of the second body's middle along the surface.
        depth_m: (K,) deepest overlap.
        place: (K, 3) a contact point, world.
    """

    steps: NDArray[np.int64]
    force_n: NDArray[np.float64]
    approach_mps: NDArray[np.float64]
    slip_mps: NDArray[np.float64]
    travel_mps: NDArray[np.float64]
    depth_m: NDArray[np.float64]
    place: NDArray[np.float64]


@dataclass(kw_only=True)
class _Diary:
    """Raw copies of each step with contacts, worked up only when the simulation is over."""

    steps: list[int] = field(default_factory=list)
    geoms: list[NDArray[np.int32]] = field(default_factory=list)
    forces: list[NDArray[np.float64]] = field(default_factory=list)
    places: list[NDArray[np.float64]] = field(default_factory=list)
    normals: list[NDArray[np.float64]] = field(default_factory=list)
    distances: list[NDArray[np.float64]] = field(default_factory=list)
    twists: list[NDArray[np.float64]] = field(default_factory=list)
    pivots: list[NDArray[np.float64]] = field(default_factory=list)
    middles: list[NDArray[np.float64]] = field(default_factory=list)

    def note(self, data: mujoco.MjData, step: int) -> None:
        """Copy this step's contacts."""
        contact = data.contact
        address = contact.efc_address
        self.steps.append(step)
        self.geoms.append(contact.geom.copy())
        self.forces.append(np.where(address >= 0, data.efc_force[np.maximum(address, 0)], 0.0))
        self.places.append(contact.pos.copy())
        self.normals.append(contact.frame[:, :3].copy())
        self.distances.append(contact.dist.copy())
        self.twists.append(data.cvel.copy())
        self.pivots.append(data.subtree_com.copy())
        self.middles.append(data.xipos.copy())

    def histories(self, model: mujoco.MjModel) -> dict[tuple[str, str], Touches]:
        """One history per pair of bodies."""
        if not self.steps:
            return {}
        row = np.repeat(np.arange(len(self.steps)), [len(part) for part in self.geoms])
        pairs = np.array(model.geom_bodyid)[np.concatenate(self.geoms)]
        place, normal = np.concatenate(self.places), np.concatenate(self.normals)
        force, depth = np.concatenate(self.forces), -np.concatenate(self.distances)
        twists, pivots, middles = map(np.array, (self.twists, self.pivots, self.middles))
        roots = np.array(model.body_rootid)

        def velocity(body: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.float64]:
            twist = twists[row, body]
            return twist[:, 3:] + np.cross(twist[:, :3], at - pivots[row, roots[body]])

        relative = velocity(pairs[:, 1], place) - velocity(pairs[:, 0], place)
        along = np.einsum("ij,ij->i", relative, normal)
        slip = np.linalg.norm(relative - along[:, None] * normal, axis=1)
        first, second = pairs.min(axis=1), pairs.max(axis=1)
        onward = velocity(second, middles[row, second])
        across = onward - np.einsum("ij,ij->i", onward, normal)[:, None] * normal
        travel = np.linalg.norm(across, axis=1)
        steps = np.array(self.steps)[row]
        histories = {}
        for a, b in np.unique(np.stack([first, second], axis=1), axis=0):
            mine = np.flatnonzero((first == a) & (second == b))
            moments, start = np.unique(steps[mine], return_index=True)
            histories[(model.body(int(a)).name, model.body(int(b)).name)] = Touches(
                steps=moments,
                force_n=np.add.reduceat(force[mine], start),
                approach_mps=np.maximum.reduceat(-along[mine], start),
                slip_mps=np.maximum.reduceat(slip[mine], start),
                travel_mps=travel[mine][start],
                depth_m=np.maximum.reduceat(depth[mine], start),
                place=place[mine][start],
            )
        return histories


def contact_settings(material: str) -> dict[str, object]:
    """Geom attributes that make a material bounce and slide as it does.

    Source: MuJoCo manual, "Solver parameters": solref (time constant, damping ratio); the product
    of both is the time scale of a contact.
    """
    damping = CONTACT_DAMPING[material]
    return {
        "solref": [0.0015 / damping, damping],
        "solimp": [0.95, 0.99, 0.001, 0.5, 2.0],
        "friction": [0.9 if material == "rubber" else 0.45, 0.003, 0.0002],
    }


def prepare(spec: mujoco.MjSpec) -> None:
    """Set the options every simulated scene shares."""
    spec.option.timestep = STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.gravity = [0.0, 0.0, -GRAVITY_MPS2]


def simulate(
    model: mujoco.MjModel, releases: list[Release], *, start_s: float, end_s: float
) -> Recording:
    """Run the world from `start_s` to `end_s` and keep poses and contacts.

    Args:
        model: compiled from the bare scene.
        releases: one per free body.
        start_s: may be negative (motion in progress when the clip begins).
        end_s: end of the clip.

    Source: ours (MuJoCo contacts; elliptic cones give the normal force directly).
    """
    data = mujoco.MjData(model)
    count = round((end_s - start_s) / STEP_S) + 2
    held = []
    for release in releases:
        joint = model.joint(f"{release.name}_free")
        qpos, qvel = int(joint.qposadr[0]), int(joint.dofadr[0])
        data.qpos[qpos : qpos + 7] = [*release.place, *release.turn]
        held.append((release, qpos, qvel))
    kept = np.empty((count, model.nq))
    diary = _Diary()
    waiting = sorted(held, key=lambda entry: -entry[0].time_s)
    still = 0
    for step in range(count):
        time_s = start_s + step * STEP_S
        while waiting and time_s >= waiting[-1][0].time_s:
            release, qpos, qvel = waiting.pop()
            data.qvel[qvel : qvel + 6] = [*release.speed, *release.spin]
        for release, qpos, qvel in waiting:
            data.qpos[qpos : qpos + 7] = [*release.place, *release.turn]
            data.qvel[qvel : qvel + 6] = 0.0
        kept[step] = data.qpos
        mujoco.mj_step(model, data)
        if data.ncon:
            diary.note(data, step)
        quiet = not waiting and step % 8 == 0 and float(np.abs(data.qvel).max()) < 0.02
        still = still + 1 if quiet else (0 if step % 8 == 0 else still)
        if still > 12:
            kept[step + 1 :] = data.qpos
            break
    states = {r.name: kept[:, qpos : qpos + 7].copy() for r, qpos, _ in held}
    return Recording(
        times_s=start_s + STEP_S * np.arange(count, dtype=np.float64),
        states=states,
        touches=diary.histories(model),
    )


def listen(model: mujoco.MjModel, recording: Recording) -> Heard:
    """All impacts and frictions of a recording with their places.

    Source: ours.
    """
    impacts = read_impacts(model, recording)
    frictions = read_frictions(recording)
    return Heard(
        impacts=[impact for impact, _ in impacts],
        impact_places_m=np.array([place for _, place in impacts]).reshape(-1, 3),
        frictions=[friction for friction, _ in frictions],
        friction_places_m=np.array([place for _, place in frictions]).reshape(-1, 3),
    )


def read_impacts(
    model: mujoco.MjModel,
    recording: Recording,
    *,
    least_ns: float = 0.002,
    least_mps: float = 0.15,
    least_share: float = 0.012,
) -> list[tuple[Impact, NDArray[np.float64]]]:
    """Impacts of a recording: bursts of normal force far above the weight of the lighter body.

    A burst begins where the pair comes to touch, or where the force rises sharply in a lasting
    contact; bursts of one pair that begin within 20 ms are one impact. The moment of touch is
    taken back from the step at which it was noticed by overlap / speed.

    Args:
        model: what was simulated.
        recording: by `simulate`.
        least_ns: softer impulses are not heard.
        least_mps: slower touches are not heard.
        least_share: softer than this share of the clip's strongest impulse is not heard.

    Returns:
        Impacts with their places, in order of time; the heavier (or fixed) body is the struck one.

    Source: ours.
    """
    impacts: list[tuple[Impact, NDArray[np.float64]]] = []
    start_s = float(recording.times_s[0])
    for (first, second), history in recording.touches.items():
        mass = _free_mass(model, recording, first, second)
        strong = 3.5 * mass * GRAVITY_MPS2
        steps, force = history.steps, history.force_n
        last_step = -1000
        for index in np.flatnonzero(force > strong):
            step = int(steps[index])
            fresh = step - last_step > 20
            last_step = step
            if not fresh:
                continue
            begin = int(index)
            while (
                begin > 0
                and steps[begin - 1] == steps[begin] - 1
                and steps[index] - steps[begin - 1] <= 4
                and force[begin - 1] > 0.25 * strong
            ):
                begin -= 1
            window = (steps >= steps[begin]) & (steps < steps[begin] + 12)
            impulse = float(force[window].sum()) * STEP_S
            speed = float(history.approach_mps[begin : int(index) + 1].max())
            if impulse < least_ns or speed < least_mps:
                continue
            new = begin == 0 or steps[begin - 1] < steps[begin] - 1
            back_s = min(float(history.depth_m[begin]) / speed, STEP_S) if new else 0.0
            # The lighter one is heard: a cup that falls is what was struck, not the floor.
            struck, striker = (second, first) if _heavier(model, first, second) else (first, second)
            place = history.place[begin]
            impact = Impact(
                time_s=start_s + int(steps[begin]) * STEP_S - back_s,
                body=struck,
                other=striker,
                impulse_ns=impulse,
                speed_mps=speed,
                position=_local(model, recording, struck, place, step),
            )
            impacts.append((impact, place))
    floor_ns = least_share * max((impact.impulse_ns for impact, _ in impacts), default=0.0)
    heard = [entry for entry in impacts if entry[0].impulse_ns >= floor_ns]
    return sorted(heard, key=lambda entry: (entry[0].time_s, entry[0].body, entry[0].other))


def read_frictions(
    recording: Recording, *, every_s: float = 0.006, least_mps: float = 0.05
) -> list[tuple[Friction, NDArray[np.float64]]]:
    """Rolling and sliding of a recording, each stretch in which a pair touches and moves.

    Args:
        recording: by `simulate`.
        every_s: distance of the samples.
        least_mps: slower is not heard.

    Source: ours.
    """
    frictions: list[tuple[Friction, NDArray[np.float64]]] = []
    stride = max(1, round(every_s / STEP_S))
    for (first, second), history in recording.touches.items():
        steps, travel, slip = history.steps, history.travel_mps, history.slip_mps
        moving = np.maximum(travel, slip) > least_mps
        cut = np.flatnonzero((np.diff(steps) > 12) | (np.diff(moving.astype(int)) != 0)) + 1
        for part in np.split(np.arange(len(steps)), cut):
            if len(part) < 60 or not moving[part[0]]:
                continue
            sliding = bool(np.median(slip[part]) > 0.5 * np.median(travel[part]))
            speed = slip if sliding else travel
            smooth = np.convolve(history.force_n[part], np.ones(15) / 15, mode="same")
            picked = part[::stride]
            friction = Friction(
                body=second,
                other=first,
                kind="scrape" if sliding else "roll",
                times_s=recording.times_s[steps[picked]],
                speed_mps=speed[picked],
                force_n=smooth[::stride],
            )
            frictions.append((friction, history.place[int(part[len(part) // 2])]))
    return sorted(frictions, key=lambda entry: float(entry[0].times_s[0]))


def _free_mass(model: mujoco.MjModel, recording: Recording, first: str, second: str) -> float:
    """Mass of the lighter free body of a pair."""
    masses = [
        float(model.body(name).mass[0]) for name in (first, second) if name in recording.states
    ]
    return min(masses, default=1.0)


def _heavier(model: mujoco.MjModel, first: str, second: str) -> bool:
    """Whether the first body is fixed to the world or heavier than the second."""
    a, b = model.body(first), model.body(second)
    if int(a.dofnum[0]) == 0:
        return True
    return int(b.dofnum[0]) > 0 and float(a.mass[0]) >= float(b.mass[0])


def _local(
    model: mujoco.MjModel, recording: Recording, name: str, place: NDArray[np.float64], step: int
) -> Vec:
    """A world point in -1..1 along a body's axes."""
    body = model.body(name)
    if name in recording.states:
        state = recording.states[name][step]
        origin, turn = state[:3], state[3:]
    else:
        origin, turn = np.array(body.pos), np.array(body.quat)
    back, local = np.empty(4), np.empty(3)
    mujoco.mju_negQuat(back, turn)
    mujoco.mju_rotVecQuat(local, place - origin, back)
    size = float(model.geom_rbound[body.geomadr[0]]) or 1.0
    x, y, z = np.clip(local / size, -1.0, 1.0)
    return (float(x), float(y), float(z))
