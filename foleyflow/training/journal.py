"""The journal of a run: one JSON object a line, in the order of steps, surviving kills.

A resumed run cuts the journal back to its checkpoint, so that a run that was killed and started
again leaves the same losses as one that ran through. Fields that hold times end in `_s` and are
the only ones that may differ.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a journal; a line cut short by a kill is left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            log.warning("%s: a line was cut short, dropped: %.40s", path, line)
    return entries


class Journal:
    """Appends to a journal file; a context that closes it."""

    def __init__(self, path: Path, *, keep_to_step: int) -> None:
        """Opens the journal, dropping entries of steps after `keep_to_step`."""
        kept = [e for e in read_journal(path) if e["step"] <= keep_to_step]
        temporary = path.with_suffix(".part")
        temporary.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")
        os.replace(temporary, path)
        self._stream = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        """Adds one entry (needs "step"), on disk at once."""
        self._stream.write(json.dumps(entry) + "\n")
        self._stream.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()
