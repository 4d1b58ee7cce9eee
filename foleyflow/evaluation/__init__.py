"""Evaluation of generated sound: scores of folders, and the metrics on arrays.

Nothing here imports code that generates sound, and no judge is trained with what it evaluates.
`evaluate` scores folders of any system; `METRICS` and `PROTOCOLS` list what can be computed. Needs
the extra `eval` (librosa, mir_eval) when used.
"""

from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.envelope import envelope_correlation
from foleyflow.evaluation.metrics.spectral import log_spectral_distance
from foleyflow.evaluation.metrics.synchrony import (
    ClipOnsets,
    compare,
    detect_onsets,
    onset_f1,
    onset_score,
)
from foleyflow.evaluation.protocols import PROTOCOLS
from foleyflow.evaluation.report import Report, systems_text
from foleyflow.evaluation.run import evaluate

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "ClipOnsets",
    "Report",
    "compare",
    "detect_onsets",
    "envelope_correlation",
    "evaluate",
    "evaluate_folder",
    "evaluate_systems",
    "log_spectral_distance",
    "onset_f1",
    "onset_score",
    "systems_text",
]
