"""A contact log becomes sound: impacts, rolling and scraping by modal synthesis.

Every contact drives the modes of both bodies by a force over time (`modes.py`, `ringing.py`), adds
the noise of the touch itself, and may be heard in a room (`room.py`). Motion, pictures and labels
are not known here. Loudness follows the force: gains are fixed, and the recording level curve at
the end is one fixed, rising function, not a normalisation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, oaconvolve

from foleyflow.clock import count_at
from foleyflow.errors import DataError
from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.sound.modes import Modes, mass_kg, material_of, modes_of
from foleyflow.simulation.sound.ringing import Strike, ring
from foleyflow.simulation.sound.room import RoomParameters, reverberate

RATE_HZ = 48_000
NOMINAL_PEAK = 0.45
# An impact of this speed between bodies of this mass peaks at about NOMINAL_PEAK.
_NOMINAL_MPS = 2.5
_NOMINAL_KG = 0.2
_OTHER_SHARE = 0.12
# What strikes softens a contact only so far: a thing struck keeps some of its own sharpness.
_SOFTEST_OTHER = 0.005


def synthesise(
    log: ContactLog,
    *,
    duration_s: float,
    rng: np.random.Generator,
    rate_hz: int = RATE_HZ,
    reverberation: RoomParameters | None = None,
    ambience_db: float | None = None,
) -> NDArray[np.float32]:
    """The sound of all contacts of a clip.

    The first sample of an impact is the one nearest to its time. The same log, arguments and
    generator state give the same bytes. A log without contacts gives exact silence, or ambience.

    Args:
        log: bodies and contacts; impacts outside [0, duration_s) are left out.
        duration_s: length of the sound.
        rng: draws each body's own partials and the small differences between hits.
        rate_hz: samples per second.
        reverberation: the room in which it is heard; None for none.
        ambience_db: level (RMS) of a faint background relative to the loudest sample, or to
            `NOMINAL_PEAK` in a silent clip; None for none.

    Returns:
        (round(duration_s * rate_hz),) float32, within -1..1; the loudest sample of an ordinary
        clip with contacts lies between 0.05 and 0.95.

    Raises:
        DataError: a contact names a body that is not in `log.bodies`, a body is not usable, or
            an impact is not finite.

    Source: O'Brien et al. 2002 (modal synthesis); Chadwick et al. 2012 (contact duration,
        acceleration noise); levels are ours.
    """
    length = count_at(duration_s, rate_hz)
    modes = {name: modes_of(body, rng=rng) for name, body in log.bodies.items()}
    tips = {name: _place(rng.uniform(-1.0, 1.0, 3)) for name in log.bodies}
    strikes: dict[str, list[Strike]] = {name: [] for name in log.bodies}
    dry = np.zeros(length)
    sounds = False
    for impact in log.impacts:
        body, other = _pair(log, impact.body, impact.other)
        _check(impact)
        sample = count_at(impact.time_s, rate_hz) if impact.time_s >= 0 else -1
        if not 0 <= sample < length:
            continue
        sounds = True
        place = _place(np.asarray(impact.position) + rng.uniform(-0.06, 0.06, 3))
        level, pulse = _force(impact, body, other, rng, rate_hz)
        lean = _lightness(body, other)
        for struck, where, share in (
            (body, place, lean),
            (other, tips[other.name], _OTHER_SHARE / lean),
        ):
            varied = np.exp(0.06 * rng.standard_normal(len(modes[struck.name])))
            heard = level * share * material_of(struck).loudness
            gains = heard * varied * modes[struck.name].at(where)
            strikes[struck.name].append(Strike(sample=sample, gains=gains, pulse=pulse))
        touch = level * _touch(body, other, pulse, rng, rate_hz)
        count = min(len(touch), length - sample)
        dry[sample : sample + count] += touch[:count]
    for name, hits in strikes.items():
        if hits:
            dry += ring(modes[name], hits, length=length, rate_hz=rate_hz)
    for friction in log.frictions:
        body, other = _pair(log, friction.body, friction.other)
        rubbed = _friction(friction, body, other, modes, length, rng, rate_hz)
        sounds = sounds or bool(np.any(rubbed))
        dry += rubbed
    wet = reverberate(dry, reverberation, rate_hz=rate_hz) if reverberation and sounds else dry
    recorded = _recorded(wet, offset_db=float(rng.uniform(-2.0, 2.0)))
    if ambience_db is not None:
        peak = float(np.abs(recorded).max(initial=0.0)) or NOMINAL_PEAK
        recorded = recorded + peak * 10 ** (ambience_db / 20) * ambience(length, rate_hz, rng)
    return _limited(recorded).astype(np.float32)


def contact_duration_s(body: Body, other: Body, *, speed_mps: float) -> float:
    """How long two bodies touch in an impact.

    Args:
        body, other: the two bodies.
        speed_mps: closing speed.

    Returns:
        seconds, within 50 microseconds to 12 milliseconds.

    Source: Hertz, as in Chadwick et al. 2012 equation 9: 2.87 (m^2 / (R E^2 v))^(1/5).
    """
    first, second = material_of(body), material_of(other)
    compliance = (1 - first.poisson**2) / first.contact_pa
    compliance += (1 - second.poisson**2) / max(
        second.contact_pa, _SOFTEST_OTHER * first.contact_pa
    )
    radius = 0.5 * min(_curvature_m(body), _curvature_m(other))
    mass = _reduced_kg(body, other)
    hertz = 2.87 * (mass**2 * compliance**2 / (radius * max(speed_mps, 0.05))) ** 0.2
    return float(np.clip(hertz, 5e-5, 0.012))


def ambience(length: int, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A quiet place: coloured noise, sometimes with mains hum.

    Returns:
        (length,) float64 of RMS 1 (0 samples for length 0).

    Source: ours.
    """
    keep = float(rng.uniform(0.9, 0.995))
    noise = lfilter([1.0], [1.0, -keep], rng.standard_normal(length))
    noise += rng.uniform(0.0, 1.0) * rng.standard_normal(length)
    if rng.random() < 0.25 and length:
        mains = float(rng.choice((50.0, 60.0)))
        time_s = np.arange(length) / rate_hz
        spread = noise.std()
        for harmonic in (1, 2, 3, 5):
            phase = rng.uniform(0, 2 * np.pi)
            noise += spread / harmonic * np.sin(2 * np.pi * mains * harmonic * time_s + phase)
    rms = float(np.sqrt(np.mean(noise**2))) if length else 1.0
    return np.asarray(noise / max(rms, 1e-12))


# --- impacts --------------------------------------------------------------------------------------


def _pair(log: ContactLog, body: str, other: str) -> tuple[Body, Body]:
    for name in (body, other):
        if name not in log.bodies:
            raise DataError(
                f"a contact names the body {name!r}, which is not among {sorted(log.bodies)}",
                hint="every body that touches needs an entry in ContactLog.bodies",
            )
    return log.bodies[body], log.bodies[other]


def _check(impact: Impact) -> None:
    values = (impact.time_s, impact.impulse_ns, impact.speed_mps, *impact.position)
    if not np.isfinite(values).all():
        raise DataError(
            f"an impact on {impact.body!r} has numbers that are not finite: {values}",
            hint="the simulation that wrote this log became unstable; use a smaller time step",
        )


def force_pulse(duration_s: float, *, rate_hz: int) -> NDArray[np.float64]:
    """The force of one impact over time, of unit sum.

    Returns:
        (L,) float64, L = ceil(duration_s * rate_hz), all positive: sin^1.5, Hertz's law for a
        half-sine indentation.

    Source: Hertz; van den Doel & Pai 1998 use a half-sine.
    """
    count = max(1, int(np.ceil(duration_s * rate_hz)))
    force = np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 1.5
    return np.asarray(force / force.sum())


def _lightness(body: Body, other: Body) -> float:
    # The lighter of two bodies is shaken more: a cup on the floor is heard, hardly the floor.
    return float(np.clip((mass_kg(other) / mass_kg(body)) ** 0.04, 0.7, 1.4))


def _place(position: NDArray) -> tuple[float, float, float]:
    return float(position[0]), float(position[1]), float(position[2])


def _force(
    impact: Impact, body: Body, other: Body, rng: np.random.Generator, rate_hz: int
) -> tuple[float, NDArray[np.float64]]:
    # The level is linear in the impulse. Heavy pairs need more of it for the same sound; soft
    # contacts lose their upper partials to the long pulse, and get back a part of it.
    duration_s = contact_duration_s(body, other, speed_mps=impact.speed_mps)
    expected_ns = _NOMINAL_MPS * _reduced_kg(body, other) ** 0.75 * _NOMINAL_KG**0.25
    softness = (duration_s / 3e-4) ** 0.4
    level = NOMINAL_PEAK * max(impact.impulse_ns, 0.0) / expected_ns * softness
    pulse = force_pulse(duration_s * float(np.exp(0.05 * rng.standard_normal())), rate_hz=rate_hz)
    return level, pulse


def _touch(
    body: Body, other: Body, pulse: NDArray, rng: np.random.Generator, rate_hz: int
) -> NDArray[np.float64]:
    # Acceleration noise: the jerk of the pulse, and a short burst of filtered noise.
    # It is the struck surface that gives way, so that its material is the one that is heard.
    first, second = material_of(body), material_of(other)
    decay_s = first.transient_s
    upper_hz = min(first.transient_hz, 1.5 * rate_hz / len(pulse))
    length = int(7 * decay_s * rate_hz) + len(pulse)
    rise = np.minimum(1.0, np.arange(1, length + 1) / len(pulse))
    envelope = rise * np.exp(-np.arange(length) / (decay_s * rate_hz))
    keep = np.exp(-2 * np.pi * min(upper_hz, 0.45 * rate_hz) / rate_hz)
    burst = lfilter([1 - keep], [1, -keep], rng.standard_normal(length)) * envelope
    burst /= max(float(np.abs(burst).max()), 1e-12)
    jerk = np.diff(np.concatenate([[0.0], pulse, [0.0]]))
    burst[: len(jerk)] += 0.5 * jerk / np.abs(jerk).max()
    softness = min(1.0, (12.0 / len(pulse)) ** 0.5)
    return np.asarray(0.5 * (first.transient + 0.25 * second.transient) * softness * burst)


def _reduced_kg(body: Body, other: Body) -> float:
    first, second = mass_kg(body), mass_kg(other)
    return first * second / (first + second)


def _curvature_m(body: Body) -> float:
    # Radius of the surface that touches: round bodies by their size, others by their corners.
    smallest = min(body.size_m)
    return 0.5 * smallest if body.shape in ("sphere", "capsule", "cylinder") else 0.35 * smallest


# --- friction -------------------------------------------------------------------------------------


def _friction(
    friction: Friction,
    body: Body,
    other: Body,
    modes: dict[str, Modes],
    length: int,
    rng: np.random.Generator,
    rate_hz: int,
) -> NDArray[np.float64]:
    # The contact runs over a rough surface: its profile, read at the distance travelled, is the
    # force. Faster means louder and brighter, because the same bumps pass in less time.
    out = np.zeros(length)
    if len(friction.times_s) < 2:
        return out
    start = count_at(max(0.0, float(friction.times_s[0])), rate_hz)
    stop = min(length, count_at(max(0.0, float(friction.times_s[-1])), rate_hz))
    if stop - start < 16:
        return out
    time_s = np.arange(start, stop) / rate_hz
    speed = np.maximum(np.interp(time_s, friction.times_s, friction.speed_mps), 0.0)
    force = np.maximum(np.interp(time_s, friction.times_s, friction.force_n), 0.0)
    travelled_m = np.cumsum(speed) / rate_hz
    if travelled_m[-1] <= 0 or not force.any():
        return out
    drive = _profile(friction, body, other, travelled_m, rng)
    mass = mass_kg(body)
    weight = np.sqrt(force / (9.81 * mass**0.75 * _NOMINAL_KG**0.25))
    loud = 0.06 if friction.kind == "roll" else 0.03
    fade = np.minimum(1.0, np.arange(1, len(drive) + 1) / 64)
    drive = drive * loud * (speed / 0.7) * weight * fade * fade[::-1]
    ringing_s = min(1.2, duration_of(modes[body.name]), duration_of(modes[other.name]) * 4)
    response = np.zeros(int(max(0.02, ringing_s) * rate_hz))
    for struck, share in ((body, 0.8), (other, 0.6)):
        partials = modes[struck.name]
        once = Strike(sample=0, gains=partials.gains, pulse=np.ones(1))
        alone = ring(partials, [once], length=len(response), rate_hz=rate_hz)
        response += share * alone / max(float(np.sqrt(np.sum(alone**2))), 1e-9)
    direct = 0.35 if friction.kind == "roll" else 0.6
    response[0] += direct
    heard = oaconvolve(drive, response)[: length - start]
    out[start : start + len(heard)] = heard
    return out


def _profile(
    friction: Friction, body: Body, other: Body, travelled_m: NDArray, rng: np.random.Generator
) -> NDArray[np.float64]:
    # A rough line in steps of its correlation length, read where the contact is (Avanzini,
    # Rath & Rocchesso, "Physically-based audio rendering of contact", 2002).
    rough = max(material_of(body).roughness_m, material_of(other).roughness_m)
    rolls = friction.kind == "roll"
    profile = np.zeros(len(travelled_m))
    # A wheel bridges the small bumps, an edge feels them.
    for scale, height in ((1.0, 1.0 if rolls else 0.4), (0.2, 0.3 if rolls else 1.0)):
        step_m = max(scale * rough, float(travelled_m[-1]) / 400_000)
        count = int(travelled_m[-1] / step_m) + 4
        bumps = rng.standard_normal(count)
        rare = rng.random(count) < (0.02 if rolls else 0.01)
        bumps = bumps + rare * rng.standard_normal(count) * 3.0
        # Uneven gaps: even ones would comb the spectrum.
        places_m = step_m * np.cumsum(rng.uniform(0.3, 1.8, count))
        profile += height * np.interp(travelled_m, places_m, bumps)
    if rolls:
        # Hardly any body is perfectly round: louder once or twice per turn.
        turn_m = np.pi * max(0.01, float(np.median(body.size_m)))
        phase = rng.uniform(0, 2 * np.pi)
        depth = rng.uniform(0.1, 0.5)
        profile = profile * (1 + depth * np.sin(2 * np.pi * travelled_m / turn_m + phase))
    return profile


def duration_of(modes: Modes) -> float:
    """Seconds until the slowest mode has fallen by 60 dB.

    Source: exp(-d t) = 1/1000.
    """
    return float(np.log(1000.0) / modes.decays_per_s.min())


# --- recording level ------------------------------------------------------------------------------


def _recorded(sound: NDArray, *, offset_db: float) -> NDArray[np.float64]:
    # One rising curve from the loudest sample as synthesised to the loudest as recorded: about
    # the same around NOMINAL_PEAK, never above 0.95, hardly below 0.05.
    peak = float(np.abs(sound).max(initial=0.0))
    if peak < 1e-9:
        return np.zeros_like(sound)
    above = np.log(peak / NOMINAL_PEAK) + offset_db * np.log(10) / 20
    reach = np.log(0.95 / NOMINAL_PEAK) if above > 0 else np.log(NOMINAL_PEAK / 0.05)
    target = NOMINAL_PEAK * np.exp(reach * np.tanh(0.6 * above / reach))
    return np.asarray(sound * (target / peak))


def _limited(sound: NDArray) -> NDArray[np.float64]:
    # Straight up to 0.95, then bent so that 1 is never reached.
    over = np.maximum(np.abs(sound) - 0.95, 0.0)
    return np.where(over > 0, np.sign(sound) * (0.95 + 0.05 * np.tanh(over / 0.05)), sound)
