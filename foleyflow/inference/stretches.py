"""The stretches of a clip that an edit of its cues changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet

BEFORE_S = 0.05  # before a changed cue: the codec spreads the sound of a frame so far
UNKNOWN_RING_S = 1.0  # of a cue without decay, and without material or of an unknown one
SHORTEST_RING_S = 0.1
RING_DB = 40.0  # a ring that has fallen so far is over
LONGEST_RING_S = 14.0  # of a cue with the longest decay
SHORTEST_GAP_S = 0.5  # stretches that are closer are one
# Material -> time in which the lowest mode of its least damped body falls by 60 dB; the ranges of
# `simulation.materials` end there.
LONGEST_DECAYS_S = {
    "wood": 0.14,
    "metal": 4.6,
    "glass": 0.86,
    "ceramic": 0.28,
    "plastic": 0.063,
    "rubber": 0.023,
    "membrane": 0.63,
    "stone": 0.053,
    "cardboard": 0.053,
}


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Seconds from the start of the clip."""

    start_s: float
    end_s: float


def changed_stretches(
    old: CueSheet, new: CueSheet, *, duration_s: float, with_pan: bool = False
) -> list[Stretch]:
    """From 50 ms before each changed cue to the end of its ring, in order of time.

    Args:
        old, new: cues before and after the edit. Disabled cues do not count.
        duration_s: length of the clip.
        with_pan: see `changed_cues`.
    """
    stretches: list[Stretch] = []
    for cue in changed_cues(old, new, with_pan=with_pan):
        start_s = max(0.0, cue.time_s - BEFORE_S)
        end_s = min(duration_s, end_of_ring_s(cue))
        if stretches and start_s < stretches[-1].end_s + SHORTEST_GAP_S:
            last = stretches.pop()
            start_s, end_s = last.start_s, max(last.end_s, end_s)
        stretches.append(Stretch(start_s=start_s, end_s=end_s))
    return stretches


def changed_cues(old: CueSheet, new: CueSheet, *, with_pan: bool = False) -> list[Cue]:
    """The enabled cues that only one of two sheets contains, in order of time.

    Without `with_pan`, as for a mono sound, cues that differ in their pan are equal.
    """
    # The same object is the same cue: most cues of a long clip need no comparison
    ours, theirs = ({id(cue) for cue in sheet} for sheet in (old, new))
    before, after = (
        {audible(cue, with_pan=with_pan) for cue in sheet if id(cue) not in other and cue.enabled}
        for sheet, other in ((old, theirs), (new, ours))
    )
    return sorted(before ^ after, key=lambda cue: cue.time_s)


def cues_between(cues: CueSheet, start_s: float, end_s: float) -> CueSheet:
    """The cues that start before `end_s` and do not end before `start_s`."""
    return cues.filter(
        lambda cue: (
            cue.time_s < end_s and (cue.time_s if cue.end_s is None else cue.end_s) >= start_s
        )
    )


def joined_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order of their starts, of which those that touch or overlap are one."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], stop)
        else:
            joined.append((start, stop))
    return joined


def end_of_ring_s(cue: Cue) -> float:
    """Time at which the sound of a cue has fallen by `RING_DB`."""
    last_s = cue.time_s if cue.end_s is None else cue.end_s
    decay_s = LONGEST_DECAYS_S.get(cue.material or "") if cue.decay_s is None else cue.decay_s
    if decay_s is None:
        return last_s + UNKNOWN_RING_S
    return last_s + max(SHORTEST_RING_S, decay_s * RING_DB / 60.0)


def audible(cue: Cue, *, with_pan: bool = False) -> Cue:
    """The cue without what does not change its sound."""
    return Cue(**{**vars(cue), "confidence": None, "pan": cue.pan if with_pan else None})
