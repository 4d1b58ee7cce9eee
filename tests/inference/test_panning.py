"""The law of panning, and sounds whose parts are panned apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foleyflow.inference.panning import (
    LARGEST_LOSS_DB,
    STEPS,
    channel_gains,
    nearest_position,
    panned_blocks,
)
from foleyflow.inference.stems import Reference

RATE_HZ = 48_000
POSITIONS = [step / STEPS for step in range(-STEPS, STEPS + 1)]


def tone(frequency_hz: float, start_s: float, end_s: float) -> np.ndarray:
    """A tone of 3 s that sounds from `start_s` to `end_s`, (n,) float32."""
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    sound = 0.2 * np.sin(2 * np.pi * frequency_hz * t)
    return np.where((t >= start_s) & (t < end_s), sound, 0.0).astype(np.float32)


def reference_of(sound: np.ndarray, begin_s: float) -> Reference:
    def read(first: int, last: int) -> np.ndarray:
        wide = np.pad(sound, (10_000, 200_000))
        return wide[first + 10_000 : last + 10_000]

    return Reference(begins=[round(begin_s * RATE_HZ)], start=0, stop=len(sound), read=read)


def amplitude(sound: np.ndarray, frequency_hz: float) -> float:
    """Of a tone between 0.5 s and 2.5 s."""
    part = sound[RATE_HZ // 2 : 5 * RATE_HZ // 2]
    t = np.arange(len(part)) / RATE_HZ
    return 2 * abs(np.mean(part * np.exp(-2j * np.pi * frequency_hz * t)))


@pytest.mark.parametrize("position", POSITIONS)
def test_the_power_is_equal_and_the_mono_sum_loses_at_most_half_a_decibel(position):
    left, right = channel_gains(position)
    assert left**2 + right**2 == pytest.approx(1.0, abs=1e-12)
    assert channel_gains(-position) == (right, left)
    loss_db = -20 * math.log10((left + right) / math.sqrt(2))
    assert -1e-9 <= loss_db <= LARGEST_LOSS_DB + 1e-9
    if abs(position) == 1:
        assert loss_db == pytest.approx(0.5, abs=1e-9)
        assert 20 * math.log10(max(left, right) / min(left, right)) == pytest.approx(6.3, abs=0.05)


def test_positions_go_from_left_to_right():
    balance = [right - left for left, right in map(channel_gains, POSITIONS)]
    assert balance == sorted(balance) and balance[STEPS] == 0.0
    assert [nearest_position(pan) for pan in (None, 0.0, -1.0, 0.3, 0.99)] == [0, 0, -1, 0.25, 1]


def test_parts_that_sound_together_are_panned_apart():
    low, high = tone(500, 0.0, 3.0), tone(3000, 0.0, 3.0)
    references = [reference_of(low, 0.0), reference_of(high, 0.0)]
    panned = np.concatenate(
        list(panned_blocks([(low + high)[None]], references, [-1.0, 0.5])), axis=1
    )
    for frequency_hz, position in ((500, -1.0), (3000, 0.5)):
        for channel, gain in zip(panned, channel_gains(position), strict=True):
            assert amplitude(channel, frequency_hz) == pytest.approx(0.2 * gain, rel=1e-3)
        change_db = 20 * math.log10(amplitude(panned.sum(0) / math.sqrt(2), frequency_hz) / 0.2)
        assert -LARGEST_LOSS_DB - 1e-3 <= change_db <= 0.0


@pytest.mark.parametrize("positions", [[], [0.0, 0.0], [0.75]])
def test_parts_at_one_position_are_not_split(positions):
    mix = tone(440, 0.0, 3.0)[None]

    def unread(first: int, last: int) -> np.ndarray:
        raise AssertionError("a reference was read")

    references = [Reference(begins=[0], start=0, stop=9, read=unread) for _ in positions]
    panned = np.concatenate(list(panned_blocks([mix], references, positions)), axis=1)
    left, right = channel_gains(positions[0] if positions else 0.0)
    np.testing.assert_allclose(panned, mix * np.array([[left], [right]]), rtol=1e-6)
    if not any(positions):
        np.testing.assert_array_equal(panned[0], panned[1])
