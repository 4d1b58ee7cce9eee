"""Augmentation of a window's frames: framing, mirroring, colours and cuts, never the timing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CUT_PROBABILITY = 0.15


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Changes that are applied to all frames of one shot.

    Attributes:
        spans, place: (2,) height and width of the crop as fractions of the side, and its position
            in the remaining space, 0..1. Above 1 the frame is shrunk inside a border. None for
            the full frame.
        mirrored: left and right are swapped.
        grey: colours are removed.
        curve: gamma, gain and lift of the levels; None for no change.
        tints: (3,) gains of the colour channels, applied with `curve`.
        border: level outside the frame, 0..255.
    """

    spans: NDArray[np.float64] | None = None
    place: NDArray[np.float64] | None = None
    mirrored: bool
    grey: bool
    curve: tuple[float, float, float] | None = None
    tints: NDArray[np.float64] | None = None
    border: int = 0


@dataclass(frozen=True, kw_only=True)
class ShotPlan:
    """The augmentation of a window, which may have a cut.

    Attributes:
        second: after the cut; None without a cut.
        cut_fraction: fraction of the frames before the cut.
    """

    first: Augmentation
    second: Augmentation | None = None
    cut_fraction: float = 1.0


def sample_augmentation(rng: np.random.Generator) -> Augmentation:
    """Sample an augmentation; the random numbers used do not depend on any frame."""
    spans = place = curve = tints = None
    border = 0
    framing = rng.random()
    if framing < 0.6:
        spans, place = rng.uniform(0.72, 1.0, size=2), rng.random(2)
    elif framing < 0.75:  # bars at two sides, or at all sides as around a small, distant object
        spans, place = rng.uniform(1.0, 1.6, size=2), rng.uniform(0.3, 0.7, size=2)
        if rng.random() < 0.6:
            spans[rng.integers(2)] = 1.0
        border = 0 if rng.random() < 0.7 else int(rng.integers(256))
    mirrored, grey = bool(rng.random() < 0.5), bool(rng.random() < 0.08)
    if rng.random() < 0.7:
        curve = rng.uniform(0.7, 1.4), rng.uniform(0.6, 1.3), rng.uniform(-0.12, 0.12)
        tints = rng.uniform(0.85, 1.15, size=3)
    return Augmentation(
        spans=spans,
        place=place,
        mirrored=mirrored,
        grey=grey,
        curve=curve,
        tints=tints,
        border=border,
    )


def sample_shots(rng: np.random.Generator) -> ShotPlan:
    """Sample the augmentation of a window; a cut is no event, and the sound continues across it."""
    first = sample_augmentation(rng)
    if rng.random() >= CUT_PROBABILITY:
        return ShotPlan(first=first)
    return ShotPlan(
        first=first, second=sample_augmentation(rng), cut_fraction=rng.uniform(0.1, 0.9)
    )


def apply_shots(frames: NDArray[np.uint8], shots: ShotPlan) -> NDArray[np.uint8]:
    """(T, S, S, 3) uint8 frames with the augmentation of their shots; the same shape."""
    if shots.second is None:
        return apply_augmentation(frames, shots.first)
    cut = round(shots.cut_fraction * len(frames))
    return np.concatenate(
        [
            apply_augmentation(frames[:cut], shots.first),
            apply_augmentation(frames[cut:], shots.second),
        ]
    )


def augment(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(T, S, S, 3) uint8 frames of one shot with one sampled augmentation; the same shape."""
    return apply_augmentation(frames, sample_augmentation(rng))


def apply_augmentation(frames: NDArray[np.uint8], change: Augmentation) -> NDArray[np.uint8]:
    """(T, S, S, 3) uint8 frames with an augmentation; the same shape."""
    side = frames.shape[1]
    if change.spans is not None and change.place is not None:
        # Crop or shrink, by nearest pixels
        spans = side * change.spans
        top, left = (side - spans) * change.place
        rows = np.round(top + np.linspace(0, spans[0] - 1, side)).astype(int)
        columns = np.round(left + np.linspace(0, spans[1] - 1, side)).astype(int)
        inside = _in_range(rows, side)[:, None] & _in_range(columns, side)[None, :]
        rows, columns = rows.clip(0, side - 1), columns.clip(0, side - 1)
        frames = frames[:, rows[:, None], columns[None, :]]
        frames[:, ~inside] = change.border
    if change.mirrored:
        frames = frames[:, :, ::-1]
    if change.grey:
        frames = np.broadcast_to(frames.mean(-1, keepdims=True).astype(np.uint8), frames.shape)
    if change.curve is not None and change.tints is not None:
        # One table of levels per colour channel
        levels = np.arange(256) / 255.0
        gamma, gain, lift = change.curve
        tables = []
        for tint in change.tints:
            curve = np.clip(gain * tint * levels**gamma + lift, 0, 1)
            tables.append(np.round(255 * curve).astype(np.uint8))
        frames = np.stack([tables[c][frames[..., c]] for c in range(3)], axis=-1)
    return frames


def _in_range(places: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    return (places >= 0) & (places < side)
