"""Losses of a codec and its discriminators, which learn to tell decoded sounds from true ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from foleyflow.codec.discriminators import Discriminators, Judgement

AdversarialKind = Literal["hinge", "least squares"]
SMALLEST_FEATURE = 1e-3  # of the mean size of a layer's features, which divides their difference


def judge_frozen(discriminators: Discriminators, sound: Tensor) -> list[Judgement]:
    """`discriminators(sound)` with gradients to the sound, and none to the weights."""
    weights = {name: value.detach() for name, value in discriminators.named_parameters()}
    judged: list[Judgement] = functional_call(discriminators, weights, (sound,))
    return judged


def discriminator_loss(
    true: Sequence[Judgement], decoded: Sequence[Judgement], kind: AdversarialKind
) -> Tensor:
    """Loss of the discriminators, whose scores of true sounds shall be high: their mean.

    Hinge loss is zero for scores of at least 1 and at most -1, least squares for 1 and 0.

    Reference: Lim and Ye 2017 (hinge loss); Mao et al. 2017 (least squares).
    """
    losses = []
    for one, other in zip(true, decoded, strict=True):
        high, low = one.scores.float(), other.scores.float()
        if kind == "hinge":
            losses.append(functional.relu(1 - high).mean() + functional.relu(1 + low).mean())
        else:
            losses.append((1 - high).square().mean() + low.square().mean())
    return torch.stack(losses).mean()


def adversarial_loss(decoded: Sequence[Judgement], kind: AdversarialKind) -> Tensor:
    """Loss of the codec, whose decoded sounds shall have scores of 1: mean of all discriminators.

    Reference: Zeghidour et al. 2021 (SoundStream), eq. 4, for the hinge loss of the generator.
    """
    scores = [each.scores.float() for each in decoded]
    if kind == "hinge":
        losses = [functional.relu(1 - each).mean() for each in scores]
    else:
        losses = [(1 - each).square().mean() for each in scores]
    return torch.stack(losses).mean()


def feature_matching_loss(true: Sequence[Judgement], decoded: Sequence[Judgement]) -> Tensor:
    """Mean difference of the discriminators' features, relative to the size of the true ones.

    Reference: Défossez et al. 2022 (EnCodec), eq. 4.
    """
    losses = []
    for one, other in zip(true, decoded, strict=True):
        for wanted, found in zip(one.features, other.features, strict=True):
            target = wanted.detach().float()
            # Per sound, so that the loss does not depend on how a batch is divided
            size = target.abs().flatten(1).mean(1).clamp_min(SMALLEST_FEATURE)
            difference = (found.float() - target).abs().flatten(1).mean(1)
            losses.append((difference / size).mean())
    return torch.stack(losses).mean()
