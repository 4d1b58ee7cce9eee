"""A cue: one sound of a clip, which is a hit at a moment, or rolling or scraping over a time."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np

from foleyflow.errors import ConfigError

CueKind = Literal["hit", "roll", "scrape"]
KINDS: tuple[CueKind, ...] = get_args(CueKind)
LARGEST_SEED = 2**63 - 1
NOMINAL_PEAK = 0.45  # relative to full scale; a level of 0 dB

# Field -> lowest value, highest value, unit
_RANGES = {
    "time_s": (-math.inf, math.inf, "s"),
    "end_s": (-math.inf, math.inf, "s"),
    "level_db": (-60.0, 12.0, "dB"),
    "pitch_hz": (20.0, 20_000.0, "Hz"),
    "decay_s": (0.005, 20.0, "s"),
    "pan": (-1.0, 1.0, ""),
    "confidence": (0.0, 1.0, ""),
}
_HINTS = {
    "time_s": "seconds from the start of the clip, for instance 1.25",
    "kind": "a hit is a moment; a roll or scrape lasts from time_s to end_s",
    "end_s": "a roll or scrape ends after time_s, in seconds from the start of the clip; "
    "a hit has no end",
    "level_db": "0 dB is the loudest hit of an ordinary clip, -50 dB is barely audible",
    "level_curve_db": "levels of a roll or scrape at equal steps, the first at time_s and the last "
    "at end_s",
    "material": "a name such as wood; without one the model chooses",
    "striker": "a name such as wood; without one the model chooses",
    "pitch_hz": "the lowest modal frequency of the struck body",
    "decay_s": "the time in which the lowest mode falls by 60 dB",
    "pan": "-1 is the left edge of the picture, 0 the centre, 1 the right edge",
    "seed": "a seed repeats the same sound; without one the model chooses",
    "enabled": "a disabled cue stays in the sheet and makes no sound",
    "confidence": "leave it out for a cue that a person wrote",
}


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One sound of a clip.

    Numbers are converted to Python's int and float. In all optional fields None means that the
    model chooses, except in `end_s` and `confidence`.

    Attributes:
        time_s: start in seconds from the start of the clip; finite.
        kind: "hit" (one contact), "roll" or "scrape" (friction).
        end_s: end of a roll or scrape, after `time_s`; None for a hit.
        level_db: peak level of the dry sound; 0 dB is the nominal peak of the simulation, 0.45 of
            full scale. -60..12.
        level_curve_db: levels of a roll or scrape on the same scale at equal steps, the first at
            `time_s` and the last at `end_s`. Empty, or at least two. It takes precedence over
            `level_db`.
        material: of the struck body.
        striker: material of the striking body.
        pitch_hz: lowest modal frequency of the struck body, 20..20000.
        decay_s: time in which the lowest mode falls by 60 dB, 0.005..20.
        pan: place in the picture from left to right, -1..1, for stereo sound; None finds it in the
            video.
        seed: of the random variation of this sound, 0..2**63 - 1.
        enabled: whether the cue makes a sound.
        confidence: of the aligner that proposed the cue, 0..1; None for a cue that a person wrote.

    Raises:
        ConfigError: a field has the wrong type, is out of range or does not fit the kind.
    """

    time_s: float
    kind: CueKind = "hit"
    end_s: float | None = None
    level_db: float | None = None
    level_curve_db: tuple[float, ...] = ()
    material: str | None = None
    striker: str | None = None
    pitch_hz: float | None = None
    decay_s: float | None = None
    pan: float | None = None
    seed: int | None = None
    enabled: bool = True
    confidence: float | None = None

    def __post_init__(self) -> None:
        # Types and ranges of single fields
        if self.kind not in KINDS:
            raise field_error("kind", self.kind, f"one of {', '.join(KINDS)}")
        for name in _RANGES:
            value = getattr(self, name)
            if value is not None or name == "time_s":
                self._set(name, _checked_number(name, value))
        self._set("level_curve_db", _checked_curve(self.level_curve_db))
        for name, text in (("material", self.material), ("striker", self.striker)):
            if text is not None:
                _check_name(name, text)
        if self.seed is not None:
            self._set("seed", _checked_seed(self.seed))
        if not isinstance(self.enabled, bool | np.bool_):
            raise field_error("enabled", self.enabled, "true or false")
        self._set("enabled", bool(self.enabled))
        # Fields that depend on the kind
        if self.kind == "hit":
            if self.end_s is not None:
                raise field_error("end_s", self.end_s, "no end, because the cue is a hit")
            if self.level_curve_db:
                raise field_error(
                    "level_curve_db", self.level_curve_db, "no curve, because the cue is a hit"
                )
        elif self.end_s is None:
            raise field_error("end_s", None, f"an end, because the cue is a {self.kind}")
        elif self.end_s <= self.time_s:
            raise field_error("end_s", self.end_s, f"a time after time_s={self.time_s}")

    @property
    def loudest_level_db(self) -> float | None:
        """The level, or the highest one of the curve; None if it is left to the model."""
        return max(self.level_curve_db, default=self.level_db)

    def _set(self, name: str, value: Any) -> None:
        if value is not getattr(self, name):
            object.__setattr__(self, name, value)


def field_error(name: str, value: Any, expected: str) -> ConfigError:
    """The error for a field whose value is not as expected; a long value is shortened."""
    shown = value if isinstance(value, Real) else reprlib.repr(value)
    return ConfigError(f"{name}={shown}: expected {expected}", hint=_HINTS[name])


def _checked_number(name: str, value: Any) -> float:
    """The value as a float; an error if it is not finite or not in the range of the field."""
    if type(value) is float:  # most often, and twice as fast
        number = value
    elif isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    else:
        raise field_error(name, value, "a number")
    if not math.isfinite(number):
        raise field_error(name, number, "a finite number")
    low, high, unit = _RANGES[name]
    if not low <= number <= high:
        raise field_error(name, number, f"{low:g}..{high:g} {unit}".rstrip())
    return number


def _checked_curve(levels: Any) -> tuple[float, ...]:
    """The levels as a tuple of floats; an error if a level is not valid or only one is given."""
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise field_error("level_curve_db", levels, "a list of numbers")
    curve = tuple(levels)
    if len(curve) == 1:
        raise field_error("level_curve_db", curve, "at least two levels")
    try:
        return tuple([_checked_number("level_db", level) for level in curve])
    except ConfigError as error:
        reason = str(error).removeprefix("level_db=")
        raise ConfigError(f"level_curve_db: level {reason}", hint=error.hint) from error


def _checked_seed(seed: Any) -> int:
    """The seed as an int; an error if it is not an integer in its range."""
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise field_error("seed", seed, "an integer")
    number = int(seed)
    if not 0 <= number <= LARGEST_SEED:
        raise field_error("seed", number, f"0..{LARGEST_SEED}")
    return number


def _check_name(field: str, name: Any) -> None:
    """Raises a ConfigError for a name that can't be stored in every format."""
    if not isinstance(name, str):
        raise field_error(field, name, "a name")
    if not name or name != name.strip() or not name.isprintable():
        raise field_error(field, name, "a name of printable characters without spaces at its ends")
