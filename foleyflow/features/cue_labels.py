"""Cues of simulated clips from their labels, as arrays for training and as sheets."""

from __future__ import annotations

import numpy as np

from foleyflow.cues.arrays import HIT, ROLL, SCRAPE, UNKNOWN, CueArrays
from foleyflow.cues.cue import KINDS, Cue
from foleyflow.cues.sheet import CLOSEST_HITS_S, CueSheet
from foleyflow.data.clip_types import ClipEvent, ClipFriction, ClipLabels
from foleyflow.simulation.materials import MATERIAL_NAMES

FAINTEST_DB = -50.0  # relative to the loudest contact of the clip; fainter ones are no cues
_KINDS = {"impact": HIT, "roll": ROLL, "scrape": SCRAPE}


def cues_of_labels(labels: ClipLabels) -> CueArrays:
    """The audible impacts and frictions of a simulated clip, with all attributes."""
    contacts: list[ClipEvent | ClipFriction] = sorted(
        (*labels.events, *labels.frictions), key=_start_s
    )
    loudest_db = max((_level_db(contact) for contact in contacts), default=0.0)
    contacts = [each for each in contacts if _level_db(each) >= loudest_db + FAINTEST_DB]

    def classes(names: list[str]) -> np.ndarray:
        indices = [MATERIAL_NAMES.index(n) if n in MATERIAL_NAMES else UNKNOWN for n in names]
        return np.array(indices, np.int64)

    return CueArrays(
        times_s=np.array([_start_s(each) for each in contacts], np.float64),
        ends_s=np.array([getattr(each, "end_s", _start_s(each)) for each in contacts], np.float64),
        kinds=np.array([_KINDS[each.kind] for each in contacts], np.int64),
        levels_db=np.array([_level_db(each) for each in contacts], np.float64),
        curves_db=[
            np.array(each.level_db) if isinstance(each, ClipFriction) else np.zeros(0)
            for each in contacts
        ],
        materials=classes([each.material for each in contacts]),
        strikers=classes([each.other_material for each in contacts]),
        pitches_hz=np.array([each.pitch_hz for each in contacts], np.float64),
        decays_s=np.array([each.decay_s for each in contacts], np.float64),
    )


def _start_s(contact: ClipEvent | ClipFriction) -> float:
    return contact.time_s if isinstance(contact, ClipEvent) else contact.start_s


def _level_db(contact: ClipEvent | ClipFriction) -> float:
    """The level of an impact, or the highest one of friction."""
    return contact.level_db if isinstance(contact, ClipEvent) else max(contact.level_db)


def sheet_of_labels(labels: ClipLabels) -> CueSheet:
    """The same cues as a sheet for generation; of hits that coincide, the loudest one.

    Values outside the range of a cue's field are set to its limit.
    """
    arrays = cues_of_labels(labels)
    cues: list[Cue] = []
    for index in range(len(arrays)):
        kind = KINDS[int(arrays.kinds[index])]
        time_s = float(arrays.times_s[index])
        curve_db = np.clip(arrays.curves_db[index], -60.0, 12.0).tolist()
        cue = Cue(
            time_s=time_s,
            kind=kind,
            end_s=None if kind == "hit" else min(float(arrays.ends_s[index]), labels.duration_s),
            level_db=float(np.clip(arrays.levels_db[index], -60.0, 12.0)),
            level_curve_db=tuple(curve_db) if len(curve_db) > 1 else (),  # else level_db alone
            material=MATERIAL_NAMES[arrays.materials[index]],
            striker=MATERIAL_NAMES[arrays.strikers[index]],
            pitch_hz=float(np.clip(arrays.pitches_hz[index], 20.0, 20_000.0)),
            decay_s=float(np.clip(arrays.decays_s[index], 0.005, 20.0)),
        )
        last = next((each for each in reversed(cues) if each.kind == "hit"), None)
        if kind == "hit" and last is not None and time_s - last.time_s < CLOSEST_HITS_S:
            if (last.level_db or 0.0) >= (cue.level_db or 0.0):
                continue
            cues.remove(last)
        cues.append(cue)
    return CueSheet(cues=tuple(cues), duration_s=labels.duration_s)
