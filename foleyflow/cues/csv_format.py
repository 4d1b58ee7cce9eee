"""Cue sheets as CSV: a header line with names of fields, then one line for each cue."""

from __future__ import annotations

import csv
import io
import reprlib
from collections.abc import Callable, Iterator
from typing import Any

from foleyflow.cues.cue import field_error
from foleyflow.cues.fields import (
    FIELD_NAMES,
    StoredCues,
    check_names,
    decode_utf8,
    fields_of,
    located,
)
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_HEADER_HINT = "the first line names the columns, of which only time_s is required"


def parse_csv(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse cues from UTF-8 with or without a byte order mark; `file` names them in errors.

    The separator is a comma or a semicolon. With semicolons, a comma in a number is its decimal
    separator, as spreadsheets write it in many languages. Lines without any value are skipped, and
    missing cells at the end of a line are empty. A cue with `end_s` and no `kind` is a scrape.

    Raises:
        ConfigError: the header, the number of cells or a value in a cell is not valid.
    """
    # Text and separator
    text = decode_utf8(data, file)
    if not text.strip(",; \t\r\n"):
        raise ConfigError(f"{file}: the file is empty", hint=_HEADER_HINT)
    header = text.lstrip().splitlines()[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    lines = csv_lines(text, delimiter, file)
    # Header
    number, cells = next(lines)
    names = [cell.strip() for cell in cells]
    try:
        _check_header(names)
    except ConfigError as error:
        raise located(error, f"{file}, line {number}") from error
    converters = [_converter(name, decimal_comma=delimiter == ";") for name in names]
    columns = list(zip(names, converters, strict=True))
    # Cues
    rows = []
    for number, cells in lines:
        try:
            rows.append((f"line {number}", _fields(cells, columns)))
        except ConfigError as error:
            raise located(error, f"{file}, line {number}") from error
    return StoredCues(rows=rows)


def csv_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A header line with all fields and one line for each cue; floats in `repr` precision."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELD_NAMES)
    for cue in sheet:
        fields = fields_of(cue)
        writer.writerow([_cell(fields.get(name)) for name in FIELD_NAMES])
    return stream.getvalue().encode("utf-8")


def csv_lines(text: str, delimiter: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line in the file, cells) of each row that has a value.

    Raises:
        ConfigError: a quote is missing or misplaced; `file` names it.
    """
    # The limit for one cell, of the process, is too low for a long level curve.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    number = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(
            f"{file}, line {number}: damaged CSV ({error})",
            hint='a quoted cell begins and ends with ", and a quote in it is doubled',
        ) from error


def _check_header(names: list[str]) -> None:
    check_names([name for name in names if name], FIELD_NAMES, "column")
    if repeated := [name for name in FIELD_NAMES if names.count(name) > 1]:
        raise ConfigError(
            f"column {repeated[0]!r} appears {names.count(repeated[0])} times",
            hint="remove all but one",
        )
    if "time_s" not in names:
        raise ConfigError("no column 'time_s'", hint=_HEADER_HINT)


def _fields(cells: list[str], columns: list[tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
    """The converted cells that are not empty, by the name of their column."""
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise ConfigError(
            f"{len(cells)} cells, expected {len(columns)} as in the first line",
            hint='quote a cell that contains the separator: "a,b"',
        )
    fields = {}
    for cell, (name, convert) in zip(cells, columns, strict=False):
        if value := cell.strip():
            fields[name] = convert(value)
    if "end_s" in fields:
        fields.setdefault("kind", "scrape")
    return fields


def _converter(name: str, *, decimal_comma: bool) -> Callable[[str], Any]:
    """The function that converts a cell of a column, which is not empty."""

    def number(cell: str) -> float:
        try:
            if "_" not in cell:  # Python would skip it
                return float(cell.replace(",", ".") if decimal_comma else cell)
        except ValueError:
            pass
        raise field_error(name, cell, "a number")

    def curve(cell: str) -> tuple[float, ...]:
        return tuple([number(level) for level in cell.split()])

    def integer(cell: str) -> int:
        try:
            if "_" not in cell:
                return int(cell)
        except ValueError:
            pass
        raise field_error(name, cell, "an integer")

    def truth(cell: str) -> bool:
        if cell.lower() not in _TRUTHS:
            raise field_error(name, cell, "true, false, 1 or 0")
        return _TRUTHS[cell.lower()]

    def unnamed(cell: str) -> None:
        raise ConfigError(f"{reprlib.repr(cell)} is in a column without a name", hint=_HEADER_HINT)

    special: dict[str, Callable[[str], Any]] = {
        "": unnamed,
        "kind": str,
        "material": str,
        "striker": str,
        "level_curve_db": curve,
        "seed": integer,
        "enabled": truth,
    }
    return special.get(name, number)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return " ".join(repr(level) for level in value)
    return str(value)
