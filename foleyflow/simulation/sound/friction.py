"""Sound of rolling and scraping: the profile of a rough surface drives the modes of both bodies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from foleyflow.clock import count_at
from foleyflow.simulation.constants import GRAVITY_MPS2
from foleyflow.simulation.contacts import Body, Friction
from foleyflow.simulation.sound.levels import NOMINAL_KG
from foleyflow.simulation.sound.modes import Modes, mass_kg, material_of
from foleyflow.simulation.sound.ringing import Strike, ring


def span_of(friction: Friction, *, length: int, rate_hz: int) -> tuple[int, int]:
    """Return the first sample of a friction and the one after its last, within a clip's samples."""
    if len(friction.times_s) < 2:
        return 0, 0
    start, stop = (
        min(length, count_at(max(0.0, float(friction.times_s[end])), rate_hz)) for end in (0, -1)
    )
    return start, stop


def friction_sound(
    friction: Friction,
    body: Body,
    other: Body,
    modes: dict[str, Modes],
    length: int,
    rng: np.random.Generator,
    rate_hz: int,
) -> NDArray[np.float64]:
    """Return the sound of a contact that moves over a rough surface, (length,) float64.

    The profile of the surface at the distance travelled is the force. A faster motion is louder and
    brighter, because the same bumps pass in less time.
    """
    out = np.zeros(length)
    start, stop = span_of(friction, length=length, rate_hz=rate_hz)
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
    weight = np.sqrt(force / (GRAVITY_MPS2 * mass_kg(body) ** 0.75 * NOMINAL_KG**0.25))
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
