"""Clips without pictures for the training of the flow: codec latents and cues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.arrays import CueArrays
from foleyflow.features.codec_latents import codec_latents
from foleyflow.features.cue_labels import cues_of_labels
from foleyflow.features.frames import Split
from foleyflow.parallel.ray_cluster import ParallelMap


@dataclass(frozen=True, kw_only=True)
class SoundWindows:
    """Clips without pictures; windows are cut from them in training.

    Attributes:
        latents: (N, L, C) float16 codec latents of complete clips, memory-mapped.
        cues: of each clip.
    """

    latents: NDArray[np.float16]
    cues: Sequence[CueArrays]

    def cut(
        self, rng: np.random.Generator, frames: int, rate_hz: float
    ) -> tuple[NDArray[np.float32], CueArrays]:
        """A random window of `frames` latents (L, C), and its cues with times from its start."""
        clip = int(rng.integers(len(self.latents)))
        first = int(rng.integers(self.latents.shape[1] - frames + 1))
        latents = np.asarray(self.latents[clip, first : first + frames], np.float32)
        return latents, self.cues[clip].shift(-first / rate_hz)


def open_sounds(
    data: Path, split: str, *, codec_folder: Path, parallel_map: ParallelMap | None = None
) -> SoundWindows:
    """Opens the sounds of a split, and encodes them first if their latents are missing.

    Raises:
        CheckpointError: the folder contains no codec.
        DataError: there is no such data set.
    """
    clips = Split.at(data, split)
    latents = codec_latents(clips, codec_folder, resampled=True, parallel_map=parallel_map)
    return SoundWindows(latents=latents, cues=[cues_of_labels(each) for each in clips.labels()])
