"""Waveform of a contact log: impacts, rolling and scraping by modal synthesis.

Every contact drives the modes of both bodies by a force over time (`modes.py`, `ringing.py`) and
adds a contact noise; a room may follow (`room.py`). Loudness follows the force: gains are constant,
and the recording level is one fixed, rising function of the peak.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from foleyflow.clock import count_at
from foleyflow.errors import DataError
from foleyflow.simulation.constants import AUDIO_RATE_HZ
from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.sound.friction import friction_sound, span_of
from foleyflow.simulation.sound.levels import (
    NOMINAL_KG,
    NOMINAL_MPS,
    NOMINAL_PEAK,
    level_db,
    rms_curve,
)
from foleyflow.simulation.sound.modes import (
    LowestMode,
    Modes,
    mass_kg,
    material_of,
    modes_of,
    reduced_mass_kg,
)
from foleyflow.simulation.sound.ringing import Strike, ring
from foleyflow.simulation.sound.room import RoomParameters, reverberate

_STRIKER_LEVEL = 0.12  # level of the striking body relative to the struck one
_SOFTEST_STRIKER = 0.005  # lowest contact modulus of a striker relative to that of the struck body
_PEAK_WITHIN_S = 0.1  # after the contact; 99 of 100 impacts have their peak within 45 ms


@dataclass(frozen=True, kw_only=True)
class SynthesisedSound:
    """The sound of a clip, and what each of its contacts contributes.

    Levels are those of the dry sound in the recording, before the limiter and without room and
    ambience, in dB relative to `levels.NOMINAL_PEAK`. They are at least `levels.FAINTEST_DB`.

    Attributes:
        waveform: (N,) float32, within -1..1.
        impact_levels_db: peak level of each impact of the log; None for those outside the clip.
        friction_levels_db: RMS level of each friction of the log, (K,) float64 in steps of
            `levels.STEP_S` from its start to its end within the clip.
        lowest_modes: name of each body -> its lowest mode.
    """

    waveform: NDArray[np.float32]
    impact_levels_db: tuple[float | None, ...]
    friction_levels_db: tuple[NDArray[np.float64], ...]
    lowest_modes: dict[str, LowestMode]


def synthesise(
    log: ContactLog,
    *,
    duration_s: float,
    rng: np.random.Generator,
    rate_hz: int = AUDIO_RATE_HZ,
    room: RoomParameters | None = None,
    ambience_db: float | None = None,
) -> SynthesisedSound:
    """Return the sound of all contacts of a clip, with their levels.

    The first sample of an impact is the one nearest to its time. The same log, arguments and
    generator state give the same bytes. A log without contacts gives exact silence, or ambience.

    Args:
        log: bodies and contacts; impacts outside [0, duration_s) are left out.
        rng: varies the modes of each body and the hits.
        room: adds reverberation.
        ambience_db: level (RMS) of a faint background relative to the loudest sample, or to
            `NOMINAL_PEAK` in a silent clip; None for none.

    Returns:
        A sound of round(duration_s * rate_hz) samples; the loudest sample of an ordinary clip with
        contacts lies between 0.05 and 0.95.

    Raises:
        DataError: a contact names a body that is not in `log.bodies`, a body is not usable, or
            an impact is not finite.

    Reference: O'Brien et al. 2002 (modal synthesis); Chadwick et al. 2012 (contact duration,
        acceleration noise).
    """
    length = count_at(duration_s, rate_hz)
    modes = {name: modes_of(body, rng=rng) for name, body in log.bodies.items()}
    tips = {name: rng.uniform(-1.0, 1.0, 3) for name in log.bodies}
    strikes: dict[str, list[Strike]] = {name: [] for name in log.bodies}
    peaks: list[float | None] = []
    dry = np.zeros(length)
    # Impacts: a strike on both bodies and a contact noise
    for impact in log.impacts:
        body, other = _bodies(log, impact)
        _check_finite(impact)
        sample = count_at(impact.time_s, rate_hz) if impact.time_s >= 0 else -1
        if not 0 <= sample < length:
            peaks.append(None)
            continue
        position = np.asarray(impact.position) + rng.uniform(-0.06, 0.06, 3)
        level, pulse = _level_and_pulse(impact, body, other, rng, rate_hz)
        balance = _balance(body, other)
        struck_modes: list[tuple[Modes, Strike]] = []
        for struck, where, factor in (
            (body, position, balance),
            (other, tips[other.name], _STRIKER_LEVEL / balance),
        ):
            variation = np.exp(0.06 * rng.standard_normal(len(modes[struck.name])))
            loudness = level * factor * material_of(struck).loudness
            gains = loudness * variation * modes[struck.name].gains_at(where)
            strike = Strike(sample=sample, gains=gains, pulse=pulse)
            strikes[struck.name].append(strike)
            struck_modes.append((modes[struck.name], strike))
        noise = level * _contact_noise(body, other, pulse, rng, rate_hz)
        count = min(len(noise), length - sample)
        dry[sample : sample + count] += noise[:count]
        peaks.append(_peak_of_hit(struck_modes, noise, rate_hz))
    for name, hits in strikes.items():
        if hits:
            dry += ring(modes[name], hits, length=length, rate_hz=rate_hz)
    # Rolling and scraping
    curves = []
    for friction in log.frictions:
        body, other = _bodies(log, friction)
        sound = friction_sound(friction, body, other, modes, length, rng, rate_hz)
        start, stop = span_of(friction, length=length, rate_hz=rate_hz)
        curves.append(rms_curve(sound[start:stop], rate_hz=rate_hz))
        dry += sound
    # Room, recording level, ambience
    has_contacts = any(peak is not None for peak in peaks) or any(map(np.any, curves))
    wet = reverberate(dry, room, rate_hz=rate_hz) if room and has_contacts else dry
    gain = _recording_gain(wet, offset_db=float(rng.uniform(-2.0, 2.0)))
    recorded = wet * gain if gain > 0 else np.zeros(length)
    if ambience_db is not None:
        peak = float(np.abs(recorded).max(initial=0.0)) or NOMINAL_PEAK
        recorded = recorded + peak * 10 ** (ambience_db / 20) * ambience(length, rate_hz, rng)
    return SynthesisedSound(
        waveform=_limit(recorded).astype(np.float32),
        impact_levels_db=tuple(
            None if peak is None else float(level_db(gain * peak)) for peak in peaks
        ),
        friction_levels_db=tuple(level_db(gain * curve) for curve in curves),
        lowest_modes={name: each.lowest for name, each in modes.items()},
    )


def contact_duration_s(body: Body, other: Body, *, speed_mps: float) -> float:
    """Return how long two bodies touch in an impact, 50 microseconds to 12 milliseconds.

    Reference: Hertz, as in Chadwick et al. 2012 equation 9: 2.87 (m^2 / (R E^2 v))^(1/5).
    """
    first, second = material_of(body), material_of(other)
    second_pa = max(second.contact_pa, _SOFTEST_STRIKER * first.contact_pa)
    compliance = (1 - first.poisson**2) / first.contact_pa + (1 - second.poisson**2) / second_pa
    radius = 0.5 * min(_contact_radius_m(body), _contact_radius_m(other))
    mass = reduced_mass_kg(body, other)
    hertz = 2.87 * (mass**2 * compliance**2 / (radius * max(speed_mps, 0.05))) ** 0.2
    return float(np.clip(hertz, 5e-5, 0.012))


def ambience(length: int, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return coloured noise, sometimes with mains hum: (length,) float64 of RMS 1."""
    keep = float(rng.uniform(0.9, 0.995))
    noise = lfilter([1.0], [1.0, -keep], rng.standard_normal(length))
    noise += rng.uniform(0.0, 1.0) * rng.standard_normal(length)
    if rng.random() < 0.25 and length:
        mains = float(rng.choice((50.0, 60.0)))
        time_s = np.arange(length) / rate_hz
        amplitude = noise.std()
        for harmonic in (1, 2, 3, 5):
            phase = rng.uniform(0, 2 * np.pi)
            noise += amplitude / harmonic * np.sin(2 * np.pi * mains * harmonic * time_s + phase)
    rms = float(np.sqrt(np.mean(noise**2))) if length else 1.0
    return np.asarray(noise / max(rms, 1e-12))


# --- impacts --------------------------------------------------------------------------------------


def _bodies(log: ContactLog, contact: Impact | Friction) -> tuple[Body, Body]:
    for name in (contact.body, contact.other):
        if name not in log.bodies:
            raise DataError(
                f"a contact names the body {name!r}, which is not among {sorted(log.bodies)}",
                hint="add every body that touches another one to ContactLog.bodies",
            )
    return log.bodies[contact.body], log.bodies[contact.other]


def _check_finite(impact: Impact) -> None:
    values = (impact.time_s, impact.impulse_ns, impact.speed_mps, *impact.position)
    if not np.isfinite(values).all():
        raise DataError(
            f"an impact on {impact.body!r} has numbers that are not finite: {values}",
            hint="the simulation that wrote this log became unstable; use a smaller time step",
        )


def force_pulse(duration_s: float, *, rate_hz: int) -> NDArray[np.float64]:
    """Return the force of one impact over time, of unit sum.

    Returns:
        (L,) float64, L = ceil(duration_s * rate_hz), all positive: sin^1.5, Hertz's law for a
        half-sine indentation.

    Reference: Hertz; van den Doel & Pai 1998 use a half-sine.
    """
    count = max(1, int(np.ceil(duration_s * rate_hz)))
    force = np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 1.5
    return np.asarray(force / force.sum())


def _balance(body: Body, other: Body) -> float:
    """Level of the first body: the lighter of two bodies moves more, and so sounds louder."""
    return float(np.clip((mass_kg(other) / mass_kg(body)) ** 0.04, 0.7, 1.4))


def _level_and_pulse(
    impact: Impact, body: Body, other: Body, rng: np.random.Generator, rate_hz: int
) -> tuple[float, NDArray[np.float64]]:
    """Level of an impact, linear in its impulse, and its force pulse.

    Heavier pairs need a larger impulse for the same level. Soft contacts lose their upper partials
    to the long pulse; a part of this loss is compensated.
    """
    duration_s = contact_duration_s(body, other, speed_mps=impact.speed_mps)
    nominal_ns = NOMINAL_MPS * reduced_mass_kg(body, other) ** 0.75 * NOMINAL_KG**0.25
    softness = (duration_s / 3e-4) ** 0.4
    level = NOMINAL_PEAK * max(impact.impulse_ns, 0.0) / nominal_ns * softness
    pulse = force_pulse(duration_s * float(np.exp(0.05 * rng.standard_normal())), rate_hz=rate_hz)
    return level, pulse


def _peak_of_hit(
    struck: list[tuple[Modes, Strike]], noise: NDArray[np.float64], rate_hz: int
) -> float:
    """Peak of the dry sound of one impact alone: both bodies and the contact noise.

    The sound is rendered. Sums of the modes' amplitudes miss its peak by 2.5 dB (standard
    deviation), because the phases of the modes decide how they add up.
    """
    width = len(struck[0][1].pulse)
    sound = np.zeros(max(len(noise), width + count_at(_PEAK_WITHIN_S, rate_hz)))
    sound[: len(noise)] = noise
    for modes, strike in struck:
        sound += ring(modes, [replace(strike, sample=0)], length=len(sound), rate_hz=rate_hz)
    return float(np.abs(sound).max())


def _contact_noise(
    body: Body, other: Body, pulse: NDArray, rng: np.random.Generator, rate_hz: int
) -> NDArray[np.float64]:
    """Acceleration noise: the jerk of the pulse and a short burst of filtered noise.

    The struck surface yields, so its material determines the noise.
    """
    first, second = material_of(body), material_of(other)
    decay_s = first.transient_s
    upper_hz = min(first.transient_hz, 1.5 * rate_hz / len(pulse))
    length = int(7 * decay_s * rate_hz) + len(pulse)
    rise = np.minimum(1.0, np.arange(1, length + 1) / len(pulse))
    envelope = rise * np.exp(-np.arange(length) / (decay_s * rate_hz))
    keep = np.exp(-2 * np.pi * min(upper_hz, 0.45 * rate_hz) / rate_hz)
    noise = lfilter([1 - keep], [1, -keep], rng.standard_normal(length)) * envelope
    noise /= max(float(np.abs(noise).max()), 1e-12)
    jerk = np.diff(np.concatenate([[0.0], pulse, [0.0]]))
    noise[: len(jerk)] += 0.5 * jerk / np.abs(jerk).max()
    softness = min(1.0, (12.0 / len(pulse)) ** 0.5)
    return np.asarray(0.5 * (first.transient + 0.25 * second.transient) * softness * noise)


def _contact_radius_m(body: Body) -> float:
    """Radius of the surface that touches: of round bodies their own, of others their corners'."""
    smallest = min(body.size_m)
    return 0.5 * smallest if body.shape in ("sphere", "capsule", "cylinder") else 0.35 * smallest


# --- recording level ------------------------------------------------------------------------------


def _recording_gain(sound: NDArray, *, offset_db: float) -> float:
    """Gain by a rising curve from the synthesised peak of a sound to the recorded one.

    The curve is about the identity around `NOMINAL_PEAK` and stays within 0.05..0.95. The gain of
    silence is 0.
    """
    peak = float(np.abs(sound).max(initial=0.0))
    if peak < 1e-9:
        return 0.0
    above = np.log(peak / NOMINAL_PEAK) + offset_db * np.log(10) / 20
    limit = np.log(0.95 / NOMINAL_PEAK) if above > 0 else np.log(NOMINAL_PEAK / 0.05)
    target = NOMINAL_PEAK * np.exp(limit * np.tanh(0.6 * above / limit))
    return float(target / peak)


def _limit(sound: NDArray) -> NDArray[np.float64]:
    """Limit a sound to -1..1: linear up to 0.95, then a smooth bend."""
    over = np.maximum(np.abs(sound) - 0.95, 0.0)
    return np.where(over > 0, np.sign(sound) * (0.95 + 0.05 * np.tanh(over / 0.05)), sound)
