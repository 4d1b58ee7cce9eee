"""Onset detection by spectral flux.

The flux is taken on a mel spectrogram in dB whose floor is 60 dB below the clip's maximum, so that
the residue of a lossy codec in pauses gives no onsets. An onset is a maximum that exceeds its
surroundings by a tenth of the clip's largest flux and by at least 0.6 dB, more than the fluctuation
of steady noise. An onset less than 30 ms after the previous one is dropped. Both ends are mirrored
before the analysis and the outermost 15 ms are left out: a recording that is cut in the middle of a
sound has no onset there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metric import extra_package
from foleyflow.evaluation.metrics.levels import DYNAMIC_RANGE_DB, mel_power, resample
from foleyflow.event_peaks import SHORTEST_GAP_S
from foleyflow.signals import Waveform

DETECTION_RATE_HZ = 22050
HOP_SAMPLES = 128  # 5.8 ms
WINDOW_SAMPLES = 1024
BAND_COUNT = 64
RELATIVE_THRESHOLD = 0.10  # of the clip's largest flux
THRESHOLD_DB = 0.6  # at least, mean over bands, per hop
EDGE_HOPS = 16  # mirrored at either end
EDGE_S = 0.015  # closer to an end, an onset cannot be distinguished from the cut
# The detector is late by 4 to 8 ms on clicks, rings and thuds at known times; this is subtracted
DETECTOR_LAG_S = 0.006
SILENT_PEAK_DBFS = -70.0  # a clip with a lower peak has no onsets


@dataclass(frozen=True, kw_only=True)
class Onsets:
    """Times, (K,) ascending seconds, and strengths, (K,) relative to the clip's largest flux."""

    times_s: NDArray[np.float64]
    strengths: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClipOnsets:
    """The onset times of a clip, (K,) float64 ascending seconds, and its length."""

    times_s: NDArray[np.float64]
    duration_s: float


def clip_onsets(waveform: Waveform) -> ClipOnsets:
    """The detected onsets and the length of a sound."""
    onsets = detect_onsets(waveform.mono(), waveform.rate_hz)
    return ClipOnsets(times_s=onsets.times_s, duration_s=waveform.duration_s)


def is_silent(samples: NDArray[np.float32]) -> bool:
    """Whether no sample of a mono sound, (N,) with full scale at -1..1, reaches -70 dBFS."""
    return not len(samples) or float(np.abs(samples).max()) < 10 ** (SILENT_PEAK_DBFS / 20)


def detect_onsets(samples: NDArray[np.float32], rate_hz: int) -> Onsets:
    """Detect the onsets of a (N,) finite sound, full scale at -1..1.

    A sound whose peak is below -70 dBFS or that is shorter than 30 ms has none.

    Raises:
        ValueError: the sound is not mono or not finite, or the rate is not positive.
        MissingExtra: librosa is not installed.

    Reference: librosa.onset.onset_strength / onset_detect (Böck and Widmer, DAFx 2013), with the
    parameters at the top of this file; the thresholds in dB and the lag are ours.
    """
    if samples.ndim != 1 or rate_hz <= 0 or not np.isfinite(samples).all():
        raise ValueError(
            f"samples {samples.shape} at {rate_hz} Hz: expected (N,) finite mono sound, rate > 0"
        )
    none = Onsets(times_s=np.zeros(0), strengths=np.zeros(0))
    if is_silent(samples) or len(samples) < rate_hz * SHORTEST_GAP_S:
        return none
    librosa = extra_package("librosa")
    flux_db = _flux_db(samples, rate_hz)
    rise_db = float(flux_db.max() - flux_db.min())
    if rise_db < THRESHOLD_DB:
        return none
    # Peaks of the flux
    frames_per_s = DETECTION_RATE_HZ / HOP_SAMPLES
    frames = librosa.onset.onset_detect(
        onset_envelope=flux_db,
        sr=DETECTION_RATE_HZ,
        hop_length=HOP_SAMPLES,
        backtrack=False,
        normalize=False,
        delta=max(THRESHOLD_DB, RELATIVE_THRESHOLD * rise_db),
        wait=int(SHORTEST_GAP_S * frames_per_s),
        pre_max=int(0.03 * frames_per_s),
        post_max=1,
        pre_avg=int(0.10 * frames_per_s),
        post_avg=int(0.10 * frames_per_s) + 1,
    )
    # Times without the mirrored ends and the detector's lag
    times_s = (np.asarray(frames) - EDGE_HOPS) / frames_per_s - DETECTOR_LAG_S
    inside = (times_s >= EDGE_S) & (times_s < len(samples) / rate_hz - EDGE_S)
    strengths = (flux_db[frames] / flux_db.max()).astype(np.float64)
    return Onsets(times_s=times_s[inside], strengths=strengths[inside])


def merge_near_onsets(times_s: Sequence[float]) -> NDArray[np.float64]:
    """Ascending times without those less than 30 ms after the last kept one, as in detection."""
    kept: list[float] = []
    for time_s in times_s:
        if not kept or time_s - kept[-1] >= SHORTEST_GAP_S:
            kept.append(time_s)
    return np.array(kept, dtype=np.float64)


def _flux_db(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Spectral flux, (frames,), mean rise over mel bands in dB per hop."""
    librosa = extra_package("librosa")
    sound = resample(samples, rate_hz, DETECTION_RATE_HZ)
    # Mirrored ends, so that a cut is no onset
    sound = np.pad(sound, EDGE_HOPS * HOP_SAMPLES, mode="reflect")
    mel = mel_power(
        sound, DETECTION_RATE_HZ, window=WINDOW_SAMPLES, hop=HOP_SAMPLES, bands=BAND_COUNT
    )
    stft = {"sr": DETECTION_RATE_HZ, "n_fft": WINDOW_SAMPLES, "hop_length": HOP_SAMPLES}
    level_db = librosa.power_to_db(mel, ref=np.max, top_db=DYNAMIC_RANGE_DB)
    flux: NDArray[np.float32] = librosa.onset.onset_strength(S=level_db, **stft)
    return flux
