"""Keeps the last sounds of cues alone, because edits that follow each other need the same ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 32 * 2**20  # almost 3 minutes of sound


class AloneSounds:
    """The sounds that were used last, by what they were generated from. Threads may share it."""

    def __init__(self) -> None:
        self._sounds: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(
        self, key: Hashable, generate: Callable[[], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """The samples of a key, which must not be changed; `generate` is called for a new one."""
        with self._lock:
            found = self._sounds.get(key)
            if found is not None:
                self._sounds.move_to_end(key)
                return found
        samples = generate()
        with self._lock:
            if key not in self._sounds:
                self._sounds[key] = samples
                self._bytes += samples.nbytes
            while self._bytes > MOST_BYTES:
                _, dropped = self._sounds.popitem(last=False)
                self._bytes -= dropped.nbytes
        return samples
