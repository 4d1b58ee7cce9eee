"""The metrics that need no judge, as what happens to a sound once and to each pair of sounds.

A family shares one analysis of a sound among its metrics, so that a true sound is analysed once
although it is reference, control and another clip's control. Which sounds are compared with which
is `scoring.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metrics import envelope, script_onsets, spectral, synchrony, window_onsets
from foleyflow.evaluation.metrics.script_onsets import DetectedOnsets, WindowedScore
from foleyflow.evaluation.metrics.synchrony import ClipOnsets
from foleyflow.signals import Waveform


@dataclass(frozen=True, kw_only=True)
class PairwiseMetricGroup:
    """Metrics that are computed together.

    Attributes:
        metrics: their names.
        modules: the code that decides the figures.
        analyse: a sound -> what is compared; of what `basis` gives, where there is one.
        of_events: known events -> the same, as a reference; None if it must be a sound.
        compare: (reference, sound) -> one value per metric; ValueError if there is none.
        basis: a sound -> what several families analyse further; computed once for all of them.
    """

    metrics: tuple[str, ...]
    modules: tuple[ModuleType, ...]
    analyse: Callable[[Any], Any]
    of_events: Callable[[ClipOnsets], Any] | None
    compare: Callable[[Any, Any], tuple[float, ...]]
    basis: Callable[[Waveform], Any] | None = None


def clip_onsets(waveform: Waveform) -> ClipOnsets:
    """The onsets of a sound by our detector, and how long it is.

    Args:
        waveform: any sound.

    Source: ours.
    """
    onsets = synchrony.detect_onsets(waveform.mono(), waveform.rate_hz)
    return ClipOnsets(times_s=onsets.times_s, duration_s=waveform.duration_s)


def script_detector(waveform: Waveform) -> DetectedOnsets:
    """The onsets of a sound by the published script's detector.

    Args:
        waveform: any sound.

    Source: ours.
    """
    return script_onsets.detected_onsets(waveform.mono(), waveform.rate_hz)


def _strict_f1(reference: ClipOnsets, sound: ClipOnsets) -> tuple[float, ...]:
    pair = synchrony.common_onsets(reference, sound)
    return (synchrony.onset_f1(*pair, synchrony.WINDOWS_S[0]),)


def _three(score: WindowedScore) -> tuple[float, ...]:
    return score.accuracy, score.average_precision, score.f1


def at_16_khz(waveform: Waveform) -> NDArray[np.float32]:
    """The mean of a sound's channels at 16 kHz, on which levels and spectra are compared.

    Args:
        waveform: any sound.

    Source: ours; soxr VHQ.
    """
    import soxr

    samples: NDArray[np.float32] = soxr.resample(
        waveform.mono(), waveform.rate_hz, spectral.JUDGED_RATE_HZ, quality="VHQ"
    )
    return samples


FAMILIES: dict[str, PairwiseMetricGroup] = {
    "strict_onsets": PairwiseMetricGroup(
        metrics=("onset_f1",),
        modules=(synchrony,),
        analyse=clip_onsets,
        of_events=lambda events: events,
        compare=_strict_f1,
    ),
    "window_onsets": PairwiseMetricGroup(
        metrics=("onset_accuracy", "onset_ap", "onset_f1_300ms"),
        modules=(window_onsets, script_onsets),
        analyse=window_onsets.strongest_onsets,
        of_events=lambda events: window_onsets.certain_onsets(events.times_s),
        compare=lambda true, made: _three(window_onsets.window_score(true, made)),
        basis=script_detector,
    ),
    "script_onsets": PairwiseMetricGroup(
        metrics=(
            "onset_accuracy_mmaudio_script",
            "onset_ap_mmaudio_script",
            "onset_f1_mmaudio_script",
        ),
        modules=(script_onsets,),
        analyse=lambda heard: heard,
        of_events=lambda events: script_onsets.known_onsets(events.times_s),
        compare=lambda true, made: _three(script_onsets.script_score(true, made)),
        basis=script_detector,
    ),
    "envelope": PairwiseMetricGroup(
        metrics=("envelope_correlation",),
        modules=(envelope,),
        analyse=lambda samples: envelope.level_envelope(samples, envelope.RATE_HZ),
        of_events=None,
        compare=lambda true, made: (envelope.correlate(true, made),),
        basis=at_16_khz,
    ),
    "spectral": PairwiseMetricGroup(
        metrics=("log_spectral_distance",),
        modules=(spectral,),
        analyse=spectral.SpectralLevels,
        of_events=None,
        compare=lambda true, made: (spectral.distance_db(true, made),),
        basis=at_16_khz,
    ),
}
