"""Discriminators and their losses: published shapes, closed forms, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from foleyflow.codec.adversarial_losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    judge_frozen,
)
from foleyflow.codec.discriminators import DiscriminatorConfig, Discriminators, Judgement
from foleyflow.errors import ConfigError

SMALL = DiscriminatorConfig(
    periods=(2, 5), period_channels=(4, 8), windows_samples=(256, 64), spectral_channels=2
)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Discriminators(SMALL)


@pytest.fixture(scope="module")
def sounds():
    return 0.3 * torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))


def judgements(score: float, *features: float) -> list[Judgement]:
    """Of two discriminators that give the same score everywhere."""
    layers = [torch.full((2, 3, 4), value) for value in features]
    return [Judgement(torch.full((2, 1, places), score), layers) for places in (5, 7)]


def test_sizes_are_the_published_ones():
    with torch.device("meta"):
        networks = Discriminators(DiscriminatorConfig())
    one = sum(p.numel() for p in networks.by_period[0].parameters())
    # HiFi-GAN's layers: weights, a norm and a bias for each output channel
    layers = ((1, 32, 5), (32, 128, 5), (128, 512, 5), (512, 1024, 5), (1024, 1024, 5))
    wanted = sum(i * o * k + 2 * o for i, o, k in (*layers, (1024, 1, 3)))
    assert one == wanted
    assert len(networks.by_period) == 5 and len(networks.by_window) == 3
    total = sum(p.numel() for p in networks.parameters())
    assert total == pytest.approx(42.5e6, rel=0.01)


def test_each_discriminator_returns_scores_and_the_features_of_its_layers(small, sounds):
    found = small(sounds)
    assert len(found) == 4
    for period, each in zip(SMALL.periods, found[:2], strict=True):
        assert each.scores.shape[:2] == (2, 1) and each.scores.shape[3] == period
        assert [f.shape[1] for f in each.features] == [4, 8]
    for window, each in zip(SMALL.windows_samples, found[2:], strict=True):
        frames = math.ceil(sounds.shape[1] / (window // 4))
        assert each.scores.shape[:3] == (2, 1, frames)
        assert len(each.features) == 5 * 5  # layers of each band
        # The bands cover all bins
        first_layers = each.features[::5]
        assert sum(f.shape[3] for f in first_layers) == window // 2 + 1


def test_level_and_offset_do_not_matter_but_rounding_noise_stays_quiet(small, sounds):
    for one, other in zip(small(sounds), small(0.1 * sounds + 0.2), strict=True):
        torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=1e-3)
    faint = small(1e-7 * sounds)
    silent = small(torch.zeros_like(sounds))
    for one, other in zip(faint, silent, strict=True):
        torch.testing.assert_close(one.scores, other.scores, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("kind", "true", "decoded", "wanted"),
    [
        ("hinge", 1.0, -1.0, 0.0),
        ("hinge", 0.5, 0.0, 1.5),
        ("hinge", 3.0, -3.0, 0.0),
        ("least squares", 1.0, 0.0, 0.0),
        ("least squares", 0.5, 0.5, 0.5),
        ("least squares", 3.0, -1.0, 5.0),
    ],
)
def test_closed_form_of_the_discriminators_loss(kind, true, decoded, wanted):
    loss = discriminator_loss(judgements(true), judgements(decoded), kind)
    assert float(loss) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("kind", "score", "wanted"),
    [
        ("hinge", 1.0, 0.0),
        ("hinge", -1.0, 2.0),
        ("hinge", 2.0, 0.0),
        ("least squares", 1.0, 0.0),
        ("least squares", -1.0, 4.0),
    ],
)
def test_closed_form_of_the_codecs_loss(kind, score, wanted):
    assert float(adversarial_loss(judgements(score), kind)) == pytest.approx(wanted)


def test_feature_matching_is_relative_to_the_true_features():
    true = judgements(0.0, 2.0, 0.5)
    assert float(feature_matching_loss(true, true)) == 0.0
    # Errors of 50 % and 100 % in the two layers
    found = float(feature_matching_loss(true, judgements(0.0, 3.0, 0.0)))
    assert found == pytest.approx(0.75)


def test_frozen_discriminators_give_gradients_to_the_sound_alone(small, sounds):
    small.zero_grad(set_to_none=True)
    decoded = sounds.clone().requires_grad_()
    found = judge_frozen(small, decoded)
    for one, other in zip(found, small(sounds), strict=True):
        torch.testing.assert_close(one.scores, other.scores)
    adversarial_loss(found, "least squares").backward()
    assert float(decoded.grad.abs().sum()) > 0
    assert all(p.grad is None for p in small.parameters())


@pytest.mark.parametrize("kind", ["hinge", "least squares"])
def test_discriminators_learn_to_separate_noise_from_tones(kind):
    torch.manual_seed(1)
    networks = Discriminators(SMALL)
    optimiser = torch.optim.AdamW(networks.parameters(), 1e-2)
    times = torch.arange(1024) / 48_000

    def pair() -> tuple[torch.Tensor, torch.Tensor]:
        hertz = 500 + 3000 * torch.rand(4, 1)
        return torch.sin(2 * math.pi * hertz * times), torch.randn(4, 1024)

    for _ in range(40):
        true, false = pair()
        loss = discriminator_loss(networks(true), networks(false), kind)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    true, false = pair()
    networks.requires_grad_(False)
    for one, other in zip(networks(true), networks(false), strict=True):
        assert float(one.scores.mean()) > float(other.scores.mean()) + 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"periods": (), "windows_samples": ()}, "expected at least one"),
        ({"periods": (1,)}, "expected periods of 2 or more samples"),
        ({"windows_samples": (100,)}, "expected multiples of 8"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        DiscriminatorConfig(**changes)
