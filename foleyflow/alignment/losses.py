"""Losses of VAMA on masked segments; predicting the mean of the targets gives 1.

Segments at the ends of a visible block, whose guard frames are hidden, do not count: a part of
their audio is visible, and their targets describe complete segments.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import Reconstruction
from foleyflow.parallel.batch_sharding import rescale_to_global_mean


def reconstruction_losses(
    decoded: Reconstruction, *, latents: Tensor, mel: Tensor, masked: Tensor
) -> dict[str, Tensor]:
    """Mean squared errors over masked segments and dimensions (paper eq. 4 with frozen targets).

    Takes standardised target `latents` (B, L, C), `mel` (B, S, M + 1) from `MelPatches.targets`,
    and the mask (B, S) bool; returns the scalars "latent", "mel" and "energy".
    """
    weights = masked.float() / masked.sum().clamp_min(1)
    per_segment = latents.shape[1] // masked.shape[1]
    squared = (decoded.latents - latents).square().mean(-1)
    latent = squared.unflatten(1, (-1, per_segment)).mean(-1)
    difference = (decoded.mel - mel).square()
    parts = {
        "latent": (latent * weights).sum(),
        "mel": (difference[..., :-1].mean(-1) * weights).sum(),
        "energy": (difference[..., -1] * weights).sum(),
    }
    return {name: rescale_to_global_mean(part, masked.sum()) for name, part in parts.items()}


def onset_loss(logits: Tensor, targets: Tensor, masked: Tensor) -> Tensor:
    """Binary cross-entropy of event onsets in masked segments, with more weight on positives.

    Takes (B, L) logits, (B, L) targets in 0..1 and the (B, S) mask; returns a scalar.
    """
    per_frame = functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=torch.tensor(4.0, device=logits.device), reduction="none"
    )
    weights = masked.repeat_interleave(logits.shape[1] // masked.shape[1], dim=1).float()
    mean = (per_frame * weights).sum() / weights.sum().clamp_min(1)
    return rescale_to_global_mean(mean, weights.sum())
