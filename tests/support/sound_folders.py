"""Folders of recorded sounds with known onsets."""

from __future__ import annotations

import numpy as np
from support.click_sounds import write_sound


def ring(t, seed=0):
    """Three decaying modes from time 0 on, at their highest there; 0 before."""
    rng = np.random.default_rng(seed)
    modes_hz = rng.uniform((200, 1000, 3000), (400, 2000, 5000))
    sound = sum(np.exp(-t / 0.02) * np.cos(2 * np.pi * mode_hz * t) for mode_hz in modes_hz)
    return np.where(t >= 0, sound / 3, 0.0)


def strike(*, rate_hz=48_000, onset_sample=1000, level=0.5, seed=0, ring_s=0.3):
    """Silence, then `ring` from the onset on, (N,) with the peak `level`."""
    t = np.arange(round(ring_s * rate_hz)) / rate_hz
    return np.concatenate([np.zeros(onset_sample), level * ring(t, seed)])


def lag_samples(sound, time_s, rate_hz, *, rate_factor=1.0, longest=100):
    """By how many samples `ring` is later in a sound (N,) than at a time, by correlation."""
    start = round(time_s * rate_hz)
    t = (np.arange(start, start + round(0.02 * rate_hz))) / rate_hz - time_s
    padded = np.concatenate([np.zeros(longest), sound, np.zeros(longest)])
    window = padded[start : start + len(t) + 2 * longest]
    return int(np.correlate(window, ring(rate_factor * t), "valid").argmax()) - longest


def steady(*, rate_hz=48_000, duration_s=0.5, level=0.1, onset_sample=0, seed=0):
    """Silence, then noise of a constant RMS `level`, (N,)."""
    rng = np.random.default_rng(seed)
    noise = level * rng.standard_normal(round(duration_s * rate_hz))
    return np.concatenate([np.zeros(onset_sample), noise])


def write_strikes(folder, levels, *, material="wood", rate_hz=48_000, **options):
    """Files of one material, named by their number, with different sounds and peak levels."""
    for number, level in enumerate(levels):
        sound = strike(level=level, seed=number, rate_hz=rate_hz, **options)
        write_sound(folder / material / f"{number}.wav", sound, rate_hz, subtype="FLOAT")
    return folder
