"""Join the arrays of several data sets, which stay memory maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from foleyflow.data.windows import ClipArrays, WindowSource
from foleyflow.errors import DataError

Number = TypeVar("Number", bound=np.generic)


class JoinedRows:
    """Arrays that are read as if they were concatenated along the first axis, without a copy.

    Supported are `len`, `shape`, `dtype`, `ndim`, conversion to an array, and these indices of the
    first axis: an integer, a slice, an array of integers, and a tuple that begins with an integer.
    A slice within one array is a view of it.
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self._parts = tuple(parts)
        counts = [len(part) for part in self._parts]
        self._offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.dtype = self._parts[0].dtype
        self.shape = (int(self._offsets[-1]), *self._parts[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.concatenate(self._parts).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            return self[int(index[0])][index[1:]]
        if isinstance(index, slice):
            return self._slice(index)
        if np.ndim(index) == 0:
            row = range(len(self))[int(index)]
            part = self._part_of(row)
            return self._parts[part][row - self._offsets[part]]
        return self._gather(np.asarray(index, np.int64))

    def _slice(self, index: slice) -> NDArray[Any]:
        start, stop, step = index.indices(len(self))
        if step != 1:
            return self._gather(np.arange(start, stop, step))
        stop = max(start, stop)
        pieces = [
            part[max(start - begin, 0) : max(stop - begin, 0)]
            for part, begin in zip(self._parts, self._offsets, strict=False)
        ]
        filled = [piece for piece in pieces if len(piece)] or pieces[:1]
        return filled[0] if len(filled) == 1 else np.concatenate(filled)

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for number, (begin, end) in enumerate(itertools.pairwise(self._offsets)):
            inside = (rows >= begin) & (rows < end)
            if inside.any():
                result[inside] = self._parts[number][rows[inside] - begin]
        return result

    def _part_of(self, row: int) -> int:
        return int(np.searchsorted(self._offsets, row, side="right")) - 1


def join_rows(parts: Sequence[NDArray[Number]], *, what: str) -> NDArray[Number]:
    """Arrays as one, see `JoinedRows`; a single one is returned as it was given.

    Args:
        parts: arrays whose rows have the same type and shape.
        what: they contain, for the message of an error.

    Raises:
        DataError: the rows have different types or shapes.
    """
    if len(parts) == 1:
        return parts[0]
    forms = {(str(part.dtype), part.shape[1:]) for part in parts}
    if len(forms) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in sorted(forms))
        raise DataError(
            f"the data sets have different {what}: {listed}",
            hint="build them with the same settings, or train with one of them",
        )
    return cast("NDArray[Number]", JoinedRows(parts))


def join_shortened(parts: Sequence[NDArray[Number]], *, what: str) -> NDArray[Number]:
    """`join_rows` of arrays (N, L, ...), cut to the shortest L."""
    shortest = min(part.shape[1] for part in parts)
    return join_rows([part[:, :shortest] for part in parts], what=what)


def join_windows(
    sources: Sequence[WindowSource], probabilities: NDArray[np.float64] | None
) -> WindowSource:
    """Windows of several data sets, whose clips are sampled with given probabilities.

    Clips are cut to the length of the shortest ones. Cues are kept if all data sets have them. One
    source without probabilities is returned as it was given.

    Raises:
        DataError: the clips of the data sets have different sample rates, frames or latents.
    """
    first = sources[0]
    if len(sources) == 1 and probabilities is None:
        return first
    clips = [source.clips for source in sources]
    rates_hz = sorted({each.rate_hz for each in clips})
    if len(rates_hz) > 1:
        raise DataError(
            f"the data sets have sounds at {', '.join(map(str, rates_hz))} Hz, expected one rate",
            hint="train with one of them",
        )
    begins = np.cumsum([0, *(each.offsets[-1] for each in clips)])
    ends = [each.offsets[1:] + begin for each, begin in zip(clips, begins, strict=False)]
    joined = ClipArrays(
        frames=join_rows([cast("NDArray[np.uint8]", each.frames) for each in clips], what="frames"),
        times_s=np.concatenate([each.times_s for each in clips]),
        offsets=np.concatenate([[0], *ends]).astype(np.int64),
        sounds=join_shortened([each.sounds for each in clips], what="sounds"),
        rate_hz=first.rate_hz,
        event_times_s=[times_s for each in clips for times_s in each.event_times_s],
        materials=np.concatenate([each.materials for each in clips]),
        cues=[cues for each in clips for cues in each.cues] if all(x.cues for x in clips) else (),
    )
    latents = join_shortened([source.latents for source in sources], what="latents")
    return WindowSource(joined, latents, first.config, probabilities=probabilities)
