"""One sound of a library at its place in a clip, of which any stretch can be computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.cues.cue import NOMINAL_PEAK
from foleyflow.library.looping import amplitudes, looped
from foleyflow.library.sound_library import SoundFile
from foleyflow.media.waveform import resample_blocks

CUT_FADE_S = 0.01  # at the end of a sound that is cut

_ROUNDING_SAMPLES = 64  # by which resampling may lengthen a sound


@dataclass(frozen=True, kw_only=True)
class PlannedSound:
    """Which file sounds for a cue, from where and how. Equal plans have equal samples.

    Attributes:
        cue_index: index of the cue among those that were given.
        sound: the file.
        levels_db: level of the cue, or its level curve.
        played_rate_hz: rate at which the file is played.
        variation_db: random variation of the gain.
        start_sample: of the file's onset in the clip.
        end_sample: no sample from there on differs from zero; at most the length of the clip.
    """

    cue_index: int = field(compare=False)
    sound: SoundFile
    levels_db: tuple[float, ...]
    played_rate_hz: int
    variation_db: float
    start_sample: int
    end_sample: int

    @property
    def rate_factor(self) -> float:
        """Speed of the file; above 1 it is shorter and higher."""
        return self.played_rate_hz / self.sound.measures.rate_hz


def latest_end(sound: SoundFile, start_sample: int, *, played_rate_hz: int, rate_hz: int) -> int:
    """A sample of the clip at which a file that is played to its end is over."""
    count = sound.measures.sample_count - sound.measures.onset_sample
    return start_sample + math.ceil(count * rate_hz / played_rate_hz) + _ROUNDING_SAMPLES


class PlacedSound:
    """The samples of a planned sound.

    Args:
        planned: the plan.
        from_onset: (N,) samples of its file from the onset on, at the file's own rate.
        rate_hz: of the clip.
    """

    def __init__(
        self, planned: PlannedSound, from_onset: NDArray[np.float32], *, rate_hz: int
    ) -> None:
        self.planned, self._rate_hz = planned, rate_hz
        samples = _resampled(from_onset, planned.played_rate_hz, rate_hz)
        room = planned.end_sample - planned.start_sample
        self._is_hit = planned.sound.kind == "hit"
        if self._is_hit:
            reference = float(np.abs(samples).max())
            self._length, is_cut = len(samples), len(samples) > room
        else:
            rung = count_at(planned.sound.measures.ring_out_s / planned.rate_factor, rate_hz)
            samples = samples[: max(rung, 1)]
            reference = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
            self._length, is_cut = room, True
        self._body = samples
        self._gain = NOMINAL_PEAK / reference * 10 ** (planned.variation_db / 20)
        # A sound that is cut fades out
        self._end = planned.start_sample + min(self._length, room)
        fade = min(round(CUT_FADE_S * rate_hz), min(self._length, room) // 2) if is_cut else 0
        self._fade = np.linspace(1.0, 0.0, fade, dtype=np.float32)

    @property
    def gain_db(self) -> float:
        """Gain of the samples of the file; of a roll or scrape, the highest one."""
        return 20 * math.log10(self._gain) + max(self.planned.levels_db)

    def add_to(self, block: NDArray[np.float32], position: int) -> None:
        """Add the sound to a block (n,) that begins with a sample of the clip."""
        start = self.planned.start_sample
        begin, end = max(start, position), min(self._end, position + len(block))
        if begin >= end:
            return
        first, last = begin - start, end - start
        if self._is_hit:
            samples = self._body[first:last]
        else:
            samples = looped(
                self._body, self._length, rate_hz=self._rate_hz, first=first, last=last
            )
        samples = samples * amplitudes(
            self.planned.levels_db, self._length, reference=self._gain, first=first, last=last
        )
        fade_start = self._end - len(self._fade)
        if end > fade_start:
            faded = max(begin, fade_start)
            samples[faded - begin :] *= self._fade[faded - fade_start : end - fade_start]
        block[begin - position : end - position] += samples


def _resampled(
    samples: NDArray[np.float32], source_rate_hz: int, rate_hz: int
) -> NDArray[np.float32]:
    """Samples (N,) at another rate; the first one stays at its time."""
    if source_rate_hz == rate_hz:
        return samples
    blocks = resample_blocks([samples[None]], source_rate_hz, rate_hz)
    return np.concatenate(list(blocks), axis=1)[0]
