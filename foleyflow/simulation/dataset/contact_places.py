"""Where in the picture the contacts of a simulated clip are: from its seed, without rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import DataError
from foleyflow.simulation.dataset.clip_simulation import SceneSampler
from foleyflow.simulation.dataset.simulate import clip_seed
from foleyflow.simulation.motion.families import sample_scene
from foleyflow.simulation.picture.camera import Shot, sample_shot

FURTHEST_M = 1.0  # distance at which two bodies have no contact
FRICTION_TIMES = 7  # of a roll or scrape, whose places are averaged


@dataclass(frozen=True, kw_only=True)
class LabelledContact:
    """A contact in the labels of a clip; an impact has no end."""

    start_s: float
    end_s: float | None
    body: str
    other: str

    @property
    def times_s(self) -> list[float]:
        """Times at which its place is found."""
        if self.end_s is None:
            return [self.start_s]
        return [float(t) for t in np.linspace(self.start_s, self.end_s, FRICTION_TIMES)]


def contact_places(
    contacts: Sequence[LabelledContact],
    *,
    split: str,
    seed: int,
    index: int,
    kind: str,
    duration_s: float,
    sample_scene: SceneSampler = sample_scene,
) -> list[float | None]:
    """The horizontal place of each contact: -1 and 1 are the edges of the picture.

    None where it is behind the camera or the bodies do not touch.

    Args:
        contacts: of the clip, from its labels.
        split, seed, index: of the clip in its data set.
        kind: of its scene.
        duration_s: of the clip.
        sample_scene: with which the clip was simulated.

    Raises:
        DataError: the seed gives another scene.
    """
    # The first and the third stream are those of `simulate_clip` for the scene and the camera
    scene_seed, _, camera_seed, _, _ = clip_seed(split, seed, index).spawn(5)
    scene = sample_scene(np.random.default_rng(scene_seed), duration_s)
    if scene.kind != kind:
        raise DataError(
            f"{split} clip {index}: its seed gives a scene {scene.kind!r}, its labels {kind!r}",
            hint="use clips that this version has simulated",
        )
    shot = sample_shot(scene, np.random.default_rng(camera_seed))
    model = scene.spec.compile()
    data = mujoco.MjData(model)
    motion = scene.compute_motion(model)

    def place(contact: LabelledContact, time_s: float) -> float | None:
        motion.pose(data, time_s)
        point = _touching_point(model, data, contact.body, contact.other)
        return None if point is None else _projected(point, shot, time_s)

    places: list[float | None] = []
    for contact in contacts:
        found = [place(contact, time_s) for time_s in contact.times_s]
        known = [each for each in found if each is not None]
        places.append(float(np.mean(known)) if known else None)
    return places


def _touching_point(
    model: mujoco.MjModel, data: mujoco.MjData, body: str, other: str
) -> NDArray[np.float64] | None:
    """The middle between the nearest points of two bodies, (3,) metres."""
    nearest, point = FURTHEST_M, None
    ends = np.zeros(6)
    for own in _geoms(model, body):
        for theirs in _geoms(model, other):
            distance = mujoco.mj_geomDistance(model, data, own, theirs, FURTHEST_M, ends)
            if distance < nearest:
                nearest, point = distance, (ends[:3] + ends[3:]) / 2
    return point


def _geoms(model: mujoco.MjModel, body: str) -> list[int]:
    """The geoms of a body and of the bodies that are attached to it, or the geom of that name."""
    root, geoms = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body), []
    if root < 0:
        return [model.geom(body).id]
    for geom in range(model.ngeom):
        owner = int(model.geom_bodyid[geom])
        while owner not in (0, root):
            owner = int(model.body_parentid[owner])
        if owner == root:
            geoms.append(geom)
    return geoms


def _projected(point: NDArray[np.float64], shot: Shot, time_s: float) -> float | None:
    """The horizontal place of a point in the picture; None behind the camera."""
    pose = shot.at(time_s)
    right, _, back = pose.rotation.T @ (point - pose.position_m)
    if back >= 0:
        return None
    half_width = np.tan(np.radians(pose.fovy_deg / 2)) * shot.aspect
    return float(right / -back / half_width)
