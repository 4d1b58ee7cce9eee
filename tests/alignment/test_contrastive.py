"""Contrast: chance is the logarithm of the count, partners find each other, padding is unseen."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from foleyflow.alignment.contrastive import contrast_losses, info_nce, masked_mean
from foleyflow.alignment.model import Alignment, AlignmentConfig

CONFIG = AlignmentConfig(
    width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, contrast_width=8
)
SEGMENTS = 12


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows", [2, 7, 32])
def test_where_all_are_alike_the_loss_is_chance(rows):
    same = torch.ones(rows, 5)
    assert float(info_nce(same, same, torch.tensor(14.0))) == pytest.approx(math.log(rows))


def test_partners_that_are_alone_alike_cost_what_softmax_says():
    one = torch.eye(4)
    for sharpness in (1.0, 10.0):
        wanted = math.log(1 + 3 * math.exp(-sharpness))
        got = info_nce(3.0 * one, 0.5 * one, torch.tensor(sharpness))
        assert float(got) == pytest.approx(wanted, rel=1e-2)


def test_it_is_the_mean_of_both_directions():
    one, other = random(6, 5), random(6, 5, seed=1)
    sharpness = torch.tensor(3.0)
    likeness = sharpness * nn.functional.normalize(one) @ nn.functional.normalize(other).T
    labels = torch.arange(6)
    there, back = (nn.functional.cross_entropy(x, labels) for x in (likeness, likeness.T))
    torch.testing.assert_close(info_nce(one, other, sharpness), (there + back) / 2)


def test_groups_are_compared_within_themselves():
    one, other = random(3, 4, 5), random(3, 4, 5, seed=1)
    sharpness = torch.tensor(2.0)
    each = torch.stack([info_nce(a, b, sharpness) for a, b in zip(one, other, strict=True)])
    torch.testing.assert_close(info_nce(one, other, sharpness), each.mean())


def test_the_mean_of_wanted_tokens():
    tokens = random(2, 5, 3)
    wanted = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    got = masked_mean(tokens, wanted)
    torch.testing.assert_close(got[0], tokens[0, :2].mean(0))
    assert not got[1].any()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Alignment(CONFIG, encoder=nn.Identity()).eval()


def inputs(batch: int = 4, frames: int = 24):
    times_s = (torch.arange(frames) * 0.04).expand(batch, -1)
    return random(batch, frames, 16), times_s, random(batch, SEGMENTS * 8, 64, seed=2)


def test_padding_has_no_influence(model):
    video, times_s, mel = inputs()
    present = torch.ones(4, 24, dtype=torch.bool)
    present[1, 20:] = False
    one = contrast_losses(model, video, times_s, mel, present=present)
    video[1, 20:] = 99.0
    other = contrast_losses(model, video, times_s, mel, present=present)
    assert all(torch.equal(one[name], other[name]) for name in ("contrast", "stretches"))


def test_thirds_are_told_apart_by_time_and_clips_are_not(model):
    """Moving the video by a third changes what belongs together within a clip, not the clips."""
    video, times_s, mel = inputs()
    one = contrast_losses(model, video, times_s, mel)
    moved = contrast_losses(model, video.roll(8, 1), times_s, mel)
    torch.testing.assert_close(one["contrast"], moved["contrast"])
    assert abs(one["stretches"].item() - moved["stretches"].item()) > 1e-3


def test_both_losses_can_be_learnt(model):
    video, times_s, mel = inputs()
    seen = nn.Parameter(video.clone())
    optimiser = torch.optim.Adam([seen, *model.parameters()], 1e-2)
    for step in range(60):
        losses = contrast_losses(model, seen, times_s, mel)
        if step == 0:
            assert losses["contrast"].item() > 0.5 * math.log(4)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert losses["contrast"].item() < 0.2 and losses["stretches"].item() < 0.4
