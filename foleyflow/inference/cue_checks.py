"""Checks that cues, a material and a library fit a video and a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.flow.transformer import FlowConfig
from foleyflow.library import SoundLibrary


def fit_to_clip(cues: CueSheet, config: FlowConfig, *, duration_s: float) -> CueSheet:
    """The cues as a sheet of a clip, for a flow.

    Raises:
        ConfigError: the flow takes no cues, does not know their material, or a cue is outside the
            clip.
    """
    if not config.cue_materials:
        raise ConfigError(
            "cues were given: expected none, because this model generates from the video alone",
            hint="leave the cues out, or use a model whose flow has cue tracks",
        )
    named = {name for cue in cues for name in (cue.material, cue.striker)}
    if not named <= {None, *config.cue_materials}:
        arrays_of(cues, config.cue_materials)  # its error names the material, if a cue is enabled
    return cues if cues.duration_s == duration_s else replace(cues, duration_s=duration_s)


def check_stereo(config: FlowConfig) -> None:
    """Check that a flow has cues, by which its sound can be panned.

    Raises:
        ConfigError: it takes no cues.
    """
    if not config.cue_materials:
        raise ConfigError(
            "stereo: this model generates from the video alone, without cues to pan",
            hint="leave stereo out, or use a model whose flow has cue tracks",
        )


def check_material(material: str, names: Sequence[str]) -> None:
    """Check a material that a user gave for all cues.

    Raises:
        ConfigError: the model does not know the material.
    """
    if material not in names:
        raise ConfigError(
            f"material {material!r}: expected {'auto or one of ' if names else 'auto'}"
            f"{', '.join(names)}",
            hint="auto keeps the materials of the cues",
        )


def open_library(library: SoundLibrary | str | Path, materials: Sequence[str]) -> SoundLibrary:
    """A library for a model that knows some materials.

    Raises:
        ConfigError: the model takes no cues.
        DataError: there is no such folder, or no usable file in it.
    """
    if not materials:
        raise ConfigError(
            "a library was given: expected none, because this model generates from the video alone",
            hint="leave the library out, or use a model whose flow has cue tracks",
        )
    if isinstance(library, SoundLibrary):
        return library
    return SoundLibrary.open(library, materials=materials)


def check_reference(materials: Sequence[str], library: SoundLibrary | str | Path | None) -> None:
    """Check that a model can use a reference sound, and that no library is given too.

    Raises:
        ConfigError: the model takes no cues, or there is a library.
    """
    if not materials:
        raise ConfigError(
            "a reference was given: expected none, because this model generates from the video "
            "alone",
            hint="leave the reference out, or use a model whose flow has cue tracks",
        )
    if library is not None:
        raise ConfigError(
            "a reference and a library were given: expected one of them, because all cues follow "
            "the reference",
            hint="a library repeats recordings exactly, a reference varies one",
        )


def left_to_reference(cues: CueSheet) -> CueSheet:
    """The cues without attributes of the struck and the striking body."""
    return replace(
        cues,
        cues=tuple(
            replace(cue, material=None, striker=None, pitch_hz=None, decay_s=None) for cue in cues
        ),
    )


def with_material(cues: CueSheet, material: str) -> CueSheet:
    """The cues, all with the same material."""
    return replace(cues, cues=tuple(replace(cue, material=material) for cue in cues))
