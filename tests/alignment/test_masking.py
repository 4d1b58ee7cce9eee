"""Which segments are hidden, and that nothing of them can be seen in those that are not."""

from __future__ import annotations

import pytest
import torch

from foleyflow.alignment.masking import sample_visible_mask, segments_to_visible, visible_frames
from foleyflow.alignment.model import AlignmentConfig
from foleyflow.alignment.targets import LogMel, MelPatches


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("segments", [1, 7, 50])
@pytest.mark.parametrize("longest", [1, 4])
def test_the_count_of_hidden_segments_is_exact(ratio, segments, longest):
    kept = sample_visible_mask(
        5, segments, ratio=ratio, longest_block=longest, generator=generator()
    )
    assert kept.shape == (5, segments)
    assert (~kept).sum(1).tolist() == [round(ratio * segments)] * 5


def test_everything_or_nothing_may_be_hidden():
    assert not sample_visible_mask(3, 20, ratio=1.0, longest_block=4, generator=generator()).any()
    assert sample_visible_mask(3, 20, ratio=0.0, longest_block=4, generator=generator()).all()


def test_one_block_is_one_stretch_and_not_longer_than_wanted():
    # Two segments are kept: either one block of two, or two single ones.
    kept = sample_visible_mask(400, 10, ratio=0.8, longest_block=2, generator=generator())
    stretches = (kept[:, 1:] & ~kept[:, :-1]).sum(1) + kept[:, 0]
    assert set(stretches.tolist()) == {1, 2}
    assert float((stretches == 1).float().mean()) > 0.5


def test_blocks_are_longer_than_single_draws():
    def mean_stretch(longest: int) -> float:
        kept = sample_visible_mask(
            200, 100, ratio=0.9, longest_block=longest, generator=generator()
        )
        stretches = (kept[:, 1:] & ~kept[:, :-1]).sum() + kept[:, 0].sum()
        return float(kept.sum() / stretches)

    assert mean_stretch(1) < 1.3
    assert mean_stretch(4) > 1.7


def test_masks_follow_the_generator():
    settings = {"ratio": 0.8, "longest_block": 4}
    one, again, other = (
        sample_visible_mask(4, 50, generator=generator(s), **settings) for s in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_ratios_out_of_range_are_refused(ratio):
    with pytest.raises(ValueError, match=f"ratio={ratio}, fully_masked_fraction=0.0: expected"):
        sample_visible_mask(1, 10, ratio=ratio, longest_block=4, generator=generator())


@pytest.mark.parametrize(("share", "hidden"), [(0.0, 0), (0.15, 3), (0.5, 10), (1.0, 20)])
def test_a_share_of_the_rows_is_hidden_as_a_whole(share, hidden):
    kept = sample_visible_mask(
        20, 30, ratio=0.8, longest_block=4, fully_masked_fraction=share, generator=generator()
    )
    assert kept.sum(1).tolist() == [6] * (20 - hidden) + [0] * hidden


def test_distances_to_what_is_visible():
    kept = torch.tensor([[0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    assert segments_to_visible(kept).tolist() == [[1, 0, 1, 2, 1, 0], [6] * 6]


def test_kept_blocks_lose_a_frame_on_each_side_but_not_at_the_ends():
    kept = torch.tensor([[1, 0, 1, 1, 0, 0, 1]], dtype=torch.bool)
    wanted = "1110 0000 0111 1110 0000 0000 0111".replace(" ", "")
    assert visible_frames(kept, 4)[0].int().tolist() == [int(c) for c in wanted]


@pytest.mark.parametrize("seed", range(4))
def test_visible_frames_tell_nothing_of_hidden_segments(seed):
    config = AlignmentConfig()
    patches = MelPatches(config, LogMel(config, rate_hz=48_000))
    segments, samples = 12, round(config.segment_s * 48_000)
    random = generator(seed)
    kept = sample_visible_mask(2, segments, ratio=0.6, longest_block=3, generator=random)
    sound = torch.randn(2, segments * samples, generator=random)
    other = torch.randn(2, segments * samples, generator=random)
    same = kept.repeat_interleave(samples, dim=1)
    visible = visible_frames(kept, config.mel_frames_per_segment)
    assert visible.any()
    before, after = patches(sound), patches(torch.where(same, sound, other))
    assert torch.equal(before[visible], after[visible])
    # The guards are needed: without them a kept segment's own frames would differ.
    unguarded = kept.repeat_interleave(config.mel_frames_per_segment, dim=1)
    assert not torch.equal(before[unguarded], after[unguarded])
