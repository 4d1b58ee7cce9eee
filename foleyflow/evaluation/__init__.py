"""Arrays in, numbers out: how well a generated sound fits, and how sure we are of it.

The judges never see the judged: nothing here imports what generates. Reading folders of results, of
any system, is `folder.py`; what networks hear in a sound comes in by `judges.py`, from published
weights or from those of two small judges of ours by `listening.py`; published ways to score, by
name, are `protocols.py`. Needs the extra `eval` (librosa, mir_eval) when used.
"""

from foleyflow.evaluation.metric import Interval, Metric, bootstrap_mean
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.distribution import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    frechet_remark,
)
from foleyflow.evaluation.metrics.envelope import envelope_correlation
from foleyflow.evaluation.metrics.semantics import InceptionScore, inception_score, kl_divergence
from foleyflow.evaluation.metrics.spectral import log_spectral_distance
from foleyflow.evaluation.metrics.synchrony import (
    ClipOnsets,
    Onsets,
    OnsetScore,
    Synchrony,
    compare,
    detect_onsets,
    lag_free_score,
    lag_histogram,
    matched_lags_s,
    median_lag,
    onset_f1,
    onset_score,
    shuffled_f1,
)
from foleyflow.evaluation.protocols import PROTOCOLS, Protocol
from foleyflow.judges.interface import ClipRule, Judge, PairJudge
from foleyflow.judges.preprocessing import AudioPreprocessing

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "AudioPreprocessing",
    "ClipOnsets",
    "ClipRule",
    "Gaussian",
    "InceptionScore",
    "Interval",
    "Judge",
    "Metric",
    "OnsetScore",
    "Onsets",
    "PairJudge",
    "Protocol",
    "Synchrony",
    "bootstrap_mean",
    "compare",
    "detect_onsets",
    "envelope_correlation",
    "fit_gaussian",
    "frechet_distance",
    "frechet_remark",
    "inception_score",
    "kl_divergence",
    "lag_free_score",
    "lag_histogram",
    "log_spectral_distance",
    "matched_lags_s",
    "median_lag",
    "onset_f1",
    "onset_score",
    "shuffled_f1",
]
