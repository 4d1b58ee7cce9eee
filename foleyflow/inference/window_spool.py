"""The conditions of the flow for the windows of a clip, in memory or in a temporary file.

Dimension letters: L latent frames, S segments, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.inference.temporary_bytes import TemporaryBytes


@dataclass(frozen=True, kw_only=True)
class AnalysedWindow:
    """The condition of the flow for one window.

    Attributes:
        start, length, kept: in segments, as `WindowPlan.cut` returns them.
        video: (L, D) float16 video features at the latent frames.
        states: (S, D) float16 decoder states with all audio masked.
    """

    start: int
    length: int
    kept: int
    video: NDArray[np.float16]
    states: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Where a window is stored: segments, position of its bytes, and its shapes."""

    start: int
    length: int
    kept: int
    position: int
    frames: int
    width: int


class WindowSpool:
    """Analysed windows in the order of time."""

    def __init__(self) -> None:
        self._bytes = TemporaryBytes()
        self._entries: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, window: AnalysedWindow) -> None:
        """Add the next window."""
        frames, width = window.video.shape
        values = np.concatenate([window.video, window.states]).astype(np.float16)
        self._entries.append(
            _Entry(
                start=window.start,
                length=window.length,
                kept=window.kept,
                position=self._bytes.append(values),
                frames=frames,
                width=width,
            )
        )

    def __getitem__(self, index: int) -> AnalysedWindow:
        entry = self._entries[index]
        count = (entry.frames + entry.length) * entry.width
        values = self._bytes.read(entry.position, count, np.float16).astype(np.float16)
        rows = values.reshape(-1, entry.width)
        return AnalysedWindow(
            start=entry.start,
            length=entry.length,
            kept=entry.kept,
            video=rows[: entry.frames],
            states=rows[entry.frames :],
        )

    def __iter__(self) -> Iterator[AnalysedWindow]:
        return (self[index] for index in range(len(self)))

    def covering(self, first: int, last: int) -> Iterator[tuple[int, AnalysedWindow]]:
        """Number and content of the windows that keep segments from `first` to before `last`."""
        for number, entry in enumerate(self._entries):
            if entry.start < last and entry.start + entry.kept > first:
                yield number, self[number]
