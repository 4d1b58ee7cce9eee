"""Contrast between sound and video: the paper's rival (CAVP), and a small term beside VAMA.

Dimension letters as in model.py; N rows that are compared with each other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import Alignment
from foleyflow.parallel.batch_sharding import all_gather_with_grad

SHARPEST = 100.0  # the inverse temperature's bound, as in CLIP
STRETCHES = 3  # of one clip, as in Diff-Foley


def contrast_losses(
    model: Alignment,
    video: Tensor,
    video_times_s: Tensor,
    mel: Tensor,
    *,
    present: Tensor | None = None,
) -> dict[str, Tensor]:
    """Semantic and temporal contrast of whole windows.

    Args:
        model: with `contrast_width` above 0.
        video: (B, T, D) F^v.
        video_times_s: (B, T) seconds.
        mel: (B, S * frames, bands) log-mel of the true sound, all of which is heard.
        present: (B, T) bool.

    Returns:
        "contrast" (): each clip's sound among those of the batch, and the reverse; "stretches"
        (): each third of a clip among the thirds of the same clip.

    Source: CAVP (Luo et al. 2023, Diff-Foley, section 3.1 and its public loss).
    """
    segments = mel.shape[1] // model.config.mel_frames_per_segment
    sound = model.audio_projection(model.listen(mel)).float()
    seen = model.video_projection(video).float()
    if present is None:
        present = torch.ones(video.shape[:2], dtype=torch.bool, device=video.device)
    sharpness = model.log_sharpness.float().exp().clamp_max(SHARPEST)
    centres_s = model.segment_times_s(segments, mel)
    stretch_s = segments * model.config.segment_s / STRETCHES
    pieces_video, pieces_sound = [], []
    for piece in range(STRETCHES):
        low_s, high_s = piece * stretch_s, (piece + 1) * stretch_s
        inside = present & (video_times_s >= low_s) & (video_times_s < high_s)
        pieces_video.append(masked_mean(seen, inside))
        pieces_sound.append(sound[:, (centres_s >= low_s) & (centres_s < high_s)].mean(1))
    with torch.autocast(mel.device.type, enabled=False):  # likenesses need all their digits
        return {
            "contrast": info_nce(
                all_gather_with_grad(masked_mean(seen, present)),
                all_gather_with_grad(sound.mean(1)),
                sharpness,
            ),
            "stretches": info_nce(
                torch.stack(pieces_video, 1), torch.stack(pieces_sound, 1), sharpness
            ),
        }


def info_nce(one: Tensor, other: Tensor, sharpness: Tensor) -> Tensor:
    """How well partners find each other among all, both ways.

    Args:
        one, other: (..., N, E); row n of the one belongs to row n of the other.
        sharpness: () inverse temperature.

    Returns:
        (): log(N) where nothing is known, 0 at best.

    Source: van den Oord et al. 2018, symmetric as in CLIP (Radford et al. 2021).
    """
    likeness = functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).mT
    forward = torch.log_softmax(sharpness * likeness, -1).diagonal(dim1=-2, dim2=-1)
    backward = torch.log_softmax(sharpness * likeness, -2).diagonal(dim1=-2, dim2=-1)
    return -(forward.mean() + backward.mean()) / 2


def masked_mean(tokens: Tensor, wanted: Tensor) -> Tensor:
    """Mean of the wanted tokens, (B, T, E) and (B, T) bool to (B, E); 0 where there are none."""
    weights = wanted.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1.0)
