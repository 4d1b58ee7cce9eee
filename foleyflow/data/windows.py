"""Training windows: stretches of a few seconds cut from cached clips, pictures and sound together.

A window starts on a segment's border, anywhere in its clip; pictures keep their presentation time
stamps, counted from the window's start. Clips of one batch have similar frame rates, so that
little padding is needed. Augmentation changes how a clip looks, never when things happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.clock import count_at
from foleyflow.errors import DataError
from foleyflow.event_peaks import event_track
from foleyflow.signals import INT16_FULL_SCALE

CUTS = 0.15  # share of training windows with a cut


@dataclass(frozen=True, kw_only=True)
class ClipArrays:
    """A split of clips as arrays (memory maps, mostly).

    Attributes:
        frames: (sum of T, S, S, 3) uint8; or (sum of T, K, W), a frozen encoder's features of
            frames in their place.
        times_s: (sum of T,) float64 on each clip's clock.
        offsets: (N + 1,) int; clip i has frames offsets[i]..offsets[i + 1].
        sounds: (N, samples) int16, mono.
        rate_hz: of the sounds.
        event_times_s: per clip, (E,) float64: events that should be heard.
        materials: (N,) int, class of the struck material or -1.
    """

    frames: NDArray[np.uint8] | NDArray[np.float16]
    times_s: NDArray[np.float64]
    offsets: NDArray[np.int64]
    sounds: NDArray[np.int16]
    rate_hz: int
    event_times_s: Sequence[NDArray[np.float64]]
    materials: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sounds)


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How windows are cut and augmented.

    Attributes:
        segments: length in audio segments.
        segment_s: seconds of a segment.
        latents_per_segment: latent frames in a segment.
        neighbours: frames on each side that the frame encoder looks at.
        augment: change colours, framing and side.
    """

    segments: int = 40
    segment_s: float = 0.08
    latents_per_segment: int = 4
    neighbours: int = 4
    augment: bool = True


class WindowSource:
    """Draws batches of windows from a split.

    `segments`, `rate_hz` and `latents` are public: tasks need them for their own shapes and
    statistics.
    """

    def __init__(
        self, clips: ClipArrays, latents: NDArray[np.float16], config: WindowConfig
    ) -> None:
        """Takes a split and its codec latents (N, L, C).

        Raises:
            DataError: no clips, or clips shorter than a window.
        """
        self.clips = clips
        self.latents = latents
        self.config = config
        self.segments = config.segments
        self.rate_hz = clips.rate_hz
        if config.augment and clips.frames.ndim != 4:
            raise DataError(
                "stored features can't be augmented as pictures can",
                hint="set windows.augment=false",
            )
        self._samples = count_at(config.segments * config.segment_s, clips.rate_hz)
        self._latent_frames = config.segments * config.latents_per_segment
        if not len(clips) or latents.shape[1] < self._latent_frames:
            raise DataError(
                f"{len(clips)} clips of {latents.shape[1]} latent frames, expected clips of at "
                f"least {self._latent_frames}",
                hint="simulate more or longer clips, or set windows.segments lower",
            )
        self.spare = latents.shape[1] // config.latents_per_segment - config.segments
        counts = np.diff(clips.offsets)
        self._by_rate = np.argsort(counts, kind="stable")

    def draw(
        self,
        rng: np.random.Generator,
        clips: int,
        *,
        plain: bool = False,
        rows: NDArray[np.int64] | None = None,
    ) -> dict[str, Tensor]:
        """A batch of windows.

        Args:
            rng: all choices come from it.
            clips: B.
            plain: neither augmentation nor random starts (for validation).
            rows: only these of the batch, as they are in the whole one (but for padding).

        Returns:
            "pixels" (B, T + 2 neighbours, 3, S, S) uint8, or stored features (B, T, K, W) in their
            place; "times_s" (B, T) float32 from the window's start; "present" (B, T) bool;
            "sound" (B, N) float32; "latents" (B, L, C); "onsets" (B, L) 0..1, 1 where an event
            starts; "material" (B,) int64 or -1; "clip" (B,) index in the split.
        """
        chosen = self._similar(rng, clips)
        starts = rng.integers(self.spare + 1, size=len(chosen))
        if plain:
            starts[:] = 0
        looks = rng if self.config.augment and not plain else None
        return self.cut(chosen, starts, looks, rows=rows)

    def _similar(self, rng: np.random.Generator, clips: int) -> NDArray[np.int64]:
        """Clips of similar frame rates, each clip of the split as likely as any other.

        The order of frame rates is cut into blocks from a random place on, and a block is drawn
        by its size.
        """
        count, span = len(self._by_rate), 4 * clips
        shift = int(rng.integers(span)) if count > span else 0
        block = (int(rng.integers(count)) + shift) // span
        members = self._by_rate[max(0, block * span - shift) : (block + 1) * span - shift]
        return rng.choice(members, clips, replace=len(members) < clips)

    def cut(
        self,
        chosen: NDArray[np.int64],
        starts: NDArray[np.int64],
        rng: np.random.Generator | None,
        *,
        rows: NDArray[np.int64] | None = None,
    ) -> dict[str, Tensor]:
        """The windows of given clips at given start segments; augmented where `rng` is given.

        `rows` are those of them that are wanted; a window looks the same whichever others are.
        """
        shots = [None if rng is None else draw_shots(rng) for _ in chosen]
        if rows is not None:
            chosen, starts, shots = chosen[rows], starts[rows], [shots[row] for row in rows]
        pieces = [
            self._pictures(c, s * self.config.segment_s)
            for c, s in zip(chosen, starts, strict=True)
        ]
        longest = max(len(times) for _, times in pieces)
        around = 2 * self.config.neighbours
        frames = self.clips.frames
        pixels = np.zeros((len(chosen), longest + around, *frames.shape[1:]), frames.dtype)
        times = np.zeros((len(chosen), longest), np.float32)
        present = np.zeros((len(chosen), longest), bool)
        for row, (pictures, seconds) in enumerate(pieces):
            if (seen := shots[row]) is not None:  # never so for stored features
                pictures = in_shots(pictures, seen)
            pixels[row, : len(pictures)] = pictures
            pixels[row, len(pictures) :] = pictures[-1]
            times[row, : len(seconds)] = seconds
            times[row, len(seconds) :] = seconds[-1] + 0.04 * np.arange(
                1, 1 + longest - len(seconds)
            )
            present[row, : len(seconds)] = True
        per_segment = self.config.latents_per_segment
        sample_starts = np.round(starts * self.config.segment_s * self.rate_hz).astype(int)
        sounds = np.stack(
            [
                self.clips.sounds[c, s : s + self._samples]
                for c, s in zip(chosen, sample_starts, strict=True)
            ]
        )
        latents = np.stack(
            [
                self.latents[c, s * per_segment : s * per_segment + self._latent_frames]
                for c, s in zip(chosen, starts, strict=True)
            ]
        )
        onsets = np.stack(
            [
                event_track(
                    self.clips.event_times_s[c] - s * self.config.segment_s,
                    self._latent_frames,
                    per_segment / self.config.segment_s,
                )
                for c, s in zip(chosen, starts, strict=True)
            ]
        )
        shown = torch.from_numpy(pixels)
        return {
            "pixels": shown.permute(0, 1, 4, 2, 3) if shown.ndim == 5 else shown,
            "times_s": torch.from_numpy(times),
            "present": torch.from_numpy(present),
            "sound": torch.from_numpy(sounds.astype(np.float32) / INT16_FULL_SCALE),
            "latents": torch.from_numpy(latents.astype(np.float32)),
            "onsets": torch.from_numpy(onsets),
            "material": torch.from_numpy(self.clips.materials[chosen]),
            "clip": torch.from_numpy(np.asarray(chosen, np.int64)),
        }

    def _pictures(self, clip: int, start_s: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Frames inside the window with their neighbours, and the inner frames' times."""
        begin, end = self.clips.offsets[clip], self.clips.offsets[clip + 1]
        times = self.clips.times_s[begin:end] - start_s
        window_s = self.config.segments * self.config.segment_s
        inside = np.flatnonzero((times >= -1e-6) & (times < window_s - 1e-6))
        around = self.config.neighbours
        wanted = np.arange(inside[0] - around, inside[-1] + around + 1)
        wanted = begin + np.clip(wanted, 0, end - begin - 1)
        low, high = wanted[0], wanted[-1] + 1
        block = np.asarray(self.clips.frames[low:high])
        return block[wanted - low], times[inside].astype(np.float32)


def augment(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One shot's pictures in another framing, side and colour; the same for all its frames.

    Args:
        pictures: (T, S, S, 3) uint8.
        rng: all choices come from it.

    Returns:
        (T, S, S, 3) uint8.

    Source: ours.
    """
    return dressed(pictures, sample_augmentation(rng))


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a clip's pictures are changed.

    Attributes:
        spans, place: (2,) height and width of the frame as shares of the side, and where in the
            rest it lies; above 1 the picture stands in a border. None for the whole picture.
        mirrored: left and right change places.
        grey: without colours.
        curve: gamma, gain and lift of the levels; None as they are.
        tints: (3,) gains of the colours beside it.
        border: level of what lies beyond the picture, 0..255.
    """

    spans: NDArray[np.float64] | None = None
    place: NDArray[np.float64] | None = None
    mirrored: bool
    grey: bool
    curve: tuple[float, float, float] | None = None
    tints: NDArray[np.float64] | None = None
    border: int = 0


def sample_augmentation(rng: np.random.Generator) -> Augmentation:
    """A look by chance; what is drawn does not depend on any picture.

    Source: ours.
    """
    spans = place = curve = tints = None
    border = 0
    framing = rng.random()
    if framing < 0.6:
        spans, place = rng.uniform(0.72, 1.0, size=2), rng.random(2)
    elif framing < 0.75:  # bars above and below or aside; both: something small, far away
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


@dataclass(frozen=True, kw_only=True)
class Shots:
    """How a window is shown: in one look, or with a cut to another in its middle.

    Attributes:
        first: the look it begins with.
        second: the look after the cut; None for no cut.
        share: of the pictures that lie before the cut.
    """

    first: Augmentation
    second: Augmentation | None = None
    share: float = 1.0


def draw_shots(rng: np.random.Generator) -> Shots:
    """Looks by chance. Films have cuts, and a cut is no event: what sounds goes on.

    Source: ours.
    """
    first = sample_augmentation(rng)
    if rng.random() >= CUTS:
        return Shots(first=first)
    return Shots(first=first, second=sample_augmentation(rng), share=rng.uniform(0.1, 0.9))


def in_shots(pictures: NDArray[np.uint8], shots: Shots) -> NDArray[np.uint8]:
    """(T, S, S, 3) uint8 pictures as their shots show them; the same shape.

    Source: ours.
    """
    if shots.second is None:
        return dressed(pictures, shots.first)
    before = round(shots.share * len(pictures))
    parts = dressed(pictures[:before], shots.first), dressed(pictures[before:], shots.second)
    return np.concatenate(parts)


def dressed(pictures: NDArray[np.uint8], look: Augmentation) -> NDArray[np.uint8]:
    """(T, S, S, 3) uint8 pictures in a look; the same shape.

    Source: ours.
    """
    side = pictures.shape[1]
    if look.spans is not None and look.place is not None:
        spans = side * look.spans
        top, left = (side - spans) * look.place
        rows = np.round(top + np.linspace(0, spans[0] - 1, side)).astype(int)
        columns = np.round(left + np.linspace(0, spans[1] - 1, side)).astype(int)
        seen = _inside(rows, side)[:, None] & _inside(columns, side)[None, :]
        rows, columns = rows.clip(0, side - 1), columns.clip(0, side - 1)
        pictures = pictures[:, rows[:, None], columns[None, :]]
        pictures[:, ~seen] = look.border
    if look.mirrored:
        pictures = pictures[:, :, ::-1]
    if look.grey:
        pictures = np.broadcast_to(
            pictures.mean(-1, keepdims=True).astype(np.uint8), pictures.shape
        )
    if look.curve is not None and look.tints is not None:
        levels = np.arange(256) / 255.0
        gamma, gain, lift = look.curve
        tables = []
        for tint in look.tints:
            curve = np.clip(gain * tint * levels**gamma + lift, 0, 1)
            tables.append(np.round(255 * curve).astype(np.uint8))
        pictures = np.stack([tables[c][pictures[..., c]] for c in range(3)], axis=-1)
    return pictures


def _inside(places: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    return (places >= 0) & (places < side)
