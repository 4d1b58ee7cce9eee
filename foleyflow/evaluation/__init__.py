"""Arrays in, numbers out: how well a generated sound fits, and how sure we are of it.

The judges never see the judged: nothing here imports a model of ours. Reading folders of
results, of any system, is `folder.py`. Needs the extra `eval` (librosa, mir_eval) when used.
"""

from foleyflow.evaluation.base import METRICS, Interval, Metric, bootstrap_mean
from foleyflow.evaluation.synchrony import (
    ClipOnsets,
    Onsets,
    OnsetScore,
    Synchrony,
    compare,
    detect_onsets,
    lag_histogram,
    matched_lags_s,
    median_lag,
    onset_f1,
    onset_score,
    shuffled_f1,
)

__all__ = [
    "METRICS",
    "ClipOnsets",
    "Interval",
    "Metric",
    "OnsetScore",
    "Onsets",
    "Synchrony",
    "bootstrap_mean",
    "compare",
    "detect_onsets",
    "lag_histogram",
    "matched_lags_s",
    "median_lag",
    "onset_f1",
    "onset_score",
    "shuffled_f1",
]
