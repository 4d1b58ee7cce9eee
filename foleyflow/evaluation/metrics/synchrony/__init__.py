"""Onset synchrony: whether sounds start when they should.

Onsets are detected in both sounds (`detection.py`), matched one to one (`matching.py`), and
scored over all clips with shuffled pairs as the chance level (`comparison.py`). Conventions:

- Times are seconds from the start of the clip, ascending, float64.
- A lag is generated minus reference: positive means that the generated sound is late.
- Two clips without any onset agree (F1 1.0); if only one of them has onsets, F1 is 0.0.
- Shuffled F1 compares each generated clip with the reference onsets of every *other* clip, both
  cut to the shorter of the two. A system that ignores the video reaches it; the gain is the
  difference.
- Lag-free scores are computed after removing one constant lag of up to 120 ms from each pair, the
  one with the highest F1; shuffled pairs have the same freedom. The sound of web recordings is up
  to that much early or late, which the video does not show.
"""

from __future__ import annotations

from foleyflow.evaluation.computations import Pairwise, PairwiseGroup
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import levels
from foleyflow.evaluation.metrics.synchrony import comparison, detection, matching
from foleyflow.evaluation.metrics.synchrony.comparison import WINDOWS_S, common_onsets, compare
from foleyflow.evaluation.metrics.synchrony.detection import ClipOnsets, clip_onsets, detect_onsets
from foleyflow.evaluation.metrics.synchrony.matching import onset_f1, onset_score

__all__ = [
    "METRICS",
    "STRICT_ONSETS",
    "WINDOWS_S",
    "ClipOnsets",
    "compare",
    "detect_onsets",
    "onset_f1",
    "onset_score",
]


def _strict_f1(reference: ClipOnsets, sound: ClipOnsets) -> float:
    return onset_f1(*common_onsets(reference, sound), WINDOWS_S[0])


STRICT_ONSETS = PairwiseGroup(
    name="strict_onsets",
    modules=(detection, matching, comparison, levels),
    analyse=clip_onsets,
    analyse_events=lambda events: events,
    compare=_strict_f1,
)
METRICS = (
    Metric(
        name="onset_f1",
        reference="mir_eval.onset.f_measure (Raffel et al., ISMIR 2014), matched one to one",
        computation=Pairwise(group=STRICT_ONSETS),
    ),
    Metric(
        name="shuffled_f1",
        direction="lower",
        reference="ours: onset_f1 of each clip against the true onsets of all other clips",
        computation=None,
    ),
    Metric(
        name="gain",
        range=(-1.0, 1.0),
        reference="ours: onset_f1 - shuffled_f1; 0 is the chance level",
        computation=None,
    ),
    Metric(
        name="lag_free_f1",
        reference="ours: onset_f1 of each pair at its best constant lag within 120 ms",
        computation=None,
    ),
    Metric(
        name="lag_free_gain",
        range=(-1.0, 1.0),
        reference="ours: lag_free_f1 - the same of shuffled pairs, each at its own best lag",
        computation=None,
    ),
    Metric(
        name="median_lag",
        unit="s",
        direction="zero",
        range=(-0.1, 0.1),
        reference="ours: median of (generated - true) over matched onsets; positive is late",
        computation=None,
    ),
)
