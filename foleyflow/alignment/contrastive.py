"""Contrastive losses between audio and video: the CAVP baseline, or a small term next to VAMA.

A window is cut into equal parts, which are encoded separately: an encoder that sees the complete
window could match the parts of a clip by their position in it. The embedding of a part is the
projection of its features, pooled over time and normalised.

Dimension letters as in model.py; P parts of a window, N items that are compared with each
other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from foleyflow.alignment.model import Alignment
from foleyflow.parallel.batch_sharding import all_gather_with_grad

MAX_SHARPNESS = 100.0  # bound of the inverse temperature, as in CLIP
Pooling = Literal["mean", "max"]


@dataclass(frozen=True, kw_only=True)
class ContrastiveLosses:
    """Losses over a batch of windows, and the level of uninformative embeddings.

    Attributes:
        contrast: () between the parts of all windows.
        stretches: () between the parts of each window; 0 for a single part.
        chance: `contrast` for equal similarities, the logarithm of the number of parts.
    """

    contrast: Tensor
    stretches: Tensor
    chance: float


def contrastive_losses(video: Tensor, audio: Tensor, sharpness: Tensor) -> ContrastiveLosses:
    """Semantic and temporal contrastive losses of embeddings (B, P, E) from `part_embeddings`.

    `sharpness` is the inverse temperature. With several processes, `contrast` compares the parts of
    all their windows.

    Reference: CAVP (Luo et al. 2023, Diff-Foley, section 3.1) in the form of its public code,
    luosiallen/Diff-Foley, `ClipLoss_Intra_Contrast`: all parts of a batch are compared with each
    other, and those of each clip in addition.
    """
    all_video, all_audio = (all_gather_with_grad(side).flatten(0, 1) for side in (video, audio))
    return ContrastiveLosses(
        contrast=info_nce(all_video, all_audio, sharpness),
        stretches=info_nce(video, audio, sharpness),
        chance=math.log(len(all_video)),
    )


def info_nce(one: Tensor, other: Tensor, sharpness: Tensor) -> Tensor:
    """Symmetric InfoNCE loss: log(N) for uninformative features, 0 at best.

    Item n of `one` (..., N, E) matches item n of `other`, both normalised; `sharpness` is the
    inverse temperature.

    Reference: van den Oord et al. 2018, symmetric as in CLIP (Radford et al. 2021).
    """
    logits = sharpness * one @ other.mT
    forward = torch.log_softmax(logits, -1).diagonal(dim1=-2, dim2=-1)
    backward = torch.log_softmax(logits, -2).diagonal(dim1=-2, dim2=-1)
    return -(forward.mean() + backward.mean()) / 2


def sharpness_of(model: Alignment) -> Tensor:
    """The learned inverse temperature of a model, () float32, bounded as in CLIP."""
    return model.log_sharpness.float().exp().clamp_max(MAX_SHARPNESS)


def part_embeddings(
    model: Alignment,
    features: Tensor,
    times_s: Tensor,
    mel: Tensor,
    *,
    parts: int,
    pooling: Pooling,
    present: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Normalised embeddings of the parts of windows, of video and of audio, (B, P, E) float32.

    Args:
        model: with a `contrast_width` above 0.
        features: (B, T, D) from `Alignment.encode_video`, without temporal context.
        times_s: (B, T).
        mel: (B, S * frames, bands) log-mel of the true audio, all of which is visible.
        parts: P, of equal length. CAVP has 3; 1 is for complete windows, as in CAV-MAE.
        pooling: of a part over time: the largest value of each channel, as in CAVP, or the mean.
        present: (B, T) bool.

    Reference: the public code of Diff-Foley (`CLIP_Video_Spec` with `Slowonly_pool` and
    `cnn14_pool`): projection, maximum over time, normalisation.
    """
    if present is None:
        present = torch.ones(times_s.shape, dtype=torch.bool, device=times_s.device)
    starts = part_starts(mel.shape[1] // model.config.mel_frames_per_segment, parts, mel)
    return (
        video_embeddings(model, features, times_s, present, starts=starts, pooling=pooling),
        audio_embeddings(model, mel, starts=starts, pooling=pooling),
    )


def video_embeddings(
    model: Alignment,
    features: Tensor,
    times_s: Tensor,
    present: Tensor,
    *,
    starts: Tensor,
    pooling: Pooling,
) -> Tensor:
    """Normalised embeddings of the parts of windows, (B, P, E); zero for a part without frames.

    Takes features (B, T, D) without temporal context, which is added within a part, their times
    and presence (B, T), and the first segment of each part (P,).
    """
    # Frames of each part in their order, padded to those of the longest part
    starts_s = starts[1:] * model.config.segment_s
    part = torch.bucketize(times_s.contiguous(), starts_s, right=True)
    numbers = torch.arange(len(starts), device=times_s.device)
    inside = present[:, None] & (part[:, None] == numbers[:, None])  # (B, P, T)
    counts = inside.sum(-1)
    offsets = torch.arange(max(1, int(counts.max())), device=times_s.device)
    frames = (inside.int().argmax(-1)[..., None] + offsets).clamp_max(times_s.shape[1] - 1)
    kept = (offsets < counts[..., None]).flatten(0, 1)
    rows = torch.arange(len(times_s), device=times_s.device)[:, None, None]
    cut = features[rows, frames].flatten(0, 1) * kept[..., None]
    # Context within the part, projection and pooling
    tokens = model.add_temporal_context(cut, times_s[rows, frames].flatten(0, 1), kept)
    pooled = pool_over_time(model.video_projection(tokens).float(), kept, pooling)
    return functional.normalize(pooled, dim=-1).unflatten(0, counts.shape)


def audio_embeddings(model: Alignment, mel: Tensor, *, starts: Tensor, pooling: Pooling) -> Tensor:
    """Normalised embeddings of the parts of windows, (B, P, E).

    Takes (B, S * frames, bands) log-mel and the first segment of each part (P,). The student
    encodes each part with the others masked.
    """
    segments = mel.shape[1] // model.config.mel_frames_per_segment
    parts = len(starts)
    part = torch.bucketize(torch.arange(segments, device=mel.device), starts[1:], right=True)
    visible = part == torch.arange(parts, device=mel.device)[:, None]  # (P, S)
    visible = visible.repeat(len(mel), 1)
    tokens = model.encode_audio(mel.repeat_interleave(parts, 0), visible)
    pooled = pool_over_time(model.audio_projection(tokens).float(), visible, pooling)
    return functional.normalize(pooled, dim=-1).unflatten(0, (-1, parts))


def part_starts(segments: int, parts: int, like: Tensor) -> Tensor:
    """First segment of each of the equal parts of a window, (P,), on the device of `like`."""
    return torch.arange(parts, device=like.device) * segments // parts


def pool_over_time(tokens: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Tokens in a mask to their mean or largest value, (B, T, E) and (B, T) bool to (B, E).

    0 for an empty mask.
    """
    if pooling == "mean":
        weights = mask.to(tokens.dtype)[..., None]
        return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1.0)
    largest = tokens.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return torch.where(mask.any(1, keepdim=True), largest, 0.0)
