"""Contrastive losses: closed forms, padding, and that they can be minimised."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from foleyflow.alignment.contrastive import (
    ContrastiveLosses,
    audio_embeddings,
    contrastive_losses,
    info_nce,
    part_embeddings,
    part_starts,
    pool_over_time,
    sharpness_of,
    video_embeddings,
)
from foleyflow.alignment.model import Alignment, AlignmentConfig

CONFIG = AlignmentConfig(
    width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, contrast_width=8
)
SEGMENTS = 12


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def directions(*shape: int, seed: int = 0) -> torch.Tensor:
    return nn.functional.normalize(random(*shape, seed=seed), dim=-1)


# ---------------------------------------------------------------------------------- InfoNCE


@pytest.mark.parametrize("rows", [2, 7, 32])
def test_equal_features_cost_the_logarithm_of_their_count(rows):
    same = nn.functional.normalize(torch.ones(rows, 5), dim=-1)
    assert float(info_nce(same, same, torch.tensor(14.0))) == pytest.approx(math.log(rows))


def test_orthogonal_pairs_have_the_closed_form_softmax_loss():
    one = torch.eye(4)
    for sharpness in (1.0, 10.0):
        wanted = math.log(1 + 3 * math.exp(-sharpness))
        assert float(info_nce(one, one, torch.tensor(sharpness))) == pytest.approx(wanted, rel=1e-2)


def test_the_loss_is_the_mean_of_both_directions():
    one, other = directions(6, 5), directions(6, 5, seed=1)
    sharpness = torch.tensor(3.0)
    similarity = sharpness * one @ other.T
    labels = torch.arange(6)
    there, back = (nn.functional.cross_entropy(x, labels) for x in (similarity, similarity.T))
    torch.testing.assert_close(info_nce(one, other, sharpness), (there + back) / 2)


def test_groups_are_compared_within_themselves():
    one, other = directions(3, 4, 5), directions(3, 4, 5, seed=1)
    sharpness = torch.tensor(2.0)
    each = torch.stack([info_nce(a, b, sharpness) for a, b in zip(one, other, strict=True)])
    torch.testing.assert_close(info_nce(one, other, sharpness), each.mean())


# ---------------------------------------------------------------------------------- embeddings


def test_pooling_over_a_mask():
    tokens = random(2, 5, 3)
    mask = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(pool_over_time(tokens, mask, "mean")[0], tokens[0, :2].mean(0))
    torch.testing.assert_close(pool_over_time(tokens, mask, "max")[0], tokens[0, :2].amax(0))
    for pooling in ("mean", "max"):
        assert not pool_over_time(tokens, mask, pooling)[1].any()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Alignment(CONFIG, encoder=nn.Identity()).eval()


def inputs(batch: int = 4, frames: int = 24):
    """Features, times and log-mel of windows of 0.96 s."""
    times_s = (torch.arange(frames) * 0.04).expand(batch, -1)
    return random(batch, frames, 16), times_s, random(batch, SEGMENTS * 8, 64, seed=2)


def losses_of(model, features, times_s, mel, **settings) -> ContrastiveLosses:
    settings = {"parts": 3, "pooling": "max", **settings}
    embeddings = part_embeddings(model, features, times_s, mel, **settings)
    return contrastive_losses(*embeddings, sharpness_of(model))


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_part_has_the_embedding_of_a_window_cut_to_it(model, pooling):
    """Two implementations: parts of a window, and windows that consist of one part."""
    features, times_s, mel = inputs()
    starts = part_starts(SEGMENTS, 3, mel)
    assert starts.tolist() == [0, 4, 8] and part_starts(40, 3, mel).tolist() == [0, 13, 26]
    present = torch.ones(4, 24, dtype=torch.bool)
    video = video_embeddings(model, features, times_s, present, starts=starts, pooling=pooling)
    audio = audio_embeddings(model, mel, starts=starts, pooling=pooling)
    whole = {"starts": starts[:1], "pooling": pooling}
    for part in range(3):
        frames = slice(8 * part, 8 * part + 8)
        cut = video_embeddings(
            model, features[:, frames], times_s[:, frames], present[:, frames], **whole
        )
        torch.testing.assert_close(video[:, part], cut[:, 0], atol=1e-4, rtol=1e-3)
    # The audio of other parts has no influence; a window of one part has no guard frames
    other = mel.clone()
    other[:, :32], other[:, 64:] = 9.0, -9.0
    changed = audio_embeddings(model, other, starts=starts, pooling=pooling)
    torch.testing.assert_close(changed[:, 1], audio[:, 1])
    assert not torch.allclose(changed[:, 0], audio[:, 0], atol=1e-2)


@torch.no_grad()
def test_parts_do_not_reveal_their_position(model):
    """Equal pictures in all parts of a clip: no training can match them better than chance."""
    features, times_s, mel = inputs()
    features = features[:, :8].repeat(1, 3, 1)
    present = torch.ones(4, 24, dtype=torch.bool)
    starts = part_starts(SEGMENTS, 3, mel)
    video = video_embeddings(model, features, times_s, present, starts=starts, pooling="max")
    torch.testing.assert_close(video, video[:, :1].expand_as(video), atol=1e-4, rtol=1e-3)
    assert losses_of(model, features, times_s, mel).stretches.item() > math.log(3) - 1e-4


@torch.no_grad()
def test_parts_without_frames_are_zero(model):
    features, times_s, mel = inputs()
    present = torch.ones(4, 24, dtype=torch.bool)
    present[1, 7:] = False  # only the first part
    video = video_embeddings(
        model, features, times_s, present, starts=part_starts(SEGMENTS, 3, mel), pooling="max"
    )
    lengths = video.norm(dim=-1)
    wanted = torch.ones(4, 3)
    wanted[1, 1:] = 0.0
    torch.testing.assert_close(lengths, wanted)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_padding_has_no_influence(model, pooling):
    features, times_s, mel = inputs()
    present = torch.ones(4, 24, dtype=torch.bool)
    present[1, 20:] = False
    features[1, 20:] = 0.0  # as encode_video returns it
    one = losses_of(model, features, times_s, mel, present=present, pooling=pooling)
    features[1, 20:] = 99.0
    other = losses_of(model, features, times_s, mel, present=present, pooling=pooling)
    assert one == other


@torch.no_grad()
def test_a_single_part_has_no_temporal_loss(model):
    losses = losses_of(model, *inputs(), parts=1, pooling="mean")
    assert losses.stretches.item() == 0.0 and losses.contrast.item() > 0.0
    assert losses.chance == pytest.approx(math.log(4))


@torch.no_grad()
def test_moving_the_video_by_a_part_changes_the_pairs(model):
    features, times_s, mel = inputs()
    one = losses_of(model, features, times_s, mel)
    moved = losses_of(model, features.roll(8, 1), times_s, mel)
    assert one.chance == moved.chance == pytest.approx(math.log(12))
    assert abs(one.stretches.item() - moved.stretches.item()) > 1e-3
    assert abs(one.contrast.item() - moved.contrast.item()) > 1e-3


def test_both_losses_can_be_minimised(model):
    features, times_s, mel = inputs()
    learned = nn.Parameter(features.clone())
    optimiser = torch.optim.Adam([learned, *model.parameters()], 1e-2)
    for step in range(60):
        losses = losses_of(model, learned, times_s, mel)
        if step == 0:
            assert losses.contrast.item() > 0.5 * math.log(12)
        optimiser.zero_grad()
        (losses.contrast + losses.stretches).backward()
        optimiser.step()
    assert losses.contrast.item() < 0.2 and losses.stretches.item() < 0.2
