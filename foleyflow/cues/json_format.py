"""Cue sheets as JSON: {"format": "foleyflow cues", "version": 1, "duration_s": ..., "cues": []}."""

from __future__ import annotations

import json
import reprlib
from typing import Any

from foleyflow.cues.fields import StoredCues, check_names, decode_utf8, fields_of, located
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

FORMAT_NAME = "foleyflow cues"
VERSION = 1
_KEYS = ("format", "version", "duration_s", "cues")
_FORM_HINT = 'expected {"format": "foleyflow cues", "version": 1, "cues": [{"time_s": 1.25}, ...]}'


class _RepeatedKey(dict[str, Any]):
    """A JSON object in which the key `repeated` appears more than once."""

    repeated: str


def parse_json(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse cues from UTF-8; `file` names them in errors. A value of null is not set.

    Raises:
        ConfigError: the JSON is damaged or has another structure than a cue sheet.
    """
    if not data.strip():
        raise ConfigError(f"{file}: the file is empty", hint=_FORM_HINT)
    content = _parse(decode_utf8(data, file), file)
    # The sheet
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: {reprlib.repr(content)} is not an object", hint=_FORM_HINT)
    _check_repeated(content, file)
    try:
        check_names(content, _KEYS, "key")
    except ConfigError as error:
        raise located(error, file) from error
    if content.get("format") != FORMAT_NAME:
        raise ConfigError(
            f"{file}: format={reprlib.repr(content.get('format'))}: expected {FORMAT_NAME!r}",
            hint=_FORM_HINT,
        )
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ConfigError(
            f"{file}: version={reprlib.repr(version)}: expected {VERSION}",
            hint="use the foleyflow version that wrote it",
        )
    if not isinstance(content.get("cues"), list):
        raise ConfigError(
            f"{file}: cues={reprlib.repr(content.get('cues'))}: expected a list", hint=_FORM_HINT
        )
    # The cues; their names are checked together with their values
    rows = []
    for number, fields in enumerate(content["cues"], start=1):
        place = f"cue {number}"
        if not isinstance(fields, dict):
            raise ConfigError(
                f"{file}, {place}: {reprlib.repr(fields)} is not an object",
                hint='expected an object such as {"time_s": 1.25}',
            )
        _check_repeated(fields, f"{file}, {place}")
        rows.append((place, {name: value for name, value in fields.items() if value is not None}))
    return StoredCues(rows=rows, duration_s=content.get("duration_s"))


def json_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """One line for each cue with all fields that are set; floats in `repr` precision."""
    head: dict[str, Any] = {"format": FORMAT_NAME, "version": VERSION}
    if sheet.duration_s is not None:
        head["duration_s"] = sheet.duration_s
    lines = [f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items()]
    cues = [f"\n  {json.dumps(fields_of(cue), ensure_ascii=False)}" for cue in sheet]
    text = "{\n" + "".join(lines) + ' "cues": [' + ",".join(cues) + ("\n ]" if cues else "]")
    return (text + "\n}\n").encode("utf-8")


def _parse(text: str, file: str) -> Any:
    hint = "undo the last edit of the file, or write the cue sheet again"
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file}, line {error.lineno}: damaged JSON ({error.msg})", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:  # too many digits or too many brackets
        raise ConfigError(f"{file}: damaged JSON ({error})", hint=hint) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; one that has a key twice is marked and refused later."""
    content = dict(pairs)
    if len(content) == len(pairs):
        return content
    names = [name for name, _ in pairs]
    marked = _RepeatedKey(content)
    marked.repeated = next(name for name in names if names.count(name) > 1)
    return marked


def _check_repeated(content: dict[str, Any], place: str) -> None:
    """Raises a ConfigError if a key of a JSON object appears more than once."""
    if isinstance(content, _RepeatedKey):
        raise ConfigError(
            f"{place}: key {reprlib.repr(content.repeated)} appears more than once",
            hint="remove all but one",
        )
