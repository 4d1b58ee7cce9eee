"""Stores a generated result and its edits in a folder, so that none has to be generated again.

    result.json     cues and settings of the result before its first edit
    edits.jsonl     the first line names this result, each further line an edit of an earlier one

Edits have a tree: after some were taken back, others follow from an earlier one. `take_file` has
the other files. A line that a killed process has not completed is ignored.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foleyflow.clock import count_at
from foleyflow.cues.fields import cue_from_fields, fields_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import DataError
from foleyflow.inference.cue_checks import fit_to_clip
from foleyflow.inference.motion import with_pans
from foleyflow.inference.rerendering import placed_within
from foleyflow.inference.result import Edit, Generated
from foleyflow.inference.stretches import Stretch
from foleyflow.inference.take_file import (
    append_edit,
    read_edit,
    read_take,
    write_panned,
    write_take,
)
from foleyflow.library import PlacedSounds, SoundLibrary
from foleyflow.media import MediaInfo
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.weights import write_atomically

if TYPE_CHECKING:
    from foleyflow.inference.pipeline import FoleyFlow

RECORD_FORMAT = 1
EDIT_FIELDS = ("start_s", "end_s", "seed", "stereo")

CuesOf = Callable[[int], CueSheet]  # the cues of a key
_Stored = tuple[dict[str, Any], bool]  # an entry of edits, and whether the sound was stereo before


class ResultStore:
    """A result and its edits, which keys name.

    Attributes:
        folder: of the files.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder, self._record = folder, record
        self._entries: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()  # held while an edit is added

    @classmethod
    def write(
        cls, folder: Path, result: Generated, *, origin: Mapping[str, Any]
    ) -> tuple[ResultStore, Generated]:
        """Writes a result without edits; `begin` has to follow.

        Args:
            folder: to create.
            result: to write.
            origin: JSON values that identify the video and the model.

        Returns:
            its store, and the same result, which reads from the files.

        Raises:
            OSError: a file can't be written.
        """
        folder.mkdir(parents=True)
        written, take = write_take(folder, result._take, result._model.codec.config)
        record = {
            "version": RECORD_FORMAT,
            "origin": dict(origin),
            "library": library_sha256(None if take.placed is None else take.placed.library),
            "cues": [fields_of(cue) for cue in result.cues],
            "settings": result.settings,
            "warnings": result.warnings,
            "take": written,
        }
        write_atomically(folder / "result.json", json.dumps(record) + "\n")
        return cls(folder, record), replace(result, _take=take)

    @classmethod
    def open(cls, folder: Path, *, origin: Mapping[str, Any]) -> ResultStore | None:
        """The store in a folder; None if it is not complete, damaged or of another origin."""
        try:
            record = json.loads((folder / "result.json").read_text("utf-8"))
            if (record["version"], record["origin"]) != (RECORD_FORMAT, dict(origin)):
                return None
            store, end = cls(folder, record), 0
            with open(folder / "edits.jsonl", "r+b") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        entry = json.loads(line)
                        store._entries[entry["key"]] = entry
                        end += len(line)
                file.truncate(end)
            return store if store._entries else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the result without edits."""
        settings: dict[str, Any] = self._record["settings"]
        return settings

    @property
    def first(self) -> int:
        """The name of the result without edits."""
        return next(iter(self._entries))

    def begin(self, key: int) -> None:
        """Names the result without edits."""
        self._add({"key": key, "parent": None})

    def write_panned(self, result: Generated) -> Generated:
        """Writes the stereo sound of a result, so that `append` takes no time for it.

        Raises:
            OSError: the file can't be written.
        """
        return replace(result, _take=write_panned(self.folder, result._take))

    def append(self, key: int, parent: int, before: Generated, after: Generated) -> Generated:
        """Adds the result of an edit; returns it, reading from the file.

        Args:
            key: names the new result.
            parent: names the result before the edit.
            before, after: the edit; the same for one that changed nothing.

        Raises:
            OSError: the file can't be written.
        """
        edits = [
            {name: getattr(edit, name) for name in EDIT_FIELDS}
            for edit in after._edits[len(before._edits) :]
        ]
        with self._lock:
            entry, take = append_edit(self.folder, before._take, after._take)
            described = {"edits": edits, "warnings": after.warnings}
            self._add({"key": key, "parent": parent, **described, **entry})
        return replace(after, _take=take)

    def read(
        self,
        key: int,
        model: FoleyFlow,
        info: MediaInfo,
        *,
        cues_of: CuesOf,
        library: SoundLibrary | None,
        progress: Callable[[float], None] | None = None,
    ) -> Generated | None:
        """A stored result.

        Args:
            key: its name.
            model, info: with which it was generated.
            cues_of: the cues of each edited result.
            library: with which it was generated; None if without.
            progress: called with the seconds of video processed, if it has to be analysed again.

        Returns:
            the result; None if its files are damaged, or the library changed.
        """
        if self._record["library"] != library_sha256(library):
            return None
        chain = []
        place: int | None = key
        while place is not None:
            chain.append(self._entries[place])
            place = chain[-1]["parent"]
        edits = chain[-2::-1]  # in their order, without the first line
        try:
            result = self._first(model, info, library, progress)
            take = result._take
            changing: list[_Stored] = []
            for entry in edits:
                placed = take.placed and _placed_after(take.placed, entry, cues_of(entry["key"]))
                if entry["edits"]:
                    changing.append((entry, take.panned is not None))
                take = read_edit(self.folder, entry, take, placed)
            if not changing:
                return result
            last = _cues_of_edits(result, *changing[-1], cues_of)[-1]
            warnings = list(changing[-1][0]["warnings"])
        except (DataError, OSError, ValueError, KeyError, TypeError):
            return None

        def stored_edits() -> tuple[Edit, ...]:
            sheets = [result.cues]
            for each in changing:
                sheets += _cues_of_edits(result, *each, cues_of)
            fields = [edit for entry, _ in changing for edit in entry["edits"]]
            return tuple(
                Edit(cues_before=cues, **edit)
                for cues, edit in zip(sheets[:-1], fields, strict=True)
            )

        return replace(
            result,
            cues=last,
            settings={**result.settings, "stereo": take.panned is not None},
            warnings=warnings,
            _take=take,
            _stored_edits=stored_edits,
        )

    def _first(
        self,
        model: FoleyFlow,
        info: MediaInfo,
        library: SoundLibrary | None,
        progress: Callable[[float], None] | None,
    ) -> Generated:
        """The result before its edits."""
        record, rate_hz = self._record, model.codec.config.rate_hz
        settings = record["settings"]
        cues = CueSheet(
            cues=tuple(cue_from_fields(each, None) for each in record["cues"]),
            duration_s=info.duration_s,
        )
        analysis, _ = model.analyse(info, Stopwatch(), progress)
        placed = None
        if library is not None:
            placed = PlacedSounds.plan(
                cues,
                library,
                duration_s=info.duration_s,
                rate_hz=rate_hz,
                seed=settings["seed"],
                vary=settings["library_variation"],
            )
        take = read_take(
            self.folder,
            record["take"],
            config=model.codec.config,
            analysis=analysis,
            path=model.path,
            placed=placed,
        )
        return Generated(
            info=info,
            sample_rate_hz=rate_hz,
            sample_count=max(1, count_at(info.duration_s, rate_hz)),
            cues=cues,
            settings=dict(settings),
            timings_s={"total": 0.0},
            warnings=list(record["warnings"]),
            _take=take,
            _model=model,
        )

    def _add(self, entry: dict[str, Any]) -> None:
        with open(self.folder / "edits.jsonl", "ab") as file:
            file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._entries[entry["key"]] = entry


def _cues_of_edits(
    first: Generated, entry: Mapping[str, Any], is_stereo: bool, cues_of: CuesOf
) -> list[CueSheet]:
    """The cues of a result after each edit of an entry, as `editing` makes them.

    Args:
        first: the result before its edits.
        entry: of the file.
        is_stereo: whether the sound was stereo before the entry.
        cues_of: see `ResultStore.read`.
    """
    config, motion = first._model.flow.config, first._take.analysis.motion
    sheets = [fit_to_clip(cues_of(entry["key"]), config, duration_s=first.info.duration_s)]
    for edit in entry["edits"]:
        is_stereo = is_stereo if edit["stereo"] is None else edit["stereo"]
        sheets.append(with_pans(sheets[-1], motion) if is_stereo else sheets[-1])
    return sheets[1:]


def library_sha256(library: SoundLibrary | None) -> str | None:
    """Hash of the names and contents of the files of a library; None without one."""
    if library is None:
        return None
    listed = "".join(f"{each.sha256} {each.file}\n" for each in library.files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _placed_after(placed: PlacedSounds, entry: Mapping[str, Any], cues: CueSheet) -> PlacedSounds:
    """The sounds of a library after an edit."""
    if not entry["edits"]:
        return placed
    edit = entry["edits"][0]
    if edit["start_s"] is None:
        return placed.with_cues(cues)
    return placed_within(placed, cues, Stretch(start_s=edit["start_s"], end_s=edit["end_s"]))
