"""Builder of scenes whose parts are moved by functions of time.

Every moving part is a mocap body: a pose at any time, in any order, costs one forward kinematics
and is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.motion.rotations import IDENTITY, NO_ROTATION, ORIGIN, Pose, Quat, Vec
from foleyflow.simulation.scene import PoseFunction, Scene, SceneMotion

Motion = Callable[[float], Sequence[Pose]]
GEOM_TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
}
SEGMENTS = 18  # of a surface of revolution


class KinematicWorld:
    """Collects the bodies, geoms, motions and contacts of a scene, then builds the `Scene`.

    Args:
        kind: name of the scene family.
        duration_s: of the clip.
        rng: source of all random choices of the scene.
    """

    def __init__(self, kind: str, duration_s: float, rng: np.random.Generator) -> None:
        self.kind = kind
        self.duration_s = duration_s
        self.rng = rng
        self.spec = mujoco.MjSpec()
        self.looks: dict[str, str] = {}
        self.bodies: dict[str, Body] = {}
        self.impacts: list[Impact] = []
        self.frictions: list[Friction] = []
        self._motions: list[tuple[tuple[str, ...], Motion]] = []
        self._geom_counts: dict[str, int] = {}

    def add_fixed_body(self, name: str, pose: Pose = IDENTITY) -> mujoco.MjsBody:
        """Add a body that never moves."""
        return self.spec.worldbody.add_body(name=name, pos=pose[0], quat=pose[1])

    def add_driven_body(self, name: str) -> mujoco.MjsBody:
        """Add a body whose motion is given by `drive`."""
        return self.spec.worldbody.add_body(name=name, mocap=True)

    def drive(self, names: tuple[str, ...], motion: Motion) -> None:
        """Set the motion of driven bodies: `motion(time_s)` returns their world poses."""
        self._motions.append((names, motion))

    def add_geom(
        self,
        body: mujoco.MjsBody,
        shape: str,
        look: str,
        *,
        size: Sequence[float],
        position: Vec = ORIGIN,
        rotation: Quat = NO_ROTATION,
    ) -> mujoco.MjsGeom:
        """Add a visible geom that does not collide.

        Args:
            body: the body that it is attached to.
            shape: a key of `GEOM_TYPES`.
            look: its appearance (see `Scene.looks`).
            size: half sizes in MuJoCo's order, metres.
            position: centre in the body's frame, metres.
            rotation: in the body's frame.
        """
        geom = self._new_geom(body, look, type=GEOM_TYPES[shape], size=_padded(size))
        geom.pos = position
        geom.quat = rotation
        return geom

    def add_box(
        self, body: mujoco.MjsBody, look: str, half_m: Sequence[float], position: Vec = ORIGIN
    ) -> mujoco.MjsGeom:
        """Add a box."""
        return self.add_geom(body, "box", look, size=half_m, position=position)

    def add_ellipsoid(
        self, body: mujoco.MjsBody, look: str, half_m: Sequence[float], position: Vec = ORIGIN
    ) -> mujoco.MjsGeom:
        """Add an ellipsoid."""
        return self.add_geom(body, "ellipsoid", look, size=half_m, position=position)

    def add_sphere(
        self, body: mujoco.MjsBody, look: str, radius_m: float, position: Vec = ORIGIN
    ) -> mujoco.MjsGeom:
        """Add a sphere."""
        return self.add_geom(body, "sphere", look, size=[radius_m], position=position)

    def add_cylinder(
        self,
        body: mujoco.MjsBody,
        look: str,
        radius_m: float,
        half_height_m: float,
        position: Vec = ORIGIN,
    ) -> mujoco.MjsGeom:
        """Add an upright cylinder."""
        size = (radius_m, half_height_m)
        return self.add_geom(body, "cylinder", look, size=size, position=position)

    def add_rod(
        self,
        body: mujoco.MjsBody,
        look: str,
        radius_m: float,
        start: Vec,
        end: Vec,
        shape: str = "capsule",
    ) -> mujoco.MjsGeom:
        """Add a capsule (or a "cylinder") whose axis runs from one point to another."""
        geom = self._new_geom(body, look, type=GEOM_TYPES[shape], size=_padded([radius_m]))
        geom.fromto = [*start, *end]
        return geom

    def add_legs(
        self,
        body: mujoco.MjsBody,
        look: str,
        radius_m: float,
        corner: Vec,
        *,
        bottom_m: float = 0.0,
    ) -> None:
        """Add four legs at (±x, ±y) of a corner, from a height up to that of the corner."""
        half_x, half_y, top_m = corner
        for x in (-half_x, half_x):
            for y in (-half_y, half_y):
                self.add_rod(body, look, radius_m, (x, y, bottom_m), (x, y, top_m))

    def add_revolved(
        self, body: mujoco.MjsBody, look: str, profile: Sequence[tuple[float, float]]
    ) -> mujoco.MjsGeom:
        """Add a surface of revolution about z through the points (radius, height) of a profile."""
        mesh = f"{self._next_geom_name(body)}_mesh"
        vertices, faces = _revolve(profile)
        self.spec.add_mesh(
            name=mesh,
            uservert=vertices.ravel(),
            userface=faces.ravel(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        return self._new_geom(body, look, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh)

    def build_scene(
        self,
        *,
        focus_m: Vec,
        extent_m: float,
        azimuth_deg: tuple[float, float] = (0.0, 360.0),
        elevation_deg: tuple[float, float] = (-60.0, -8.0),
    ) -> Scene:
        """Build the scene: drop the contacts outside the clip and sort the others by time."""
        impacts = [hit for hit in self.impacts if 0.0 <= hit.time_s < self.duration_s]
        frictions = [_crop(friction, self.duration_s) for friction in self.frictions]
        log = ContactLog(
            bodies=dict(self.bodies),
            impacts=sorted(impacts, key=lambda hit: (hit.time_s, hit.body)),
            frictions=sorted(
                (friction for friction in frictions if len(friction.times_s) >= 2),
                key=lambda friction: float(friction.times_s[0]),
            ),
        )
        motions = list(self._motions)
        return Scene(
            spec=self.spec,
            kind=self.kind,
            duration_s=self.duration_s,
            looks=self.looks,
            focus_m=focus_m,
            extent_m=extent_m,
            azimuth_deg=azimuth_deg,
            elevation_deg=elevation_deg,
            compute_motion=lambda model: SceneMotion(log=log, pose=_pose_function(model, motions)),
        )

    def _next_geom_name(self, body: mujoco.MjsBody) -> str:
        return f"{body.name}_{self._geom_counts.get(body.name, 0)}"

    def _new_geom(self, body: mujoco.MjsBody, look: str, **settings: object) -> mujoco.MjsGeom:
        name = self._next_geom_name(body)
        self._geom_counts[body.name] = self._geom_counts.get(body.name, 0) + 1
        self.looks[name] = look
        return body.add_geom(name=name, contype=0, conaffinity=0, **settings)


def refresh(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Update everything that is rendered after a change of qpos or mocap poses."""
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)


def _pose_function(
    model: mujoco.MjModel, motions: list[tuple[tuple[str, ...], Motion]]
) -> PoseFunction:
    """Return the pose function of driven bodies for a compiled model."""
    entries = [
        ([int(model.body(name).mocapid[0]) for name in names], motion) for names, motion in motions
    ]

    def pose(data: mujoco.MjData, time_s: float) -> None:
        positions, rotations = data.mocap_pos, data.mocap_quat
        for mocap_ids, motion in entries:
            for mocap_id, (position, rotation) in zip(mocap_ids, motion(time_s), strict=True):
                positions[mocap_id] = position
                rotations[mocap_id] = rotation
        refresh(model, data)

    return pose


def _padded(size: Sequence[float]) -> list[float]:
    return [*size, 0.0, 0.0][:3]


def _crop(friction: Friction, duration_s: float) -> Friction:
    """Return the part of a friction inside the clip."""
    inside = (friction.times_s >= 0.0) & (friction.times_s < duration_s)
    return replace(
        friction,
        times_s=friction.times_s[inside],
        speed_mps=friction.speed_mps[inside],
        force_n=friction.force_n[inside],
    )


def _revolve(
    profile: Sequence[tuple[float, float]],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the vertices (N, 3) and triangles (F, 3) of a profile revolved about z."""
    angles = np.arange(SEGMENTS) * (2.0 * np.pi / SEGMENTS)
    rings = [
        np.stack([r * np.cos(angles), r * np.sin(angles), np.full(SEGMENTS, z)], axis=1)
        for r, z in ((max(radius, 1e-4), height) for radius, height in profile)
    ]
    faces = []
    for ring in range(len(rings) - 1):
        for k in range(SEGMENTS):
            a, b = ring * SEGMENTS + k, ring * SEGMENTS + (k + 1) % SEGMENTS
            faces += [(a, b, b + SEGMENTS), (a, b + SEGMENTS, a + SEGMENTS)]
    return np.concatenate(rings).astype(np.float64), np.array(faces, dtype=np.int32)
