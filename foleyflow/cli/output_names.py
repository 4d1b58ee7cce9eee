"""Names of outputs by a template, as in `-o '{stem}.foley{suffix}'`."""

from __future__ import annotations

import difflib
import string
from collections.abc import Sequence
from pathlib import Path

from foleyflow.errors import UsageError

# Field -> value of a video, given its number among all videos
FIELDS = {
    "stem": lambda video, number: video.stem,
    "suffix": lambda video, number: video.suffix,
    "name": lambda video, number: video.name,
    "folder": lambda video, number: str(video.parent),
    "number": lambda video, number: number,
}
_HINT = "write {{ and }} for braces that belong to the name"


def is_template(output: str | None) -> bool:
    """Whether the text of -o has fields or escaped braces."""
    return output is not None and ("{" in output or "}" in output)


def output_names(template: str, videos: Sequence[str]) -> dict[str, str]:
    """The text of -o for each video.

    Raises:
        UsageError: the template is wrong, or two videos get one name.
    """
    parts = _parsed(template)
    names: dict[str, str] = {}
    for number, video in enumerate(videos, start=1):
        name = "".join(
            literal if field is None else literal + _value(template, field, spec, video, number)
            for literal, field, spec in parts
        )
        earlier = next((other for other, given in names.items() if given == name), None)
        if earlier is not None and earlier != video and not name.endswith("/"):
            raise UsageError(
                f"-o {template}: {earlier} and {video} both give {name}",
                hint="add {number}, or {folder} if their folders differ",
            )
        names[video] = name
    return names


def _parsed(template: str) -> list[tuple[str, str | None, str]]:
    """(text, field after it or None, format of the field) of all parts of a template."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"-o {template}: unpaired brace ({error})", hint=_HINT) from error
    for _, field, _, conversion in parts:
        if field is not None and (field not in FIELDS or conversion):
            close = difflib.get_close_matches(field, FIELDS, n=1)
            guess = f"; did you mean {{{close[0]}}}?" if close else ""
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise UsageError(
                f"-o {template}: unknown field {{{field}}}, expected {known}{guess}", hint=_HINT
            )
    return [(literal, field, spec or "") for literal, field, spec, _ in parts]


def _value(template: str, field: str, spec: str, video: str, number: int) -> str:
    try:
        return format(FIELDS[field](Path(video), number), spec)
    except ValueError as error:
        raise UsageError(
            f"-o {template}: the format {spec!r} does not fit {{{field}}} ({error})",
            hint="a number can have leading zeros, as in {number:03}",
        ) from error
