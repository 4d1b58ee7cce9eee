"""An open project: its record, video, history and present sound."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import Any, Literal

from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import DataError
from foleyflow.inference.stretches import joined_ranges
from foleyflow.media import MediaInfo, probe
from foleyflow.media.browser_playback import played_as, player_offset_s
from foleyflow.studio.cue_file import CueFile
from foleyflow.studio.history import History
from foleyflow.studio.identified_cues import sheet_of
from foleyflow.studio.live_sound import LiveSound, Range
from foleyflow.studio.problems import NotFound, NotNow
from foleyflow.studio.project_files import (
    FOLDERS,
    RECORD,
    confined,
    read_record_of,
    time_text,
    write_record,
)
from foleyflow.studio.settings import LATER_SETTINGS, StudioSettings

SHOWN_OF_VIDEO = (
    "name",
    "duration_s",
    "width",
    "height",
    "rate_hz",
    "has_audio",
    "start_time_code",
    "warnings",
)
KEPT_CHANGES = 256  # of the sound, for answers to edits that were rendered together

Playback = Literal["original", "proxy", "preparing", "none"]


class Project:
    """A project. Its methods may be called from several threads.

    Attributes:
        id: also the name of its folder.
        folder: of its files.
        lock: held while cues or the record change.
        render_lock: held while the present sound is rendered.
        history: of its changes.
        cue_file: the present cues for other programs.
        live: the present sound.
        playback: see docs/http.md.
    """

    def __init__(self, folder: Path, settings: StudioSettings) -> None:
        """Reads the folder.

        Raises:
            DataError: a file of the project is damaged.
        """
        self.id, self.folder, self._settings = folder.name, folder, settings
        self.lock, self.render_lock = threading.RLock(), threading.RLock()
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        self._record = read_record_of(folder)
        self.history = History(folder / "history.jsonl")
        self.cue_file = CueFile(folder / "cues.json", self.sheet)
        self.live = LiveSound(folder / "cache")
        self._info: MediaInfo | None = None
        self._changes: deque[tuple[int, list[Range]]] = deque(maxlen=KEPT_CHANGES)
        self.change_count = 0
        self.sound_revision: int | None = self.live.node or None
        if self._is_rendered:
            self.sound_revision = self.history.revision
        self.sound_warnings: list[str] = []
        self.is_deleted = False
        self._remove_unfinished()

    # Record

    def get(self, key: str) -> Any:
        """A value of the record; None for one that records of earlier versions lack."""
        with self.lock:
            return self._record.get(key)

    def update(self, **values: Any) -> None:
        """Changes values of the record, and writes it."""
        with self.lock:
            if self.is_deleted:
                raise NotFound("there is no such project", hint="list the projects")
            write_record(self.folder, {**self._record, **values})
            self._record |= values

    def _remove_unfinished(self) -> None:
        """Removes takes, recordings and exports that a killed process has not completed."""
        for key in ("takes", "references"):
            known = {f"{each['id']}.wav" for each in self._record.get(key, [])}
            for file in (self.folder / key).iterdir():
                if file.name.removesuffix(".json") not in known and not file.is_dir():
                    file.unlink()
        exports = {export["id"] for export in self._record["exports"]}
        for folder in (self.folder / "exports").iterdir():
            if folder.name not in exports and folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def state(self) -> str:
        """See docs/http.md."""
        return str(self.get("state"))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the present sound; empty before the first one."""
        with self.lock:
            found = self.history.settings_at(self.history.node)
        return {**LATER_SETTINGS, **found} if found else {}

    # Video

    @property
    def video(self) -> Path:
        """The video file.

        Raises:
            DataError: it is missing, or no longer where the project may refer to.
        """
        record = self.get("video")
        try:
            if record["is_copy"]:
                return confined(self.folder, record["file"])
            if self._settings.videos is None:
                raise NotFound("foleyflow serve was started without --videos")
            return confined(self._settings.videos, record["file"])
        except NotFound as error:
            raise DataError(
                f"the video {record['name']} is missing",
                hint="put it back, or start foleyflow serve with the same --videos as before",
            ) from error

    @property
    def info(self) -> MediaInfo:
        """The properties of the video."""
        with self.lock:
            if self._info is None:
                self._info = probe(self.video)
            return self._info

    @property
    def proxy(self) -> Path:
        """The copy of the video for browsers."""
        return self.folder / "cache" / "proxy.mp4"

    @property
    def playback(self) -> Playback:
        """What browsers play."""
        known = self.get("playback")
        return "preparing" if known == "proxy" and not self.proxy.exists() else known

    def choose_playback(self) -> Playback:
        """Finds out whether browsers play the original; if not, the proxy has to be made."""
        mime = played_as(self.info)
        offset_s = player_offset_s(self.info) if mime else 0.0
        self.update(
            playback="original" if mime else "proxy", mime=mime, player_offset_s=round(offset_s, 6)
        )
        return self.playback

    # Cues

    @property
    def duration_s(self) -> float:
        """Of the video."""
        return float(self.get("video")["duration_s"])

    @property
    def analysed_until_s(self) -> float:
        """Cues exist until then."""
        return float(self.get("analysed_until_s"))

    def sheet(self) -> CueSheet:
        """The present cues."""
        return sheet_of(self.history.cues, self.duration_s)

    def write_cues(self) -> None:
        """Writes the present cues for other programs; many of them a little later."""
        self.cue_file.note_change(len(self.history.cues))

    def check_editable(self) -> None:
        """Raises NotNow before the first cues are found."""
        if not self.history.node:
            failed = self.get("error")
            if failed is not None:
                raise NotNow(f"the video can't be analysed: {failed['error']}", hint=failed["hint"])
            raise NotNow("the video is still being analysed", hint="wait for the first cues")

    # Sound

    @property
    def _is_rendered(self) -> bool:
        return self.live.node != 0 and self.live.node == self.history.node

    def note_change(self, revision: int, changed: list[Range], warnings: list[str]) -> None:
        """Records that the sound of a revision is ready."""
        with self.lock:
            self.change_count += 1
            self._changes.append((self.change_count, changed))
            self.sound_revision, self.sound_warnings = revision, warnings

    def changed_since(self, count: int) -> list[Range]:
        """The ranges of all changes of the sound after the `count`-th one."""
        with self.lock:
            return joined_ranges(
                r for number, ranges in self._changes if number > count for r in ranges
            )

    # Description

    def to_json(self) -> dict[str, Any]:
        """The project as the API shows it, without its takes."""
        with self.lock:
            record = self._record
            video = {key: record["video"][key] for key in SHOWN_OF_VIDEO}
            video |= {"playback": self.playback, "player_offset_s": record["player_offset_s"]}
            sound = None
            if self.live.count and self.sound_revision is not None:
                sound = {
                    "sample_rate_hz": record["sample_rate_hz"],
                    "channels": self.live.channels,
                    "sample_count": self.live.count,
                    "revision": self.sound_revision,
                }
            return {
                "id": self.id,
                "name": record["name"],
                "created_at": record["created_at"],
                "changed_at": time_text(self._changed_s()),
                "state": record["state"],
                "error": record["error"],
                "video": video,
                "analysed_until_s": record["analysed_until_s"],
                "sound": sound,
                "revision": self.history.revision,
                "cue_count": len(self.history.cues),
                "undo": self.history.undo_label,
                "redo": self.history.redo_label,
                "settings": self.settings or None,
                "warnings": [*record["warnings"], *self.sound_warnings],
                "view": record["view"],
            }

    def _changed_s(self) -> float:
        times_s = [0.0]
        for name in (RECORD, "history.jsonl"):
            with contextlib.suppress(OSError):
                times_s.append((self.folder / name).stat().st_mtime)
        return max(times_s)
