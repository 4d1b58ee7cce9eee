"""Cues with ids, so that a client can name them while their times and numbers change."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from foleyflow.cues.cue import Cue
from foleyflow.cues.fields import check_names, cue_from_fields, fields_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError

IdentifiedCues = dict[str, Cue]

OPERATIONS = ("set", "another_take", "remove", "add")
SEED_BITS = 31
MOST_CUES = 50_000
_ID = re.compile(r"c[1-9][0-9]{0,8}")


def sheet_of(cues: Mapping[str, Cue], duration_s: float) -> CueSheet:
    """The cues as a sheet.

    Raises:
        ConfigError: two hits coincide, a cue is outside the clip, or there are too many.
    """
    if len(cues) > MOST_CUES:
        raise ConfigError(
            f"{len(cues)} cues: expected at most {MOST_CUES}", hint="remove some, or cut the video"
        )
    return CueSheet(cues=tuple(cues.values()), duration_s=duration_s)


def described(name: str, cue: Cue) -> dict[str, Any]:
    """A cue as the API shows it."""
    return {"id": name, **fields_of(cue)}


def in_order(cues: Mapping[str, Cue], names: Iterable[str]) -> list[dict[str, Any]]:
    """Those of the cues with the given names as the API shows them, by time."""
    found = [(name, cues[name]) for name in names if name in cues]
    found.sort(key=lambda each: (each[1].time_s, each[1].kind != "hit", each[1].end_s or 0.0))
    return [described(*each) for each in found]


def next_number(names: Iterable[str]) -> int:
    """A number after those of all ids."""
    return max((int(name[1:]) for name in names), default=0) + 1


def changed_by(
    cues: Mapping[str, Cue],
    changes: Sequence[Mapping[str, Any]],
    *,
    number: int,
    materials: Collection[str],
) -> IdentifiedCues:
    """The cues after a list of changes.

    Args:
        cues: before.
        changes: as in a PATCH request, see docs/http.md.
        number: of the next new id.
        materials: that the model knows.

    Raises:
        ConfigError: a change or the field of a cue is not valid; the message numbers the change.
    """
    after = dict(cues)
    for place, change in enumerate(changes, start=1):
        try:
            number = _apply(after, change, number, materials)
        except ConfigError as error:
            raise ConfigError(f"change {place}: {error}", hint=error.hint) from error
    return after


def replaced_by(
    cues: Mapping[str, Cue],
    fields: Sequence[Mapping[str, Any]],
    *,
    number: int,
    materials: Collection[str],
) -> IdentifiedCues:
    """The cues of a PUT request: those with a known id keep it.

    Raises:
        ConfigError: a cue is not valid, or an id is unknown or appears twice.
    """
    after: IdentifiedCues = {}
    for place, each in enumerate(fields, start=1):
        own = dict(each)
        name = own.pop("id", None)
        try:
            if name is None:
                name, number = f"c{number}", number + 1
            elif _known(name, cues) in after:
                raise ConfigError(f"id {name!r} appears twice", hint="leave it out for a new cue")
            after[name] = _cue(own, materials)
        except ConfigError as error:
            raise ConfigError(f"cue {place}: {error}", hint=error.hint) from error
    return after


def with_ids(sheet: Sequence[Cue], known: Mapping[str, Cue], *, number: int) -> IdentifiedCues:
    """Cues with ids: that of the known cue of the same kind at the same time, or a new one."""
    by_place = {_place(cue): name for name, cue in known.items()}
    after: IdentifiedCues = {}
    for cue in sheet:
        name = by_place.get(_place(cue))
        if name is None or name in after:
            name, number = f"c{number}", number + 1
        after[name] = cue
    return after


def _place(cue: Cue) -> tuple[str, float]:
    return cue.kind, round(cue.time_s, 3)


def _apply(
    cues: IdentifiedCues, change: Mapping[str, Any], number: int, materials: Collection[str]
) -> int:
    """Applies one change to `cues`; returns the number of the next new id."""
    check_names(change, ("id", *OPERATIONS), "key")
    operations = [name for name in OPERATIONS if name in change]
    if len(operations) != 1 or ("id" in change) != (operations[0] in ("set", "another_take")):
        raise ConfigError(
            "expected an id with set or another_take, or remove, or add",
            hint='for instance {"id": "c3", "set": {"time_s": 1.25}} or {"remove": "c5"}',
        )
    operation, value = operations[0], change[operations[0]]
    if operation == "remove":
        del cues[_known(value, cues)]
    elif operation == "add":
        if not isinstance(value, Mapping):
            raise ConfigError("add: expected the fields of a cue", hint='{"add": {"time_s": 3.5}}')
        cues[f"c{number}"] = _cue(value, materials)
        return number + 1
    elif operation == "another_take":
        name = _known(change["id"], cues)
        if value is not True:
            raise ConfigError("another_take: expected true", hint='or {"set": {"seed": 7}}')
        seed = random.SystemRandom().getrandbits(SEED_BITS)
        cues[name] = dataclasses.replace(cues[name], seed=seed)
    else:
        name = _known(change["id"], cues)
        if not isinstance(value, Mapping):
            raise ConfigError("set: expected the fields to change", hint='{"time_s": 1.25}')
        present = fields_of(cues[name])
        if value.get("kind") == "hit":  # it has neither an end nor a curve
            present = {key: present[key] for key in present.keys() - {"end_s", "level_curve_db"}}
        cues[name] = _cue({**present, **value}, materials)
    return number


def _known(name: object, cues: Mapping[str, Cue]) -> str:
    if not isinstance(name, str) or not _ID.fullmatch(name) or name not in cues:
        raise ConfigError("there is no cue with this id", hint="read the cues again")
    return name


def _cue(fields: Mapping[str, Any], materials: Collection[str]) -> Cue:
    """The cue with fields from a request, in which null is not set."""
    own = {name: value for name, value in fields.items() if value is not None}
    return cue_from_fields(own, materials)
