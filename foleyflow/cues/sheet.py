"""Cue sheets: the cues of a clip in the order of their times, and edits that return new sheets.

No edit drops a cue: what would leave the clip or coincide with another hit is an error.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.cues.cue import KINDS, Cue
from foleyflow.errors import ConfigError

CLOSEST_HITS_S = 0.001  # closer hits count as one moment
_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}  # of kinds that start at the same time
_ROUNDING_S = 1e-9  # more than the rounding error of sums and differences of times


@dataclass(frozen=True, kw_only=True, repr=False)
class CueSheet(Sequence[Cue]):
    """The cues of a clip, ordered by time. All edits return a new sheet.

    Attributes:
        cues: in any order; the sheet orders them by time, hits before frictions of the same time.
        duration_s: length of the clip; None if it is not known.

    Raises:
        ConfigError: two hits, enabled or not, are closer than 1 ms, or a cue is not within
            0..duration_s.
    """

    cues: tuple[Cue, ...] = ()
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if self.duration_s is not None:
            object.__setattr__(self, "duration_s", checked_duration_s(self.duration_s))
        cues = sorted(self.cues, key=_order)
        highest_s = math.inf if self.duration_s is None else self.duration_s
        if cues and (cues[0].time_s < 0 or max(map(_last_s, cues)) > highest_s):
            for cue in cues:
                check_within(cue, self.duration_s)
        if pair := coinciding_hits(cues):
            first, second = (cues[index].time_s for index in pair)
            raise ConfigError(
                f"hits at {first} s and {second} s: expected at least 1 ms between two hits",
                hint="remove or move one of them",
            )
        object.__setattr__(self, "cues", tuple(cues))

    def __repr__(self) -> str:
        counts = Counter(cue.kind for cue in self.cues)
        parts = [
            f"{counts[kind]} {kind}" + ("s" if counts[kind] > 1 else "")
            for kind in KINDS
            if counts[kind]
        ]
        disabled = sum(not cue.enabled for cue in self.cues)
        parts += [f"{disabled} disabled"] if disabled else []
        length = "" if self.duration_s is None else f" in {self.duration_s} s"
        return f"<CueSheet: {', '.join(parts) or 'no cues'}{length}>"

    def __len__(self) -> int:
        return len(self.cues)

    def __iter__(self) -> Iterator[Cue]:
        return iter(self.cues)

    @overload
    def __getitem__(self, index: int) -> Cue: ...
    @overload
    def __getitem__(self, index: slice) -> CueSheet: ...
    def __getitem__(self, index: int | slice) -> Cue | CueSheet:
        """A cue, or a sheet of the same duration with the cues of a slice."""
        if isinstance(index, slice):
            return self._with(self.cues[index])
        return self.cues[index]

    @property
    def enabled(self) -> CueSheet:
        """A sheet of the enabled cues."""
        return self.filter(lambda cue: cue.enabled)

    @property
    def hits(self) -> CueSheet:
        """A sheet of the hits."""
        return self.filter(lambda cue: cue.kind == "hit")

    @property
    def frictions(self) -> CueSheet:
        """A sheet of the rolls and scrapes."""
        return self.filter(lambda cue: cue.kind != "hit")

    def filter(self, predicate: Callable[[Cue], bool]) -> CueSheet:
        """A sheet of the cues for which the predicate is true."""
        # Some cues of a sheet are in order, and need no checks
        part = object.__new__(CueSheet)
        object.__setattr__(part, "cues", tuple(cue for cue in self.cues if predicate(cue)))
        object.__setattr__(part, "duration_s", self.duration_s)
        return part

    def replace(self, index: int, **changes: Any) -> CueSheet:
        """A sheet in which fields of one cue are changed; a new time may change its index.

        Raises:
            ConfigError: there is no such field, or the changed cue is not valid in this sheet.
            IndexError: there is no such cue.
        """
        known = {field.name for field in dataclasses.fields(Cue)}
        if unknown := [name for name in changes if name not in known]:
            raise ConfigError(
                f"{unknown[0]}: a cue has no such field",
                hint=f"the fields are {', '.join(sorted(known))}",
            )
        cues = list(self.cues)
        cues[index] = dataclasses.replace(cues[index], **changes)
        return self._with(cues)

    def add(self, cue: Cue) -> CueSheet:
        """A sheet with one more cue.

        Raises:
            ConfigError: the cue is outside the clip, or a hit closer than 1 ms to another one.
        """
        return self._with((*self.cues, cue))

    def remove(self, index: int) -> CueSheet:
        """A sheet without the cue at an index.

        Raises:
            IndexError: there is no such cue.
        """
        cues = list(self.cues)
        del cues[index]
        return self._with(cues)

    def shift(self, by_s: float) -> CueSheet:
        """A sheet whose cues are all later by `by_s` seconds, or earlier if it is negative.

        Raises:
            ConfigError: a cue would leave 0..duration_s. Remove it first by `filter`.
        """
        if not math.isfinite(by_s):
            raise ConfigError(f"shift by {by_s} s: expected a finite time", hint="give seconds")
        cues = []
        for cue in self.cues:
            moved = dataclasses.replace(
                cue,
                time_s=self._without_rounding_error(cue.time_s + by_s),
                end_s=None if cue.end_s is None else self._without_rounding_error(cue.end_s + by_s),
            )
            try:
                check_within(moved, self.duration_s)
            except ConfigError as error:
                raise ConfigError(
                    f"shift by {by_s} s: the {cue.kind} at {cue.time_s} s would leave the clip "
                    f"({error})",
                    hint="remove such cues first, for instance by filter()",
                ) from error
            cues.append(moved)
        return self._with(cues)

    def quantise(self, frame_times_s: ArrayLike) -> CueSheet:
        """A sheet in which each start and end is at the nearest frame, the earlier of two equal.

        Args:
            frame_times_s: (T,) strictly increasing seconds.

        Raises:
            ConfigError: two hits, or the start and end of a friction, would coincide; or the times
                are not as expected.
        """
        frames_s = _checked_frames_s(frame_times_s)
        starts_s = _nearest_s(frames_s, [cue.time_s for cue in self.cues])
        ends_s = _nearest_s(frames_s, [cue.end_s or 0.0 for cue in self.cues])  # hits: not used
        cues = []
        for cue, start_s, end_s in zip(self.cues, starts_s, ends_s, strict=True):
            if cue.end_s is not None and end_s <= start_s:
                raise ConfigError(
                    f"{cue.kind} from {cue.time_s} s to {cue.end_s} s: its start and end would "
                    f"both be at {start_s} s",
                    hint="lengthen or remove it first",
                )
            end = None if cue.end_s is None else end_s
            cues.append(dataclasses.replace(cue, time_s=start_s, end_s=end))
        if pair := coinciding_hits(cues):
            first, second = (self.cues[index].time_s for index in pair)
            raise ConfigError(
                f"hits at {first} s and {second} s: both would be at {cues[pair[0]].time_s} s",
                hint="remove one of them first, or give the times of more frames",
            )
        return self._with(cues)

    def _with(self, cues: Any) -> CueSheet:
        return CueSheet(cues=tuple(cues), duration_s=self.duration_s)

    def _without_rounding_error(self, time_s: float) -> float:
        """The start or end of the clip if the time is outside by a rounding error only."""
        if -_ROUNDING_S < time_s < 0:
            return 0.0
        if self.duration_s is not None and 0 < time_s - self.duration_s < _ROUNDING_S:
            return self.duration_s
        return time_s


def checked_duration_s(duration_s: Any) -> float:
    """The duration as a float.

    Raises:
        ConfigError: it is not a finite number above zero.
    """
    is_number = isinstance(duration_s, Real) and not isinstance(duration_s, bool)
    if not is_number or not 0 < duration_s < math.inf:
        raise ConfigError(
            f"duration_s={duration_s if is_number else reprlib.repr(duration_s)}: expected a "
            "finite number above 0",
            hint="the length of the clip in seconds",
        )
    return float(duration_s)


def check_within(cue: Cue, duration_s: float | None) -> None:
    """Raises a ConfigError for a cue that is not within 0..duration_s."""
    highest_s = math.inf if duration_s is None else duration_s
    for name, time_s in (("time_s", cue.time_s), ("end_s", cue.end_s)):
        if time_s is not None and not 0 <= time_s <= highest_s:
            limits = "at least 0 s" if duration_s is None else f"0..{duration_s} s"
            raise ConfigError(
                f"{name}={time_s}: expected a time within the clip, {limits}",
                hint="times are seconds from the start of the clip",
            )


def coinciding_hits(cues: Sequence[Cue]) -> tuple[int, int] | None:
    """Indices of the earliest two hits that are closer than `CLOSEST_HITS_S`, by time; or None."""
    hits = [index for index, cue in enumerate(cues) if cue.kind == "hit"]
    times_s = np.array([cues[index].time_s for index in hits])
    order = np.argsort(times_s, kind="stable")
    hits, times_s = [hits[index] for index in order], times_s[order]
    close = np.flatnonzero(np.diff(times_s) < CLOSEST_HITS_S - _ROUNDING_S)
    return (hits[close[0]], hits[close[0] + 1]) if len(close) else None


def without_coinciding_hits(cues: Sequence[Cue]) -> list[Cue]:
    """The cues by time, without hits closer than `CLOSEST_HITS_S` to another one.

    Of these, an enabled hit is kept rather than a disabled one, then the louder one.
    """

    def weight(cue: Cue) -> tuple[bool, float]:
        return cue.enabled, -math.inf if cue.level_db is None else cue.level_db

    kept: list[Cue] = []
    last_hit: int | None = None
    for cue in sorted(cues, key=_order):
        if cue.kind == "hit" and last_hit is not None:
            if cue.time_s - kept[last_hit].time_s < CLOSEST_HITS_S - _ROUNDING_S:
                if weight(cue) > weight(kept[last_hit]):
                    kept[last_hit] = dataclasses.replace(cue, time_s=kept[last_hit].time_s)
                continue
        if cue.kind == "hit":
            last_hit = len(kept)
        kept.append(cue)
    return kept


def _order(cue: Cue) -> tuple[float, int, float]:
    return cue.time_s, _RANKS[cue.kind], cue.end_s or 0.0


def _last_s(cue: Cue) -> float:
    return cue.time_s if cue.end_s is None else cue.end_s


def _checked_frames_s(frame_times_s: ArrayLike) -> NDArray[np.float64]:
    frames_s = np.asarray(frame_times_s, np.float64)
    valid = frames_s.ndim == 1 and len(frames_s) > 0 and np.isfinite(frames_s).all()
    if not valid or not (np.diff(frames_s) > 0).all():
        raise ConfigError(
            f"frame_times_s: got {frames_s.size} values of shape {frames_s.shape}, expected at "
            "least one, all finite and strictly increasing",
            hint="give the presentation times of the frames of the clip",
        )
    return frames_s


def _nearest_s(frames_s: NDArray[np.float64], times_s: Sequence[float]) -> list[float]:
    """The frame time nearest to each time; a time at the middle of two goes to the earlier one."""
    middles_s = (frames_s[1:] + frames_s[:-1]) / 2
    nearest: list[float] = frames_s[np.searchsorted(middles_s, times_s, side="left")].tolist()
    return nearest
