"""Which audio segments are hidden, and what may be seen of those that are not.

A segment is hidden with all its frequencies. Kept segments come in short contiguous blocks
("inverse blocks"), for with single ones a long-ringing sound is recovered from its own
neighbours and the video is not needed.
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
    """Draws which segments stay visible.

    Args:
        batch: rows.
        segments: per row.
        ratio: share of segments that are hidden, 0..1; round(ratio * segments) exactly.
        longest_block: kept blocks have 1 to this many segments; 1 gives random single ones.
        fully_masked_fraction: fraction of the rows, the last ones, that are fully hidden; rounded
            to whole rows.
        generator: of torch, on the CPU.

    Returns:
        (batch, segments) bool, True where visible.

    Raises:
        ValueError: a share outside 0..1.

    Source: method section B.2 (after EAT's inverse block masks).
    """
    if not (0 <= ratio <= 1 and 0 <= fully_masked_fraction <= 1):
        raise ValueError(
            f"ratio={ratio}, fully_masked_fraction={fully_masked_fraction}: expected 0..1"
        )
    wanted = segments - round(ratio * segments)
    kept = torch.zeros(batch, segments, dtype=torch.bool)
    for row in kept[: batch - round(fully_masked_fraction * batch)]:
        while (missing := wanted - int(row.sum())) > 0:
            length = int(torch.randint(1, longest_block + 1, (), generator=generator))
            length = min(length, missing)
            start = int(torch.randint(0, segments - length + 1, (), generator=generator))
            row[start : start + length] = True
    return kept


def segments_to_visible(kept: Tensor) -> Tensor:
    """How far each segment is from the nearest visible one.

    Args:
        kept: (B, S) bool, True where visible.

    Returns:
        (B, S) int64 segments: 0 where visible, S where the whole row is hidden.

    Source: ours.
    """
    count = kept.shape[1]
    places = torch.arange(count, device=kept.device)
    apart = (places[:, None] - places[None, :]).abs()
    return torch.where(kept[:, None, :], apart, count).amin(-1)


def visible_frames(kept: Tensor, frames_per_segment: int) -> Tensor:
    """Which spectrogram frames may be shown: those of kept segments, less guards.

    A frame's window reaches a little beyond it, so the first and the last frame of each kept
    block would tell of the hidden segment beside it: both are hidden too. (At the clip's ends
    there is nothing to tell of.)

    Args:
        kept: (B, S) bool.
        frames_per_segment: spectrogram frames per segment.

    Returns:
        (B, S * frames_per_segment) bool.

    Source: method section B.2 (guard frames).
    """
    frames = kept.repeat_interleave(frames_per_segment, dim=1)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    after = torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)
    return frames & before & after
