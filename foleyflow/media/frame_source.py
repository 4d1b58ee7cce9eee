"""Where the frames of a video come from: this process, or another one that decodes for it."""

from __future__ import annotations

from typing import Protocol

from foleyflow.media.probe import MediaInfo
from foleyflow.media.reader import FrameStream, read_frames, read_frames_with_aspect


class FrameSource(Protocol):
    """Decodes videos, as `decode_here` does."""

    def __call__(self, info: MediaInfo, *, size: int | None, max_rate_hz: float) -> FrameStream:
        """Return the frames of a video."""


def decode_here(info: MediaInfo, *, size: int | None, max_rate_hz: float) -> FrameStream:
    """Return the frames of a video as squares; without a size, with its aspect ratio.

    See `read_frames` and `read_frames_with_aspect`, also for errors.
    """
    if size is None:
        return read_frames_with_aspect(info.path, max_rate_hz=max_rate_hz, info=info)
    return read_frames(info.path, size=size, max_rate_hz=max_rate_hz, info=info)
