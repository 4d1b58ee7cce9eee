"""Random sounds for the codec: reproducible, disjoint splits, varied, in range."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.errors import ConfigError
from foleyflow.simulation.constants import SPLITS
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.simulation.sound.codec_sounds import (
    CodecSounds,
    sample_contact_log,
    sample_sound,
)
from foleyflow.simulation.sound.noises import (
    coloured_noise,
    sample_noise,
    scale_to_unit_peak,
    vary_microphone,
)


def test_items_are_reproducible_in_any_order():
    forward = CodecSounds(seed=3, duration_s=0.25)
    backward = CodecSounds(seed=3, duration_s=0.25)
    items = {index: forward[index].tobytes() for index in range(12)}
    for index in reversed(range(12)):
        assert backward[index].tobytes() == items[index]


def test_splits_seeds_and_indices_have_no_item_in_common():
    items = set()
    for split in SPLITS:
        for seed in (0, 1):
            sounds = CodecSounds(seed=seed, split=split, duration_s=0.5)
            items |= {sounds[index].tobytes() for index in (0, 1, 999_999)}
    assert len(items) == 18


def test_items_are_in_range_and_vary():
    sounds = CodecSounds(seed=0, duration_s=0.5)
    peaks = []
    for index in range(60):
        item = sounds[index]
        assert item.shape == (24_000,) and item.dtype == np.float32
        assert np.isfinite(item).all()
        peaks.append(float(np.abs(item).max()))
    assert max(peaks) <= 1.0
    assert min(peaks) < 0.1 < 0.5 < max(peaks)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_other_rates_and_lengths(rate_hz: int):
    for seed in range(8):
        sound = sample_sound(np.random.default_rng(seed), duration_s=0.333, rate_hz=rate_hz)
        assert len(sound) == round(0.333 * rate_hz)


def test_contact_logs_are_consistent_and_use_every_material():
    rng = np.random.default_rng(0)
    materials, kinds, hits = set(), set(), 0
    for _ in range(150):
        log = sample_contact_log(rng, 1.5)
        times = [impact.time_s for impact in log.impacts]
        assert times == sorted(times) and all(0 <= t < 1.5 for t in times)
        assert all({i.body, i.other} <= log.bodies.keys() for i in log.impacts)
        assert all((np.diff(f.times_s) > 0).all() for f in log.frictions)
        materials |= {body.material for body in log.bodies.values()}
        kinds |= {friction.kind for friction in log.frictions}
        hits += len(times)
    assert materials == set(MATERIAL_NAMES) and kinds == {"roll", "scrape"}
    assert hits > 300


def test_noises_are_finite_and_differ():
    sounds = [sample_noise(np.random.default_rng(s), 4800, rate_hz=16_000) for s in range(60)]
    assert all(sound.shape == (4800,) and np.isfinite(sound).all() for sound in sounds)
    flatness = [np.median(p) / p.max() for p in (np.abs(np.fft.rfft(s)) for s in sounds)]
    assert min(flatness) < 0.01 and max(flatness) > 0.1  # tones and noises


def test_microphone_filter_is_linear_and_scaled_peaks_are_one():
    noise = coloured_noise(np.random.default_rng(0), 4000, rate_hz=48_000)
    once = vary_microphone(noise, np.random.default_rng(1), rate_hz=48_000)
    twice = vary_microphone(2 * noise, np.random.default_rng(1), rate_hz=48_000)
    np.testing.assert_allclose(twice, 2 * once, atol=1e-9 * np.abs(once).max())
    assert np.abs(scale_to_unit_peak(noise)).max() == pytest.approx(1.0)
    assert not scale_to_unit_peak(np.zeros(10)).any()


def test_length_and_rejected_settings():
    sounds = CodecSounds(seed=0, length=5)
    assert len(sounds) == 5
    with pytest.raises(IndexError, match="5 of 5"):
        sounds[5]
    with pytest.raises(ConfigError, match="split='exam'"):
        CodecSounds(seed=0, split="exam")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed=-1"):
        CodecSounds(seed=-1)
    with pytest.raises(ConfigError, match="duration_s=0"):
        CodecSounds(seed=0, duration_s=0.0)
