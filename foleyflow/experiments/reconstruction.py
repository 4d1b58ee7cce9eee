"""How far decoded sounds are from the true ones: spectra at several resolutions, and pre-echo."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metrics import levels
from foleyflow.evaluation.metrics.spectral import EPSILON

WINDOWS_SAMPLES = (2048, 1024, 512, 256, 128)  # the hop is a quarter
PRE_ECHO_BEGIN_S, PRE_ECHO_END_S = 0.020, 0.005  # before an onset
ATTACK_S = 0.020  # after an onset
ATTACK_FLOOR = 1e-6  # of the power of the attack: -60 dB
QUIET = 1e-4  # of the power of the attack: -40 dB

Samples = NDArray[np.float32]


def log_spectral_distances_db(true: Samples, decoded: Samples) -> dict[str, float]:
    """The log-spectral distance of two (N,) sounds under each window: window in samples -> dB.

    The root mean square over bins of the difference in dB, averaged over frames. Long windows show
    errors of tones, short ones errors of attacks. That of 2048 samples is the metric of
    `foleyflow evaluate` at the sounds' own rate.
    """
    return {str(window): _distance_db(true, decoded, window) for window in WINDOWS_SAMPLES}


def pre_echo_db(true: Samples, decoded: Samples, onset_s: float, rate_hz: int) -> float | None:
    """Power that decoding puts before an onset, in dB relative to the true sound; 0 is no change.

    With P the mean power from 20 to 5 ms before the onset, and A that of the 20 ms of true sound
    after it: 10 lg((P(decoded) + 1e-6 A) / (P(true) + 1e-6 A)). What is 60 dB below the attack
    counts as silence. None if the onset is too close to the start, or its attack is silent.
    """
    before, after = _around(onset_s, rate_hz)
    attack = _power(true[after])
    if before.start < 0 or not attack > 0:
        return None
    floor = ATTACK_FLOOR * attack
    return 10 * math.log10((_power(decoded[before]) + floor) / (_power(true[before]) + floor))


def is_quiet_before(true: Samples, onset_s: float, rate_hz: int) -> bool:
    """Whether a sound is at least 40 dB below its attack from 20 to 5 ms before an onset."""
    before, after = _around(onset_s, rate_hz)
    return _power(true[max(before.start, 0) : before.stop]) <= QUIET * _power(true[after])


def pre_echoes_db(
    true: Samples, decoded: Samples, onsets_s: Iterable[float], rate_hz: int
) -> tuple[list[float], list[float]]:
    """`pre_echo_db` of all onsets that have one, and of those after quiet."""
    every, after_quiet = [], []
    for onset_s in onsets_s:
        value = pre_echo_db(true, decoded, onset_s, rate_hz)
        if value is None:
            continue
        every.append(value)
        if is_quiet_before(true, onset_s, rate_hz):
            after_quiet.append(value)
    return every, after_quiet


def _around(onset_s: float, rate_hz: int) -> tuple[slice, slice]:
    """The samples before an onset whose power is compared, and those of its attack."""
    begin, end = (round((onset_s - each) * rate_hz) for each in (PRE_ECHO_BEGIN_S, PRE_ECHO_END_S))
    onset = round(onset_s * rate_hz)
    return slice(begin, end), slice(onset, onset + round(ATTACK_S * rate_hz))


def _power(samples: Samples) -> float:
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0


def _distance_db(true: Samples, decoded: Samples, window: int) -> float:
    """The log-spectral distance under one Hann window that sums to one."""
    count = max(1, -(-len(true) // (window // 4)))
    shape = levels.hann_window(window)
    one, other = (
        20 * np.log10(np.abs(np.fft.rfft(frames * shape, axis=1)) + EPSILON)
        for frames in (
            levels.frame(sound, window=window, hop=window // 4, count=count)
            for sound in (true, decoded)
        )
    )
    return float(np.sqrt(np.square(one - other).mean(axis=1)).mean())
