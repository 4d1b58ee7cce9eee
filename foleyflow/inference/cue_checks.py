"""Checks that cues fit a video and a model."""

from __future__ import annotations

from dataclasses import replace

from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.flow.transformer import FlowConfig

# Fields that only a network with cue tracks takes
TRACK_FIELDS = ("level_curve_db", "striker", "pitch_hz", "decay_s")


def known_materials(config: FlowConfig) -> tuple[str, ...]:
    """The names that a flow accepts as materials, in the order of its classes."""
    return config.cue_materials or config.material_names


def fit_to_clip(cues: CueSheet, config: FlowConfig, *, duration_s: float) -> CueSheet:
    """The cues as a sheet of a clip, for a flow.

    Raises:
        ConfigError: a cue is outside the clip, or the flow does not know its material.
    """
    arrays_of(cues, known_materials(config))
    return replace(cues, duration_s=duration_s)


def with_material(cues: CueSheet, material: str) -> CueSheet:
    """The cues, all with the same material."""
    return replace(cues, cues=tuple(replace(cue, material=material) for cue in cues))


def warn_of_unused(cues: CueSheet, config: FlowConfig) -> list[str]:
    """A warning if the flow does not use all fields of the enabled cues."""
    if config.cue_materials:
        return []
    used = cues.enabled
    unused = [
        name for name in TRACK_FIELDS if any(getattr(cue, name) not in (None, ()) for cue in used)
    ]
    warnings = []
    if unused:
        warnings.append(
            f"this model does not use {', '.join(unused)} of cues; it uses times, levels and seeds "
            "of hits, and one material for each window of the video"
        )
    if used.frictions:
        warnings.append("this model makes no sound for rolls and scrapes")
    return warnings
