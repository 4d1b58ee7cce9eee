"""What a library has to know about a sound file: its onset, its peak level and how long it rings.

The onset is the first sample that leaves the noise floor; silence, noise and clicks well before the
attack do not count. It is exact to the sample in files of lossless formats. Lossy coding spreads an
attack to earlier samples, so the onset of a lossy file is where the power changes most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.cue import NOMINAL_PEAK
from foleyflow.errors import DataError
from foleyflow.media import read_sound_blocks
from foleyflow.signals import Waveform

LONGEST_S = 120.0  # the rest of a longer file is not used
LOSSY_SUFFIXES = (".mp3", ".ogg", ".oga", ".opus", ".m4a")
SOUND_SUFFIXES = (".wav", ".wave", ".flac", ".aif", ".aiff", ".aifc", *LOSSY_SUFFIXES)
FAINTEST_PEAK = 10 ** (-70 / 20)  # of full scale; a file that stays below counts as silent

_DRIFT_S = 0.010  # a mean over this time removes a constant offset and its drift
_BLOCK_S = 0.001
_GAP_S = 0.003  # silence that separates the attack from sounds before it
_ATTACK = 0.1  # of the peak: not the noise floor
_LOWEST = 1e-4  # of the peak: lower samples are not the attack
_ABOVE_FLOOR = 2.5  # times the highest samples of the noise floor
# Of lossy files
_LOSSY_ATTACK = 0.3  # of the peak: not an echo before the attack
_LOSSY_FLOOR = 0.05  # of the peak: lower echoes count as silence
_BEFORE_S, _AFTER_S = 0.003, 0.0005  # around the attack
_RUNG_OUT = 1e-3  # of the peak: -60 dB


@dataclass(frozen=True, kw_only=True)
class SoundMeasures:
    """The measures of a sound, mixed down to one channel.

    Attributes:
        rate_hz: samples per second.
        channels: 1 or 2.
        sample_count: length, at most that of `LONGEST_S`.
        onset_sample: index of the first sample that leaves the noise floor.
        peak: highest absolute sample from the onset on, relative to full scale.
        ring_out_s: time from the onset to the last sample above -60 dB of the peak.
    """

    rate_hz: int
    channels: int
    sample_count: int
    onset_sample: int
    peak: float
    ring_out_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.sample_count / self.rate_hz

    @property
    def onset_s(self) -> float:
        """Time of the onset in seconds."""
        return self.onset_sample / self.rate_hz

    @property
    def level_db(self) -> float:
        """Peak level on the scale of cues."""
        return 20 * math.log10(self.peak / NOMINAL_PEAK)


def read_sound(path: Path) -> Waveform:
    """The first `LONGEST_S` of a sound file.

    Raises:
        MediaError: the file can't be read.
        DataError: some samples are not finite.
    """
    blocks, left_s = [], LONGEST_S
    for block in read_sound_blocks(path):
        rate_hz = block.rate_hz
        blocks.append(block.samples[:, : math.ceil(left_s * rate_hz)])
        left_s -= block.duration_s
        if left_s <= 0:
            break
    samples = np.concatenate(blocks, axis=1)
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: some samples are not finite", hint="export the sound again")
    return Waveform(samples=samples, rate_hz=rate_hz)


def measure_file(path: Path) -> SoundMeasures:
    """The measures of a sound file.

    Raises:
        MediaError: the file can't be read.
        DataError: it is silent, or some samples are not finite.
    """
    sound = read_sound(path)
    samples = sound.mono()
    onset = find_onset(samples, sound.rate_hz, is_lossy=path.suffix.lower() in LOSSY_SUFFIXES)
    rest = np.abs(samples if onset is None else samples[onset:])
    peak = float(rest.max(initial=0.0))
    if onset is None or peak < FAINTEST_PEAK:
        raise DataError(f"{path}: the file is silent", hint="remove it, or export it again")
    last = int(np.flatnonzero(rest >= _RUNG_OUT * peak)[-1])
    return SoundMeasures(
        rate_hz=sound.rate_hz,
        channels=sound.samples.shape[0],
        sample_count=len(samples),
        onset_sample=onset,
        peak=peak,
        ring_out_s=(last + 1) / sound.rate_hz,
    )


def find_onset(samples: NDArray[np.float32], rate_hz: int, *, is_lossy: bool) -> int | None:
    """Index of the first sample (N,) that leaves the noise floor; None in silence.

    The search begins at the attack, the first sample above a tenth of the peak, and goes back to
    the last gap of 3 ms in which no sample is above the noise floor.
    """
    levels = np.abs(_without_drift(samples, max(round(_DRIFT_S * rate_hz), 1)))
    peak = float(levels.max(initial=0.0))
    if peak == 0.0:
        return None
    if is_lossy:
        return _change_of_power(levels / peak, rate_hz)
    # Noise floor: the highest samples of most blocks before the attack
    attack = int(np.argmax(levels >= _ATTACK * peak))
    block = max(round(_BLOCK_S * rate_hz), 1)
    count = max(attack - block, 0) // block
    floor = 0.0
    if count:
        floor = float(np.quantile(levels[: count * block].reshape(count, block).max(1), 0.9))
    threshold = min(max(_ABOVE_FLOOR * floor, _LOWEST * peak), 0.5 * peak)
    # From the attack back to a gap
    attack = int(np.argmax(levels >= max(_ATTACK * peak, threshold)))
    above = np.flatnonzero(levels[: attack + 1] >= threshold)
    gaps = np.flatnonzero(np.diff(above, prepend=-math.inf) > max(round(_GAP_S * rate_hz), 1))
    onset = int(above[gaps[-1]])
    # Back over samples that already rise
    while onset and max(floor, 0.5 * _LOWEST * peak) < levels[onset - 1] < levels[onset]:
        onset -= 1
    return onset


def _change_of_power(levels: NDArray[np.float64], rate_hz: int) -> int:
    """Index of the most likely change of the power near the attack; the highest level (N,) is 1.

    Reference: Maeda 1985, the AIC picker of seismology.
    """
    attack = int(np.argmax(levels >= _LOSSY_ATTACK))
    first = max(attack - round(_BEFORE_S * rate_hz), 0)
    power = np.square(levels[first : attack + max(round(_AFTER_S * rate_hz), 2)])
    if attack == first or len(power) < 2:
        return attack
    # -2 log likelihood of two Gaussians, with the change before sample 1, 2, ...
    sums, before = np.cumsum(power), np.arange(1, len(power))
    after = len(power) - before
    cost = before * np.log(sums[:-1] / before + _LOSSY_FLOOR**2)
    cost += after * np.log((sums[-1] - sums[:-1]) / after + _LOSSY_FLOOR**2)
    return first + 1 + int(np.argmin(cost))


def _without_drift(samples: NDArray[np.float32], window: int) -> NDArray[np.float64]:
    """Each sample (N,) minus the mean of those before it; no sample depends on later ones."""
    if not len(samples):
        return np.zeros(0)
    values = samples.astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values))
    starts = np.maximum(ends - window, 0)
    means = (sums[ends] - sums[starts]) / (ends - starts)
    # The first sample belongs to an onset unless it is silent or a constant offset
    offset = np.median(values)
    first = min(abs(values[0]), abs(values[0] - offset))
    return np.concatenate([[first], values[1:] - means])
