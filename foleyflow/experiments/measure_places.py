"""Measure where cues are placed in the picture, against the contacts of simulated clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import DataError
from foleyflow.inference.motion import ColumnMotion
from foleyflow.media.reader import read_frames
from foleyflow.simulation.dataset.clip_simulation import SceneSampler
from foleyflow.simulation.dataset.contact_places import LabelledContact, contact_places
from foleyflow.simulation.motion.families import sample_scene

FAINTEST_DB = -40.0  # quieter contacts are not counted
NEAR = 0.2  # of half the width of the picture
CENTRE = 0.05  # places up to here count as the centre


def measure_places(
    data: Path, *, split: str, clips: int, sample_scene: SceneSampler = sample_scene
) -> dict[str, Any]:
    """How far the places of motion are from those of the true contacts, at their true times.

    Places are -1 to 1 from the left to the right edge. A contact without clear motion counts as
    placed in the centre.

    Args:
        data: folder of simulated clips with videos.
        split: of the data set.
        clips: maximum number of clips.
        sample_scene: with which they were simulated.

    Returns:
        "contacts" in the picture, the fraction "without_place", "mean_error" and that of the centre
        for all contacts, the fraction "near" within 0.2, and of the contacts that are further than
        that from the centre, the fractions on the correct side, in the centre and on the other one.

    Raises:
        DataError: the clips have no videos, or are of another version.
    """
    source = SimulatedClips(data, split)
    if not source.has_frames:
        raise DataError(f"{data}: has no videos", hint="simulate it without --audio-only")
    true: list[float] = []
    found: list[float | None] = []
    for index, path in enumerate(source.paths[:clips]):
        labels = json.loads(path.read_text("utf-8"))
        contacts = _contacts(labels)
        if not contacts:
            continue
        places = contact_places(
            contacts,
            split=split,
            seed=source.manifest["seed"],
            index=index,
            kind=labels["kind"],
            duration_s=labels["duration_s"],
            sample_scene=sample_scene,
        )
        motion = ColumnMotion()
        for time_s, picture in read_frames(path.with_suffix(".mp4"), size=source.frame_size_px):
            motion.add(time_s, picture)
        for contact, place in zip(contacts, places, strict=True):
            if place is not None and abs(place) <= 1:
                true.append(place)
                found.append(motion.pan(contact.start_s, contact.end_s))
    if not true:
        raise DataError(
            f"{data}: no contact is in the picture of {split!r}", hint="measure more clips"
        )
    return _figures(np.array(true), found)


def _contacts(labels: dict[str, Any]) -> list[LabelledContact]:
    """The contacts of a clip that can be noticed."""
    hits = [
        (each["time_s"], None, each) for each in labels["events"] if each["level_db"] > FAINTEST_DB
    ]
    frictions = [
        (each["start_s"], each["end_s"], each)
        for each in labels["frictions"]
        if max(each["level_db"]) > FAINTEST_DB
    ]
    return [
        LabelledContact(start_s=start_s, end_s=end_s, body=each["body"], other=each["other"])
        for start_s, end_s, each in (*hits, *frictions)
    ]


def _figures(true: np.ndarray, found: list[float | None]) -> dict[str, Any]:
    placed = np.array([0.0 if each is None else each for each in found])
    errors, off_centre = np.abs(placed - true), np.abs(true) > NEAR
    towards = (placed * np.sign(true))[off_centre]
    sides = {
        "correct_side": towards > CENTRE,
        "centre": np.abs(towards) <= CENTRE,
        "other_side": towards < -CENTRE,
    }
    return {
        "contacts": len(true),
        "without_place": sum(each is None for each in found) / len(found),
        "mean_error": float(errors.mean()),
        "mean_error_of_centre": float(np.abs(true).mean()),
        "near": float((errors <= NEAR).mean()),
        "near_of_centre": float((np.abs(true) <= NEAR).mean()),
        "off_centre": {
            "contacts": int(off_centre.sum()),
            **{name: float(each.mean()) if len(each) else None for name, each in sides.items()},
        },
    }
