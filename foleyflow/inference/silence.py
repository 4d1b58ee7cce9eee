"""Silences a generated sound where no cue of its sheet sounds.

A flow that is conditioned on cues still generates quiet noise, and sometimes a hit, where the sheet
has none. Exactly the cues of a sheet sound, so that without any enabled cue there is silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.stretches import (
    BEFORE_S,
    LONGEST_RING_S,
    Stretch,
    cues_between,
    end_of_ring_s,
)

FADE_IN_S = 0.01  # from the start of the stretch of a cue on
TAIL_S = 0.3  # after the ring of a cue, in which its room falls silent


def sounding_stretches(cues: CueSheet) -> list[Stretch]:
    """The stretches of the enabled cues, joined where they overlap, in order of time.

    Each lasts from 50 ms before a cue, which may be before the clip, to `TAIL_S` after its ring.
    """
    found: list[Stretch] = []
    for cue in cues.enabled:  # in order of time
        start_s, end_s = cue.time_s - BEFORE_S, end_of_ring_s(cue) + TAIL_S
        if found and start_s <= found[-1].end_s:
            last = found.pop()
            start_s, end_s = last.start_s, max(last.end_s, end_s)
        found.append(Stretch(start_s=start_s, end_s=end_s))
    return found


def sounding_between(cues: CueSheet, start_s: float, end_s: float) -> CueSheet:
    """The cues of which something sounds between two times; there, no others break the silence."""
    near = cues_between(cues, start_s - LONGEST_RING_S - TAIL_S, end_s + BEFORE_S)
    return near.filter(lambda cue: end_of_ring_s(cue) + TAIL_S > start_s)


def silence_between(
    blocks: Iterable[NDArray[np.float32]], cues: CueSheet, *, rate_hz: int, first_sample: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Yield samples (n,) that are zero outside the stretches of the enabled cues.

    Args:
        blocks: (n,) float32 samples, in blocks of any sizes.
        cues: of the clip.
        rate_hz: samples per second.
        first_sample: position of the first sample in the clip.
    """
    stretches, done = sounding_stretches(cues), first_sample
    for block in blocks:
        times_s = (done + np.arange(len(block))) / rate_hz
        gain = np.zeros(len(block), np.float32)
        done += len(block)
        while stretches and stretches[0].end_s * rate_hz <= done - len(block):
            stretches.pop(0)
        for stretch in stretches:
            if stretch.start_s * rate_hz >= done:
                break
            first, last = np.searchsorted(times_s, (stretch.start_s, stretch.end_s))
            inside_s = times_s[first:last]
            rise = (inside_s - stretch.start_s) / FADE_IN_S
            fall = (stretch.end_s - inside_s) / TAIL_S
            gain[first:last] = np.minimum(np.minimum(rise, fall), 1.0)
        yield block * gain
