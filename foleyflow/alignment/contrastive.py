"""Contrastive losses between audio and video: the CAVP baseline, or a small term next to VAMA.

Dimension letters as in model.py; N items that are compared with each other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import Alignment
from foleyflow.parallel.batch_sharding import all_gather_with_grad

MAX_SHARPNESS = 100.0  # bound of the inverse temperature, as in CLIP
STRETCHES = 3  # parts of a clip, as in Diff-Foley


def contrastive_losses(
    model: Alignment,
    video: Tensor,
    video_times_s: Tensor,
    mel: Tensor,
    *,
    present: Tensor | None = None,
) -> dict[str, Tensor]:
    """Semantic and temporal contrastive losses over a batch of windows.

    The model must have a `contrast_width` above 0. `video` is F^v (B, T, D), and `mel` the log-mel
    of the true audio (B, S * frames, bands), all of which is visible.

    Returns two scalars: "contrast" compares the clips of the batch, "stretches" the thirds of each
    clip.

    Reference: CAVP (Luo et al. 2023, Diff-Foley, section 3.1 and its public loss).
    """
    segments = mel.shape[1] // model.config.mel_frames_per_segment
    # Projections to the contrastive space
    audio_features = model.audio_projection(model.encode_audio(mel)).float()
    video_features = model.video_projection(video).float()
    if present is None:
        present = torch.ones(video.shape[:2], dtype=torch.bool, device=video.device)
    sharpness = model.log_sharpness.float().exp().clamp_max(MAX_SHARPNESS)
    # Mean features of each third of the clip
    centres_s = model.segment_times_s(segments, mel)
    stretch_s = segments * model.config.segment_s / STRETCHES
    video_parts, audio_parts = [], []
    for part in range(STRETCHES):
        low_s, high_s = part * stretch_s, (part + 1) * stretch_s
        inside = present & (video_times_s >= low_s) & (video_times_s < high_s)
        video_parts.append(masked_mean(video_features, inside))
        audio_parts.append(audio_features[:, (centres_s >= low_s) & (centres_s < high_s)].mean(1))
    with torch.autocast(mel.device.type, enabled=False):  # similarities need float32
        return {
            "contrast": info_nce(
                all_gather_with_grad(masked_mean(video_features, present)),
                all_gather_with_grad(audio_features.mean(1)),
                sharpness,
            ),
            "stretches": info_nce(
                torch.stack(video_parts, 1), torch.stack(audio_parts, 1), sharpness
            ),
        }


def info_nce(one: Tensor, other: Tensor, sharpness: Tensor) -> Tensor:
    """Symmetric InfoNCE loss: log(N) for uninformative features, 0 at best.

    Item n of `one` (..., N, E) matches item n of `other`; `sharpness` is the inverse temperature.

    Reference: van den Oord et al. 2018, symmetric as in CLIP (Radford et al. 2021).
    """
    similarity = functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).mT
    forward = torch.log_softmax(sharpness * similarity, -1).diagonal(dim1=-2, dim2=-1)
    backward = torch.log_softmax(sharpness * similarity, -2).diagonal(dim1=-2, dim2=-1)
    return -(forward.mean() + backward.mean()) / 2


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of the tokens in a mask, (B, T, E) and (B, T) bool to (B, E); 0 for an empty mask."""
    weights = mask.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1.0)
