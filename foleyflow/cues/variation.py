"""Variation of exact cues in training, so that the flow can use found and edited ones.

Found cues are wrong at times: shifted, missing, superfluous, or of another material. A person
leaves attributes out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.arrays import UNKNOWN, CueArrays, hits
from foleyflow.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CueVariation:
    """Fractions and sizes of the variation; all fractions are 0..1.

    Attributes:
        wrong_fraction: of the windows whose cues are wrong as found ones are.
        shift_s: standard deviation of the error of a hit's time in these windows.
        missing_fraction, added_fraction: of the hits in these windows.
        level_error_db: standard deviation of the error of a level in these windows.
        confused_fraction: of the materials in these windows that are replaced by another one.
        no_material_fraction, no_level_fraction: of the windows, and of the cues of other windows
            too, in which the attribute is left to the model.
        no_striker_fraction: of the windows without materials of the striking bodies.
        body_fraction: of the windows with pitch and decay of the struck bodies.
        no_friction_fraction: of the windows without cues of friction.
    """

    wrong_fraction: float = 0.1
    shift_s: float = 0.012
    missing_fraction: float = 0.15
    added_fraction: float = 0.1
    level_error_db: float = 4.0
    confused_fraction: float = 0.15
    no_material_fraction: float = 0.08
    no_level_fraction: float = 0.08
    no_striker_fraction: float = 0.4
    body_fraction: float = 0.5
    no_friction_fraction: float = 0.1

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 0 or (each.name.endswith("fraction") and value > 1):
                expected = "0..1" if each.name.endswith("fraction") else "at least 0"
                raise ConfigError(f"cues: {each.name}={value}: expected {expected}")


def vary_cues(
    cues: CueArrays,
    rng: np.random.Generator,
    config: CueVariation,
    *,
    duration_s: float,
    materials: int,
) -> CueArrays:
    """A random variation of the cues of a window of `duration_s` seconds.

    `materials` is the number of materials, any of which can replace another one.
    """
    if rng.random() < config.no_friction_fraction:
        cues = cues.take(cues.is_hit)
    if rng.random() < config.wrong_fraction:
        cues = _with_errors(cues, rng, config, duration_s, materials)
    # Attributes that are left to the model, in the complete window or for single cues
    count = len(cues)
    no_material, no_level = (
        _left_out(rng, count, fraction)
        for fraction in (config.no_material_fraction, config.no_level_fraction)
    )
    no_striker = np.full(count, rng.random() < config.no_striker_fraction)
    no_body = np.full(count, rng.random() >= config.body_fraction)
    return replace(
        cues,
        materials=np.where(no_material, UNKNOWN, cues.materials),
        strikers=np.where(no_striker, UNKNOWN, cues.strikers),
        levels_db=np.where(no_level, np.nan, cues.levels_db),
        curves_db=[
            np.zeros(0) if left_out else curve
            for curve, left_out in zip(cues.curves_db, no_level, strict=True)
        ],
        pitches_hz=np.where(no_body, np.nan, cues.pitches_hz),
        decays_s=np.where(no_body, np.nan, cues.decays_s),
    )


def _left_out(rng: np.random.Generator, count: int, fraction: float) -> NDArray[np.bool_]:
    """All cues in a `fraction` of the windows, and a `fraction` of the cues in the others."""
    return (rng.random(count) < fraction) | (rng.random() < fraction)


def _with_errors(
    cues: CueArrays,
    rng: np.random.Generator,
    config: CueVariation,
    duration_s: float,
    materials: int,
) -> CueArrays:
    """Cues with the errors of found ones."""
    is_missing = cues.is_hit & (rng.random(len(cues)) < config.missing_fraction)
    cues = cues.take(~is_missing)
    # Times and levels
    count = len(cues)
    shift_s = config.shift_s * rng.standard_normal(count)
    levels_db = cues.levels_db + config.level_error_db * rng.standard_normal(count)
    # Materials, the same for all cues of a material
    classes = cues.materials.copy()
    for material in np.unique(classes[classes >= 0]):
        if rng.random() < config.confused_fraction:
            classes[cues.materials == material] = rng.integers(materials)
    cues = replace(
        cues,
        times_s=cues.times_s + shift_s,
        ends_s=cues.ends_s + shift_s,
        levels_db=levels_db,
        materials=classes,
    )
    # Superfluous hits, similar to existing ones
    added = int(rng.binomial(max(int(cues.is_hit.sum()), 3), config.added_fraction))
    like = rng.integers(max(count, 1), size=added)
    superfluous = hits(
        np.sort(rng.uniform(0.0, duration_s, added)),
        levels_db=cues.levels_db[like] - 6.0 if count else np.full(added, np.nan),
        materials=cues.materials[like] if count else np.full(added, UNKNOWN),
    )
    return cues.take(np.arange(count)).concatenate(superfluous)
