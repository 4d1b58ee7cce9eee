"""Waveform of a contact log: impacts, rolling and scraping by modal synthesis.

Every contact drives the modes of both bodies by a force over time (`modes.py`, `ringing.py`) and
adds a contact noise; a room may follow (`room.py`). Loudness follows the force: gains are constant,
and the recording level is one fixed, rising function of the peak.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, oaconvolve

from foleyflow.clock import count_at
from foleyflow.errors import DataError
from foleyflow.simulation.constants import AUDIO_RATE_HZ, GRAVITY_MPS2
from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.sound.modes import (
    Modes,
    mass_kg,
    material_of,
    modes_of,
    reduced_mass_kg,
)
from foleyflow.simulation.sound.ringing import Strike, ring
from foleyflow.simulation.sound.room import RoomParameters, reverberate

NOMINAL_PEAK = 0.45
# An impact of this speed between bodies of this mass peaks at about `NOMINAL_PEAK`.
_NOMINAL_MPS = 2.5
_NOMINAL_KG = 0.2
_STRIKER_LEVEL = 0.12  # level of the striking body relative to the struck one
_SOFTEST_STRIKER = 0.005  # lowest contact modulus of a striker relative to that of the struck body


def synthesise(
    log: ContactLog,
    *,
    duration_s: float,
    rng: np.random.Generator,
    rate_hz: int = AUDIO_RATE_HZ,
    room: RoomParameters | None = None,
    ambience_db: float | None = None,
) -> NDArray[np.float32]:
    """Return the sound of all contacts of a clip.

    The first sample of an impact is the one nearest to its time. The same log, arguments and
    generator state give the same bytes. A log without contacts gives exact silence, or ambience.

    Args:
        log: bodies and contacts; impacts outside [0, duration_s) are left out.
        rng: varies the modes of each body and the hits.
        room: adds reverberation.
        ambience_db: level (RMS) of a faint background relative to the loudest sample, or to
            `NOMINAL_PEAK` in a silent clip; None for none.

    Returns:
        (round(duration_s * rate_hz),) float32, within -1..1; the loudest sample of an ordinary
        clip with contacts lies between 0.05 and 0.95.

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
    dry = np.zeros(length)
    has_contacts = False
    # Impacts: a strike on both bodies and a contact noise
    for impact in log.impacts:
        body, other = _bodies(log, impact)
        _check_finite(impact)
        sample = count_at(impact.time_s, rate_hz) if impact.time_s >= 0 else -1
        if not 0 <= sample < length:
            continue
        has_contacts = True
        position = np.asarray(impact.position) + rng.uniform(-0.06, 0.06, 3)
        level, pulse = _level_and_pulse(impact, body, other, rng, rate_hz)
        balance = _balance(body, other)
        for struck, where, factor in (
            (body, position, balance),
            (other, tips[other.name], _STRIKER_LEVEL / balance),
        ):
            variation = np.exp(0.06 * rng.standard_normal(len(modes[struck.name])))
            loudness = level * factor * material_of(struck).loudness
            gains = loudness * variation * modes[struck.name].gains_at(where)
            strikes[struck.name].append(Strike(sample=sample, gains=gains, pulse=pulse))
        noise = level * _contact_noise(body, other, pulse, rng, rate_hz)
        count = min(len(noise), length - sample)
        dry[sample : sample + count] += noise[:count]
    for name, hits in strikes.items():
        if hits:
            dry += ring(modes[name], hits, length=length, rate_hz=rate_hz)
    # Rolling and scraping
    for friction in log.frictions:
        body, other = _bodies(log, friction)
        sound = _friction_sound(friction, body, other, modes, length, rng, rate_hz)
        has_contacts = has_contacts or bool(np.any(sound))
        dry += sound
    # Room, recording level, ambience
    wet = reverberate(dry, room, rate_hz=rate_hz) if room and has_contacts else dry
    recorded = _set_recording_level(wet, offset_db=float(rng.uniform(-2.0, 2.0)))
    if ambience_db is not None:
        peak = float(np.abs(recorded).max(initial=0.0)) or NOMINAL_PEAK
        recorded = recorded + peak * 10 ** (ambience_db / 20) * ambience(length, rate_hz, rng)
    return _limit(recorded).astype(np.float32)


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
    nominal_ns = _NOMINAL_MPS * reduced_mass_kg(body, other) ** 0.75 * _NOMINAL_KG**0.25
    softness = (duration_s / 3e-4) ** 0.4
    level = NOMINAL_PEAK * max(impact.impulse_ns, 0.0) / nominal_ns * softness
    pulse = force_pulse(duration_s * float(np.exp(0.05 * rng.standard_normal())), rate_hz=rate_hz)
    return level, pulse


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


# --- friction -------------------------------------------------------------------------------------


def _friction_sound(
    friction: Friction,
    body: Body,
    other: Body,
    modes: dict[str, Modes],
    length: int,
    rng: np.random.Generator,
    rate_hz: int,
) -> NDArray[np.float64]:
    """Sound of a contact that moves over a rough surface.

    The profile of the surface at the distance travelled is the force. A faster motion is louder and
    brighter, because the same bumps pass in less time.
    """
    out = np.zeros(length)
    if len(friction.times_s) < 2:
        return out
    start = count_at(max(0.0, float(friction.times_s[0])), rate_hz)
    stop = min(length, count_at(max(0.0, float(friction.times_s[-1])), rate_hz))
    if stop - start < 16:
        return out
    # Speed, force and distance at every sample
    time_s = np.arange(start, stop) / rate_hz
    speed = np.maximum(np.interp(time_s, friction.times_s, friction.speed_mps), 0.0)
    force = np.maximum(np.interp(time_s, friction.times_s, friction.force_n), 0.0)
    travelled_m = np.cumsum(speed) / rate_hz
    if travelled_m[-1] <= 0 or not force.any():
        return out
    # Driving force
    rolls = friction.kind == "roll"
    drive = _surface_profile(body, other, travelled_m, rng, rolls=rolls)
    weight = np.sqrt(force / (GRAVITY_MPS2 * mass_kg(body) ** 0.75 * _NOMINAL_KG**0.25))
    fade = np.minimum(1.0, np.arange(1, len(drive) + 1) / 64)
    drive = drive * (0.06 if rolls else 0.03) * (speed / 0.7) * weight * fade * fade[::-1]
    # Response of both bodies and the direct sound
    ringing_s = min(1.2, modes[body.name].duration_s, modes[other.name].duration_s * 4)
    response = np.zeros(int(max(0.02, ringing_s) * rate_hz))
    for driven, factor in ((body, 0.8), (other, 0.6)):
        strike = Strike(sample=0, gains=modes[driven.name].gains, pulse=np.ones(1))
        ringing = ring(modes[driven.name], [strike], length=len(response), rate_hz=rate_hz)
        response += factor * ringing / max(float(np.sqrt(np.sum(ringing**2))), 1e-9)
    response[0] += 0.35 if rolls else 0.6
    sound = oaconvolve(drive, response)[: length - start]
    out[start : start + len(sound)] = sound
    return out


def _surface_profile(
    body: Body, other: Body, travelled_m: NDArray, rng: np.random.Generator, *, rolls: bool
) -> NDArray[np.float64]:
    """Height of a rough line, in steps of its correlation length, at the distance travelled.

    Reference: Avanzini, Rath & Rocchesso, "Physically-based audio rendering of contact", 2002.
    """
    roughness_m = max(material_of(body).roughness_m, material_of(other).roughness_m)
    profile = np.zeros(len(travelled_m))
    # A wheel bridges the small bumps, an edge follows them.
    for scale, height in ((1.0, 1.0 if rolls else 0.4), (0.2, 0.3 if rolls else 1.0)):
        step_m = max(scale * roughness_m, float(travelled_m[-1]) / 400_000)
        count = int(travelled_m[-1] / step_m) + 4
        bumps = rng.standard_normal(count)
        high = rng.random(count) < (0.02 if rolls else 0.01)
        bumps = bumps + high * rng.standard_normal(count) * 3.0
        # Irregular steps: equal ones would give the spectrum a comb.
        positions_m = step_m * np.cumsum(rng.uniform(0.3, 1.8, count))
        profile += height * np.interp(travelled_m, positions_m, bumps)
    if rolls:
        # Few bodies are perfectly round: the level rises and falls with every turn.
        turn_m = np.pi * max(0.01, float(np.median(body.size_m)))
        phase = rng.uniform(0, 2 * np.pi)
        depth = rng.uniform(0.1, 0.5)
        profile = profile * (1 + depth * np.sin(2 * np.pi * travelled_m / turn_m + phase))
    return profile


# --- recording level ------------------------------------------------------------------------------


def _set_recording_level(sound: NDArray, *, offset_db: float) -> NDArray[np.float64]:
    """Scale a sound by a rising curve from its synthesised peak to the recorded one.

    The curve is about the identity around `NOMINAL_PEAK` and stays within 0.05..0.95.
    """
    peak = float(np.abs(sound).max(initial=0.0))
    if peak < 1e-9:
        return np.zeros_like(sound)
    above = np.log(peak / NOMINAL_PEAK) + offset_db * np.log(10) / 20
    limit = np.log(0.95 / NOMINAL_PEAK) if above > 0 else np.log(NOMINAL_PEAK / 0.05)
    target = NOMINAL_PEAK * np.exp(limit * np.tanh(0.6 * above / limit))
    return np.asarray(sound * (target / peak))


def _limit(sound: NDArray) -> NDArray[np.float64]:
    """Limit a sound to -1..1: linear up to 0.95, then a smooth bend."""
    over = np.maximum(np.abs(sound) - 0.95, 0.0)
    return np.where(over > 0, np.sign(sound) * (0.95 + 0.05 * np.tanh(over / 0.05)), sound)
