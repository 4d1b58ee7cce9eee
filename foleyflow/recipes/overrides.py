"""`--set train.steps=100`: changes one field of a recipe, parsed by the field's type."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from foleyflow.errors import ConfigError

R = TypeVar("R")


def override(recipe: R, assignments: Sequence[str]) -> R:
    """A copy of a recipe with some fields changed.

    Args:
        recipe: a frozen dataclass, possibly of dataclasses.
        assignments: each "path.to.field=value".

    Returns:
        The changed copy; the given recipe stays as it is.

    Raises:
        ConfigError: not of the form key=value, an unknown key (the nearest name is suggested), or
            a value that is not of the field's type.

    Source: ours.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {assignment!r}: expected key=value, as in train.steps=100",
                hint="--dry-run prints all keys and their values",
            )
        recipe = _replaced(recipe, key.strip().split("."), text.strip(), key.strip(), recipe)
    return recipe


def flat_keys(recipe: Any, prefix: str = "") -> list[str]:
    """All keys that `override` knows, in the order of the fields."""
    keys: list[str] = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            keys += flat_keys(value, f"{prefix}{field.name}.")
        else:
            keys.append(prefix + field.name)
    return keys


def _replaced(node: Any, parts: list[str], text: str, key: str, whole: Any) -> Any:
    names = {field.name for field in dataclasses.fields(node)}
    if parts[0] not in names or (len(parts) > 1) != dataclasses.is_dataclass(
        getattr(node, parts[0])
    ):
        near = difflib.get_close_matches(key, flat_keys(whole), n=1, cutoff=0.0)
        raise ConfigError(f"--set {key}: no such setting", hint=f"did you mean {near[0]}?")
    if len(parts) > 1:
        value = _replaced(getattr(node, parts[0]), parts[1:], text, key, whole)
    else:
        value = _parsed(text, typing.get_type_hints(type(node))[parts[0]], key)
    return dataclasses.replace(node, **{parts[0]: value})


def _parsed(text: str, kind: Any, key: str) -> Any:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typing.get_origin(kind) is tuple:
        items, kinds = text.split(",") if text else [], typing.get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(items)
        if len(items) == len(kinds):
            return tuple(
                _parsed(item.strip(), each, key) for item, each in zip(items, kinds, strict=True)
            )
    if text.lower() == "none" and type(None) in options:
        return None
    for option in options:
        if option is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if typing.get_origin(option) is typing.Literal and text in typing.get_args(option):
            return text
        if option in (int, float, str):
            try:
                return option(text)
            except ValueError:
                continue
    raise ConfigError(
        f"--set {key}={text}: expected {kind.__name__ if isinstance(kind, type) else kind}",
        hint="--dry-run prints all keys and their values",
    )
