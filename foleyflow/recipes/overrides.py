"""Changes single fields of a recipe, as `--set train.steps=100` does, parsed by their types."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from foleyflow.errors import ConfigError
from foleyflow.training.task import RENAMED_SETTINGS

R = TypeVar("R")
log = logging.getLogger(__name__)


def override(recipe: R, assignments: Sequence[str]) -> R:
    """A copy of a recipe, a frozen dataclass, changed by assignments "path.to.field=value".

    Raises:
        ConfigError: an assignment is not of the form key=value, the key does not exist (the
            nearest one is suggested), or the value does not have the field's type.
    """
    for assignment in assignments:
        key, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ConfigError(
                f"--set {assignment!r}: expected key=value, as in train.steps=100",
                hint="--dry-run prints all keys and their values",
            )
        new = RENAMED_SETTINGS.get(key, key)
        if new != key:
            log.warning("--set %s: is now %s; the old name works in this release only", key, new)
        recipe = _replace(recipe, new.split("."), text, new, recipe)
    return recipe


def flat_keys(recipe: Any, prefix: str = "") -> list[str]:
    """All keys that `override` accepts, in the order of the fields."""
    keys: list[str] = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            keys += flat_keys(value, f"{prefix}{field.name}.")
        else:
            keys.append(prefix + field.name)
    return keys


def _replace(node: Any, path: list[str], text: str, key: str, recipe: Any) -> Any:
    names = {field.name for field in dataclasses.fields(node)}
    if path[0] not in names or (len(path) > 1) != dataclasses.is_dataclass(getattr(node, path[0])):
        nearest = difflib.get_close_matches(key, flat_keys(recipe), n=1, cutoff=0.0)
        raise ConfigError(f"--set {key}: no such setting", hint=f"did you mean {nearest[0]}?")
    if len(path) > 1:
        value = _replace(getattr(node, path[0]), path[1:], text, key, recipe)
    else:
        value = _parse(text, typing.get_type_hints(type(node))[path[0]], key)
    return dataclasses.replace(node, **{path[0]: value})


def _parse(text: str, kind: Any, key: str) -> Any:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typing.get_origin(kind) is tuple:
        items, kinds = text.split(",") if text else [], typing.get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(items)
        if len(items) == len(kinds):
            return tuple(
                _parse(item.strip(), each, key) for item, each in zip(items, kinds, strict=True)
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
