"""Scores of an aligner on held-out recordings, before and after an adaptation.

Each recording is compared at its own best lag within 120 ms, and cut into pieces of about ten
seconds, so that shuffled pairs exist for a single recording too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metrics.synchrony import WINDOWS_S, ClipOnsets, compare
from foleyflow.evaluation.metrics.synchrony.comparison import lag_free_score
from foleyflow.evaluation.metrics.synchrony.matching import matched_references
from foleyflow.event_peaks import find_event_peaks

PIECE_S = 10.0
SCORED_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 19))


@dataclass(frozen=True, kw_only=True, eq=False)
class ObservedRecording:
    """A recording as an aligner sees it.

    Attributes:
        onsets_s: (K,) of its sound.
        probability: (L,) of an onset, from its picture.
        rate_hz: of the probability.
    """

    duration_s: float
    onsets_s: NDArray[np.float64]
    probability: NDArray[np.float32]
    rate_hz: float

    def events_s(self, threshold: float) -> NDArray[np.float64]:
        """The times of the probability's peaks."""
        return find_event_peaks(self.probability, rate_hz=self.rate_hz, threshold=threshold)


@dataclass(frozen=True, kw_only=True)
class HeldOutScore:
    """Agreement of events and onsets at 50 ms, each recording at its own lag.

    Attributes:
        threshold: of the onset probability.
        gain: F1 minus that of shuffled pieces, mean over pieces; the F1 of a single piece.
        f1: mean over pieces.
        precision, recall: over all events and onsets.
    """

    threshold: float
    gain: float
    f1: float
    precision: float
    recall: float


def best_score(recordings: Sequence[ObservedRecording]) -> HeldOutScore:
    """The score at the threshold with the highest gain, which is the same for all recordings."""
    scores = [score_at(recordings, threshold) for threshold in SCORED_THRESHOLDS]
    return max(scores, key=lambda score: score.gain)


def score_at(recordings: Sequence[ObservedRecording], threshold: float) -> HeldOutScore:
    """The score of the events above a threshold."""
    references: list[ClipOnsets] = []
    found: list[ClipOnsets] = []
    matched = onsets = events = 0
    for recording in recordings:
        # At the recording's own lag
        duration_s = recording.duration_s
        reference = ClipOnsets(times_s=recording.onsets_s, duration_s=duration_s)
        events_s = recording.events_s(threshold)
        observed = ClipOnsets(times_s=events_s, duration_s=duration_s)
        lag_s = float(lag_free_score([reference], [observed], WINDOWS_S[0]).lags_s[0])
        events_s = events_s - lag_s
        events_s = events_s[(events_s >= 0) & (events_s < duration_s)]
        matched += int(matched_references(reference.times_s, events_s, WINDOWS_S[0]).sum())
        onsets, events = onsets + len(reference.times_s), events + len(events_s)
        # In pieces
        references += _pieces(reference.times_s, duration_s)
        found += _pieces(events_s, duration_s)
    score = compare(references, found, windows_s=WINDOWS_S[:1]).windows[0]
    return HeldOutScore(
        threshold=threshold,
        gain=round((score.gain or score.f1).mean, 4),
        f1=round(score.f1.mean, 4),
        precision=round(matched / max(1, events), 4),
        recall=round(matched / max(1, onsets), 4),
    )


def _pieces(times_s: NDArray[np.float64], duration_s: float) -> list[ClipOnsets]:
    """The parts of a recording of about ten seconds, with times from the start of each."""
    edges_s = np.linspace(0.0, duration_s, max(1, round(duration_s / PIECE_S)) + 1)
    return [
        ClipOnsets(
            times_s=times_s[(times_s >= begin) & (times_s < end)] - begin,
            duration_s=end - begin,
        )
        for begin, end in pairwise(edges_s.tolist())
    ]
