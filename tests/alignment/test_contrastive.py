"""Contrastive losses: closed forms, padding, and that they can be minimised."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from foleyflow.alignment.contrastive import contrastive_losses, info_nce, masked_mean
from foleyflow.alignment.model import Alignment, AlignmentConfig

CONFIG = AlignmentConfig(
    width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, contrast_width=8
)
SEGMENTS = 12


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows", [2, 7, 32])
def test_equal_features_cost_the_logarithm_of_their_count(rows):
    same = torch.ones(rows, 5)
    assert float(info_nce(same, same, torch.tensor(14.0))) == pytest.approx(math.log(rows))


def test_orthogonal_pairs_have_the_closed_form_softmax_loss():
    one = torch.eye(4)
    for sharpness in (1.0, 10.0):
        wanted = math.log(1 + 3 * math.exp(-sharpness))
        got = info_nce(3.0 * one, 0.5 * one, torch.tensor(sharpness))
        assert float(got) == pytest.approx(wanted, rel=1e-2)


def test_the_loss_is_the_mean_of_both_directions():
    one, other = random(6, 5), random(6, 5, seed=1)
    sharpness = torch.tensor(3.0)
    similarity = sharpness * nn.functional.normalize(one) @ nn.functional.normalize(other).T
    labels = torch.arange(6)
    there, back = (nn.functional.cross_entropy(x, labels) for x in (similarity, similarity.T))
    torch.testing.assert_close(info_nce(one, other, sharpness), (there + back) / 2)


def test_groups_are_compared_within_themselves():
    one, other = random(3, 4, 5), random(3, 4, 5, seed=1)
    sharpness = torch.tensor(2.0)
    each = torch.stack([info_nce(a, b, sharpness) for a, b in zip(one, other, strict=True)])
    torch.testing.assert_close(info_nce(one, other, sharpness), each.mean())


def test_masked_mean():
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
    one = contrastive_losses(model, video, times_s, mel, present=present)
    video[1, 20:] = 99.0
    other = contrastive_losses(model, video, times_s, mel, present=present)
    assert all(torch.equal(one[name], other[name]) for name in ("contrast", "stretches"))


def test_moving_the_video_by_a_third_changes_the_temporal_loss_only(model):
    """A shift by a third changes the pairs within a clip, but not the pairs of clips."""
    video, times_s, mel = inputs()
    one = contrastive_losses(model, video, times_s, mel)
    moved = contrastive_losses(model, video.roll(8, 1), times_s, mel)
    torch.testing.assert_close(one["contrast"], moved["contrast"])
    assert abs(one["stretches"].item() - moved["stretches"].item()) > 1e-3


def test_both_losses_can_be_minimised(model):
    video, times_s, mel = inputs()
    learned = nn.Parameter(video.clone())
    optimiser = torch.optim.Adam([learned, *model.parameters()], 1e-2)
    for step in range(60):
        losses = contrastive_losses(model, learned, times_s, mel)
        if step == 0:
            assert losses["contrast"].item() > 0.5 * math.log(4)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert losses["contrast"].item() < 0.2 and losses["stretches"].item() < 0.4
