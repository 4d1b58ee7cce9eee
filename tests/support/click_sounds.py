"""Clicks at known times, as arrays and as files."""

from __future__ import annotations

import numpy as np
import soundfile

RATE_HZ = 22050


def clicks(times_s, *, duration_s=3.0, rate_hz=RATE_HZ, decay_s=0.004, level=0.5, seed=0):
    """Decaying noise at each of the times, (N,) float64."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(duration_s * rate_hz))
    for time_s in times_s:
        start = round(time_s * rate_hz)
        t = np.arange(len(sound) - start) / rate_hz
        sound[start:] += level * np.exp(-t / decay_s) * rng.uniform(-1, 1, len(t))
    return sound


def write_sound(path, sound, rate_hz=RATE_HZ, **options):
    """Write a sound with soundfile, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate_hz, **options)
