"""Cuts the first hit out of a sound file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foleyflow.errors import DataError
from foleyflow.library.measuring import FAINTEST_PEAK, LOSSY_SUFFIXES, find_onset, read_sound
from foleyflow.media import write_sound

KEPT_S = 1.0  # of the hit; `inference.reference_sound` uses less
SILENCE_S = 0.1  # before the hit
PEAK = 0.9


def write_first_hit(file: Path, path: Path, *, suffix: str) -> None:
    """Writes the first hit of a sound file after silence, with 24 bits and one channel.

    Args:
        file: any sound.
        path: the wave file.
        suffix: of the name of the sound; those of lossy formats have their own search.

    Raises:
        MediaError: the file can't be read or written.
        DataError: it is silent, or some samples are not finite.
    """
    sound = read_sound(file)
    samples, rate_hz = sound.mono(), sound.rate_hz
    onset = find_onset(samples, rate_hz, is_lossy=suffix in LOSSY_SUFFIXES)
    hit = samples[:0] if onset is None else samples[onset : onset + round(KEPT_S * rate_hz)]
    peak = float(np.abs(hit).max(initial=0.0))
    if peak < FAINTEST_PEAK:
        raise DataError(
            f"{file}: is silent, expected a recorded hit", hint="choose another recording"
        )
    silence = np.zeros(round(SILENCE_S * rate_hz), np.float32)
    kept = np.concatenate([silence, hit * np.float32(PEAK / peak)])
    write_sound(path, [kept[None]], rate_hz, format="wav24")
