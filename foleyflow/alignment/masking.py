"""Masks of audio segments, and the spectrogram frames that remain visible.

A segment is masked with all its frequencies. Visible segments come in short contiguous blocks
("inverse block masks"): between single visible segments, a long decay could be interpolated without
the video.

The window of a spectrogram frame reaches slightly beyond the frame. The first and last frame of a
visible block would therefore contain audio of the masked neighbours and are hidden too (guard
frames), except at the ends of the clip. The mask ratio is the fraction of hidden frames, guard
frames included. A visible segment has at least one visible frame.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sample_visible_mask(
    batch: int,
    segments: int,
    *,
    frames_per_segment: int,
    ratio: float,
    longest_block: int,
    fully_masked_fraction: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    """Sample which segments are visible, (batch, segments) bool.

    Blocks of visible segments are added to a sample until a block would exceed the wanted number of
    visible frames, (1 - ratio) * segments * frames_per_segment after guarding. This last block is
    shortened to one of the two lengths nearest to that number, with probabilities whose expectation
    is exactly the wanted number. Every sample is within one shortest block and two frames of it.

    Args:
        batch, segments: number of samples, and of segments per sample.
        frames_per_segment: spectrogram frames in a segment, at least 2.
        ratio: fraction of hidden frames, 0..1.
        longest_block: blocks have `shortest_block(frames_per_segment)` to this many segments, or
            all of them the former if this is smaller. Blocks that overlap or touch are joined.
        fully_masked_fraction: fraction of the samples, the last ones of the batch, in which all
            segments are masked, 0..1; rounded to a number of samples.
        generator: on the CPU.

    Raises:
        ValueError: a fraction is out of range, or there are fewer than 2 frames per segment.

    Compare the inverse block masks of Chen et al. 2024 (EAT).
    """
    if not (0 <= ratio <= 1 and 0 <= fully_masked_fraction <= 1 and frames_per_segment >= 2):
        raise ValueError(
            f"ratio={ratio}, fully_masked_fraction={fully_masked_fraction}, frames_per_segment="
            f"{frames_per_segment}: expected 0..1, 0..1 and at least 2"
        )
    visible = torch.zeros(batch, segments, dtype=torch.bool)
    wanted = (1 - ratio) * segments * frames_per_segment
    shortest = min(shortest_block(frames_per_segment), segments)
    longest = min(max(shortest, longest_block), segments)
    positions, lengths = torch.arange(segments), torch.arange(longest + 1)
    unfinished = torch.arange(batch - round(fully_masked_fraction * batch))
    while len(unfinished):
        # A further block for each unfinished sample
        size = (len(unfinished), 1)
        length = torch.randint(shortest, longest + 1, size, generator=generator)
        uniform = torch.rand(2, *size, generator=generator)
        start = (uniform[0] * (segments - length + 1)).long()
        # Masks with the block shortened to 0..longest segments; 0 for lengths below the shortest
        shortened = torch.minimum(lengths, length).masked_fill(lengths < shortest, 0)
        offset = (positions - start)[:, None]
        masks = visible[unfinished, None] | ((offset >= 0) & (offset < shortened[..., None]))
        counts = _visible_frame_counts(masks, frames_per_segment)
        # The longest block that shows at most the wanted frames, or randomly the next longer one
        chosen = (counts <= wanted).sum(1, keepdim=True) - 1
        longer = (chosen + 1).clamp_max(longest)
        below, above = counts.gather(1, chosen), counts.gather(1, longer)
        exceeds = above > wanted
        rounds_up = exceeds & (uniform[1] * (above - below) < wanted - below)
        chosen = torch.where(rounds_up, longer, chosen)
        visible[unfinished] = masks[torch.arange(len(masks)), chosen[:, 0]]
        unfinished = unfinished[~(exceeds | (below == wanted))[:, 0]]
    return visible


def shortest_block(frames_per_segment: int) -> int:
    """Segments in the shortest block that shows a frame between two masked neighbours."""
    return 1 if frames_per_segment > 2 else 2


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

    (B, S) bool to (B, S * frames_per_segment) bool.
    """
    frames = visible.repeat_interleave(frames_per_segment, dim=1)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    after = torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)
    return frames & before & after


def visible_fraction(visible: Tensor, frames_per_segment: int) -> float:
    """Fraction of the spectrogram frames that are visible, over all samples (B, S) bool."""
    return float(visible_frames(visible, frames_per_segment).float().mean())


def _visible_frame_counts(visible: Tensor, frames_per_segment: int) -> Tensor:
    """Number of `visible_frames`, (..., S) bool to (...) int64, for at least two per segment."""
    blocks = (visible[..., 1:] & ~visible[..., :-1]).sum(-1) + visible[..., 0]
    at_ends = visible[..., 0].long() + visible[..., -1]
    return frames_per_segment * visible.sum(-1) - 2 * blocks + at_ends
