"""Training windows: stretches of a few seconds cut from cached clips, frames and sound together.

A window starts at any segment boundary of its clip. Time stamps of frames count from the window's
start. Clips of one batch have similar frame rates, so that little padding is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.clock import count_at
from foleyflow.cues.arrays import CueArrays
from foleyflow.cues.targets import cue_targets
from foleyflow.data.augmentation import apply_shots, sample_shots
from foleyflow.data.mixture import WeightedIndices
from foleyflow.errors import DataError
from foleyflow.event_peaks import event_track
from foleyflow.signals import INT16_FULL_SCALE

# Key of a batch -> field of `CueTargets`
CUE_TARGETS = {
    "cue_levels_db": "levels_db",
    "cue_materials": "materials",
    "cue_strikers": "strikers",
    "friction": "friction",
    "friction_levels_db": "friction_levels_db",
}


@dataclass(frozen=True, kw_only=True)
class ClipArrays:
    """A split of clips as arrays, usually memory maps.

    Attributes:
        frames: (sum of T, S, S, 3) uint8; or (sum of T, K, W), a frozen encoder's features of the
            frames.
        times_s: (sum of T,) float64 from the start of each clip.
        offsets: (N + 1,) int; clip i has frames offsets[i]..offsets[i + 1].
        sounds: (N, samples) int16, mono.
        rate_hz: sample rate of the sounds.
        event_times_s: per clip, (E,) float64: times of audible events.
        materials: (N,) int, class of the struck material or -1.
        cues: per clip; empty for clips without labels.
    """

    frames: NDArray[np.uint8] | NDArray[np.float16]
    times_s: NDArray[np.float64]
    offsets: NDArray[np.int64]
    sounds: NDArray[np.int16]
    rate_hz: int
    event_times_s: Sequence[NDArray[np.float64]]
    materials: NDArray[np.int64]
    cues: Sequence[CueArrays] = ()

    def __len__(self) -> int:
        return len(self.sounds)


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Length and augmentation of windows.

    Attributes:
        segments: length in audio segments.
        segment_s: seconds of a segment.
        latents_per_segment: latent frames in a segment.
        neighbours: frames on each side that the frame encoder takes as context; recipes of aligners
            and flows replace it by that of their encoder.
        augment: change colours, framing and side.
    """

    segments: int = 40
    segment_s: float = 0.08
    latents_per_segment: int = 4
    neighbours: int = 4
    augment: bool = True


class WindowSource:
    """Samples batches of windows from a split.

    Attributes:
        spare: the largest start segment of a window.
    """

    def __init__(
        self,
        clips: ClipArrays,
        latents: NDArray[np.float16],
        config: WindowConfig,
        *,
        probabilities: NDArray[np.float64] | None = None,
    ) -> None:
        """Takes a split and its codec latents (N, L, C).

        Args:
            clips, latents: of the split.
            config: of the windows.
            probabilities: (N,) of the clips; None samples all equally often.

        Raises:
            DataError: no clips, clips shorter than a window, or another number of probabilities.
        """
        self.clips = clips
        self.latents = latents
        self.config = config
        self.segments = config.segments
        self.rate_hz = clips.rate_hz
        if config.augment and clips.frames.ndim != 4:
            raise DataError(
                "stored features can't be augmented, only frames can",
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
        if probabilities is not None and len(probabilities) != len(clips):
            raise DataError(f"{len(probabilities)} probabilities for {len(clips)} clips")
        self._probabilities = probabilities
        self._by_rate = np.argsort(np.diff(clips.offsets), kind="stable")
        self._places = None
        if probabilities is not None:
            self._places = WeightedIndices(probabilities[self._by_rate])

    def draw(
        self,
        rng: np.random.Generator,
        clips: int,
        *,
        plain: bool = False,
        rows: NDArray[np.int64] | None = None,
    ) -> dict[str, Tensor]:
        """Sample a batch of windows.

        Args:
            clips: B.
            plain: no augmentation and no random starts (for validation).
            rows: return only these items of the batch, equal to those of the full batch except
                for padding.

        Returns:
            "pixels" (B, T + 2 neighbours, 3, S, S) uint8, or stored features (B, T, K, W);
            "times_s" (B, T) float32 from the window's start; "present" (B, T) bool; "sound" (B, N)
            float32; "latents" (B, L, C); "onsets" (B, L) 0..1, 1 where an event starts;
            "material" (B,) int64 or -1; "clip" (B,) index in the split. For clips with labels of
            cues, the attributes of `cues.targets.CueTargets`, (B, L) each: "cue_levels_db",
            "cue_materials", "cue_strikers", "friction" and "friction_levels_db".
        """
        chosen = self._sample_similar(rng, clips)
        starts = rng.integers(self.spare + 1, size=len(chosen))
        if plain:
            starts[:] = 0
        return self.cut(
            chosen, starts, rng if self.config.augment and not plain else None, rows=rows
        )

    def _sample_similar(self, rng: np.random.Generator, clips: int) -> NDArray[np.int64]:
        """Clips of similar frame rates; every clip is sampled with its probability.

        The order of frame rates is cut into blocks from a random position, and a block is sampled
        in proportion to its size, or to the sum of its probabilities.
        """
        count, span = len(self._by_rate), 4 * clips
        shift = int(rng.integers(span)) if count > span else 0
        weighted = self._places
        place = int(rng.integers(count) if weighted is None else weighted.sample(rng, 1)[0])
        block = (place + shift) // span
        members = self._by_rate[max(0, block * span - shift) : (block + 1) * span - shift]
        if self._probabilities is None:
            return rng.choice(members, clips, replace=len(members) < clips)
        members = np.sort(members)  # by data set, each of which gets its share of the batch
        chosen = WeightedIndices(self._probabilities[members]).sample(rng, clips)
        return rng.permutation(members[chosen])

    def cut(
        self,
        chosen: NDArray[np.int64],
        starts: NDArray[np.int64],
        rng: np.random.Generator | None,
        *,
        rows: NDArray[np.int64] | None = None,
    ) -> dict[str, Tensor]:
        """The windows of given clips at given start segments; augmented if `rng` is given.

        With `rows`, only these windows; a window does not depend on which others are returned.
        """
        config = self.config
        # Augmentations are sampled for the full batch, so that `rows` does not change them.
        shots = [None if rng is None else sample_shots(rng) for _ in chosen]
        if rows is not None:
            chosen, starts, shots = chosen[rows], starts[rows], [shots[row] for row in rows]
        starts_s = starts * config.segment_s
        # Frames, padded to the longest window of the batch
        pieces = [self._frames(c, s) for c, s in zip(chosen, starts_s, strict=True)]
        longest = max(len(times) for _, times in pieces)
        frames = self.clips.frames
        shape = (len(chosen), longest + 2 * config.neighbours, *frames.shape[1:])
        pixels = np.zeros(shape, frames.dtype)
        times = np.zeros((len(chosen), longest), np.float32)
        present = np.zeros((len(chosen), longest), bool)
        for item, ((block, block_times), plan) in enumerate(zip(pieces, shots, strict=True)):
            if plan is not None:  # never with stored features
                block = apply_shots(block, plan)
            count = len(block_times)
            pixels[item, : len(block)] = block
            pixels[item, len(block) :] = block[-1]
            times[item, :count] = block_times
            times[item, count:] = block_times[-1] + 0.04 * np.arange(1, 1 + longest - count)
            present[item, :count] = True
        # Sound, latents and onsets of the same stretch
        per_segment = config.latents_per_segment
        sample_starts = np.round(starts_s * self.rate_hz).astype(int)
        sounds = _slices(self.clips.sounds, chosen, sample_starts, self._samples)
        latents = _slices(self.latents, chosen, starts * per_segment, self._latent_frames)
        rate_hz = per_segment / config.segment_s
        onsets = [
            event_track(self.clips.event_times_s[c] - s, self._latent_frames, rate_hz)
            for c, s in zip(chosen, starts_s, strict=True)
        ]
        cues = {}
        if self.clips.cues:
            targets = [
                cue_targets(self.clips.cues[c].shift(-s), self._latent_frames, rate_hz=rate_hz)
                for c, s in zip(chosen, starts_s, strict=True)
            ]
            cues = {
                key: torch.from_numpy(np.stack([getattr(each, name) for each in targets]))
                for key, name in CUE_TARGETS.items()
            }
        batch = torch.from_numpy(pixels)
        return cues | {
            "pixels": batch.permute(0, 1, 4, 2, 3) if batch.ndim == 5 else batch,
            "times_s": torch.from_numpy(times),
            "present": torch.from_numpy(present),
            "sound": torch.from_numpy(sounds.astype(np.float32) / INT16_FULL_SCALE),
            "latents": torch.from_numpy(latents.astype(np.float32)),
            "onsets": torch.from_numpy(np.stack(onsets)),
            "material": torch.from_numpy(self.clips.materials[chosen]),
            "clip": torch.from_numpy(np.asarray(chosen, np.int64)),
        }

    def _frames(self, clip: int, start_s: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The frames of a window with their neighbours, and the times of the inner frames."""
        begin, end = self.clips.offsets[clip], self.clips.offsets[clip + 1]
        times = self.clips.times_s[begin:end] - start_s
        window_s = self.config.segments * self.config.segment_s
        inside = np.flatnonzero((times >= -1e-6) & (times < window_s - 1e-6))
        if not len(inside):  # a clip that ends before the window: its last frame stays visible
            inside = np.array([max(int(np.searchsorted(times, 0.0, side="right")) - 1, 0)])
            times = np.zeros_like(times)
        around = self.config.neighbours
        indices = np.arange(inside[0] - around, inside[-1] + around + 1)
        indices = begin + np.clip(indices, 0, end - begin - 1)
        first = indices[0]
        block = np.asarray(self.clips.frames[first : indices[-1] + 1])
        return block[indices - first], times[inside].astype(np.float32)


def _slices(
    arrays: NDArray[np.generic],
    chosen: NDArray[np.int64],
    starts: NDArray[np.int64],
    length: int,
) -> NDArray[np.generic]:
    """`length` entries of each chosen array from its start on."""
    return np.stack([arrays[c, s : s + length] for c, s in zip(chosen, starts, strict=True)])
