"""Decide whether browsers can play a video, and encode a copy that they can."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.packet import Packet

from foleyflow.clock import count_at
from foleyflow.media.formats import format_of
from foleyflow.media.h264_stream import add_h264_stream, encode_picture
from foleyflow.media.input_file import open_input
from foleyflow.media.probe import MediaInfo
from foleyflow.media.reader import read_frames_with_aspect
from foleyflow.media.sound_track import SoundTrack
from foleyflow.media.waveform import read_sound_blocks

# Words of libavformat's container name -> MIME type, video codecs, sound codecs
_PLAYED = {
    "mp4": ("video/mp4", {"h264", "av1", "vp9"}, {"aac", "mp3", "opus", "flac"}),
    "webm": ("video/webm", {"vp8", "vp9", "av1"}, {"opus", "vorbis"}),
}
_PIXEL_FORMATS = {"yuv420p", "yuvj420p"}
_RATE_HZ = 48_000
_OPTIONS = {"preset": "veryfast", "crf": "24", "g": "15"}  # frequent key frames: fast seeking


def played_as(info: MediaInfo) -> str | None:
    """Return the MIME type with which browsers play a video; None if they may not."""
    for word, (mime, video_codecs, sound_codecs) in _PLAYED.items():
        if word not in info.container.split(",") or info.video_codec not in video_codecs:
            continue
        if info.pixel_format not in _PIXEL_FORMATS or info.edits:
            return None
        with open_input(info.path) as container:
            tracks = container.streams.audio
            codec = tracks[0].codec_context if tracks else None
            plays = not tracks or (codec is not None and codec.name in sound_codecs)
        is_webm = word == "mp4" or info.path.suffix.lower() == ".webm"
        return mime if plays and is_webm else None
    return None


def player_offset_s(info: MediaInfo) -> float:
    """Return the position in a player of the first shown frame of the original file.

    Players begin at time stamp 0, or at the earliest time stamp if it is negative.
    """
    starts_s = [info.start_s, 0.0, *([info.audio_start_s] if info.audio_start_s else [])]
    return info.start_s - min(starts_s)


def encode_for_browsers(
    info: MediaInfo,
    target: Path,
    *,
    short_side: int = 720,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a copy of a video as h264 and aac in mp4, in constant memory.

    Frames keep their times after the first one. An existing target is replaced.

    Args:
        info: the video.
        target: a path with the suffix .mp4.
        short_side: frames with a longer one are scaled down to it, pixels.
        progress: called with the seconds of video processed; may raise to stop.

    Raises:
        MediaError: the file can't be decoded.
    """
    frames = read_frames_with_aspect(info.path, short_side=short_side, info=info)
    first = next(frames)
    with av.open(f"file:{target}", "w", format="mp4", options={"movflags": "faststart"}) as sink:
        stream = add_h264_stream(sink, first[1], rate_hz=info.rate_hz, options=_OPTIONS)
        track = _sound_track(info, target) if info.has_audio else None
        audio = track.add_to(sink) if track else None
        sink.start_encoding()
        sound = _timed(track, audio) if track and audio else iter(())
        sound_s, waiting = next(sound, (math.inf, None))
        for time_s, pixels in itertools.chain([first], frames):
            # Sound that is played before this frame
            while waiting is not None and sound_s <= time_s:
                sink.mux(waiting)
                sound_s, waiting = next(sound, (math.inf, None))
            sink.mux(encode_picture(stream, pixels, time_s))
            if progress is not None:
                progress(time_s)
        sink.mux(stream.encode(None))
        while waiting is not None:
            sink.mux(waiting)
            _, waiting = next(sound, (math.inf, None))


def _sound_track(info: MediaInfo, target: Path) -> SoundTrack:
    blocks = read_sound_blocks(info.path, rate_hz=_RATE_HZ, end_s=info.duration_s)
    return SoundTrack(
        (block.samples for block in blocks),
        rate_hz=_RATE_HZ,
        sample_count=count_at(info.duration_s, _RATE_HZ),
        output_format=format_of(target),
        start_s=0.0,
    )


def _timed(track: SoundTrack, stream: AudioStream) -> Iterator[tuple[float, Packet[AudioStream]]]:
    """The packets of the sound with their times."""
    for packet in track.packets(stream):
        yield float((packet.pts or 0) * packet.time_base), packet
