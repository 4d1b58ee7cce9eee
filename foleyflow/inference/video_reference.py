"""The frame rate and start time code of a video file, to which files of cues refer."""

from __future__ import annotations

from pathlib import Path

from foleyflow.cues.video_reference import VideoReference
from foleyflow.inference.request import STANDARD_INPUT
from foleyflow.media.probe import MediaInfo


def reference_of(info: MediaInfo, name: str) -> VideoReference:
    """The reference of a video for its cue sheets.

    Args:
        name: of the video, as the user gave it.
    """
    return VideoReference.measured(
        rate_hz=info.rate_hz,
        start_time_code=info.start_time_code,
        name="" if name == STANDARD_INPUT else Path(name).name,
    )
