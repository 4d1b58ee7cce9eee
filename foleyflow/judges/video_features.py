"""Features of videos that judges of pairs keep: in memory for one video, in a store for all.

A video is scored with several sounds, and with those of other systems later. Its features do not
depend on the sound, so they are computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.judges.interface import PairJudge
from foleyflow.signals import Frames


class FeatureStore(Protocol):
    """Where the features of one video are kept, by the number of units that they cover."""

    def load(self, count: int) -> list[NDArray[Any]] | None:
        """The stored features; None if there are none."""

    def save(self, count: int, features: list[NDArray[Any]]) -> None:
        """Store features."""


@runtime_checkable
class KeepsVideoFeatures(Protocol):
    """A judge of pairs that can keep the features of its videos."""

    def keep_features(self, frames: Frames, store: FeatureStore) -> None:
        """Look up and store the features of these frames (the object, not its content)."""


class VideoPairJudge(PairJudge):
    """Keeps the features of the latest video, and those of videos that have a store."""

    def __init__(self, weights_sha256: str) -> None:
        self.weights_sha256 = weights_sha256
        self._latest: tuple[Frames, int, Any] | None = None
        self._stored: tuple[Frames, FeatureStore] | None = None

    def keep_features(self, frames: Frames, store: FeatureStore) -> None:
        """See `KeepsVideoFeatures`."""
        self._stored = frames, store

    def _video_features(
        self, frames: Frames, count: int, encode: Callable[[], Any], device: torch.device
    ) -> Any:
        """The kept features of a video and a number of units, else those that `encode` returns.

        They are a tensor, or several.
        """
        latest = self._latest
        if latest is None or latest[0] is not frames or latest[1] != count:
            store = self._stored[1] if self._stored and self._stored[0] is frames else None
            features = None if store is None else _tensors(store.load(count), device)
            if features is None:
                features = encode()
                if store is not None:
                    store.save(count, _arrays(features))
            self._latest = latest = (frames, count, features)
        return latest[2]

    def _too_short(self, video_s: float, sound_s: float) -> ValueError:
        return ValueError(
            f"{video_s:.2f} s of video with {sound_s:.2f} s of sound, the judge {self.name!r} "
            f"needs {self.shortest_s:g} s of both"
        )


def _arrays(features: Tensor | tuple[Tensor, ...]) -> list[NDArray[Any]]:
    tensors = (features,) if isinstance(features, Tensor) else features
    return [np.asarray(tensor.float().cpu()) for tensor in tensors]


def _tensors(arrays: list[NDArray[Any]] | None, device: torch.device) -> Any:
    """The inverse of `_arrays`: a single array is a tensor of its own."""
    if arrays is None:
        return None
    tensors = tuple(torch.from_numpy(array.astype(np.float32)).to(device) for array in arrays)
    return tensors[0] if len(tensors) == 1 else tensors
