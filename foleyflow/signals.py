"""Data types that packages exchange: frames, waveforms and events.

They hold numpy arrays rather than tensors, so that media, simulation and evaluation work without
torch. They are frozen and validated on construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INT16_FULL_SCALE = 32767  # int16 value of a sample of 1.0


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Video frames, each a point sample at its own time."""

    pixels: NDArray[np.uint8]  # (T, H, W, 3) uint8, RGB, 0..255
    times_s: NDArray[np.float64]  # (T,) strictly increasing seconds from the start of the clip

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[3] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels: got {self.pixels.shape} {self.pixels.dtype}, expected (T, H, W, 3) uint8"
            )
        if self.times_s.shape != (len(self.pixels),):
            raise ValueError(f"times_s: got {self.times_s.shape}, expected ({len(self.pixels)},)")
        if len(self.times_s) > 1 and not (np.diff(self.times_s) > 0).all():
            raise ValueError("times_s: expected strictly increasing times")

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """Audio samples."""

    samples: NDArray[np.float32]  # (channels, N) float32, full scale at -1..1
    rate_hz: int  # samples per second and channel

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise ValueError(
                f"samples: got {self.samples.shape} {self.samples.dtype}, "
                "expected (channels, N) float32"
            )
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz: got {self.rate_hz}, expected a positive rate")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate_hz

    def mono(self) -> NDArray[np.float32]:
        """The mean of the channels, (N,) float32."""
        if len(self.samples) == 1:
            return self.samples[0].astype(np.float32)  # a copy, in a third of the time of a mean
        return self.samples.mean(axis=0, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Event:
    """A sound event at one moment."""

    time_s: float  # seconds from the start of the clip
    strength: float  # 0..1, relative to the loudest event that a model expects


@dataclass(frozen=True, kw_only=True)
class Marker:
    """A named moment of a clip, or a named stretch of it."""

    time_s: float  # seconds from the start of the clip
    end_s: float | None = None  # end of the stretch; None for a moment
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.time_s < float("inf"):
            raise ValueError(f"time_s: got {self.time_s}, expected a time of the clip")
        if self.end_s is not None and not self.time_s <= self.end_s < float("inf"):
            raise ValueError(f"end_s: got {self.end_s}, expected {self.time_s} or later")
