"""Place the sounds of a library on cues: one mono sound of the length of the clip.

The onset of a file is on the sample of its cue's time, and its gain gives the level of the cue: the
peak level of a hit, the RMS level of a roll or scrape, as in the training of the model.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.cues.cue import KINDS, NOMINAL_PEAK, Cue
from foleyflow.cues.tracks import levels_or_assumed_db
from foleyflow.errors import DataError
from foleyflow.library.layers import Layers
from foleyflow.library.looping import amplitudes, looped
from foleyflow.library.measuring import read_sound
from foleyflow.library.sound_library import SoundFile, SoundLibrary
from foleyflow.media.waveform import resample_blocks

PITCH_SEMITONES = 0.5  # largest variation, upwards and downwards
GAIN_DB = 1.0  # largest variation, upwards and downwards
CUT_FADE_S = 0.01  # at the end of a sound that is cut

_KEPT_FILES = 32  # decoded files in memory


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a sound of a library was placed.

    Attributes:
        cue_index: index of the cue among those that were given.
        file: path below the library's folder.
        gain_db: of the samples of the file; of a roll or scrape, the highest one.
        rate_factor: speed of the file; above 1 it is shorter and higher.
        start_sample: of the file's onset in the result.
    """

    cue_index: int
    file: str
    gain_db: float
    rate_factor: float
    start_sample: int


@dataclass(frozen=True, kw_only=True)
class _Variation:
    """Random variation of one cue: the choice within a layer in [0, 1), pitch and gain."""

    choice: float | None = None
    semitones: float = 0.0
    gain_db: float = 0.0


def place(
    cues: Sequence[Cue],
    library: SoundLibrary,
    *,
    duration_s: float,
    rate_hz: int,
    seed: int,
    vary: bool = True,
) -> tuple[NDArray[np.float32], list[Placement]]:
    """The sounds of a library for the cues that it covers; other cues make no sound.

    Louder cues take louder recordings. Two cues of a material and kind in a row take different
    files if there are two. A cue without a level has that of `levels_or_assumed_db`.

    Args:
        cues: in any order, for instance a `CueSheet`.
        library: of the sounds.
        duration_s, rate_hz: of the result.
        seed: of the variation of cues without a seed of their own.
        vary: choose among similar recordings, and vary pitch and gain by at most `PITCH_SEMITONES`
            and `GAIN_DB`. Without variation, a hit has the samples of its file times the gain.

    Returns:
        (N,) float32 sound, and the placements in order of time.

    Raises:
        MediaError: a file can't be read any more.
        DataError: a file changed since the library was opened.
    """
    stem = np.zeros(count_at(duration_s, rate_hz), np.float32)
    placements = []
    read = functools.lru_cache(_KEPT_FILES)(functools.partial(_from_onset, library))
    layers_of = functools.cache(lambda material, kind: Layers(library.sounds(material, kind)))
    for index in sorted(range(len(cues)), key=lambda index: cues[index].time_s):
        cue = cues[index]
        start = count_at(cue.time_s, rate_hz)
        if not library.covers(cue) or start >= len(stem):
            continue
        # Choose a file
        variation = _variation(cue, seed) if vary else _Variation()
        level_db = max(levels_or_assumed_db(cue))
        sound = layers_of(cue.material, cue.kind).choose(level_db, variation.choice)
        # Convert it to the rate of the result
        file_rate_hz = sound.measures.rate_hz
        played_rate_hz = round(file_rate_hz * 2 ** (variation.semitones / 12))
        samples = _resampled(read(sound), played_rate_hz, rate_hz)
        rate_factor = played_rate_hz / file_rate_hz
        # Give it the level and length of the cue
        if cue.kind == "hit":
            reference = float(np.abs(samples).max())
        else:
            end = min(count_at(cue.end_s or 0.0, rate_hz), len(stem))
            rung = count_at(sound.measures.ring_out_s / rate_factor, rate_hz)
            body = samples[: max(rung, 1)]
            reference = float(np.sqrt(np.mean(np.square(body, dtype=np.float64))))
            samples = looped(body, end - start, rate_hz=rate_hz)
        gain = NOMINAL_PEAK / reference * 10 ** (variation.gain_db / 20)
        samples = samples * amplitudes(levels_or_assumed_db(cue), len(samples), reference=gain)
        samples = _cut(samples, len(stem) - start, rate_hz=rate_hz, is_cut=cue.kind != "hit")
        stem[start : start + len(samples)] += samples
        placements.append(
            Placement(
                cue_index=index,
                file=sound.file,
                gain_db=20 * math.log10(gain) + level_db,
                rate_factor=rate_factor,
                start_sample=start,
            )
        )
    return stem, placements


def _variation(cue: Cue, seed: int) -> _Variation:
    """The variation by the cue's own seed, else by `seed` and the cue's time and kind.

    It does not depend on other cues, so an edit of one keeps the sounds of the others.
    """
    own = (seed, round(abs(cue.time_s) * 1e6), KINDS.index(cue.kind))
    rng = np.random.default_rng(own if cue.seed is None else cue.seed)
    return _Variation(
        choice=float(rng.random()),
        semitones=float(rng.uniform(-PITCH_SEMITONES, PITCH_SEMITONES)),
        gain_db=float(rng.uniform(-GAIN_DB, GAIN_DB)),
    )


def _from_onset(library: SoundLibrary, sound: SoundFile) -> NDArray[np.float32]:
    """The samples of a file from its onset on, (N,), at its own rate."""
    path = library.folder / sound.file
    waveform = read_sound(path)
    measures = sound.measures
    shape = (waveform.rate_hz, waveform.samples.shape[1])
    samples = waveform.mono()[measures.onset_sample :]
    if shape != (measures.rate_hz, measures.sample_count) or not samples.any():
        raise DataError(
            f"{path}: the file changed since the library was opened", hint="open it again"
        )
    return samples


def _resampled(
    samples: NDArray[np.float32], source_rate_hz: int, rate_hz: int
) -> NDArray[np.float32]:
    """Samples (N,) at another rate; the first one stays at its time."""
    if source_rate_hz == rate_hz:
        return samples
    blocks = resample_blocks([samples[None]], source_rate_hz, rate_hz)
    return np.concatenate(list(blocks), axis=1)[0]


def _cut(
    samples: NDArray[np.float32], longest: int, *, rate_hz: int, is_cut: bool
) -> NDArray[np.float32]:
    """At most `longest` samples; the end fades out if more were cut off, here or before."""
    if len(samples) <= longest and not is_cut:
        return samples
    samples = samples[:longest].copy()
    length = min(round(CUT_FADE_S * rate_hz), len(samples) // 2)
    if length:
        samples[-length:] *= np.linspace(1.0, 0.0, length, dtype=np.float32)
    return samples
