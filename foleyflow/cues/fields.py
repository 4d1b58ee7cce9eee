"""Conversion between cues and their fields by name, as files store them."""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foleyflow.cues.cue import Cue
from foleyflow.errors import ConfigError

FIELD_NAMES = tuple(field.name for field in dataclasses.fields(Cue))
_KNOWN_FIELDS = frozenset(FIELD_NAMES)


@dataclass(frozen=True, kw_only=True)
class StoredCues:
    """What a file of cues contains, before its values are checked.

    Attributes:
        rows: of each cue, its place in the file, such as "line 3", and the fields that are set.
        duration_s: length of the clip, if the file has it and it is not None.
        slack_s: how far a time may be beyond the end of the clip because the format rounds it.
    """

    rows: Sequence[tuple[str, dict[str, Any]]]
    duration_s: Any = None
    slack_s: float = 0.0


def cue_from_fields(fields: Mapping[str, Any], materials: Collection[str] | None) -> Cue:
    """The cue with these fields.

    Args:
        materials: known names of materials and strikers; None accepts every name.

    Raises:
        ConfigError: a field is unknown or not valid, or `time_s` is missing.
    """
    if not _KNOWN_FIELDS.issuperset(fields):
        check_names(fields, FIELD_NAMES, "field")
    if "time_s" not in fields:
        raise ConfigError("time_s is missing", hint="give each cue its time in seconds")
    cue = Cue(**fields)
    if materials is not None:
        for field, name in (("material", cue.material), ("striker", cue.striker)):
            if name is not None and name not in materials:
                raise ConfigError(
                    f"{field}={reprlib.repr(name)}: expected one of {', '.join(materials)}",
                    hint=suggestion(name, materials) or "without one the model chooses",
                )
    return cue


def fields_of(cue: Cue) -> dict[str, Any]:
    """The fields of a cue that are set: those that are neither None nor an empty curve."""
    values = ((name, getattr(cue, name)) for name in FIELD_NAMES)
    return {name: value for name, value in values if value is not None and value != ()}


def check_names(names: Iterable[str], known: Sequence[str], kind: str) -> None:
    """Raises a ConfigError for the first name that is not known; it suggests the nearest one."""
    for name in names:
        if name not in known:
            listed = f"expected {', '.join(known)}"
            near = suggestion(name, known)
            raise ConfigError(
                f"unknown {kind} {reprlib.repr(name)}", hint=f"{near} {listed}" if near else listed
            )


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question for the known name that is most similar; empty if none is similar."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def decode_utf8(data: bytes, file: str) -> str:
    """The text of a file in UTF-8 with or without a byte order mark.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            hint="save the file in UTF-8",
        ) from error


def located(error: ConfigError, place: str) -> ConfigError:
    """The same error with its place, such as "cues.csv, line 3", at the start of its message."""
    return ConfigError(f"{place}: {error}", hint=error.hint)
