"""Sounds without pictures, for the audio codec: simulated contacts and many other things.

A codec that had only heard impacts would fall apart on anything else; so about a third of the
items are noises, bursts, sweeps, clicks, tones and mixtures. No renderer, no files: an item is a
function of the split, the seed and the index alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.errors import ConfigError
from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.simulation.sound.modes import mass_kg
from foleyflow.simulation.sound.noises import coloured, coloured_noise, other_sound, unit_peak
from foleyflow.simulation.sound.room import random_room
from foleyflow.simulation.sound.synthesis import synthesise

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CONTACT_SHARE = 0.7
_SHAPES = ("box", "sphere", "cylinder", "capsule", "plate", "bar", "bowl")


@dataclass(frozen=True, kw_only=True)
class CodecSounds:
    """Endless sounds, as a sequence: item `index` is always the same samples.

    Attributes:
        seed: names the whole set, >= 0.
        split: "train", "validation" or "test"; no two splits share an item.
        duration_s: length of each item.
        rate_hz: samples per second.
        length: how many items there are.
    """

    seed: int
    split: Split = "train"
    duration_s: float = 1.0
    rate_hz: int = 48_000
    length: int = 1_000_000

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"split={self.split!r}", hint=f"choose one of {', '.join(SPLITS)}")
        if self.seed < 0 or self.length < 1:
            raise ConfigError(f"seed={self.seed}, length={self.length}: expected >= 0 and >= 1")
        if not 0 < self.duration_s < 600 or self.rate_hz < 1000:
            raise ConfigError(
                f"duration_s={self.duration_s}, rate_hz={self.rate_hz}: expected a duration "
                "within 0..600 s and a rate of at least 1000"
            )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """The samples of one item, (round(duration_s * rate_hz),) float32 within -1..1."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} of {self.length} sounds")
        sequence = np.random.SeedSequence((SPLITS.index(self.split), self.seed, int(index)))
        rng = np.random.default_rng(sequence)
        return draw_sound(rng, duration_s=self.duration_s, rate_hz=self.rate_hz)


def draw_sound(
    rng: np.random.Generator, *, duration_s: float, rate_hz: int = 48_000
) -> NDArray[np.float32]:
    """One random sound: contacts, something else, or both.

    Args:
        rng: makes every choice.
        duration_s: length.
        rate_hz: samples per second.

    Returns:
        (round(duration_s * rate_hz),) float32, within -1..1, peaks from -40 to 0 dBFS (silence
        with faint noise: lower).

    Source: ours.
    """
    length = count_at(duration_s, rate_hz)
    kind = rng.random()
    if kind < CONTACT_SHARE:
        sound = _contacts(rng, duration_s, rate_hz)
    elif kind < 0.90:
        sound = other_sound(rng, length, rate_hz=rate_hz)
    elif kind < 0.97:
        first, second = (
            other_sound(rng, length, rate_hz=rate_hz),
            other_sound(rng, length, rate_hz=rate_hz),
        )
        if rng.random() < 0.5:
            second = _contacts(rng, duration_s, rate_hz)
        sound = unit_peak(first) * 10 ** (rng.uniform(-30.0, 0.0) / 20) + unit_peak(second)
    else:
        level = 10 ** (rng.uniform(-90.0, -60.0) / 20)
        return (level * unit_peak(coloured_noise(rng, length, rate_hz=rate_hz))).astype(np.float32)
    if rng.random() < 0.3:
        sound = coloured(sound, rng, rate_hz=rate_hz)
    peak_db = -40.0 * rng.random() ** 1.7
    return np.asarray(unit_peak(sound) * 10 ** (peak_db / 20), dtype=np.float32)


def random_contact_log(rng: np.random.Generator, duration_s: float) -> ContactLog:
    """Contacts of one to four random bodies, all materials and shapes, 2 cm to 1 m.

    Args:
        rng: makes every choice.
        duration_s: the stretch of time to fill.

    Returns:
        a log with single hits, bounces, patterns of up to 8 hits a second, rolling or scraping.

    Source: ours.
    """
    count = int(rng.integers(1, 5))
    bodies = [_random_body(rng, f"body{index}") for index in range(count)]
    striker = _random_body(rng, "striker", largest_m=0.25)
    impacts: list[Impact] = []
    frictions: list[Friction] = []
    for body in bodies:
        choice = rng.random()
        if choice < 0.16:
            frictions.append(_random_friction(rng, body, striker, duration_s))
            if rng.random() < 0.5:
                continue
        impacts.extend(_random_rhythm(rng, body, striker, duration_s))
    named = {body.name: body for body in (*bodies, striker)}
    impacts.sort(key=lambda impact: impact.time_s)
    return ContactLog(bodies=named, impacts=impacts, frictions=frictions)


# --- contacts -------------------------------------------------------------------------------------


def _contacts(rng: np.random.Generator, duration_s: float, rate_hz: int) -> NDArray[np.float64]:
    # Half of the clips begin in the middle of things: with what still rings from before.
    lead_s = float(rng.uniform(0.05, 0.5)) if rng.random() < 0.5 else 0.0
    log = random_contact_log(rng, duration_s + lead_s)
    room = random_room(rng) if rng.random() < 0.6 else None
    ambience_db = float(rng.uniform(-75.0, -40.0)) if rng.random() < 0.5 else None
    sound = synthesise(
        log,
        duration_s=duration_s + lead_s,
        rate_hz=rate_hz,
        rng=rng,
        reverberation=room,
        ambience_db=ambience_db,
    )
    length = count_at(duration_s, rate_hz)
    return sound[len(sound) - length :].astype(np.float64)


def _random_body(rng: np.random.Generator, name: str, *, largest_m: float = 1.0) -> Body:
    material = str(rng.choice(MATERIAL_NAMES))
    shape = "membrane" if material == "membrane" else str(rng.choice(_SHAPES))
    size = 0.02 * (largest_m / 0.02) ** rng.random()
    if shape == "membrane":
        size = max(size, 0.12)
        size_m = (size, size, 0.6 * size)
    elif shape == "plate":
        size_m = (size, size * rng.uniform(0.4, 1.0), size * rng.uniform(0.01, 0.06))
    elif shape == "bar":
        size_m = (size, size * rng.uniform(0.05, 0.2), size * rng.uniform(0.02, 0.1))
    elif shape == "sphere":
        size_m = (size, size, size)
    elif shape == "bowl":
        size_m = (size, size, size * rng.uniform(0.2, 1.2))
    elif shape == "box":
        size_m = (size, size * rng.uniform(0.3, 1.0), size * rng.uniform(0.2, 1.0))
    else:
        across = size * rng.uniform(0.1, 0.8)
        size_m = (across, across, size)
    return Body(
        name=name,
        material=material,
        shape=shape,  # type: ignore[arg-type]
        size_m=(float(size_m[0]), float(size_m[1]), float(size_m[2])),
        hollow=bool(rng.random() < 0.5),
        damping=float(np.exp(rng.uniform(np.log(0.7), np.log(4.0)))),
    )


def _random_rhythm(
    rng: np.random.Generator, body: Body, striker: Body, duration_s: float
) -> list[Impact]:
    kind = rng.random()
    start_s = float(rng.uniform(-0.1, max(duration_s, 0.05)))
    speed = float(0.3 * 15.0 ** rng.random())
    if kind < 0.4:
        times, speeds = [start_s], [speed]
    elif kind < 0.6:  # it bounces: each time a little lower
        gap_s, keep = 0.1 + 0.2 * speed, rng.uniform(0.45, 0.85)
        times, speeds = [], []
        while start_s < duration_s and gap_s > 0.012:
            times.append(start_s)
            speeds.append(speed)
            start_s, gap_s, speed = start_s + gap_s, gap_s * keep, speed * keep
    else:  # a pattern, more or less even
        period_s = 1.0 / float(1.0 * 8.0 ** rng.random())
        start_s = float(rng.uniform(-0.1, min(period_s, duration_s)))
        beats = np.arange(int(np.ceil((duration_s - start_s) / period_s)))
        played = rng.random(len(beats)) < rng.uniform(0.5, 1.0)
        shifts = rng.normal(0.0, 0.02 * period_s, len(beats))
        times = [float(t) for t in (start_s + beats * period_s + shifts)[played]]
        speeds = [float(s) for s in speed * rng.uniform(0.4, 1.3, len(times))]
    first, second = mass_kg(body), mass_kg(striker)
    mass = first * second / (first + second)
    place = rng.uniform(-0.9, 0.9, 3)
    impacts = []
    for time_s, hit_speed in zip(times, speeds, strict=True):
        spot = np.clip(place + rng.normal(0.0, 0.1, 3), -1.0, 1.0)
        impacts.append(
            Impact(
                time_s=float(time_s),
                body=body.name,
                other=striker.name,
                impulse_ns=float(1.4 * mass * hit_speed),
                speed_mps=float(hit_speed),
                position=(float(spot[0]), float(spot[1]), float(spot[2])),
            )
        )
    return [impact for impact in impacts if 0.0 <= impact.time_s < duration_s]


def _random_friction(
    rng: np.random.Generator, body: Body, other: Body, duration_s: float
) -> Friction:
    start_s = float(rng.uniform(0.0, 0.6 * duration_s))
    stop_s = float(rng.uniform(start_s + 0.2 * duration_s, duration_s * 1.05))
    times = np.linspace(start_s, stop_s, 12)
    top = 0.1 * 20.0 ** rng.random()
    progress = np.linspace(0.0, 1.0, 12)
    if rng.random() < 0.5:  # pushed once, then slower and slower
        speed = top * (1 - progress)
    else:  # to and fro
        speed = top * np.abs(np.sin(np.pi * progress * float(rng.integers(1, 6))))
    force = 9.81 * mass_kg(body) * rng.uniform(0.7, 1.5)
    return Friction(
        body=body.name,
        other=other.name,
        kind="roll" if rng.random() < 0.5 else "scrape",
        times_s=times,
        speed_mps=speed * rng.uniform(0.8, 1.2, 12),
        force_n=np.full(12, float(force)),
    )
