"""Training windows: frames, sound and latents of the same time, and their augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foleyflow.data.augmentation import (
    Augmentation,
    apply_augmentation,
    apply_shots,
    augment,
    sample_augmentation,
    sample_shots,
)
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.errors import DataError

RATE_HZ = 1000  # of the sounds, whose samples count from 0
RATES = (25.0, 10.0, 30.0, 25.0)
CLIP_S = 3.2
AROUND = WindowConfig().neighbours
EVENTS = (np.array([0.41, 1.0, 2.3]), np.zeros(0), np.array([0.8]), np.array([0.05, 3.19]))


@pytest.fixture(scope="module")
def source():
    """Four clips whose frames contain their number, and whose sounds count samples."""
    frames, times, offsets = [], [], [0]
    for clip, rate in enumerate(RATES):
        count = round(CLIP_S * rate)
        numbers = np.arange(count, dtype=np.uint8)
        block = np.zeros((count, 4, 4, 3), np.uint8)
        block[..., 0] = numbers[:, None, None]
        block[..., 1] = clip
        frames.append(block)
        times.append(np.arange(count) / rate)
        offsets.append(offsets[-1] + count)
    samples = np.arange(round(CLIP_S * RATE_HZ), dtype=np.int16)
    clips = ClipArrays(
        frames=np.concatenate(frames),
        times_s=np.concatenate(times),
        offsets=np.array(offsets),
        sounds=np.stack([samples] * 4),
        rate_hz=RATE_HZ,
        event_times_s=EVENTS,
        materials=np.array([3, -1, 0, 5]),
    )
    latents = np.arange(160, dtype=np.float16)[None, :, None].repeat(4, 0).repeat(2, 2)
    return WindowSource(clips, latents, WindowConfig(segments=10, augment=False))


def cut(source, clip: int, start: int) -> dict[str, np.ndarray]:
    batch = source.cut(np.array([clip]), np.array([start]), None)
    return {name: value[0].numpy() for name, value in batch.items()}


@pytest.mark.parametrize("clip", range(4))
@pytest.mark.parametrize("start", [0, 1, 13, 30])
def test_all_parts_of_a_window_are_of_the_same_time(source, clip, start):
    window, start_s = cut(source, clip, start), start * 0.08
    # Sound and latents start with the window.
    np.testing.assert_allclose(window["sound"] * 32767, start * 80 + np.arange(800), atol=0.01)
    np.testing.assert_array_equal(window["latents"][:, 0], start * 4 + np.arange(40))
    # Time stamps of frames count from the start of the window.
    assert window["present"].all()
    numbers = window["pixels"][AROUND:-AROUND, 0, 0, 0]
    np.testing.assert_allclose(window["times_s"], numbers / RATES[clip] - start_s, atol=1e-6)
    assert window["times_s"][0] >= -1e-6 and window["times_s"][-1] < 0.8
    count = sum(0 <= n / RATES[clip] - start_s + 1e-6 < 0.8 for n in range(round(CLIP_S * 30)))
    assert len(numbers) == min(count, round(CLIP_S * RATES[clip]) - numbers[0])
    assert (window["pixels"][:, 1] == clip).all()
    assert (window["material"], window["clip"]) == (source.clips.materials[clip], clip)


@pytest.mark.parametrize("clip", range(4))
@pytest.mark.parametrize("start", [0, 13, 30])
def test_neighbours_are_frames_of_the_clip_repeated_at_its_ends(source, clip, start):
    shown = cut(source, clip, start)["pixels"][:, 0, 0, 0].astype(int)
    last = round(CLIP_S * RATES[clip]) - 1
    first = shown[AROUND]
    wanted = np.clip(np.arange(first - AROUND, first - AROUND + len(shown)), 0, last)
    np.testing.assert_array_equal(shown, wanted)


def test_onsets_are_in_their_latent_frame(source):
    onsets = cut(source, 0, 0)["onsets"]
    # 0.41 s is in the middle of frame 20, [0.40, 0.42), and raises both neighbours.
    assert onsets.shape == (40,)
    assert np.flatnonzero(onsets == 1.0).tolist() == [20]
    neighbour = np.exp(-0.5 * (0.02 / 0.013) ** 2)
    assert onsets[[19, 21]] == pytest.approx([neighbour, neighbour], rel=1e-4)
    assert onsets[:19].max() == onsets[22:].max() == 0.0
    # From 0.96 s on, the event at 1.0 s is at 0.04 s, between frames 1 and 2.
    later = cut(source, 0, 12)["onsets"]
    assert set(np.flatnonzero(later == 1.0)) <= {1, 2} and (later == 1.0).any()


def test_events_outside_the_window_are_left_out(source):
    assert cut(source, 1, 0)["onsets"].max() == 0.0
    assert (cut(source, 3, 15)["onsets"] == 0.0).all()
    assert np.flatnonzero(cut(source, 3, 30)["onsets"] == 1.0).tolist() == [39]


def test_shorter_windows_are_padded_and_marked(source):
    batch = source.cut(np.array([1, 2]), np.array([0, 0]), None)
    present, times = batch["present"].numpy(), batch["times_s"].numpy()
    assert present.sum(1).tolist() == [8, 24]
    assert batch["pixels"].shape == (2, 24 + 2 * AROUND, 3, 4, 4)
    assert (np.diff(times, axis=1) > 0).all()
    alone = source.cut(np.array([1]), np.array([0]), None)
    np.testing.assert_array_equal(times[0, :8], alone["times_s"][0].numpy())
    # Frames that are present have their own neighbours, also at the end of the window.
    assert torch.equal(batch["pixels"][0, : 8 + 2 * AROUND], alone["pixels"][0])


def test_batches_are_determined_by_the_generator(source):
    one, same, other = (source.draw(np.random.default_rng(s), 3) for s in (4, 4, 5))
    assert one.keys() == set("pixels times_s present sound latents onsets material clip".split())
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["sound"], other["sound"])
    assert one["pixels"].dtype == torch.uint8 and one["sound"].dtype == torch.float32


def test_plain_windows_start_at_the_beginning(source):
    batch = source.draw(np.random.default_rng(0), 4, plain=True)
    assert (batch["latents"][:, 0, 0] == 0).all()
    assert sorted(batch["clip"].tolist()) == [0, 1, 2, 3]


def test_all_clips_are_sampled_equally_often():
    """This includes the first and last clips by frame rate, and clips between two blocks."""
    count = 41
    clips = ClipArrays(
        frames=np.zeros((count * 32, 4, 4, 3), np.uint8),
        times_s=np.tile(np.arange(32) / 10, count),
        offsets=np.arange(count + 1) * 32,
        sounds=np.zeros((count, 3200), np.int16),
        rate_hz=RATE_HZ,
        event_times_s=[np.zeros(0)] * count,
        materials=np.zeros(count, np.int64),
    )
    source = WindowSource(clips, np.zeros((count, 160, 2), np.float16), WindowConfig(segments=40))
    random, draws, batch = np.random.default_rng(0), 4000, 3
    seen = np.concatenate([source._sample_similar(random, batch) for _ in range(draws)])
    assert seen.shape == (draws * batch,)
    expected = draws * batch / count
    found = np.bincount(seen, minlength=count)
    # Five standard deviations of a count.
    assert np.abs(found - expected).max() < 5 * np.sqrt(expected)
    near = [np.ptp(source._sample_similar(random, batch)) for _ in range(200)]
    assert max(near) < 4 * batch


def test_windows_start_anywhere(source):
    random = np.random.default_rng(0)
    starts = {int(source.draw(random, 1)["latents"][0, 0, 0]) // 4 for _ in range(300)}
    assert starts == set(range(source.spare + 1))


def test_clips_shorter_than_a_window_are_refused(source):
    with pytest.raises(DataError, match="4 clips of 160 latent frames, expected clips of at least"):
        WindowSource(source.clips, source.latents, WindowConfig(segments=41))


def test_an_augmentation_is_the_same_for_all_frames():
    picture = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    changed = 0
    for seed in range(40):
        changed_frames = augment(picture.repeat(5, 0), np.random.default_rng(seed))
        assert (changed_frames.shape, changed_frames.dtype) == ((5, 16, 16, 3), np.uint8)
        assert (changed_frames == changed_frames[:1]).all()
        changed += not np.array_equal(changed_frames[:1], picture)
    assert changed > 30


def test_a_frame_in_a_border_is_complete_and_in_its_place():
    pictures = np.random.default_rng(0).integers(100, 256, (2, 16, 16, 3)).astype(np.uint8)
    change = Augmentation(
        spans=np.array([1.0, 2.0]), place=np.array([0.5, 0.5]), mirrored=False, grey=False, border=7
    )
    seen = apply_augmentation(pictures, change)
    inner = (seen != 7).all(axis=(0, 1, 3))
    assert inner.tolist() == [False] * 4 + [True] * 8 + [False] * 4
    assert (seen[:, :, ~inner] == 7).all()
    # At half the size, every column is one of the original, from one end to the other.
    columns = [
        np.flatnonzero((pictures == seen[:, :, [c]]).all((0, 1, 3)))[0] for c in range(4, 12)
    ]
    assert columns[0] <= 1
    assert columns[-1] >= 14
    assert np.diff(columns).min() >= 1


def test_some_augmentations_have_a_border():
    changes = [sample_augmentation(np.random.default_rng(seed)) for seed in range(400)]
    bordered = [each for each in changes if each.spans is not None and each.spans.max() > 1]
    assert 0.08 < len(bordered) / len(changes) < 0.22
    bars = [each for each in bordered if each.spans.min() == 1]
    assert 0.4 < len(bars) / len(bordered) < 0.8


def test_a_cut_changes_the_augmentation_once():
    pictures = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    plans = [sample_shots(np.random.default_rng(seed)) for seed in range(400)]
    cut = [shots for shots in plans if shots.second is not None]
    assert 0.1 < len(cut) / len(plans) < 0.2
    for shots in cut:
        seen = apply_shots(pictures.repeat(20, 0), shots)
        assert (seen.shape, seen.dtype) == ((20, 16, 16, 3), np.uint8)
        changes = np.flatnonzero((seen[1:] != seen[:-1]).any((1, 2, 3)))
        assert changes.tolist() == [round(shots.cut_fraction * 20) - 1]
    uncut = next(shots for shots in plans if shots.second is None)
    np.testing.assert_array_equal(
        apply_shots(pictures, uncut), apply_augmentation(pictures, uncut.first)
    )


def test_augmentations_are_determined_by_the_generator():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    one, same = (augment(pictures, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_augmentation_never_changes_the_timing(source):
    plain = source.cut(np.array([0]), np.array([3]), None)
    augmented = source.cut(np.array([0]), np.array([3]), np.random.default_rng(1))
    assert not torch.equal(plain["pixels"], augmented["pixels"])
    for name in plain.keys() - {"pixels"}:
        assert torch.equal(plain[name], augmented[name]), name
