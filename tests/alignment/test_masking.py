"""Masks of segments, and that visible frames contain no audio of masked segments."""

from __future__ import annotations

import pytest
import torch

from foleyflow.alignment.masking import distance_to_visible, sample_visible_mask, visible_frames
from foleyflow.alignment.model import AlignmentConfig
from foleyflow.alignment.targets import MelPatches, SegmentLogMel


def masks(batch: int, segments: int, ratio: float, longest: int = 4, *, seed: int = 0, **settings):
    generator = torch.Generator().manual_seed(seed)
    return sample_visible_mask(
        batch, segments, ratio=ratio, longest_block=longest, generator=generator, **settings
    )


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("segments", [1, 7, 50])
@pytest.mark.parametrize("longest", [1, 4])
def test_the_number_of_masked_segments_is_exact(ratio, segments, longest):
    visible = masks(5, segments, ratio, longest)
    assert visible.shape == (5, segments)
    assert (~visible).sum(1).tolist() == [round(ratio * segments)] * 5


def test_all_or_no_segments_can_be_masked():
    assert not masks(3, 20, 1.0).any()
    assert masks(3, 20, 0.0).all()


def test_blocks_are_contiguous_and_limited_in_length():
    # Two segments are visible: one block of two, or two single ones.
    visible = masks(400, 10, 0.8, 2)
    runs = (visible[:, 1:] & ~visible[:, :-1]).sum(1) + visible[:, 0]
    assert set(runs.tolist()) == {1, 2}
    assert float((runs == 1).float().mean()) > 0.5


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


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_ratios_out_of_range_are_refused(ratio):
    with pytest.raises(ValueError, match=f"ratio={ratio}, fully_masked_fraction=0.0: expected"):
        masks(1, 10, ratio)


@pytest.mark.parametrize(("fraction", "masked"), [(0.0, 0), (0.15, 3), (0.5, 10), (1.0, 20)])
def test_a_fraction_of_the_samples_is_fully_masked(fraction, masked):
    visible = masks(20, 30, 0.8, fully_masked_fraction=fraction)
    assert visible.sum(1).tolist() == [6] * (20 - masked) + [0] * masked


def test_distances_to_the_nearest_visible_segment():
    visible = torch.tensor([[0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    assert distance_to_visible(visible).tolist() == [[1, 0, 1, 2, 1, 0], [6] * 6]


def test_visible_blocks_have_guard_frames_except_at_the_ends():
    visible = torch.tensor([[1, 0, 1, 1, 0, 0, 1]], dtype=torch.bool)
    wanted = "1110 0000 0111 1110 0000 0000 0111".replace(" ", "")
    assert visible_frames(visible, 4)[0].int().tolist() == [int(c) for c in wanted]


@pytest.mark.parametrize("seed", range(4))
def test_visible_frames_contain_no_audio_of_masked_segments(seed):
    config = AlignmentConfig()
    patches = MelPatches(config, SegmentLogMel(config, rate_hz=48_000))
    segments, samples = 12, round(config.segment_s * 48_000)
    random = torch.Generator().manual_seed(seed)
    visible = masks(2, segments, 0.6, 3, seed=seed)
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
