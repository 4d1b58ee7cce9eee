"""The journal of a run: one JSON object per line, in the order of the steps.

A resumed run truncates the journal to its checkpoint, so that the journals of an interrupted and an
uninterrupted run differ only in fields that end in `_s`, which contain times.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from foleyflow.weights import write_atomically

log = logging.getLogger(__name__)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All entries of a journal; incomplete lines are dropped with a warning."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            log.warning("%s: dropped an incomplete line: %.40s", path, line)
    return entries


class Journal:
    """Appends to a journal file; a context manager that closes it."""

    def __init__(self, path: Path, *, keep_to_step: int) -> None:
        """Opens the journal and drops the entries of steps after `keep_to_step`."""
        kept = [entry for entry in read_journal(path) if entry["step"] <= keep_to_step]
        write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self._stream = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        """Adds one entry, which needs "step", and flushes it to disk."""
        self._stream.write(json.dumps(entry) + "\n")
        self._stream.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()
