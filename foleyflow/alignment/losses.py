"""How well hidden segments were recovered; 1 is what predicting the mean would give."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import Recovered
from foleyflow.parallel.batch_sharding import rescale_to_global_mean


def recovery_losses(
    recovered: Recovered, *, latents: Tensor, mel: Tensor, hidden: Tensor
) -> dict[str, Tensor]:
    """Mean squared errors on hidden segments, averaged over tokens and dimensions.

    Args:
        recovered: the decoder's output.
        latents: (B, L, C) target, standardised over the training set.
        mel: (B, S, M) target of `MelPatches.targets`.
        hidden: (B, S) bool, True where a segment was hidden.

    Returns:
        "latent", "mel" and "energy", each ().

    Source: paper eq. 4 with frozen targets, method section B.6.
    """
    weights = hidden.float() / hidden.sum().clamp_min(1)
    per_segment = latents.shape[1] // hidden.shape[1]
    squared = (recovered.latents - latents).square().mean(-1)
    latent = squared.unflatten(1, (-1, per_segment)).mean(-1)
    difference = (recovered.mel - mel).square()
    parts = {
        "latent": (latent * weights).sum(),
        "mel": (difference[..., :-1].mean(-1) * weights).sum(),
        "energy": (difference[..., -1] * weights).sum(),
    }
    return {name: rescale_to_global_mean(part, hidden.sum()) for name, part in parts.items()}


def onset_loss(logits: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
    """Binary cross-entropy of event starts in hidden segments, rare positives weighted up.

    Args:
        logits: (B, L).
        targets: (B, L) in 0..1.
        hidden: (B, S) bool.

    Returns:
        ().

    Source: ours (method section B.6, optional term).
    """
    per_frame = functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=torch.tensor(4.0, device=logits.device), reduction="none"
    )
    weights = hidden.repeat_interleave(logits.shape[1] // hidden.shape[1], dim=1).float()
    mean = (per_frame * weights).sum() / weights.sum().clamp_min(1)
    return rescale_to_global_mean(mean, weights.sum())
