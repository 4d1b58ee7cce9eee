"""The present sound in its file, and the peaks of sounds."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.inference.stretches import joined_ranges
from foleyflow.studio.live_sound import BLOCK_SAMPLES, LiveSound
from foleyflow.studio.peaks import COLUMN_SAMPLES, Peaks

COUNT = 2 * BLOCK_SAMPLES + 12_345


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, COUNT).astype(np.float32)


@pytest.fixture
def both(samples) -> np.ndarray:
    """Two channels."""
    return np.stack([samples, -0.5 * samples[::-1]])


def in_blocks(samples: np.ndarray, size: int = 48_000):
    """A sound (n,) or (channels, n) in blocks."""
    channels = np.atleast_2d(samples)
    return (channels[:, k : k + size] for k in range(0, channels.shape[1], size))


def test_a_sound_is_read_back_by_another_process(tmp_path, samples):
    live = LiveSound(tmp_path)
    assert live.node == 0 and live.count == 0
    assert live.replace(7, in_blocks(samples)) == [(0, COUNT)]
    again = LiveSound(tmp_path)
    assert again.node == 7 and again.count == COUNT
    assert np.array_equal(again.read(0, COUNT)[0], samples)
    assert np.array_equal(
        np.concatenate(list(again.blocks(5, 70_000)), axis=1)[0], samples[5:70_000]
    )
    assert np.array_equal(again.read(-5, 10)[0], samples[:10])


def test_only_different_samples_are_reported(tmp_path, samples):
    live = LiveSound(tmp_path)
    live.replace(1, in_blocks(samples))
    assert live.replace(2, in_blocks(samples)) == []
    changed = samples.copy()
    changed[100:110] += 0.5
    changed[BLOCK_SAMPLES + 7] = 0.0
    assert live.replace(3, in_blocks(changed)) == [
        (100, 110),
        (BLOCK_SAMPLES + 7, BLOCK_SAMPLES + 8),
    ]
    assert np.array_equal(live.read(0, COUNT)[0], changed)
    assert live.replace(4, in_blocks(samples[:1000])) == [(100, 110)]
    assert live.count == 1000


def test_patches_change_nothing_else_and_keep_the_peaks_right(tmp_path, samples):
    live = LiveSound(tmp_path)
    live.replace(1, in_blocks(samples))
    expected = samples.copy()
    parts = [(300, np.full(1000, 0.25, np.float32)), (COUNT - 50, np.zeros(50, np.float32))]
    for start, values in parts:
        expected[start : start + len(values)] = values
    live.patch(2, [(start, values[None]) for start, values in parts])
    assert np.array_equal(live.read(0, COUNT)[0], expected)
    fresh = LiveSound(tmp_path)
    assert fresh.node == 2
    columns = -(-COUNT // COLUMN_SAMPLES)
    end = columns * COLUMN_SAMPLES
    found = live.peaks.between(0, end, columns)[0]
    assert np.array_equal(found, fresh.peaks.between(0, end, columns)[0])
    for column in (0, 1, 4, 5, 200, columns - 1):
        own = expected[column * COLUMN_SAMPLES : (column + 1) * COLUMN_SAMPLES]
        assert found[column, 0] == np.floor(own.min() * 32767)
        assert found[column, 1] == np.ceil(own.max() * 32767)


def test_two_channels_alternate_and_are_patched_together(tmp_path, samples, both):
    live = LiveSound(tmp_path)
    live.replace(1, in_blocks(samples))
    assert live.replace(2, in_blocks(both)) == [(0, COUNT)]  # nothing is comparable
    assert live.channels == 2 and np.array_equal(live.read(10, 500), both[:, 10:500])
    assert np.array_equal(np.fromfile(tmp_path / "sound.f32", "<f4"), both.T.ravel())
    assert live.replace(3, in_blocks(both)) == []
    changed = both.copy()
    changed[1, 300:400] = 0.25
    assert live.replace(4, in_blocks(changed)) == [(300, 400)]
    changed[:, COUNT - 50 :] = 0.0
    live.patch(5, [(COUNT - 50, np.zeros((2, 50), np.float32))])
    fresh = LiveSound(tmp_path)
    assert fresh.channels == 2 and fresh.node == 5
    assert np.array_equal(fresh.read(0, COUNT), changed)
    columns = -(-COUNT // COLUMN_SAMPLES)
    found = live.peaks.between(0, columns * COLUMN_SAMPLES, columns)
    assert np.array_equal(found, fresh.peaks.between(0, columns * COLUMN_SAMPLES, columns))
    own = changed[:, COLUMN_SAMPLES : 2 * COLUMN_SAMPLES]
    assert np.array_equal(found[:, 1, 1], np.ceil(own.max(axis=1) * 32767))
    assert live.replace(6, in_blocks(samples)) == [(0, COUNT)] and live.channels == 1


def test_a_sound_whose_writing_failed_belongs_to_no_node(tmp_path, samples):
    live = LiveSound(tmp_path)
    live.replace(1, in_blocks(samples))

    def failing():
        yield samples[None, :48_000] * 0.5
        raise OSError("no space")

    with pytest.raises(OSError):
        live.replace(2, failing())
    assert live.node == 0 and LiveSound(tmp_path).node == 0


def test_peaks_at_any_scale_enclose_the_samples(samples):
    peaks = Peaks()
    peaks.update(0, samples[None])
    rng = np.random.default_rng(3)
    for _ in range(50):
        start, stop = sorted(rng.uniform(0, COUNT, 2))
        columns = int(rng.integers(1, 400))
        found = peaks.between(start, stop, columns)[0]
        edges = np.linspace(start, stop, columns + 1)
        for column in range(0, columns, 37):
            own = samples[int(np.ceil(edges[column])) : int(edges[column + 1])] * 32767
            if len(own):
                assert found[column, 0] <= own.min() and found[column, 1] >= own.max()
    assert not peaks.between(COUNT + 600, COUNT + 5000, 9).any()


def test_peaks_are_read_from_their_file(tmp_path, samples):
    peaks = Peaks()
    peaks.update(0, samples[None])
    peaks.write(tmp_path / "peaks")
    again = Peaks.read(tmp_path / "peaks", COUNT)
    assert np.array_equal(again.between(0, COUNT, 77), peaks.between(0, COUNT, 77))
    assert Peaks.read(tmp_path / "peaks", COUNT + 1000) is None
    assert Peaks.read(tmp_path / "missing", COUNT) is None


def test_ranges_that_touch_are_one():
    assert joined_ranges([(5, 9), (0, 2), (2, 4), (8, 12), (20, 21)]) == [(0, 4), (5, 12), (20, 21)]
