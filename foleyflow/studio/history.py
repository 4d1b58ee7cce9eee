"""The changes of a project since its beginning, in a file to which lines are only appended.

Each change of the cues or of how they sound is a node with the cues that it changed. Undo goes to
the parent of the present node, redo back to the node that was left. A line that a killed process
has not completed is ignored.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foleyflow.cues.cue import Cue
from foleyflow.cues.fields import cue_from_fields, fields_of
from foleyflow.errors import DataError
from foleyflow.studio.identified_cues import IdentifiedCues, next_number
from foleyflow.studio.problems import NotNow

Operation = Mapping[str, Any]
EDIT: Operation = {"kind": "edit"}
FOLLOWING = ("edit", "regenerate", "channels")  # kinds whose sound follows from the node before


@dataclass(frozen=True, kw_only=True)
class Node:
    """A change.

    Attributes:
        revision: of the project after it; it names the node.
        parent: the node before; None for the first one.
        label: for the user.
        operation: how the sound follows from that of the parent: {"kind": "edit"} by rerendering,
            "regenerate" of a stretch, "channels" by panning or leaving that out, "generate" from
            the beginning, or the "same" as a node.
        after, before: changed cues; None where there is none.
        is_start: undo does not go back further.
    """

    revision: int
    parent: int | None
    label: str
    operation: Operation
    after: Mapping[str, Cue | None]
    before: Mapping[str, Cue | None] = field(repr=False)
    is_start: bool = False


class History:
    """All changes of a project, and its present cues.

    Attributes:
        revision: number of changes, undo and redo included.
        node: the present node; 0 if there is none.
        cues: the present cues.
        next_id: number of the next new cue.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file, if it exists.

        Raises:
            DataError: the file is damaged.
        """
        self._path = path
        self._lock = threading.RLock()
        self._nodes: dict[int, Node] = {}
        self._redo: list[int] = []
        self.revision = self.node = 0
        self.cues: IdentifiedCues = {}
        self.next_id = 1
        self._end = 0
        if path.exists():
            self._read()

    def append(
        self, cues: Mapping[str, Cue], *, label: str, operation: Operation, is_start: bool = False
    ) -> list[str]:
        """Adds a change after the present node; returns the ids of the cues that it concerns."""
        with self._lock:
            names = self.cues.keys() | cues.keys()
            changed = {n: cues.get(n) for n in names if cues.get(n) is not self.cues.get(n)}
            changed = {n: cue for n, cue in changed.items() if cue != self.cues.get(n)}
            entry = {
                "label": label,
                "operation": dict(operation),
                "set": {n: fields_of(cue) for n, cue in changed.items() if cue is not None},
                "removed": [n for n, cue in changed.items() if cue is None],
                "is_start": is_start,
            }
            self._write(entry)
            self._add(label, operation, changed, is_start)
            return list(changed)

    def undo(self) -> list[str]:
        """Goes to the parent; returns the ids of the cues that differ.

        Raises:
            NotNow: there is nothing to undo.
        """
        with self._lock:
            node = self._nodes.get(self.node)
            if node is None or node.parent is None or node.is_start:
                raise NotNow("there is nothing to undo", hint="edit a cue first")
            self._write({"to": node.parent})
            self._undo(node)
            return list(node.before)

    def redo(self) -> list[str]:
        """Goes to the node that undo has left; returns the ids of the cues that differ.

        Raises:
            NotNow: there is nothing to do again.
        """
        with self._lock:
            if not self._redo:
                raise NotNow("there is nothing to do again", hint="undo something first")
            self._write({"to": self._redo[-1]})
            return list(self._follow().after)

    @property
    def undo_label(self) -> str | None:
        """What undo would take back."""
        node = self._nodes.get(self.node)
        return None if node is None or node.parent is None or node.is_start else node.label

    @property
    def redo_label(self) -> str | None:
        """What redo would do."""
        return self._nodes[self._redo[-1]].label if self._redo else None

    def path_to(self, revision: int) -> list[Node]:
        """The nodes from the first one to the node of a revision."""
        path: list[Node] = []
        node = self._nodes.get(revision)
        while node is not None:
            path.append(node)
            node = None if node.parent is None else self._nodes[node.parent]
        return path[::-1]

    def node_of(self, revision: int) -> Node:
        """The node that was added by a revision."""
        return self._nodes[revision]

    def cues_at(self, revision: int) -> IdentifiedCues:
        """The cues after the change of a node."""
        with self._lock:
            if revision == self.node:
                return dict(self.cues)
            cues: IdentifiedCues = {}
            for node in self.path_to(revision):
                _apply(cues, node.after)
            return cues

    def settings_at(self, revision: int) -> dict[str, Any]:
        """The settings with which the sound of a node was generated; empty for revision 0."""
        stereo: bool | None = None
        node = self._nodes.get(revision)
        while node is not None and node.operation["kind"] != "generate":
            if node.operation["kind"] == "channels" and stereo is None:
                stereo = node.operation["stereo"]
            same = node.operation.get("revision") if node.operation["kind"] == "same" else None
            node = self._nodes.get(node.parent or 0 if same is None else same)
        settings = {} if node is None else dict(node.operation["settings"])
        return settings if stereo is None else {**settings, "stereo": stereo}

    def _undo(self, node: Node) -> None:
        self._redo.append(node.revision)
        self.revision += 1
        self.node = node.parent or 0
        _apply(self.cues, node.before)

    def _follow(self) -> Node:
        node = self._nodes[self._redo.pop()]
        self.revision += 1
        self.node = node.revision
        _apply(self.cues, node.after)
        return node

    def _add(
        self, label: str, operation: Operation, changed: Mapping[str, Cue | None], is_start: bool
    ) -> None:
        self.revision += 1
        self._redo.clear()
        self._nodes[self.revision] = Node(
            revision=self.revision,
            parent=self.node or None,
            label=label,
            operation=operation,
            after=changed,
            before={name: self.cues.get(name) for name in changed},
            is_start=is_start,
        )
        self.node = self.revision
        _apply(self.cues, changed)
        self.next_id = max(self.next_id, next_number(changed))

    def _write(self, entry: dict[str, Any]) -> None:
        """Appends a line after the last complete one."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with open(self._path, "r+b" if self._path.exists() else "w+b") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._end += len(line)

    def _read(self) -> None:
        for number, entry in self._entries():
            try:
                if "to" not in entry:
                    cues: dict[str, Cue | None] = {
                        name: cue_from_fields(_with_curve(fields), None)
                        for name, fields in entry["set"].items()
                    }
                    cues |= dict.fromkeys(entry["removed"])
                    self._add(entry["label"], entry["operation"], cues, entry["is_start"])
                elif self._redo and entry["to"] == self._redo[-1]:
                    self._follow()
                else:
                    self._undo(self._nodes[self.node])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{self._path.name}, line {number}: damaged ({error})",
                    hint="restore the folder of the project from a backup",
                ) from error

    def _entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with open(self._path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    entry = json.loads(line)
                except ValueError as error:
                    raise DataError(
                        f"{self._path.name}, line {number}: damaged JSON",
                        hint="restore the folder of the project from a backup",
                    ) from error
                yield number, entry
                self._end += len(line)


def _apply(cues: IdentifiedCues, changed: Mapping[str, Cue | None]) -> None:
    for name, cue in changed.items():
        if cue is None:
            cues.pop(name, None)
        else:
            cues[name] = cue


def _with_curve(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"level_curve_db": tuple(fields.get("level_curve_db", ()))}
