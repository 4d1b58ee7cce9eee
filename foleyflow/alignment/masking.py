"""Masks of audio segments, and the spectrogram frames that remain visible.

A segment is masked with all its frequencies. Visible segments come in short contiguous blocks
("inverse block masks"): between single visible segments, a long decay could be interpolated without
the video.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sample_visible_mask(
    batch: int,
    segments: int,
    *,
    ratio: float,
    longest_block: int,
    fully_masked_fraction: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    """Sample which segments are visible, (batch, segments) bool.

    Args:
        batch, segments: number of samples, and of segments per sample.
        ratio: fraction of masked segments, 0..1; round(ratio * segments) exactly.
        longest_block: visible blocks have 1 to this many segments; 1 gives single random ones.
        fully_masked_fraction: fraction of the samples, the last ones of the batch, in which all
            segments are masked, 0..1; rounded to a number of samples.
        generator: on the CPU.

    Compare the inverse block masks of Chen et al. 2024 (EAT).
    """
    if not (0 <= ratio <= 1 and 0 <= fully_masked_fraction <= 1):
        raise ValueError(
            f"ratio={ratio}, fully_masked_fraction={fully_masked_fraction}: expected 0..1"
        )
    count = segments - round(ratio * segments)
    visible = torch.zeros(batch, segments, dtype=torch.bool)
    for row in visible[: batch - round(fully_masked_fraction * batch)]:
        while (missing := count - int(row.sum())) > 0:
            length = int(torch.randint(1, longest_block + 1, (), generator=generator))
            length = min(length, missing)
            start = int(torch.randint(0, segments - length + 1, (), generator=generator))
            row[start : start + length] = True
    return visible


def distance_to_visible(visible: Tensor) -> Tensor:
    """Distance of each segment to the nearest visible one.

    (B, S) bool to (B, S) int64 segments: 0 where visible, S where all segments are masked.
    """
    count = visible.shape[1]
    positions = torch.arange(count, device=visible.device)
    distance = (positions[:, None] - positions[None, :]).abs()
    return torch.where(visible[:, None, :], distance, count).amin(-1)


def visible_frames(visible: Tensor, frames_per_segment: int) -> Tensor:
    """Spectrogram frames of the visible segments, without guard frames.

    The window of a frame reaches slightly beyond it, so that the first and last frame of a visible
    block would contain audio of the masked neighbours: these frames are hidden too, except at the
    ends of the clip.

    (B, S) bool to (B, S * frames_per_segment) bool.
    """
    frames = visible.repeat_interleave(frames_per_segment, dim=1)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    after = torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)
    return frames & before & after
