"""Encode short seed clips in several containers, with several codecs, tracks and time lines.

Each container has variants that differ in what can fail: B-frames, an old audio track, subtitles,
chapters, a rotation, an edit list, a late start, fragments. The encoders run on one thread, so that
the same version of the libraries always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

WIDTH_PIXELS = 64
HEIGHT_PIXELS = 48
FRAME_COUNT = 12
FRAME_RATE_HZ = 25
KEY_FRAME_EVERY = 5
SOUND_RATE_HZ = 48_000

TimedText = tuple[float, float, str]  # begin and end in seconds, and a text

_TICK = Fraction(1, 90_000)
_ONE_THREAD = {"threads": "1"}
_X264 = _ONE_THREAD | {
    "preset": "ultrafast",
    "x264-params": "threads=1:lookahead_threads=1:sliced_threads=0:scenecut=0:b-adapt=0",
}
_VPX = _ONE_THREAD | {"deadline": "realtime", "cpu-used": "8"}


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """The settings of one seed clip."""

    suffix: str
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    codec_options: dict[str, str]
    b_frames: int = 0
    rotation_deg: int = 0  # clockwise rotation that a player applies
    start_s: float = 0.0  # time stamp of the first frame
    sound_codec: str | None = None  # of an old audio track; None for a silent file
    subtitle_codec: str | None = None  # of a subtitle track with two texts; None for no track
    has_chapters: bool = False  # two chapters are written
    muxer: str | None = None  # libavformat's name; None to derive it from the suffix
    muxer_options: dict[str, str] | None = None
    is_trimmed: bool = False  # an edit list hides the first and last frames (mp4, mov)


def _h264(suffix: str, **settings: Any) -> ClipRecipe:
    return ClipRecipe(suffix=suffix, codec_options=_X264, **settings)


def _clip(suffix: str, codec: str, pixel_format: str = "yuv420p", **settings: Any) -> ClipRecipe:
    options = _VPX if codec.startswith("libvpx") else _ONE_THREAD
    return ClipRecipe(
        suffix=suffix, codec=codec, pixel_format=pixel_format, codec_options=options, **settings
    )


_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

CONTAINERS: dict[str, tuple[ClipRecipe, ...]] = {
    "mp4": (
        _h264(
            ".mp4",
            b_frames=2,
            rotation_deg=90,
            sound_codec="aac",
            subtitle_codec="mov_text",
            has_chapters=True,
        ),
        _h264(".mp4", b_frames=2, sound_codec="aac", is_trimmed=True),
        _clip(".mp4", "mpeg4"),
    ),
    "fragmented": (
        _h264(".mp4", b_frames=2, sound_codec="aac", muxer_options=_FRAGMENTS),
        _h264(".mp4", muxer_options=_FRAGMENTS | {"movflags": "frag_keyframe+empty_moov"}),
    ),
    "mov": (
        _h264(".mov", b_frames=2, rotation_deg=180, sound_codec="aac"),
        _clip(".mov", "mjpeg", "yuvj420p", sound_codec="pcm_s16le"),
    ),
    "mkv": (
        _h264(".mkv", b_frames=2, sound_codec="flac", subtitle_codec="subrip", has_chapters=True),
        _clip(".mkv", "ffv1", sound_codec="pcm_s16le"),
        _clip(".mkv", "libvpx", sound_codec="libopus", start_s=1.5),
    ),
    "webm": (
        _clip(".webm", "libvpx", sound_codec="libopus"),
        _clip(".webm", "libvpx-vp9", subtitle_codec="webvtt"),
    ),
    "avi": (
        _clip(".avi", "mpeg4", sound_codec="libmp3lame"),
        _clip(".avi", "mjpeg", "yuvj420p", sound_codec="pcm_s16le"),
        _h264(".avi"),
    ),
    "ts": (
        _h264(".ts", b_frames=2, sound_codec="aac", start_s=10.0),
        _clip(".ts", "mpeg2video", b_frames=2, sound_codec="mp2"),
    ),
    "flv": (
        _h264(".flv", b_frames=2, sound_codec="aac"),
        _clip(".flv", "flv", sound_codec="libmp3lame"),
    ),
    "mpg": (_clip(".mpg", "mpeg2video", b_frames=2, sound_codec="mp2", muxer="vob"),),
    "wmv": (_clip(".wmv", "wmv2", sound_codec="wmav2"),),
}


def write_seed_clips(folder: Path) -> dict[str, list[Path]]:
    """Encode every seed clip into an existing folder.

    Returns:
        The paths of the variants of each container, by its name.

    Raises:
        av.FFmpegError, ValueError: an encoder or a container is missing in this installation.
    """
    return {
        name: [
            write_clip(folder / f"{name}-{number}{recipe.suffix}", recipe)
            for number, recipe in enumerate(recipes)
        ]
        for name, recipes in CONTAINERS.items()
    }


def write_clip(path: Path, recipe: ClipRecipe) -> Path:
    """Encode one seed clip of `FRAME_COUNT` frames at `FRAME_RATE_HZ` and return its path."""
    options = {"fflags": "+bitexact"} | (recipe.muxer_options or {})
    with av.open(str(path), "w", format=recipe.muxer, options=options) as sink:
        # Tracks and chapters
        video = _add_video(sink, recipe)
        sound = _add_sound(sink, recipe)
        text = add_subtitles(sink, recipe.subtitle_codec) if recipe.subtitle_codec else None
        if recipe.has_chapters:
            set_chapters(sink, [(0.0, 0.2, "Part 0"), (0.2, 0.4, "Part 1")])
        # Packets
        sink.start_encoding()
        if text is not None:
            write_subtitles(sink, text, [(0.05, 0.2, "text 0"), (0.25, 0.4, "text 1")])
        for index in range(FRAME_COUNT):
            frame = av.VideoFrame.from_ndarray(_draw_frame(index), format="rgb24")
            frame = frame.reformat(format=recipe.pixel_format)
            time_s = recipe.start_s + index / FRAME_RATE_HZ
            frame.time_base = video.codec_context.time_base
            frame.pts = round(time_s / frame.time_base)
            sink.mux(video.encode(frame))
            if sound is not None:
                _write_sound(sink, sound, recipe, index)
        sink.mux(video.encode(None))
        if sound is not None:
            sink.mux(sound.encode(None))
    if recipe.is_trimmed:
        _trim(path)
    return path


def _draw_frame(index: int) -> NDArray[np.uint8]:
    """A textured background and a moving square: no two frames are equal."""
    rows, columns = np.mgrid[:HEIGHT_PIXELS, :WIDTH_PIXELS]
    pixels = np.stack([3 * columns, 4 * rows, 2 * (rows + columns) + 9 * index], axis=-1) % 256
    left = 4 * index % (WIDTH_PIXELS - 16)
    pixels[8:24, left : left + 16] = 235
    return pixels.astype(np.uint8)


def _add_video(sink: OutputContainer, recipe: ClipRecipe) -> VideoStream:
    stream = cast(
        VideoStream,
        sink.add_stream(
            recipe.codec, rate=FRAME_RATE_HZ, options={"b": "600000"} | recipe.codec_options
        ),
    )
    stream.width, stream.height = WIDTH_PIXELS, HEIGHT_PIXELS
    stream.pix_fmt = recipe.pixel_format
    by_frames = not recipe.start_s
    stream.codec_context.time_base = Fraction(1, FRAME_RATE_HZ) if by_frames else _TICK
    stream.codec_context.gop_size = KEY_FRAME_EVERY
    stream.codec_context.max_b_frames = recipe.b_frames
    stream.codec_context.thread_count = 1
    if recipe.rotation_deg:
        stream.set_display_rotation(-recipe.rotation_deg)
    return stream


def _add_sound(sink: OutputContainer, recipe: ClipRecipe) -> AudioStream | None:
    if recipe.sound_codec is None:
        return None
    rate_hz = 44_100 if recipe.suffix == ".flv" else SOUND_RATE_HZ
    stream = cast(AudioStream, sink.add_stream(recipe.sound_codec, rate=rate_hz))
    stream.codec_context.layout = "mono"
    if not recipe.sound_codec.startswith("pcm"):
        stream.codec_context.bit_rate = 96_000
    stream.time_base = Fraction(1, rate_hz)
    return stream


def _write_sound(
    sink: OutputContainer, stream: AudioStream, recipe: ClipRecipe, index: int
) -> None:
    """Encode the part of a tone that belongs to one frame."""
    rate_hz = stream.codec_context.sample_rate
    count = rate_hz // FRAME_RATE_HZ
    ramp = np.arange(count * index, count * (index + 1))
    tone = (0.3 * np.sin(2 * np.pi * 440 / rate_hz * ramp)).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
    frame.sample_rate = rate_hz
    frame.time_base = Fraction(1, rate_hz)
    frame.pts = round(recipe.start_s * rate_hz) + count * index
    sink.mux(stream.encode(frame))


def set_chapters(sink: OutputContainer, chapters: Sequence[TimedText]) -> None:
    """Add chapters with titles to a file whose header is not written yet."""
    sink.set_chapters(
        [
            {
                "id": number,
                "start": round(begin_s * 1000),
                "end": round(end_s * 1000),
                "time_base": Fraction(1, 1000),
                "metadata": {"title": title},
            }
            for number, (begin_s, end_s, title) in enumerate(chapters)
        ]
    )


def add_subtitles(sink: OutputContainer, codec: str) -> SubtitleStream:
    """Add a subtitle track to a file whose header is not written yet."""
    stream = cast(SubtitleStream, sink.add_mux_stream(codec))
    stream.time_base = Fraction(1, 1000)
    return stream


def write_subtitles(
    sink: OutputContainer, stream: SubtitleStream, lines: Sequence[TimedText]
) -> None:
    """Write the packets of a subtitle track; in mp4 and mov they begin with their length."""
    for begin_s, end_s, line in lines:
        data = line.encode()
        if sink.format.name in ("mp4", "mov"):
            data = len(data).to_bytes(2, "big") + data
        packet = av.Packet(data)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(begin_s * 1000)
        packet.duration = round((end_s - begin_s) * 1000)
        sink.mux(packet)


def _trim(path: Path) -> None:
    """Make the video's edit list show 0.24 s that begin inside a group of pictures."""
    data = bytearray(path.read_bytes())

    def integer_at(offset: int) -> int:
        return int.from_bytes(data[offset : offset + 4], "big")

    movie_timescale = integer_at(data.index(b"mvhd") + 16)
    media_timescale = integer_at(data.index(b"mdhd") + 16)
    edit_at = data.index(b"elst") + 12
    begin = integer_at(edit_at + 4) + media_timescale * 2 // 25
    data[edit_at : edit_at + 4] = round(0.24 * movie_timescale).to_bytes(4, "big")
    data[edit_at + 4 : edit_at + 8] = begin.to_bytes(4, "big")
    path.write_bytes(data)
