"""Gives hits and frictions in a decoded sound the levels that their cues state.

The flow follows levels approximately: hits of equal level differ by several dB. Each hit and each
step of friction is therefore measured in the decoded sound, and its gain is corrected. Sounds whose
level is left to the model stay as they are.

All functions work on streams, so that memory does not grow with the length of a clip.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.arrays import CueArrays
from foleyflow.cues.cue import NOMINAL_PEAK, Cue
from foleyflow.inference.stretches import end_of_ring_s

# Corrections. A higher gain would raise what is not the hit; a sound can be lowered further.
LARGEST_GAIN_DB, LARGEST_CUT_DB = 12.0, 24.0
# A generated attack may begin a little before the time of its cue. The peak of a hit is that from
# there to `PEAK_S` after the cue, or to the attack of the next hit.
EARLY_S = 0.012
PEAK_S = 0.06
RAMP_S = 0.005  # before an attack, from the gain of the previous hit to its own
BEFORE_S = 0.04  # before a hit, from where on the level of what still rings is measured
STANDS_OUT = 1.5  # ratio of a peak to what still rings; other hits keep the gain of the last one
AFFECTED_S = 0.2  # a hit has no effect on the gains of those that are earlier by more
CLOSEST_S = 0.03  # closer hits have the same gain
RELEASE_S = 0.2  # after the end of a ring, to a gain of 0 dB
# Friction
STEP_S = 0.02
RMS_S = 0.12  # of the levels of friction, as in the simulation
HIT_S = 0.15  # after a hit, in which friction keeps its last gain
FAINTEST = 1e-5  # of full scale


@dataclass(frozen=True, kw_only=True)
class HitGain:
    """The gain of a hit, from its attack to the end of its ring.

    Attributes:
        time_s, ring_end_s: in seconds from the start of the clip.
        gain_db: correction of its level.
    """

    time_s: float
    ring_end_s: float
    gain_db: float

    def at_db(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The gain at times (N,) from the hit on: constant, then a linear release to 0 dB."""
        release = (times_s - self.ring_end_s) / RELEASE_S
        return self.gain_db * (1 - np.clip(release, 0.0, 1.0))


def hit_curve_db(gains: Sequence[HitGain], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gain of a sound at times (N,), for gains of hits in order of time.

    Before each attack, the curve moves within `RAMP_S` from the gain of the previous hit to its
    own.
    """
    curve_db = np.zeros(len(times_s))
    for gain in gains:
        weight = np.clip((times_s - gain.time_s + EARLY_S) / RAMP_S + 1, 0.0, 1.0)
        curve_db = (1 - weight) * curve_db + weight * gain.at_db(times_s)
    return curve_db


@dataclass
class HitLevels:
    """Corrects the levels of the hits of a sound that arrives in blocks.

    Attributes:
        hits: enabled hits in order of time.
        rate_hz: samples per second.
        first_sample: position of the first sample in the clip.
        gains: of the hits so far. One may be given for a hit before the first sample.
        frictions: enabled frictions of the clip, which may sound before a hit.
    """

    hits: Sequence[Cue]
    rate_hz: int
    first_sample: int = 0
    gains: list[HitGain] = field(default_factory=list)
    frictions: Sequence[Cue] = ()

    def correct(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the corrected samples (n,) of blocks (n,); their sizes may differ."""
        hits = [hit for hit in self.hits if self._sample(hit.time_s) >= self.first_sample]
        pending = _groups(hits)
        held, base = np.zeros(0, np.float32), self.first_sample
        done = base
        for block in blocks:
            held = np.concatenate([held, block])
            end = base + len(held)
            while pending and self._measured_from(pending) <= end:
                self._measure(pending, held, base)
                pending.pop(0)
            ready = min(end, self._sample(_ramp_start_s(pending[0][0]))) if pending else end
            if ready > done:
                yield self._apply(held[done - base : ready - base], done)
                done = ready
            # What a later hit is compared with
            drop = max(done - round(BEFORE_S * self.rate_hz) - base, 0)
            held, base = held[drop:], base + drop
        while pending:
            self._measure(pending, held, base)
            pending.pop(0)
        if done < base + len(held):
            yield self._apply(held[done - base :], done)

    def _sample(self, time_s: float) -> int:
        return round(time_s * self.rate_hz)

    def _measured_from(self, pending: Sequence[Sequence[Cue]]) -> int:
        """The sample from which on the peak of the first pending group is known."""
        last_s = pending[0][-1].time_s
        end_s = last_s + PEAK_S
        if len(pending) > 1:
            end_s = min(end_s, max(_ramp_start_s(pending[1][0]), last_s + RAMP_S))
        return self._sample(end_s)

    def _measure(
        self, pending: Sequence[Sequence[Cue]], held: NDArray[np.float32], base: int
    ) -> None:
        """Add the gains of the first pending group; `held` begins with sample `base`."""
        group = pending[0]
        first_s = group[0].time_s
        last = self.gains[-1] if self.gains else None

        def peak(start_s: float, end: int) -> float:
            piece = held[max(self._sample(start_s) - base, 0) : max(end - base, 0)]
            return float(np.abs(piece).max(initial=0.0))

        highest = peak(first_s - EARLY_S, self._measured_from(pending))
        # What still rings, after the attack of the last hit. If nothing does, sound before the hit
        # is a part of its own attack.
        after_s = first_s - BEFORE_S if last is None else last.time_s + EARLY_S
        before_s = max(first_s - BEFORE_S, min(after_s, _ramp_start_s(group[0]) - RAMP_S))
        before = 0.0
        if self._rings_between(before_s, first_s):
            before = peak(before_s, self._sample(_ramp_start_s(group[0])))
        last_db = float(hit_curve_db(self.gains[-1:], np.array([first_s]))[0])
        levels_db = [hit.level_db for hit in group if hit.level_db is not None]
        gain_db = 0.0
        if len(levels_db) == len(group):
            target = NOMINAL_PEAK * 10 ** (max(levels_db) / 20)
            wanted_db = 20 * np.log10(target / max(highest, FAINTEST))
            if highest < FAINTEST or target < before * 10 ** (last_db / 20):
                gain_db = last_db
            elif highest < STANDS_OUT * before:
                # A higher gain would raise what still rings, but a cut of the last hit can end
                gain_db = min(max(wanted_db, last_db), max(last_db, 0.0))
            else:
                gain_db = wanted_db
        self.gains += [
            HitGain(
                time_s=hit.time_s,
                ring_end_s=end_of_ring_s(hit),
                gain_db=float(np.clip(gain_db, -LARGEST_CUT_DB, LARGEST_GAIN_DB)),
            )
            for hit in group
        ]

    def _rings_between(self, start_s: float, end_s: float) -> bool:
        """Whether the last hit, with the release of its gain, or a friction sounds in a stretch."""
        last_end_s = self.gains[-1].ring_end_s + RELEASE_S if self.gains else -np.inf
        return last_end_s > start_s or any(
            cue.end_s is not None and cue.time_s < end_s and cue.end_s > start_s
            for cue in self.frictions
        )

    def _apply(self, samples: NDArray[np.float32], start: int) -> NDArray[np.float32]:
        times_s = (start + np.arange(len(samples))) / self.rate_hz
        later = bisect.bisect_right(self.gains, times_s[0], key=lambda gain: gain.time_s)
        curve_db = hit_curve_db(self.gains[max(later - 1, 0) :], times_s)
        return samples * (10 ** (curve_db / 20)).astype(np.float32)


def _groups(hits: Sequence[Cue]) -> list[list[Cue]]:
    """Hits by time, those that are less than `CLOSEST_S` after the first of a group together.

    Their attacks are one in the sound: it has one gain, by which it gets the highest of the levels.
    """
    groups: list[list[Cue]] = []
    for hit in hits:
        if groups and hit.time_s - groups[-1][0].time_s < CLOSEST_S:
            groups[-1].append(hit)
        else:
            groups.append([hit])
    return groups


def _ramp_start_s(hit: Cue) -> float:
    return hit.time_s - EARLY_S - RAMP_S


def correct_friction(
    blocks: Iterable[NDArray[np.float32]], cues: CueArrays, *, rate_hz: int, first_sample: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Yield samples (n,) whose rolls and scrapes have the RMS levels of their cues.

    The gain is found in steps of `STEP_S` and interpolated between their centres. Near hits it
    stays that of the last step.

    Args:
        blocks: (n,) float32 samples, in blocks of any sizes.
        cues: of the clip.
        rate_hz: samples per second.
        first_sample: position of the first sample in the clip.
    """
    if not (~cues.is_hit).any():
        yield from blocks
        return
    step, half = round(STEP_S * rate_hz), round(RMS_S * rate_hz / 2)
    held, base, done = np.zeros(0, np.float32), first_sample, first_sample
    points, gain_db = [(float(first_sample), 0.0)], 0.0
    centre = first_sample + step // 2

    def corrected(until: int) -> NDArray[np.float32]:
        places, gains_db = zip(*points, strict=True)
        curve_db = np.interp(np.arange(done, until), places, gains_db)
        factor = (10 ** (curve_db / 20)).astype(np.float32)
        return held[done - base : until - base] * factor

    for block in blocks:
        held = np.concatenate([held, block])
        # Gains of the steps whose complete window has arrived
        while centre + half <= base + len(held):
            window = held[max(centre - half - base, 0) : centre + half - base]
            gain_db = _friction_gain_db(cues, centre / rate_hz, window, gain_db)
            points.append((float(centre), gain_db))
            centre += step
        until = int(points[-1][0])
        if until > done:
            yield corrected(until)
            done = until
            points = points[-1:]
            drop = max(done - half - step - base, 0)
            held, base = held[drop:], base + drop
    if done < base + len(held):
        yield corrected(base + len(held))


def _friction_gain_db(
    cues: CueArrays, time_s: float, window: NDArray[np.float32], last_db: float
) -> float:
    """The gain of a step of friction at a time; 0 without friction of a given level."""
    active = ~cues.is_hit & (cues.times_s <= time_s) & (cues.ends_s > time_s)
    levels_db = [
        float(cues.friction_levels_db(int(index), np.array([time_s]))[0])
        for index in np.flatnonzero(active)
    ]
    levels_db = [level_db for level_db in levels_db if not np.isnan(level_db)]
    if not levels_db:
        return 0.0
    hits_s = cues.times_s[cues.is_hit]
    if ((hits_s > time_s - HIT_S) & (hits_s < time_s + RMS_S / 2)).any():
        return last_db
    found = NOMINAL_PEAK * np.sqrt(np.sum(10 ** (np.array(levels_db) / 10)))
    rms = float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
    gain_db = 20 * np.log10(found / max(rms, FAINTEST))
    return float(np.clip(gain_db, -LARGEST_CUT_DB, LARGEST_GAIN_DB))
