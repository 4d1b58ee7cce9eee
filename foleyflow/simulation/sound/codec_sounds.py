"""Random sounds without video that train the audio codec.

Seven in ten are simulated contacts; the others are noises, tones and mixtures, so that the codec
does not fail on sounds other than impacts. An item is a function of split, seed and index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.errors import ConfigError
from foleyflow.simulation.constants import AUDIO_RATE_HZ, GRAVITY_MPS2, SPLITS, Split
from foleyflow.simulation.contacts import Body, ContactLog, Friction, Impact
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.simulation.sound.modes import mass_kg, reduced_mass_kg
from foleyflow.simulation.sound.noises import (
    coloured_noise,
    sample_noise,
    scale_to_unit_peak,
    vary_microphone,
)
from foleyflow.simulation.sound.room import sample_room
from foleyflow.simulation.sound.synthesis import synthesise

CONTACT_FRACTION = 0.7
_SHAPES = ("box", "sphere", "cylinder", "capsule", "plate", "bar", "bowl")
# Shape -> ranges of its second and third size relative to the first
_RELATIVE_SIZES = {
    "plate": ((0.4, 1.0), (0.01, 0.06)),
    "bar": ((0.05, 0.2), (0.02, 0.1)),
    "box": ((0.3, 1.0), (0.2, 1.0)),
}


@dataclass(frozen=True, kw_only=True)
class CodecSounds:
    """A sequence of random sounds; item `index` always has the same samples.

    Attributes:
        seed: of all items, >= 0.
        split: "train", "validation" or "test"; the splits have no item in common.
        length: number of items.
    """

    seed: int
    split: Split = "train"
    duration_s: float = 1.0
    rate_hz: int = AUDIO_RATE_HZ
    length: int = 1_000_000

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"split={self.split!r}: expected one of {', '.join(SPLITS)}")
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
        """Return the samples of one item, (round(duration_s * rate_hz),) float32 within -1..1."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} of {self.length} sounds")
        sequence = np.random.SeedSequence((SPLITS.index(self.split), self.seed, int(index)))
        rng = np.random.default_rng(sequence)
        return sample_sound(rng, duration_s=self.duration_s, rate_hz=self.rate_hz)


def sample_sound(
    rng: np.random.Generator, *, duration_s: float, rate_hz: int = AUDIO_RATE_HZ
) -> NDArray[np.float32]:
    """Return one random sound: contacts, a noise, or both.

    Returns:
        (round(duration_s * rate_hz),) float32, within -1..1, peaks from -40 to 0 dBFS (silence
        with faint noise: lower).
    """
    length = count_at(duration_s, rate_hz)
    kind = rng.random()
    if kind < CONTACT_FRACTION:
        sound = _contact_sound(rng, duration_s, rate_hz)
    elif kind < 0.90:
        sound = sample_noise(rng, length, rate_hz=rate_hz)
    elif kind < 0.97:
        first, second = (sample_noise(rng, length, rate_hz=rate_hz) for _ in range(2))
        if rng.random() < 0.5:
            second = _contact_sound(rng, duration_s, rate_hz)
        level = 10 ** (rng.uniform(-30.0, 0.0) / 20)
        sound = scale_to_unit_peak(first) * level + scale_to_unit_peak(second)
    else:
        level = 10 ** (rng.uniform(-90.0, -60.0) / 20)
        noise = coloured_noise(rng, length, rate_hz=rate_hz)
        return (level * scale_to_unit_peak(noise)).astype(np.float32)
    if rng.random() < 0.3:
        sound = vary_microphone(sound, rng, rate_hz=rate_hz)
    peak_db = -40.0 * rng.random() ** 1.7
    return np.asarray(scale_to_unit_peak(sound) * 10 ** (peak_db / 20), dtype=np.float32)


def sample_contact_log(rng: np.random.Generator, duration_s: float) -> ContactLog:
    """Sample contacts of one to four bodies of any material and shape, 2 cm to 1 m.

    Returns:
        a log of single hits, bounces, patterns of up to 8 hits a second, rolling or scraping.
    """
    count = int(rng.integers(1, 5))
    bodies = [_sample_body(rng, f"body{index}") for index in range(count)]
    striker = _sample_body(rng, "striker", largest_m=0.25)
    impacts: list[Impact] = []
    frictions: list[Friction] = []
    for body in bodies:
        if rng.random() < 0.16:
            frictions.append(_sample_friction(rng, body, striker, duration_s))
            if rng.random() < 0.5:
                continue
        impacts.extend(_sample_impacts(rng, body, striker, duration_s))
    impacts.sort(key=lambda impact: impact.time_s)
    bodies_by_name = {body.name: body for body in (*bodies, striker)}
    return ContactLog(bodies=bodies_by_name, impacts=impacts, frictions=frictions)


def _contact_sound(
    rng: np.random.Generator, duration_s: float, rate_hz: int
) -> NDArray[np.float64]:
    # Half of the clips start later than the contacts, so that earlier sounds still ring.
    lead_s = float(rng.uniform(0.05, 0.5)) if rng.random() < 0.5 else 0.0
    log = sample_contact_log(rng, duration_s + lead_s)
    room = sample_room(rng) if rng.random() < 0.6 else None
    ambience_db = float(rng.uniform(-75.0, -40.0)) if rng.random() < 0.5 else None
    sound = synthesise(
        log,
        duration_s=duration_s + lead_s,
        rate_hz=rate_hz,
        rng=rng,
        room=room,
        ambience_db=ambience_db,
    ).waveform
    length = count_at(duration_s, rate_hz)
    return sound[len(sound) - length :].astype(np.float64)


def _sample_body(rng: np.random.Generator, name: str, *, largest_m: float = 1.0) -> Body:
    material = str(rng.choice(MATERIAL_NAMES))
    shape = "membrane" if material == "membrane" else str(rng.choice(_SHAPES))
    size = 0.02 * (largest_m / 0.02) ** rng.random()
    if shape == "membrane":
        size = max(size, 0.12)
        size_m = (size, size, 0.6 * size)
    elif shape in _RELATIVE_SIZES:
        second, third = _RELATIVE_SIZES[shape]
        size_m = (size, size * rng.uniform(*second), size * rng.uniform(*third))
    elif shape == "sphere":
        size_m = (size, size, size)
    elif shape == "bowl":
        size_m = (size, size, size * rng.uniform(0.2, 1.2))
    else:
        across = size * rng.uniform(0.1, 0.8)
        size_m = (across, across, size)
    return Body(
        name=name,
        material=material,
        shape=shape,  # type: ignore[arg-type]  # one of the names of `Shape`
        size_m=size_m,
        hollow=bool(rng.random() < 0.5),
        damping=float(np.exp(rng.uniform(np.log(0.7), np.log(4.0)))),
    )


def _sample_impacts(
    rng: np.random.Generator, body: Body, striker: Body, duration_s: float
) -> list[Impact]:
    """Sample a single hit, a bounce or a pattern of hits."""
    kind = rng.random()
    start_s = float(rng.uniform(-0.1, max(duration_s, 0.05)))
    speed = float(0.3 * 15.0 ** rng.random())
    if kind < 0.4:
        times, speeds = [start_s], [speed]
    elif kind < 0.6:  # a bounce: each rise is lower
        gap_s, keep = 0.1 + 0.2 * speed, rng.uniform(0.45, 0.85)
        times, speeds = [], []
        while start_s < duration_s and gap_s > 0.012:
            times.append(start_s)
            speeds.append(speed)
            start_s, gap_s, speed = start_s + gap_s, gap_s * keep, speed * keep
    else:  # a pattern with small irregularities
        period_s = 1.0 / float(1.0 * 8.0 ** rng.random())
        start_s = float(rng.uniform(-0.1, min(period_s, duration_s)))
        beats = np.arange(int(np.ceil((duration_s - start_s) / period_s)))
        played = rng.random(len(beats)) < rng.uniform(0.5, 1.0)
        shifts = rng.normal(0.0, 0.02 * period_s, len(beats))
        times = (start_s + beats * period_s + shifts)[played].tolist()
        speeds = (speed * rng.uniform(0.4, 1.3, len(times))).tolist()
    mass = reduced_mass_kg(body, striker)
    centre = rng.uniform(-0.9, 0.9, 3)
    impacts = []
    for time_s, hit_speed in zip(times, speeds, strict=True):
        x, y, z = np.clip(centre + rng.normal(0.0, 0.1, 3), -1.0, 1.0).tolist()
        impacts.append(
            Impact(
                time_s=time_s,
                body=body.name,
                other=striker.name,
                impulse_ns=float(1.4 * mass * hit_speed),
                speed_mps=float(hit_speed),
                position=(x, y, z),
            )
        )
    return [impact for impact in impacts if 0.0 <= impact.time_s < duration_s]


def _sample_friction(
    rng: np.random.Generator, body: Body, other: Body, duration_s: float
) -> Friction:
    """Sample a motion that slows down after a push, or moves to and fro."""
    start_s = float(rng.uniform(0.0, 0.6 * duration_s))
    stop_s = float(rng.uniform(start_s + 0.2 * duration_s, duration_s * 1.05))
    times = np.linspace(start_s, stop_s, 12)
    top = 0.1 * 20.0 ** rng.random()
    progress = np.linspace(0.0, 1.0, 12)
    if rng.random() < 0.5:
        speed = top * (1 - progress)
    else:
        speed = top * np.abs(np.sin(np.pi * progress * float(rng.integers(1, 6))))
    force = GRAVITY_MPS2 * mass_kg(body) * rng.uniform(0.7, 1.5)
    return Friction(
        body=body.name,
        other=other.name,
        kind="roll" if rng.random() < 0.5 else "scrape",
        times_s=times,
        speed_mps=speed * rng.uniform(0.8, 1.2, 12),
        force_n=np.full(12, float(force)),
    )
