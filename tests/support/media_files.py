"""Small media files for tests: unusual formats and bad inputs."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from foleyflow.experiments.robustness.corpus import (
    TimedText,
    add_subtitles,
    set_chapters,
    write_subtitles,
)
from foleyflow.media.boxes import Box, edit_index

SHARED_CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"

Painter = Callable[[int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Sound:
    """An audio track for `make_video`: (channels, n) float32 samples that start at `start_s`."""

    samples: np.ndarray
    rate_hz: int = 48_000
    codec: str = "aac"
    start_s: float = 0.0

    @property
    def layout(self) -> str:
        return {1: "mono", 2: "stereo", 6: "5.1"}[len(self.samples)]


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file that can't be used, and a pattern that the error message must match."""

    path: Path
    match: str


def grey_level(index: int) -> int:
    """The grey level of a frame of `grey_painter`; neighbours differ even after lossy coding."""
    return 20 + 15 * (index % 14)


def grey_painter(width: int, height: int) -> Painter:
    """Frames with one grey level each."""
    return lambda index: np.full((height, width, 3), grey_level(index), np.uint8)


def square_painter(step: int) -> Painter:
    """A bright square on a dark picture of 96 x 64, `step` pixels further right in each frame."""

    def paint(index: int) -> np.ndarray:
        picture = np.full((64, 96, 3), 40, np.uint8)
        left = (step * index) % 80
        picture[20:40, left : left + 16] = 220
        return picture

    return paint


def corner_painter(width: int, height: int) -> Painter:
    """Red at the top left, green at the top right, blue at the bottom left, else white."""
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[: height // 2, : width // 2] = (255, 0, 0)
    picture[: height // 2, width // 2 :] = (0, 255, 0)
    picture[height // 2 :, : width // 2] = (0, 0, 255)
    return lambda index: picture


def impulses(sample_count: int, at: Sequence[int], *, channels: int = 1) -> np.ndarray:
    """Silence with single loud samples at the given indices."""
    samples = np.zeros((channels, sample_count), np.float32)
    samples[:, list(at)] = 0.9
    return samples


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    rate: Fraction | int = 25,
    n_frames: int = 50,
    times_s: Sequence[float] | None = None,
    start_s: float = 0.0,
    width: int = 96,
    height: int = 64,
    pixel_format: str = "yuv420p",
    painter: Painter | None = None,
    rotation_deg: int = 0,
    mirrored: bool = False,
    key_frame_every: int = 12,
    b_frames: int = 0,
    codec_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    format: str | None = None,
    sound: Sound | None = None,
    subtitles: Sequence[TimedText] = (),
    subtitle_codec: str = "subrip",
    chapters: Sequence[TimedText] = (),
    metadata: dict[str, str] | None = None,
    settings: dict[str, object] | None = None,
) -> Path:
    """Write a video.

    `times_s` sets a variable frame rate, `rotation_deg` is clockwise, and `settings` are attributes
    of the encoder, such as its colours.
    """
    painter = painter or grey_painter(width, height)
    rate = Fraction(rate)
    tick = 1 / rate if times_s is None and not start_s else Fraction(1, 90_000)
    with av.open(str(path), "w", format=format, options=options or {}) as sink:
        sink.metadata.update(metadata or {})
        # Enough bits to distinguish frames by their grey level.
        encoder_options = {"b": "4000000"}
        if codec.startswith("libvpx"):
            encoder_options |= {"deadline": "realtime", "cpu-used": "8"}
        stream = sink.add_stream(codec, rate=rate, options=encoder_options | (codec_options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = key_frame_every
        stream.codec_context.max_b_frames = b_frames
        for name, value in (settings or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation_deg or mirrored:
            stream.set_display_rotation(-rotation_deg, hflip=mirrored)
        audio = _add_audio(sink, sound) if sound is not None else None
        if subtitles:
            text = add_subtitles(sink, subtitle_codec)
            text.metadata["language"] = "ger"
        if chapters:
            set_chapters(sink, chapters)
        sink.start_encoding()
        if subtitles:
            write_subtitles(sink, text, subtitles)
        if audio is not None and sound is not None:
            _write_audio(sink, audio, sound)
        if times_s is None:
            times_s = [float(index / rate) for index in range(n_frames)]
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(painter(index), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = round((time_s + start_s) / tick)
            frame.time_base = tick
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return path


def make_sound(path: Path, sound: Sound) -> Path:
    """Write a file with audio only."""
    with av.open(str(path), "w") as sink:
        audio = _add_audio(sink, sound)
        _write_audio(sink, audio, sound)
    return path


def _add_audio(sink, sound: Sound):
    audio = sink.add_stream(sound.codec, rate=sound.rate_hz)
    audio.codec_context.layout = sound.layout
    audio.time_base = Fraction(1, sound.rate_hz)
    return audio


def _write_audio(sink, audio, sound: Sound) -> None:
    length = audio.codec_context.frame_size or 1024
    for start in range(0, sound.samples.shape[1], length):
        piece = np.ascontiguousarray(sound.samples[:, start : start + length])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=sound.layout)
        frame.sample_rate = sound.rate_hz
        frame.pts = start + round(sound.start_s * sound.rate_hz)
        frame.time_base = Fraction(1, sound.rate_hz)
        sink.mux(audio.encode(frame))
    sink.mux(audio.encode(None))


def video_packet_bytes(path: Path) -> list[bytes]:
    """The video packets of a file, to compare copies."""
    with av.open(str(path)) as source:
        return [bytes(p) for p in source.demux(source.streams.video[0]) if p.size]


def video_packet_times(path: Path) -> list[tuple[Fraction, Fraction]]:
    """(pts, dts) of the video packets of a file, in seconds."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        return [
            (p.pts * stream.time_base, p.dts * stream.time_base)
            for p in source.demux(stream)
            if p.size
        ]


def contents_of(folder: Path) -> dict[str, bytes | None]:
    """Files and folders below a folder, with the bytes of files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def cut_bytes(source: Path, target: Path, fraction: float) -> Path:
    """Write the first part of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * fraction)])
    return target


def make_bad_files(folder: Path) -> dict[str, BadFile]:
    """One path for each kind of unusable input, by the name of the kind."""
    good = make_video(folder / "good.mp4")
    tone = Sound(samples=impulses(48_000, [24_000]))
    bad: dict[str, BadFile] = {}

    def add(name: str, path: Path, match: str) -> None:
        bad[name] = BadFile(path=path, match=match)

    add("missing", folder / "missing.mp4", "no such file")
    (folder / "folder.mp4").mkdir()
    add("directory", folder / "folder.mp4", "is a directory")
    (folder / "empty.mp4").touch()
    add("empty", folder / "empty.mp4", "empty")
    add("truncated", cut_bytes(good, folder / "truncated.mp4", 0.6), "not a media file")
    (folder / "text.mp4").write_text("Dear diary, today nothing moved.\n" * 50)
    add("text", folder / "text.mp4", "not a media file|not a video")
    (folder / "text.txt").write_text("Dear diary, today nothing moved.\n" * 50)
    add("text_by_name", folder / "text.txt", "not a media file|not a video")
    add("audio_only", make_sound(folder / "audio_only.m4a", tone), "sound only")
    add("cover_art", _sound_with_cover(folder / "cover.mp3", tone), "sound only")
    (folder / "picture.png").write_bytes(encoded_picture())
    add("picture", folder / "picture.png", "not a video")
    with av.open(str(folder / "zero_length.mp4"), "w") as sink:
        stream = sink.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        sink.start_encoding()
    add("zero_length", folder / "zero_length.mp4", "empty|not a media file|no video")
    add("tiny", make_video(folder / "tiny.mp4", width=10, height=10), "10x10")
    add("too_wide", make_video(folder / "wide.mp4", width=8224, height=32, n_frames=2), "8224x32")
    add("undecodable", _garbled(good, folder / "undecodable.mp4"), "no frame .* can be decoded")
    make_video(folder / "raw.h264", format="h264")
    add("no_time_stamps", folder / "raw.h264", "no time stamps")
    jumping = make_video(folder / "jumping.mkv", times_s=[0.0, 0.04, 0.08, 100_000.0])
    add("jumping", jumping, "seems to last 27.8 h")
    return bad


def _sound_with_cover(path: Path, sound: Sound) -> Path:
    with av.open(str(path), "w") as sink:
        audio = sink.add_stream("libmp3lame", rate=sound.rate_hz)
        audio.codec_context.layout = "mono"
        cover = sink.add_mux_stream("png", width=64, height=64)
        cover.disposition = av.stream.Disposition.attached_pic
        sink.start_encoding()
        packet = av.Packet(encoded_picture())
        packet.stream = cover
        packet.pts = packet.dts = 0
        sink.mux(packet)
        _write_audio(sink, audio, sound)
    return path


def encoded_picture(codec: str = "png", pixel_format: str = "rgb24") -> bytes:
    """A grey picture of 64 x 64 pixels."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.time_base = pixel_format, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
    frame = frame.reformat(format=pixel_format)
    frame.pts = 0
    return b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])


def _garbled(source: Path, target: Path) -> Path:
    """A file with an intact header and noise instead of pictures."""
    data = bytearray(source.read_bytes())
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[begin:end] = np.random.default_rng(0).bytes(end - begin)
    target.write_bytes(data)
    return target


def damage(source: Path, target: Path, *, fraction: float, seed: int = 0) -> Path:
    """A copy of an mp4 in which a fraction of the video packets, but no key frame, is noise."""
    data = bytearray(source.read_bytes())
    random = np.random.default_rng(seed)
    with av.open(str(source)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
    later = [p for p in packets if not p.is_keyframe]
    for index in random.choice(len(later), round(fraction * len(packets)), replace=False):
        packet = later[index]
        data[packet.pos : packet.pos + packet.size] = random.bytes(packet.size)
    target.write_bytes(data)
    return target


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The pictures and sound of a file in a player, decoded on one thread."""

    pictures: list[str]  # a hash of each picture, in presentation order
    times_s: np.ndarray  # presentation time of each picture
    sound_s: tuple[float, float] | None  # start and end of the first audio track


def shown(path: Path) -> Shown:
    """Decode all pictures of a file like a player: with its edit list, and without threads."""
    pictures, times_s = [], []
    with av.open(str(path)) as source:
        (video,) = [
            s
            for s in source.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        ]
        video.thread_type = "NONE"
        for frame in source.decode(video):
            pictures.append(hashlib.md5(frame.to_ndarray(format="gray").tobytes()).hexdigest()[:8])
            times_s.append(float(frame.pts * video.time_base))
        if source.format.name == "avi":  # stores no presentation times
            times_s.sort()
    sound_s = None
    with av.open(str(path)) as source:
        if source.streams.audio and source.streams.audio[0].codec_context is not None:
            start_s = end_s = None
            for frame in source.decode(audio=0):
                begin_s = end_s or 0.0 if frame.pts is None else float(frame.pts * frame.time_base)
                start_s = begin_s if start_s is None else start_s
                end_s = begin_s + frame.samples / frame.sample_rate
            sound_s = (start_s, end_s)
    return Shown(pictures=pictures, times_s=np.array(times_s), sound_s=sound_s)


def set_edits(path: Path, edits: Sequence[tuple[float, float | None]], *, track: int = 0) -> Path:
    """Set the edits (seconds, media seconds or None) of a track of an mp4 file."""
    with edit_index(path) as index:
        track_box = index.all(b"trak")[track]
        (movie,) = struct.unpack_from(">I", index.find(b"mvhd").body, 12)
        (media,) = struct.unpack_from(">I", track_box.find(b"mdia", b"mdhd").body, 12)
        entries = b"".join(
            struct.pack(">Iihh", round(a * movie), -1 if b is None else round(b * media), 1, 0)
            for a, b in edits
        )
        body = struct.pack(">II", 0, len(edits)) + entries
        children = [box for box in track_box.children or [] if box.kind != b"edts"]
        track_box.children = [*children, Box(b"edts", children=[Box(b"elst", body=body)])]
    return path


def add_to_sample_entry(path: Path, boxes: bytes) -> Path:
    """Append boxes to the video sample entry of an mp4 or mov file."""
    with edit_index(path) as index:
        description = index.all(b"trak")[0].find(b"mdia", b"minf", b"stbl", b"stsd")
        entry = description.body[8:] + boxes
        description.body = description.body[:8] + struct.pack(">I", len(entry)) + entry[4:]
    return path


def box(kind: bytes, content: bytes) -> bytes:
    """An mp4 box."""
    return Box(kind, body=content).to_bytes()


def painted_number(width: int, height: int) -> Painter:
    """Frames that show the bits of their number as black and white bars, so that all differ."""

    def paint(index: int) -> np.ndarray:
        picture = np.full((height, width, 3), 40 + index % 150, np.uint8)
        for bit in range(8):
            column = slice(bit * width // 8, (bit + 1) * width // 8)
            picture[: height // 2, column] = 235 if index >> bit & 1 else 16
        return picture

    return paint
