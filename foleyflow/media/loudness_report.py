"""Report the loudness of a sound by EBU R128: loudness, range, largest values and true peak."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from foleyflow.media.loudness import LoudnessMeter
from foleyflow.media.true_peak import TruePeakMeter

_MOMENTARY_S = 0.4
_SHORT_TERM_S = 3.0
_RANGE_ABSOLUTE_GATE_LUFS = -70.0
_RANGE_RELATIVE_GATE_LU = -20.0
_RANGE_PERCENTILES = (10, 95)


@dataclass(frozen=True, kw_only=True)
class LoudnessReport:
    """Loudness of a sound; -inf for silence.

    Attributes:
        integrated_lufs: of the complete sound, with gates (ITU-R BS.1770-4).
        loudness_range_lu: between its quiet and loud parts (EBU Tech 3342).
        largest_momentary_lufs: of 0.4 s.
        largest_short_term_lufs: of 3 s.
        true_peak_dbtp: of the sound between its samples, in dB relative to full scale.
    """

    integrated_lufs: float
    loudness_range_lu: float
    largest_momentary_lufs: float
    largest_short_term_lufs: float
    true_peak_dbtp: float

    def to_json(self) -> dict[str, float | None]:
        """The values by name, with two decimals; None for -inf, which JSON can't hold."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: round(value, 2) if math.isfinite(value) else None
            for name, value in values.items()
        }

    def scaled(self, gain_db: float) -> LoudnessReport:
        """The report of the same sound with another gain, apart from the absolute gate."""
        return LoudnessReport(
            integrated_lufs=self.integrated_lufs + gain_db,
            loudness_range_lu=self.loudness_range_lu,
            largest_momentary_lufs=self.largest_momentary_lufs + gain_db,
            largest_short_term_lufs=self.largest_short_term_lufs + gain_db,
            true_peak_dbtp=self.true_peak_dbtp + gain_db,
        )


def measure_report(blocks: Iterable[NDArray[np.float32]], rate_hz: int) -> LoudnessReport:
    """Report the loudness of (channels, n) float32 blocks; no block at all is silence."""
    meters: tuple[LoudnessMeter, TruePeakMeter] | None = None
    for block in blocks:
        if meters is None:
            channels = block.shape[0]
            meters = LoudnessMeter(rate_hz, channels), TruePeakMeter(rate_hz, channels)
        for meter in meters:
            meter.add(block)
    loudness, true_peak = meters or (LoudnessMeter(rate_hz, 1), TruePeakMeter(rate_hz, 1))
    short_term = loudness.windows_lufs(_SHORT_TERM_S)
    peak = true_peak.peak()
    return LoudnessReport(
        integrated_lufs=loudness.integrated_lufs(),
        loudness_range_lu=_range_lu(short_term),
        largest_momentary_lufs=float(loudness.windows_lufs(_MOMENTARY_S).max()),
        largest_short_term_lufs=float(short_term.max()),
        true_peak_dbtp=20.0 * math.log10(peak) if peak > 0.0 else -math.inf,
    )


def _range_lu(short_term_lufs: NDArray[np.float64]) -> float:
    """The loudness range of short-term loudness; 0 for silence.

    Reference: EBU Tech 3342, section 3.
    """
    loud = short_term_lufs[short_term_lufs >= _RANGE_ABSOLUTE_GATE_LUFS]
    if not len(loud):
        return 0.0
    mean_lufs = 10.0 * math.log10(np.mean(10.0 ** (loud / 10.0)))
    loud = np.sort(loud[loud >= mean_lufs + _RANGE_RELATIVE_GATE_LU])
    low, high = (
        loud[math.floor((len(loud) - 1) * percent / 100 + 0.5)] for percent in _RANGE_PERCENTILES
    )
    return float(high - low)
