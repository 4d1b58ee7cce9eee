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
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def note_change(self, count: int) -> None:
        """Writes `count` cues, now or later."""
        if count <= WRITTEN_AT_ONCE:
            write_cues(self._path, self._sheet())
            return
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(DELAY_S, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Writes what waits to be written."""
        with self._lock:
            if self._timer is None:
                return
            self._timer.cancel()
            self._timer = None
            try:
                write_cues(self._path, self._sheet())
            except OSError as error:  # also if the project was deleted
                logger.warning("%s: can't be written (%s)", self._path.name, error.strerror)
