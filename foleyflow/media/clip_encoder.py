"""Encode a part of a video, with its sound, as an mp4 file.

A file that is already the wanted clip can be copied. Otherwise video and sound are encoded on one
thread, so that the same part always gives the same bytes on one machine.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np

from foleyflow.clock import count_at
from foleyflow.errors import MediaError
from foleyflow.media.formats import format_of
from foleyflow.media.h264_stream import add_h264_stream, encode_picture
from foleyflow.media.probe import MediaInfo
from foleyflow.media.reader import read_frames_with_aspect
from foleyflow.media.sound_track import SoundTrack
from foleyflow.media.waveform import read_waveform
from foleyflow.signals import Waveform

EDGE_S = 0.05  # a file that begins and ends this close to the wanted clip is copied
VIDEO_OPTIONS = {
    "preset": "veryfast",
    "crf": "20",
    "x264-params": "threads=1:lookahead_threads=1:sliced_threads=0",
}
RATES_HZ = (44_100, 48_000)  # other sample rates are converted to the last


def can_be_copied(
    info: MediaInfo, *, start_s: float, duration_s: float, any_rate: bool = False
) -> bool:
    """Return whether a file is the wanted clip already, and can be copied byte by byte.

    Its sound has one of `RATES_HZ`, unless `any_rate`.
    """
    return (
        "mp4" in info.container.split(",")
        and info.video_codec == "h264"
        and info.pixel_format == "yuv420p"
        and (any_rate or info.audio_rate_hz in RATES_HZ)
        and start_s <= EDGE_S
        and abs(info.duration_s - start_s - duration_s) <= EDGE_S
    )


def encode_clip(
    info: MediaInfo,
    target: Path,
    *,
    start_s: float,
    duration_s: float,
    short_side: int | None,
    lag_s: float = 0.0,
) -> None:
    """Write a part of a video as h264 and aac in mp4.

    Frames keep their time stamps, counted from the start of the part; the sound is exactly as long
    as the part. Frames with a longer short side than `short_side` pixels are scaled down to it;
    None keeps their size. An existing target is replaced. Sound that is late by `lag_s` is moved to
    its picture.

    Raises:
        MediaError: the part contains no frame, or the file can't be decoded.
    """
    # Start of the clip: its first frame, up to a frame period after `start_s`
    frames = read_frames_with_aspect(
        info.path,
        start_s=start_s,
        end_s=start_s + duration_s + 2 / info.rate_hz,
        short_side=short_side,
        info=info,
    )
    first = next(frames, None)
    if first is None:
        raise MediaError(
            f"{info.path}: no frame after {start_s:g} s",
            hint=f"choose a start within its {info.duration_s:g} s",
        )
    origin_s = first[0]
    end_s = origin_s + duration_s
    # Sound of the same part
    rate_hz = info.audio_rate_hz if info.audio_rate_hz in RATES_HZ else RATES_HZ[-1]
    sound = _sound_between(info, origin_s + lag_s, end_s + lag_s, rate_hz=rate_hz)
    track = SoundTrack(
        [sound.samples],
        rate_hz=sound.rate_hz,
        sample_count=count_at(duration_s, sound.rate_hz),
        output_format=format_of(target),
        start_s=0.0,
    )
    # Encode both; without bitexact the muxer writes its version into the file
    with av.open(f"file:{target}", "w", format="mp4", options={"fflags": "+bitexact"}) as sink:
        stream = add_h264_stream(sink, first[1], rate_hz=info.rate_hz, options=VIDEO_OPTIONS)
        audio = track.add_to(sink)
        sink.start_encoding()
        following = itertools.takewhile(lambda pair: pair[0] < end_s - 1e-6, frames)
        for time_s, pixels in itertools.chain([first], following):
            sink.mux(encode_picture(stream, pixels, time_s - origin_s))
        sink.mux(stream.encode(None))
        for packet in track.packets(audio):
            sink.mux(packet)


def _sound_between(info: MediaInfo, start_s: float, end_s: float, *, rate_hz: int) -> Waveform:
    """The sound between two times; it is mirrored before the start of the video.

    Silence there would end in a rise that is no onset.
    """
    sound = read_waveform(info.path, rate_hz=rate_hz, start_s=max(start_s, 0.0), end_s=end_s)
    missing = count_at(max(-start_s, 0.0), rate_hz)
    if not missing:
        return sound
    mirrored = np.pad(sound.samples, ((0, 0), (missing, 0)), mode="symmetric")
    return Waveform(samples=mirrored, rate_hz=rate_hz)
