"""All metrics by name.

A metric is one record in the `METRICS` of a module here; a new module is added to the list below.
"""

from __future__ import annotations

from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import (
    audiovisual,
    distribution,
    envelope,
    inception,
    script_onsets,
    semantics,
    simulation_judges,
    spectral,
    speed,
    synchrony,
    window_onsets,
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for module in (
        synchrony,
        window_onsets,
        script_onsets,
        envelope,
        spectral,
        semantics,
        distribution,
        inception,
        simulation_judges,
        audiovisual,
        speed,
    )
    for metric in module.METRICS
}
