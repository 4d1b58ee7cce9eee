"""The generated sounds of a project on disk, so that opening the project generates none."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foleyflow.inference.result import Generated
from foleyflow.inference.result_store import ResultStore

Written = tuple[ResultStore | None, Generated]  # None if it could not be stored

logger = logging.getLogger(__name__)

KEPT_RESULTS = 2  # generated sounds: the present one, and the one before, for undo


class StoredResults:
    """The results of the nodes of a history.

    Nothing fails if the disk is full: a result that is not stored is generated when it is needed.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        """Opens the folder, and removes what can't be used."""
        self._folder, self._origin = folder, origin
        self._lock = threading.Lock()
        self._stores: list[ResultStore] = []  # in order of their first nodes
        for each in sorted(folder.iterdir()) if folder.is_dir() else []:
            store = ResultStore.open(each, origin=origin)
            if store is None:
                shutil.rmtree(each, ignore_errors=True)
            else:
                self._stores.append(store)
        self._stores.sort(key=lambda store: store.first)

    def store_of(self, node: int) -> ResultStore | None:
        """The store that has the result of a node."""
        with self._lock:
            return next((store for store in self._stores if node in store), None)

    def write(self, result: Generated) -> Written:
        """Writes a result without edits, an hour of sound within some seconds.

        Returns:
            what `begin` needs, and the same result, which reads from the files.
        """
        folder = self._folder / secrets.token_hex(8)
        try:
            return ResultStore.write(folder, result, origin=self._origin)
        except OSError as error:
            logger.warning("a generated sound is not stored: %s", error)
            shutil.rmtree(folder, ignore_errors=True)
            return None, result

    def begin(self, node: int, written: Written) -> None:
        """Makes a written result that of a node, and removes those that were generated earlier."""
        store, _ = written
        if store is None:
            return
        try:
            store.begin(node)
        except OSError as error:
            logger.warning("a generated sound is not stored: %s", error)
            return
        with self._lock:
            self._stores.append(store)
            removed, self._stores = self._stores[:-KEPT_RESULTS], self._stores[-KEPT_RESULTS:]
        for each in removed:
            shutil.rmtree(each.folder, ignore_errors=True)

    def write_panned(self, node: int, result: Generated) -> Generated:
        """Writes the stereo sound of a result before it is appended after that of a node."""
        store = self.store_of(node)
        if store is None:
            return result
        try:
            return store.write_panned(result)
        except OSError as error:
            logger.warning("a stereo sound is not stored: %s", error)
            return result

    def append(self, node: int, parent: int, before: Generated, after: Generated) -> Generated:
        """Stores the result of an edit; returns it, reading from the file if it was stored.

        Args:
            node: of the edit.
            parent: the node whose result is `before`.
            before, after: see `ResultStore.append`.
        """
        store = self.store_of(parent)
        if store is None:
            return after
        try:
            return store.append(node, parent, before, after)
        except OSError as error:
            logger.warning("an edit is not stored: %s", error)
            return after
