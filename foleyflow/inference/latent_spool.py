"""Latents of a clip of any length, in memory or in a temporary file, with edited stretches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foleyflow.inference.temporary_bytes import ArrayBytes, StoredBytes, TemporaryBytes


@dataclass(frozen=True, kw_only=True)
class LatentPatch:
    """Latents (1, T, C) that replace those of a clip from `start` on."""

    start: int
    latents: Tensor

    @property
    def end(self) -> int:
        """The first frame after the patch."""
        return self.start + self.latents.shape[1]


class LatentSpool:
    """Standardised float32 latents in order of time."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._bytes: ArrayBytes = TemporaryBytes()

    @classmethod
    def stored(cls, path: Path, channels: int) -> LatentSpool:
        """The latents in a file of float32 values; nothing can be added."""
        spool = cls(channels)
        spool._bytes = StoredBytes(path)
        return spool

    def __len__(self) -> int:
        return len(self._bytes) // (4 * self.channels)

    def collect(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Append pieces (1, T, C), and yield each."""
        for piece in pieces:
            self._bytes.append(piece[0].float().cpu().numpy())
            yield piece

    def read(self, first: int, last: int, patches: Sequence[LatentPatch] = ()) -> Tensor:
        """The frames from `first` to before `last`, (1, T, C), cut to the clip.

        Later patches replace earlier ones.
        """
        first, last = max(first, 0), min(last, len(self))
        count = max(last - first, 0) * self.channels
        values = self._bytes.read(4 * first * self.channels, count, np.float32)
        latents = torch.from_numpy(values.reshape(1, -1, self.channels).copy())
        for patch in patches:
            begin, end = max(patch.start, first), min(patch.end, last)
            if begin < end:
                own = patch.latents[:, begin - patch.start : end - patch.start]
                latents[:, begin - first : end - first] = own
        return latents
