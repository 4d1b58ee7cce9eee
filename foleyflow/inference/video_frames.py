"""Reads the frames of a video, or given ones, in the size and rate of an aligner's encoder."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.encoders.frame_adapter import AdaptedVideo
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.inference.given_frames import GivenFrames
from foleyflow.inference.motion import ColumnMotion
from foleyflow.media import FrameStream, MediaInfo
from foleyflow.media.frame_scaling import HIGHEST_RATE_HZ
from foleyflow.media.frame_source import FrameSource, decode_here


def frames_for_encoder(
    video: MediaInfo | GivenFrames,
    aligner: Alignment,
    motion: ColumnMotion | None = None,
    *,
    source: FrameSource = decode_here,
) -> FrameStream:
    """The frames of a video file, or given ones, as the encoder of `aligner` expects them.

    `motion` receives the frames as well, before an encoder's preprocessing cuts their sides.
    `source` decodes a file.

    Returns:
        An iterator of (time in seconds, (S, S, 3) uint8 RGB); its `counts` hold decoding losses.

    Raises:
        ConfigError: the aligner has an adapter for stored features instead of an encoder.
    """
    read = video.read if isinstance(video, GivenFrames) else functools.partial(source, video)
    encoder = aligner.encoder
    if isinstance(encoder, MotionEncoder):
        frames = read(size=encoder.config.size, max_rate_hz=HIGHEST_RATE_HZ)
        return frames if motion is None else FrameStream(motion.watch(frames), frames.counts)
    if not isinstance(encoder, AdaptedVideo):
        raise ConfigError(
            "this aligner takes stored features and has no video encoder",
            hint="load it with load_aligner_with_encoder, which adds the published encoder",
        )
    frozen = encoder.frozen

    def to_square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        frames = frozen.resize_and_crop(torch.from_numpy(picture).permute(2, 0, 1)[None])
        square: NDArray[np.uint8] = frames[0].permute(1, 2, 0).numpy()
        return square

    frames = read(size=None, max_rate_hz=encoder.rate_hz)
    pairs = frames if motion is None else motion.watch(frames)
    return FrameStream(((time_s, to_square(picture)) for time_s, picture in pairs), frames.counts)
