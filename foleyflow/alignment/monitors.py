"""What tells whether an aligner uses the video, and the right moment of it.

R2 is 1 where hidden segments are recovered exactly and 0 where the training set's mean is said.
Everything here is told in the target's own space and sums over clips, so that batches add up.

Dimension letters as in model.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.alignment.masking import segments_to_visible
from foleyflow.alignment.model import Alignment, Recovered

COLLAPSED = 0.05  # features that deviate less than this over time and clips say nothing
FARTHEST = 6  # segments from the nearest visible one: so far, or farther


def squares(recovered: Recovered, latents: Tensor, mel: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Squared errors and squared targets of each segment.

    Args:
        recovered: the decoder's output.
        latents: (B, L, C) standardised target features.
        mel: (B, S, M) targets of `MelPatches.targets`.

    Returns:
        "latent", "mel" and "energy", each (errors, targets), both (B, S). The energy's targets
        are counted from their mean over the batch: their mean level is no merit of the video.

    Source: method section B.9.
    """
    segments = mel.shape[1]

    def per_segment(values: Tensor) -> Tensor:
        return values.square().unflatten(1, (segments, -1)).flatten(2).mean(-1)

    level = mel[..., -1:]
    return {
        "latent": (per_segment(recovered.latents - latents), per_segment(latents)),
        "mel": (per_segment((recovered.mel - mel)[..., :-1]), per_segment(mel[..., :-1])),
        "energy": (
            per_segment((recovered.mel - mel)[..., -1:]),
            per_segment(level - level.mean()),
        ),
    }


def errors_by_distance(pair: tuple[Tensor, Tensor], kept: Tensor) -> Tensor:
    """Sums of (errors, targets) by distance to the nearest visible segment.

    Args:
        pair: errors and targets, (B, S) each.
        kept: (B, S) bool.

    Returns:
        (FARTHEST, 2); row d - 1 has the segments that are d away, the last those farther too.

    Source: method section B.9.
    """
    distance = segments_to_visible(kept).clamp_max(FARTHEST)
    rows = [
        torch.stack([part[distance == away].sum() for part in pair])
        for away in range(1, FARTHEST + 1)
    ]
    return torch.stack(rows)


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
    """Errors of recovery with everything hidden, the video moved in time.

    Segments nearer to the window's ends than the largest shift are left out, for there the moved
    video has nothing to say.

    Args:
        model: the aligner.
        video: (B, T, D) F^v.
        times_s: (B, T) seconds.
        latents, mel: the targets, as in `squares`.
        shifts_s: (K,) seconds; positive shows the video later than it happened.
        present: (B, T) bool.

    Returns:
        (K, 2) sums of squared errors and squared targets of the latents.

    Source: method section B.9.
    """
    segments = mel.shape[1]
    edge = int(torch.ceil(shifts_s.abs().max() / model.config.segment_s - 1e-6))
    inner = slice(edge, segments - edge)
    rows = []
    for shift_s in shifts_s.tolist():
        recovered = model.recover(
            video, times_s + shift_s, mel=None, kept=None, segments=segments, present=present
        )
        pair = squares(recovered, latents, mel)["latent"]
        rows.append(torch.stack([part[:, inner].sum() for part in pair]))
    return torch.stack(rows)


def r2(sums: Tensor) -> Tensor:
    """(..., 2) sums of squared errors and squared targets to (...,) R2; NaN where both are 0."""
    return 1 - sums[..., 0] / sums[..., 1]


def deviation(features: Tensor, present: Tensor | None = None) -> float:
    """Mean over dimensions of the deviation over all tokens of all clips.

    Args:
        features: (B, T, D).
        present: (B, T) bool.

    Returns:
        Below `COLLAPSED` the features have collapsed.

    Source: method section B.9.
    """
    tokens = features.float().flatten(0, 1) if present is None else features.float()[present]
    return float(tokens.std(0).mean())
