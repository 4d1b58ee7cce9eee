"""Every metric there is, by name. To add one: its function and record in a family, one line here.

Which of them score whole folders, and with which controls, is `scores.py`'s matter; those with a
judge need a network that is not part of foleyflow (`judges.py`).
"""

from __future__ import annotations

from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import (
    audiovisual,
    distribution,
    envelope,
    script_onsets,
    semantics,
    spectral,
    speed,
    synchrony,
    window_onsets,
)

METRICS: dict[str, Metric] = {
    "onset_f1": synchrony.ONSET_F1,
    "shuffled_f1": synchrony.SHUFFLED_F1,
    "gain": synchrony.GAIN,
    "lag_free_f1": synchrony.LAG_FREE_F1,
    "lag_free_gain": synchrony.LAG_FREE_GAIN,
    "median_lag": synchrony.MEDIAN_LAG,
    "onset_accuracy": window_onsets.ACCURACY,
    "onset_ap": window_onsets.AVERAGE_PRECISION,
    "onset_f1_300ms": window_onsets.F1,
    "onset_accuracy_mmaudio_script": script_onsets.ACCURACY,
    "onset_ap_mmaudio_script": script_onsets.AVERAGE_PRECISION,
    "onset_f1_mmaudio_script": script_onsets.F1,
    "envelope_correlation": envelope.ENVELOPE_CORRELATION,
    "log_spectral_distance": spectral.LOG_SPECTRAL_DISTANCE,
    "kl_passt": semantics.kl_record("passt"),
    "kl_panns": semantics.kl_record("panns"),
    "frechet_vggish": distribution.frechet_record("vggish"),
    "frechet_passt": distribution.frechet_record("passt"),
    "frechet_panns": distribution.frechet_record("panns"),
    "frechet_clap": distribution.frechet_record("clap"),
    "inception_panns": semantics.inception_record("panns"),
    "inception_passt": semantics.inception_record("passt"),
    "KLD-sim": semantics.KLD_SIM,
    "FAD-sim": distribution.FAD_SIM,
    "AlignAcc-sim": audiovisual.ALIGN_ACC_SIM,
    "align_acc": audiovisual.ALIGN_ACC,
    "ib_score": audiovisual.IB_SCORE,
    "desync": audiovisual.DESYNC,
    "generation_time": speed.GENERATION_TIME,
}
