"""Windows, latents and samples come back as they were stored, in memory and in files."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from foleyflow.inference import temporary_bytes
from foleyflow.inference.latent_spool import LatentPatch, LatentSpool
from foleyflow.inference.sound_spool import SoundPatch, SoundSpool, patched_blocks
from foleyflow.inference.temporary_bytes import TemporaryBytes
from foleyflow.inference.window_spool import AnalysedWindow, WindowSpool


@pytest.fixture(params=[100, 2**21], ids=["file", "memory"], autouse=True)
def memory_bytes(request, monkeypatch) -> int:
    monkeypatch.setattr(temporary_bytes, "MEMORY_BYTES", request.param)
    return request.param


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_values_come_back_from_any_position(random):
    store = TemporaryBytes()
    parts = [random.normal(size=size).astype(np.float32) for size in (3, 1, 100, 0, 7)]
    positions = [store.append(part) for part in parts]
    assert positions == [0, 12, 16, 416, 416] and len(store) == 444
    for position, part in zip(positions, parts, strict=True):
        np.testing.assert_array_equal(store.read(position, len(part), np.float32), part)
    np.testing.assert_array_equal(store.read(436, 99, np.float32), parts[-1][-2:])
    store.append(np.zeros(1, np.float32))  # after reads, at the end
    assert store.read(444, 1, np.float32).tolist() == [0.0]


def test_windows_come_back_with_their_places(random):
    spool, windows = WindowSpool(), []
    for start, length, kept in ((0, 12, 10), (7, 12, 10), (14, 5, 5)):
        windows.append(
            AnalysedWindow(
                start=start,
                length=length,
                kept=kept,
                video=random.normal(size=(4 * length, 6)).astype(np.float16),
                states=random.normal(size=(length, 6)).astype(np.float16),
            )
        )
        spool.append(windows[-1])
    assert len(spool) == 3
    for found, window in [*zip(spool, windows, strict=True), (spool[1], windows[1])]:
        for name, value in vars(window).items():
            np.testing.assert_array_equal(getattr(found, name), value)
            assert np.asarray(getattr(found, name)).dtype == np.asarray(value).dtype

    def covering(first: int, last: int) -> list[int]:
        return [number for number, _ in spool.covering(first, last)]

    assert covering(0, 1) == [0] and covering(6, 8) == [0, 1] and covering(9, 15) == [0, 1, 2]
    assert covering(10, 11) == [1] and covering(17, 19) == [2] and covering(19, 30) == []


def test_latents_come_back_with_their_patches():
    torch.manual_seed(0)
    pieces = [torch.randn(1, count, 3) for count in (5, 8, 2)]
    spool = LatentSpool(3)
    assert [piece.shape[1] for piece in spool.collect(pieces)] == [5, 8, 2]
    complete = torch.cat(pieces, 1)
    assert len(spool) == 15
    assert torch.equal(spool.read(0, 15), complete)
    assert torch.equal(spool.read(4, 7), complete[:, 4:7])
    assert torch.equal(spool.read(-3, 99), complete)  # cut to the clip
    assert spool.read(9, 9).shape == (1, 0, 3)
    patches = (
        LatentPatch(start=2, latents=torch.full((1, 4, 3), 7.0)),
        LatentPatch(start=5, latents=torch.full((1, 4, 3), 8.0)),  # the later one is above
    )
    expected = complete.clone()
    expected[:, 2:6], expected[:, 5:9] = 7.0, 8.0
    for first, last in ((0, 15), (3, 6), (8, 15), (0, 3)):
        assert torch.equal(spool.read(first, last, patches), expected[:, first:last])
    assert torch.equal(spool.read(0, 15), complete)


def test_samples_come_back_with_their_patches_and_gain(random):
    spool = SoundSpool(48_000, hop_samples=10)
    sound = random.uniform(-1, 1, 120_000).astype(np.float32)
    for start, stop in ((0, 70_000), (70_000, 70_010), (70_010, 120_000)):
        spool.append(sound[start:stop])
    np.testing.assert_allclose(spool.levels, np.abs(sound.reshape(-1, 10)).max(1))

    def joined(blocks) -> np.ndarray:
        return np.concatenate([block[0] for block in blocks])

    np.testing.assert_array_equal(joined(spool.blocks(0.5)), sound * np.float32(0.5))
    inside = joined(spool.blocks(1.0, start=69_000, stop=119_999))
    np.testing.assert_array_equal(inside, sound[69_000:119_999])
    patches = [
        SoundPatch(start=47_990, samples=np.full(30, 2.0, np.float32)),  # across two blocks
        SoundPatch(start=48_010, samples=np.full(50_000, 3.0, np.float32)),
        SoundPatch(start=119_990, samples=np.full(20, 4.0, np.float32)),  # beyond the end
    ]
    expected = sound.copy()
    expected[47_990:48_020], expected[48_010:98_010], expected[119_990:] = 2.0, 3.0, 4.0
    np.testing.assert_array_equal(joined(patched_blocks(spool.blocks(1.0), patches)), expected)
    np.testing.assert_array_equal(joined(spool.blocks(1.0)), sound)


def test_memory_does_not_grow_with_the_length_of_a_clip(memory_bytes):
    """10 minutes of windows, latents and samples: 0.6 MB a window, of which 1 % stays in memory."""

    def grown_bytes(windows: int) -> int:
        tracemalloc.start()
        conditions, latents = WindowSpool(), LatentSpool(48)
        sound = SoundSpool(48_000, hop_samples=960)
        for number in range(windows):
            window = AnalysedWindow(
                start=32 * number,
                length=40,
                kept=35,
                video=np.zeros((160, 192), np.float16),
                states=np.zeros((40, 192), np.float16),
            )
            conditions.append(window)
            for _ in latents.collect([torch.zeros(1, 128, 48)]):
                sound.append(np.zeros(128 * 960, np.float32))
        current, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(conditions) == windows and len(latents) == 128 * windows
        return current

    few, many = grown_bytes(47), grown_bytes(234)
    assert few < 3 * memory_bytes + 2**20
    assert (many - few) / (234 - 47) < 6_000
