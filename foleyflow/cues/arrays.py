"""The cues of a clip as arrays: the form in which tracks are computed and training varies them.

Dimension letters: K cues.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.cue import Cue, CueKind
from foleyflow.errors import ConfigError

UNKNOWN = -1  # class of a material that is left to the model
HIT, ROLL, SCRAPE = 0, 1, 2  # kinds
KIND_CLASSES: dict[CueKind, int] = {"hit": HIT, "roll": ROLL, "scrape": SCRAPE}


@dataclass(frozen=True, kw_only=True)
class CueArrays:
    """K cues in order of their start.

    NaN marks numbers, and `UNKNOWN` classes, that are left to the model.

    Attributes:
        times_s, ends_s: (K,) float64, start and end in seconds; both are equal for a hit.
        kinds: (K,) int64, `HIT`, `ROLL` or `SCRAPE`.
        levels_db: (K,) float64, of a hit, or the highest level of friction.
        curves_db: K arrays of levels at equal steps from start to end, empty for a hit and for
            friction of a constant level.
        materials, strikers: (K,) int64 classes.
        pitches_hz, decays_s: (K,) float64, lowest mode of the struck body and its 60 dB decay time.
    """

    times_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    kinds: NDArray[np.int64]
    levels_db: NDArray[np.float64]
    curves_db: Sequence[NDArray[np.float64]]
    materials: NDArray[np.int64]
    strikers: NDArray[np.int64]
    pitches_hz: NDArray[np.float64]
    decays_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """Which cues are hits, (K,)."""
        return self.kinds == HIT

    def friction_levels_db(self, index: int, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Levels of a friction at times (T,), constant beyond its ends; NaN if not given."""
        curve_db = self.curves_db[index]
        if not len(curve_db):
            return np.full(len(times_s), self.levels_db[index])
        steps_s = np.linspace(self.times_s[index], self.ends_s[index], len(curve_db))
        return np.asarray(np.interp(times_s, steps_s, curve_db))

    def shift(self, by_s: float) -> CueArrays:
        """The same cues later by some seconds."""
        return replace(self, times_s=self.times_s + by_s, ends_s=self.ends_s + by_s)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> CueArrays:
        """Some cues, given by indices or a mask, in order of their start."""
        indices = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        indices = indices[np.argsort(self.times_s[indices], kind="stable")]
        columns = {
            name: value[indices] for name, value in vars(self).items() if name != "curves_db"
        }
        return CueArrays(**columns, curves_db=[self.curves_db[index] for index in indices])

    def concatenate(self, others: CueArrays) -> CueArrays:
        """These and other cues, in order of their start."""
        columns = {
            name: np.concatenate([value, getattr(others, name)])
            for name, value in vars(self).items()
            if name != "curves_db"
        }
        both = CueArrays(**columns, curves_db=[*self.curves_db, *others.curves_db])
        return both.take(np.arange(len(both)))


def arrays_of(cues: Iterable[Cue], materials: Sequence[str]) -> CueArrays:
    """The enabled cues in order of their start; classes are indices in `materials`.

    Raises:
        ConfigError: a material is not one of `materials`.
    """
    chosen = sorted((cue for cue in cues if cue.enabled), key=lambda cue: cue.time_s)

    def class_of(name: str | None) -> int:
        if name is not None and name not in materials:
            raise ConfigError(
                f"material {name!r}: expected one of {', '.join(materials) or 'none'}",
                hint="leave the material out, and the model chooses it",
            )
        return UNKNOWN if name is None else materials.index(name)

    def numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
        return np.array([np.nan if value is None else value for value in values], np.float64)

    curves_db = [np.array(cue.level_curve_db, np.float64) for cue in chosen]
    return CueArrays(
        times_s=numbers(cue.time_s for cue in chosen),
        ends_s=numbers(cue.time_s if cue.end_s is None else cue.end_s for cue in chosen),
        kinds=np.array([KIND_CLASSES[cue.kind] for cue in chosen], np.int64),
        levels_db=numbers(cue.loudest_level_db for cue in chosen),
        curves_db=curves_db,
        materials=np.array([class_of(cue.material) for cue in chosen], np.int64),
        strikers=np.array([class_of(cue.striker) for cue in chosen], np.int64),
        pitches_hz=numbers(cue.pitch_hz for cue in chosen),
        decays_s=numbers(cue.decay_s for cue in chosen),
    )


def hits(
    times_s: NDArray[np.float64],
    *,
    levels_db: NDArray[np.float64] | None = None,
    materials: NDArray[np.int64] | None = None,
) -> CueArrays:
    """Hits at ascending times (K,), by default with nothing else known about them."""
    count = len(times_s)
    unknown, classes = np.full(count, np.nan), np.full(count, UNKNOWN, np.int64)
    return CueArrays(
        times_s=np.asarray(times_s, np.float64),
        ends_s=np.asarray(times_s, np.float64),
        kinds=np.full(count, HIT, np.int64),
        levels_db=unknown if levels_db is None else levels_db,
        curves_db=[np.zeros(0)] * count,
        materials=classes if materials is None else materials,
        strikers=classes,
        pitches_hz=unknown,
        decays_s=unknown,
    )
