"""Monitors of an aligner: whether it uses the video, and at the right time.

R2 is 1 for an exact reconstruction and 0 for the mean of the training set. Errors are summed in the
space of the targets, so that batches can be added.

Dimension letters as in model.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.alignment.masking import distance_to_visible
from foleyflow.alignment.model import Alignment, Reconstruction

COLLAPSED = 0.05  # features with a lower standard deviation have collapsed
FARTHEST = 6  # distances to the nearest visible segment are counted up to this one


def squared_errors(
    decoded: Reconstruction, latents: Tensor, mel: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Squared errors and squared targets of each segment.

    Takes the targets as `reconstruction_losses` does. Returns "latent", "mel" and "energy", each
    (errors, targets), both (B, S). The targets of "energy" are relative to their mean over the
    batch, so that its mean level does not count.
    """
    segments = mel.shape[1]

    def per_segment(values: Tensor) -> Tensor:
        return values.square().unflatten(1, (segments, -1)).flatten(2).mean(-1)

    level = mel[..., -1:]
    error = decoded.mel - mel
    return {
        "latent": (per_segment(decoded.latents - latents), per_segment(latents)),
        "mel": (per_segment(error[..., :-1]), per_segment(mel[..., :-1])),
        "energy": (per_segment(error[..., -1:]), per_segment(level - level.mean())),
    }


def errors_by_distance(pair: tuple[Tensor, Tensor], visible: Tensor) -> Tensor:
    """Sums of (errors, targets), (B, S) each, by the distance to the nearest visible segment.

    Returns (FARTHEST, 2); row d - 1 is for distance d, the last row also for larger distances.
    """
    distance = distance_to_visible(visible).clamp_max(FARTHEST)
    distances = range(1, FARTHEST + 1)
    return torch.stack([torch.stack([p[distance == d].sum() for p in pair]) for d in distances])


def shifted_errors(
    model: Alignment,
    video: Tensor,
    times_s: Tensor,
    latents: Tensor,
    mel: Tensor,
    *,
    shifts_s: Tensor,
    present: Tensor | None = None,
) -> Tensor:
    """Reconstruction errors with all segments masked and the video shifted in time.

    Segments closer to the ends of the window than the largest shift are left out, because the
    shifted video does not cover them. `video` is F^v (B, T, D), and the targets are as in
    `squared_errors`. A positive one of the K `shifts_s` delays the video.

    Returns (K, 2) sums of squared errors and squared targets of the latents.
    """
    segments = mel.shape[1]
    edge = int(torch.ceil(shifts_s.abs().max() / model.config.segment_s - 1e-6))
    inner = slice(edge, segments - edge)
    rows = []
    for shift_s in shifts_s.tolist():
        decoded = model.reconstruct(video, times_s + shift_s, segments=segments, present=present)
        pair = squared_errors(decoded, latents, mel)["latent"]
        rows.append(torch.stack([part[:, inner].sum() for part in pair]))
    return torch.stack(rows)


def r2(sums: Tensor) -> Tensor:
    """(..., 2) sums of squared errors and squared targets to (...,) R2; NaN where both are 0."""
    return 1 - sums[..., 0] / sums[..., 1]


def feature_deviation(features: Tensor, present: Tensor | None = None) -> float:
    """Standard deviation of (B, T, D) features over all tokens, averaged over dimensions."""
    tokens = features.float().flatten(0, 1) if present is None else features.float()[present]
    return float(tokens.std(0).mean())
