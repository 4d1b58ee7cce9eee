"""Sounds without contacts: noises, bursts, clicks, sweeps, tones, voices, engines and rain.

They train the codec on sounds that the simulation does not produce; they model nothing exactly and
have no defined level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter


def sample_noise(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    """Return a sound of a random kind, (length,) float64 of any level."""
    return _KINDS[int(rng.integers(len(_KINDS)))](rng, length, rate_hz=rate_hz)


def coloured_noise(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    """Return noise whose power falls as 1/f^slope, often within a band: (length,) float64."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequencies = np.fft.rfftfreq(length, 1 / rate_hz)
    slope = rng.uniform(-0.5, 2.0)
    shape = np.maximum(frequencies, 20.0) ** (-slope / 2)
    if rng.random() < 0.5:
        low = 30.0 * 200.0 ** rng.random()
        high = min(low * 2.0 ** rng.uniform(0.3, 8.0), 0.49 * rate_hz)
        shape = shape / (1 + (low / np.maximum(frequencies, 1.0)) ** 4)
        shape = shape / (1 + (frequencies / high) ** 8)
    return np.fft.irfft(spectrum * shape, length)


def vary_microphone(
    sound: NDArray[np.float64], rng: np.random.Generator, *, rate_hz: int
) -> NDArray[np.float64]:
    """Filter a sound with a random spectral tilt and band limits, as another microphone would."""
    if not len(sound):
        return sound
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate_hz)
    shape = (np.maximum(frequencies, 20.0) / 1000.0) ** (rng.uniform(-6.0, 3.0) / 6.02)
    if rng.random() < 0.4:
        shape = shape / (1 + (frequencies / rng.uniform(3000.0, 20_000.0)) ** 16)
    if rng.random() < 0.4:
        low = rng.uniform(30.0, 400.0)
        shape = shape / (1 + (low / np.maximum(frequencies, 1.0)) ** 4)
    return np.fft.irfft(np.fft.rfft(sound) * shape, len(sound))


def scale_to_unit_peak(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale a sound to a peak of 1; silence stays silent."""
    peak = float(np.abs(sound).max(initial=0.0))
    return np.asarray(sound / peak if peak > 1e-9 else np.zeros_like(sound), dtype=np.float64)


def _bursts(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    out = np.zeros(length)
    for _ in range(int(rng.integers(1, 9))):
        start = int(rng.integers(0, max(1, length)))
        time_s = np.arange(length - start) / rate_hz
        attack_s, decay_s = 1e-4 * 300.0 ** rng.random(), 2e-3 * 200.0 ** rng.random()
        envelope = (1 - np.exp(-time_s / attack_s)) * np.exp(-time_s / decay_s)
        noise = coloured_noise(rng, length, rate_hz=rate_hz)[: length - start]
        out[start:] += rng.uniform(0.2, 1.0) * scale_to_unit_peak(noise) * envelope
    return out


def _clicks(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    out = np.zeros(length)
    count = int(max(1, rng.poisson(2.0 * 30.0 ** rng.random() * length / rate_hz)))
    samples = rng.integers(0, max(1, length), count)
    out[samples] = rng.standard_normal(count)
    if rng.random() < 0.7:
        keep = rng.uniform(0.2, 0.98)
        out = np.asarray(lfilter([1.0], [1.0, -keep], out))
    return out


def _sweep(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    ends = 40.0 * (0.45 * rate_hz / 40.0) ** rng.random(2)
    frequency = np.geomspace(ends[0], ends[1], max(length, 1))[:length]
    phase = 2 * np.pi * np.cumsum(frequency) / rate_hz
    return np.sin(phase) * _envelope(rng, length, rate_hz=rate_hz)


def _tones(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    """Harmonic notes with vibrato: plucked, bowed or blown."""
    out = np.zeros(length)
    time_s = np.arange(length) / rate_hz
    for _ in range(int(rng.integers(1, 4))):
        pitch_hz = 50.0 * 30.0 ** rng.random()
        vibrato = rng.uniform(0.0, 0.02) * np.sin(2 * np.pi * rng.uniform(3.0, 8.0) * time_s)
        cycles = np.cumsum(pitch_hz * (1 + vibrato)) / rate_hz
        tilt, odd = rng.uniform(0.3, 2.0), rng.random() < 0.25
        note = np.zeros(length)
        for harmonic in range(1, 25, 2 if odd else 1):
            if harmonic * pitch_hz * 1.03 > 0.48 * rate_hz:
                break
            phase = rng.uniform(0.0, 2 * np.pi)
            level = harmonic**-tilt * rng.uniform(0.4, 1.0)
            note += level * np.sin(2 * np.pi * harmonic * cycles + phase)
        start = int(rng.integers(0, max(1, length // 2)))
        envelope = np.zeros(length)
        envelope[start:] = _envelope(rng, length - start, rate_hz=rate_hz)
        out += note * envelope
    return out


def _voice(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    """Syllables: a buzz with a gliding pitch, or a hiss, through three formants."""
    out = np.zeros(length)
    start, pitch_hz = int(rng.integers(0, max(1, length // 3))), 80.0 * 4.0 ** rng.random()
    while start < length:
        count = min(length - start, int(rng.uniform(0.08, 0.35) * rate_hz))
        progress = np.arange(count) / max(count, 1)
        if rng.random() < 0.8:
            glide = pitch_hz * (1 + rng.uniform(-0.2, 0.2) * progress)
            cycles = np.cumsum(glide) / rate_hz
            source = np.diff(np.floor(cycles), prepend=0.0) + 0.01 * rng.standard_normal(count)
        else:
            source = 0.1 * rng.standard_normal(count)
        formants = rng.uniform((250.0, 800.0, 2200.0), (900.0, 2300.0, 3800.0))
        syllable = np.zeros(count)
        for formant_hz, width_hz in zip(formants, (80.0, 120.0, 250.0), strict=True):
            radius = np.exp(-np.pi * width_hz / rate_hz)
            angle = 2 * np.pi * min(formant_hz, 0.45 * rate_hz) / rate_hz
            poles = [1.0, -2 * radius * np.cos(angle), radius**2]
            syllable += lfilter([1 - radius], poles, source)
        out[start : start + count] += syllable * np.sin(np.pi * progress) ** 0.7
        start += count + int(rng.exponential(0.06) * rate_hz)
    return out


def _pulsing(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    """Noise with a periodic loudness: an engine, a saw, rain, wind, wheels."""
    time_s = np.arange(length) / rate_hz
    rate = 0.5 * 200.0 ** rng.random()
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * rate * time_s + rng.uniform(0.0, 2 * np.pi))
    sharpness = rng.uniform(0.5, 8.0)
    floor = rng.uniform(0.0, 0.5)
    noise = scale_to_unit_peak(coloured_noise(rng, length, rate_hz=rate_hz))
    sound = noise * (floor + (1 - floor) * beat**sharpness)
    if rng.random() < 0.4:
        drops = _clicks(rng, length, rate_hz=rate_hz)
        sound = sound + scale_to_unit_peak(drops) * rng.uniform(0.2, 1.0)
    return np.asarray(sound)


def _envelope(rng: np.random.Generator, length: int, *, rate_hz: int) -> NDArray[np.float64]:
    """An envelope that decays after an attack, or is held and then ends."""
    time_s = np.arange(length) / rate_hz
    attack_s = 5e-4 * 200.0 ** rng.random()
    envelope = 1 - np.exp(-time_s / attack_s)
    if rng.random() < 0.6:
        envelope *= np.exp(-time_s / (0.03 * 60.0 ** rng.random()))
        return np.asarray(envelope)
    held = int(length * rng.uniform(0.3, 1.2))
    if held < length:
        envelope[held:] *= np.exp(-(time_s[held:] - time_s[held]) / 0.02)
    return np.asarray(envelope)


_KINDS: tuple[Callable[..., NDArray[np.float64]], ...] = (
    coloured_noise,
    _bursts,
    _clicks,
    _sweep,
    _tones,
    _voice,
    _pulsing,
)
