"""Masks of segments, and that visible frames contain no audio of masked segments."""

from __future__ import annotations

import pytest
import torch

from foleyflow.alignment.masking import (
    distance_to_visible,
    sample_visible_mask,
    shortest_block,
    visible_fraction,
    visible_frames,
)
from foleyflow.alignment.model import AlignmentConfig
from foleyflow.alignment.targets import MelPatches, SegmentLogMel

RATIOS = (0.3, 0.5, 0.7, 0.8, 0.9)
# Frames per segment and segments of the recipes `vama`, small ones, `published` and `literal`
SHAPES = ((8, 40), (8, 30), (16, 40), (2, 64))


def masks(
    batch: int,
    segments: int,
    ratio: float,
    longest: int = 4,
    *,
    frames: int = 8,
    seed: int = 0,
    **settings,
):
    generator = torch.Generator().manual_seed(seed)
    return sample_visible_mask(
        batch,
        segments,
        frames_per_segment=frames,
        ratio=ratio,
        longest_block=longest,
        generator=generator,
        **settings,
    )


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("frames", "segments"), SHAPES)
@pytest.mark.parametrize("longest", [1, 4])
def test_the_visible_fraction_of_frames_is_one_minus_the_ratio(ratio, frames, segments, longest):
    visible = masks(600, segments, ratio, longest, frames=frames)
    assert visible_fraction(visible, frames) == pytest.approx(1 - ratio, abs=0.005)
    # Each sample is within a shortest block and two frames of it
    counts = visible_frames(visible, frames).sum(1)
    error = (counts - (1 - ratio) * segments * frames).abs().max()
    assert float(error) < shortest_block(frames) * frames + 2


@pytest.mark.parametrize("ratio", [0.3, 0.8])
@pytest.mark.parametrize(("frames", "segments"), [*SHAPES, (2, 1), (3, 2), (8, 1), (8, 3)])
@pytest.mark.parametrize("longest", [1, 4])
def test_every_visible_segment_has_a_visible_frame(ratio, frames, segments, longest):
    visible = masks(200, segments, ratio, longest, frames=frames)
    shown = visible_frames(visible, frames).unflatten(1, (segments, frames)).any(-1)
    assert torch.equal(shown, visible)
    # The expected fraction is exact for few segments too; 4.5 standard errors of 200 samples
    assert visible_fraction(visible, frames) == pytest.approx(1 - ratio, abs=0.16)


def test_literal_masks_show_a_fifth():
    """Two frames per segment: single visible segments would show nothing."""
    single = torch.tensor([[0, 1, 0, 0, 1, 1, 0]], dtype=torch.bool)
    wanted = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    assert visible_frames(single, 2)[0].int().tolist() == wanted
    for longest in (1, 4):
        visible = masks(1000, 64, 0.8, longest, frames=2)
        assert visible_fraction(visible, 2) == pytest.approx(0.2, abs=0.002)


def test_all_or_no_segments_can_be_masked():
    for frames in (2, 8):
        assert not masks(3, 20, 1.0, frames=frames).any()
        assert masks(3, 20, 0.0, frames=frames).all()


def test_blocks_are_contiguous_and_limited_in_length():
    # 14 of 80 frames are visible: one block of two segments, or single ones with 12 or 18 frames
    visible = masks(400, 10, 1 - 14 / 80, 2)
    runs = (visible[:, 1:] & ~visible[:, :-1]).sum(1) + visible[:, 0]
    assert set(runs.tolist()) == {1, 2, 3}
    assert float((runs == 1).float().mean()) > 0.4
    two = visible[(runs == 1) & (visible.sum(1) == 2)]
    assert len(two) > 100
    assert (visible_frames(two[~two[:, 0] & ~two[:, -1]], 8).sum(1) == 14).all()


def test_block_masks_have_longer_runs_than_single_segments():
    def mean_run(longest: int) -> float:
        visible = masks(200, 100, 0.9, longest)
        runs = (visible[:, 1:] & ~visible[:, :-1]).sum() + visible[:, 0].sum()
        return float(visible.sum() / runs)

    assert mean_run(1) < 1.3
    assert mean_run(4) > 1.7


def test_masks_are_reproducible_from_the_generator():
    one, again, other = (masks(4, 50, 0.8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize(("ratio", "frames"), [(-0.1, 8), (1.1, 8), (0.5, 1)])
def test_numbers_out_of_range_are_refused(ratio, frames):
    message = f"ratio={ratio}, fully_masked_fraction=0.0, frames_per_segment={frames}: expected"
    with pytest.raises(ValueError, match=message):
        masks(1, 10, ratio, frames=frames)


@pytest.mark.parametrize(("fraction", "masked"), [(0.0, 0), (0.15, 3), (0.5, 10), (1.0, 20)])
def test_a_fraction_of_the_samples_is_fully_masked(fraction, masked):
    visible = masks(20, 30, 0.8, fully_masked_fraction=fraction)
    assert visible.any(1).tolist() == [True] * (20 - masked) + [False] * masked
    if masked < 20:
        assert visible_fraction(visible[: 20 - masked], 8) == pytest.approx(0.2, abs=0.02)


def test_distances_to_the_nearest_visible_segment():
    visible = torch.tensor([[0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    assert distance_to_visible(visible).tolist() == [[1, 0, 1, 2, 1, 0], [6] * 6]


def test_visible_blocks_have_guard_frames_except_at_the_ends():
    visible = torch.tensor([[1, 0, 1, 1, 0, 0, 1]], dtype=torch.bool)
    wanted = "1110 0000 0111 1110 0000 0000 0111".replace(" ", "")
    assert visible_frames(visible, 4)[0].int().tolist() == [int(c) for c in wanted]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("frames_per_segment", [2, 8])
def test_visible_frames_contain_no_audio_of_masked_segments(seed, frames_per_segment):
    config = AlignmentConfig(mel_frames_per_segment=frames_per_segment)
    patches = MelPatches(config, SegmentLogMel(config, rate_hz=48_000))
    segments, samples = 12, round(config.segment_s * 48_000)
    random = torch.Generator().manual_seed(seed)
    visible = masks(2, segments, 0.6, 3, frames=frames_per_segment, seed=seed)
    sound = torch.randn(2, segments * samples, generator=random)
    other = torch.randn(2, segments * samples, generator=random)
    same = visible.repeat_interleave(samples, dim=1)
    frames = visible_frames(visible, config.mel_frames_per_segment)
    assert frames.any()
    before, after = patches(sound), patches(torch.where(same, sound, other))
    assert torch.equal(before[frames], after[frames])
    # Without guard frames, frames of visible segments would differ
    unguarded = visible.repeat_interleave(config.mel_frames_per_segment, dim=1)
    assert not torch.equal(before[unguarded], after[unguarded])
