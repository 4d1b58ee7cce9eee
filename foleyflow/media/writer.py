"""Write a copy of a video with a new audio track.

The copy appears complete or not at all: it is written under another name in the same folder and
renamed at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.media.formats import FORMATS, format_of
from foleyflow.media.input_file import open_input
from foleyflow.media.kept_sound import check_keeps_sound, verify_kept_sound
from foleyflow.media.output_file import check_output, written_atomically
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.remux import Remux, check_fits, suffixes_holding
from foleyflow.media.sound_track import SoundTrack
from foleyflow.media.verification import verify_copy

logger = logging.getLogger(__name__)

# The copied video may be shorter than the result of `probe` by this much.
_LARGEST_LOSS_S = 0.1
# For videos in containers that can't be written, the most capable format first.
_DEFAULT_SUFFIXES = (".mkv", ".mov", ".mp4")


def mux(
    video_path: str | Path,
    output_path: str | Path,
    sound_blocks: Iterable[NDArray[np.float32]],
    *,
    rate_hz: int,
    n_samples: int,
    overwrite: bool = False,
    keep_original: bool = False,
    info: MediaInfo | None = None,
) -> list[str]:
    """Write a copy of a video with a new audio track; returns descriptions of what was lost.

    Video packets, their times, rotation and colour data are copied; subtitles, chapters, metadata,
    cover art and attachments are kept if the output's format can hold them. The new sound begins
    with the first shown frame.

    Args:
        video_path: the video.
        output_path: where to write; its suffix decides the format.
        sound_blocks: (channels, n) float32 blocks, 1 or 2 channels, full scale at -1..1; they are
            consumed while the video is copied.
        rate_hz: sample rate of the sound.
        n_samples: length of the sound, at least 1; it is cut or extended by zeros.
        overwrite: replace an existing output.
        keep_original: copy the video's own audio tracks after the new one, which is the default
            track. They keep their language, and are titled "Original".
        info: the result of `probe` for the video, if it is known.

    Raises:
        MediaError: the video can't be used, the output can't be written, or its format can't hold
            this video or the audio tracks to keep. No output is left, and an existing one stays
            unchanged.
        ValueError: fewer than 1 sample, or not 1 or 2 channels.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples: got {n_samples}, expected at least 1")
    # Refuse what can't be written before any work
    output_path = Path(output_path)
    output_format = format_of(output_path)
    check_output(output_path, overwrite=overwrite, source=video_path)
    info = info or probe(video_path)
    with (
        written_atomically(output_path, overwrite=overwrite) as draft,
        open_input(video_path) as source,
    ):
        check_fits(info, source, output_path, output_format)
        dropped = []
        if keep_original:
            dropped = check_keeps_sound(info, source, output_path, output_format)
        # Copy the packets and encode the sound
        sound = SoundTrack(
            sound_blocks,
            rate_hz=rate_hz,
            sample_count=n_samples,
            output_format=output_format,
            start_s=max(info.start_s, 0.0) if output_format.has_edit_lists else info.start_s,
        )
        remux = Remux(
            source, draft, output_format, info=info, sound=sound, keep_original=keep_original
        )
        remux.run()
        # Compare the copy with its source; the span lacks a frame if the last one has no duration
        if info.duration_s - remux.shown.span_s > max(_LARGEST_LOSS_S, 2 / info.rate_hz):
            raise MediaError(
                f"{video_path}: only {remux.shown.span_s:.2f} s of {info.duration_s:.2f} s of video"
                " can be copied; the file is damaged",
                hint="copy or export the file again",
            )
        video = cast(VideoStream, source.streams[info.video_index])
        dropped += remux.dropped + verify_copy(
            source,
            video,
            remux.shown,
            draft,
            output_path,
            output_format,
            sound_s=sound.duration_s,
            lead_s=max(info.start_s, 0.0),
        )
        if keep_original:
            dropped += verify_kept_sound(source, draft, output_path)
    for text in dropped:
        logger.warning("%s: %s", output_path, text)
    return dropped


def check_copy(info: MediaInfo, output_path: str | Path, *, keep_original: bool = False) -> None:
    """Refuse an output whose format can't hold a video, and its own audio tracks if they are kept.

    Raises:
        MediaError: no format has the output's suffix, or it can't hold the video unchanged or the
            audio tracks.
    """
    output_path = Path(output_path)
    output_format = format_of(output_path)
    with open_input(info.path) as source:
        check_fits(info, source, output_path, output_format)
        if keep_original:
            check_keeps_sound(info, source, output_path, output_format)


def default_suffix(video_path: str | Path) -> str:
    """Return the default suffix for an output: the video's own, or one that can hold it.

    A video that can't be used gets its own suffix or .mkv; opening it raises the error.
    """
    suffix = Path(video_path).suffix
    if suffix.lower() in FORMATS:
        return suffix
    try:
        info = probe(video_path)
        with open_input(video_path) as source:
            holding = suffixes_holding(info, source)
    except MediaError:
        return _DEFAULT_SUFFIXES[0]
    preferred = [suffix for suffix in _DEFAULT_SUFFIXES if suffix in holding]
    return (preferred + holding + [_DEFAULT_SUFFIXES[0]])[0]
