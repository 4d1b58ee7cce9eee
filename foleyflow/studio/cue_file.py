"""The present cues of a project in a file for other programs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from foleyflow.cues.files import write_cues
from foleyflow.cues.sheet import CueSheet

logger = logging.getLogger(__name__)

WRITTEN_AT_ONCE = 1000  # cues; more take so long that they would delay the sound of an edit
DELAY_S = 2.0  # since the last change


class CueFile:
    """A cue sheet that follows the cues; many cues are written when no edit has come for a while.

    Args:
        path: of the file.
        sheet: the present cues.
    """

    def __init__(self, path: Path, sheet: Callable[[], CueSheet]) -> None:
        self._path, self._sheet = path, sheet
        # Nothing else is locked while one of these is held
        self._lock, self._write_lock = threading.Lock(), threading.Lock()
        self._timer: threading.Timer | None = None
        self._noted = self._written = 0  # numbers of changes

    def note_change(self, count: int) -> None:
        """Writes `count` cues, now or later."""
        is_late = count > WRITTEN_AT_ONCE
        with self._lock:
            self._noted += 1
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(DELAY_S, self.flush) if is_late else None
            if self._timer is not None:
                self._timer.daemon = True
                self._timer.start()
        if not is_late:
            self._write()

    def flush(self) -> None:
        """Writes what waits to be written."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            try:
                self._write()
            except OSError as error:  # also if the project was deleted
                logger.warning("%s: can't be written (%s)", self._path.name, error.strerror)

    def _write(self) -> None:
        number, sheet = self._noted, self._sheet()
        with self._write_lock:
            if number >= self._written:  # no later one has been faster
                write_cues(self._path, sheet)
                self._written = number
