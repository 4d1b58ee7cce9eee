"""A world whose parts are moved by functions of time: the builder of all kinematic families.

It knows nothing of what is played on it (strikes, drums) nor of how it is filmed. Every moving part
is a mocap body, so a pose at any time, in any order, costs one forward kinematics and is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mujoco
import numpy as np

from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.motion.rotations import IDENTITY, ORIGIN, UPRIGHT, Pose, Quat, Vec
from foleyflow.simulation.scene import Performance, Scene

Motion = Callable[[float], Sequence[Pose]]
GEOMS = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
}


class Puppetry:
    """Collects bodies, geoms, motions and sounds of a kinematic scene, then makes the `Scene`."""

    def __init__(self, kind: str, duration_s: float) -> None:
        self.kind = kind
        self.duration_s = duration_s
        self.spec = mujoco.MjSpec()
        self.looks: dict[str, str] = {}
        self.bodies: dict[str, Body] = {}
        self.impacts: list[Impact] = []
        self.frictions: list[Friction] = []
        self._motions: list[tuple[tuple[str, ...], Motion]] = []
        self._geom_counts: dict[str, int] = {}

    def fixed(self, name: str, pose: Pose = IDENTITY) -> mujoco.MjsBody:
        """Add a body that never moves."""
        return self.spec.worldbody.add_body(name=name, pos=pose[0], quat=pose[1])

    def driven(self, name: str) -> mujoco.MjsBody:
        """Add a body that a motion will drive."""
        return self.spec.worldbody.add_body(name=name, mocap=True)

    def drive(self, names: tuple[str, ...], motion: Motion) -> None:
        """Let `motion(time_s)` give the world poses of these driven bodies."""
        self._motions.append((names, motion))

    def geom(
        self,
        body: mujoco.MjsBody,
        shape: str,
        *,
        size: Sequence[float],
        look: str,
        position: Vec = ORIGIN,
        rotation: Quat = UPRIGHT,
        span: tuple[Vec, Vec] | None = None,
    ) -> str:
        """Add a visible geom (it collides with nothing) and return its name.

        Args:
            body: where it is fixed.
            shape: a key of `GEOMS`.
            size: half sizes in MuJoCo's order, metres.
            look: what it looks like (`Scene.looks`).
            position: centre in the body's frame, metres.
            rotation: in the body's frame.
            span: both ends of the axis (capsule, cylinder), instead of position and rotation.

        Source: ours.
        """
        name = self._next_name(body.name)
        padded = [*size, 0.0, 0.0][:3]
        geom = body.add_geom(name=name, type=GEOMS[shape], size=padded, contype=0, conaffinity=0)
        if span is None:
            geom.pos = position
            geom.quat = rotation
        else:
            geom.fromto = [*span[0], *span[1]]
        self.looks[name] = look
        return name

    def revolved(
        self, body: mujoco.MjsBody, profile: Sequence[tuple[float, float]], *, look: str
    ) -> str:
        """Add a surface of revolution about z through the points (radius, height) of a profile."""
        name = self._next_name(body.name)
        vertices, faces = _revolve(profile, 18)
        self.spec.add_mesh(
            name=f"{name}_mesh",
            uservert=vertices.ravel(),
            userface=faces.ravel(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        body.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f"{name}_mesh",
            contype=0,
            conaffinity=0,
        )
        self.looks[name] = look
        return name

    def scene(
        self,
        *,
        focus_m: Vec,
        extent_m: float,
        azimuth_deg: tuple[float, float] = (0.0, 360.0),
        elevation_deg: tuple[float, float] = (-60.0, -8.0),
    ) -> Scene:
        """Close the builder: contacts outside the clip are dropped, the rest is put in order."""
        inside = [hit for hit in self.impacts if 0.0 <= hit.time_s < self.duration_s]
        log = ContactLog(
            bodies=dict(self.bodies),
            impacts=sorted(inside, key=lambda hit: (hit.time_s, hit.body)),
            frictions=sorted(
                filter(None, (_within(f, self.duration_s) for f in self.frictions)),
                key=lambda friction: float(friction.times_s[0]),
            ),
        )
        motions = list(self._motions)

        def play(model: mujoco.MjModel) -> Performance:
            return Performance(log=log, pose=_posing(model, motions))

        return Scene(
            spec=self.spec,
            kind=self.kind,
            duration_s=self.duration_s,
            looks=self.looks,
            focus_m=focus_m,
            extent_m=extent_m,
            azimuth_deg=azimuth_deg,
            elevation_deg=elevation_deg,
            play=play,
        )

    def _next_name(self, body_name: str) -> str:
        count = self._geom_counts.get(body_name, 0)
        self._geom_counts[body_name] = count + 1
        return f"{body_name}_{count}"


def _posing(
    model: mujoco.MjModel, motions: list[tuple[tuple[str, ...], Motion]]
) -> Callable[[mujoco.MjData, float], None]:
    """The pose function of driven bodies on a compiled model."""
    rows = [([int(model.body(name).mocapid[0]) for name in names], move) for names, move in motions]

    def pose(data: mujoco.MjData, time_s: float) -> None:
        positions, rotations = data.mocap_pos, data.mocap_quat
        for slots, move in rows:
            for slot, (position, rotation) in zip(slots, move(time_s), strict=True):
                positions[slot] = position
                rotations[slot] = rotation
        refresh(model, data)

    return pose


def refresh(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Bring everything that is drawn up to date with qpos and mocap poses."""
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)


def _within(friction: Friction, duration_s: float) -> Friction | None:
    """The part of a friction inside the clip, or nothing."""
    keep = (friction.times_s >= 0.0) & (friction.times_s < duration_s)
    if int(keep.sum()) < 2:
        return None
    return Friction(
        body=friction.body,
        other=friction.other,
        kind=friction.kind,
        times_s=friction.times_s[keep],
        speed_mps=friction.speed_mps[keep],
        force_n=friction.force_n[keep],
    )


def _revolve(
    profile: Sequence[tuple[float, float]], segments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, 3) and triangles (F, 3) of a profile turned about z."""
    turn = np.arange(segments) * (2.0 * np.pi / segments)
    rings = [
        np.stack([r * np.cos(turn), r * np.sin(turn), np.full(segments, z)], axis=1)
        for r, z in ((max(radius, 1e-4), height) for radius, height in profile)
    ]
    faces = []
    for ring in range(len(rings) - 1):
        for k in range(segments):
            a, b = ring * segments + k, ring * segments + (k + 1) % segments
            faces += [(a, b, b + segments), (a, b + segments, a + segments)]
    return np.concatenate(rings).astype(np.float64), np.array(faces, dtype=np.int32)
