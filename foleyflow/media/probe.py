"""Tells what a media file holds, without decoding more than its first frame.

Reads the header, the packets at both ends of the file and one picture; never the pixels of the
whole clip. Every other file of this room opens its input through `open_input`, so that a bad file
gives the same message everywhere.
"""

from __future__ import annotations

import itertools
import logging
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.boxes import BoxError
from foleyflow.media.demuxers import allowed_demuxers, refused_format
from foleyflow.media.edit_list import Edit, is_ordinary, read_edits
from foleyflow.media.encryption import is_encrypted
from foleyflow.media.input_file import check_input_file
from foleyflow.media.resource_errors import raise_shortage

logger = logging.getLogger(__name__)

# Before it says what a file holds, libavformat looks at five seconds of it, and it gives sound out
# in small pieces. A wav file says what it is in its header, and large pieces take far less time.
_WAV_OPTIONS = {"probesize": "65536", "max_size": "65536"}

SMALLEST_SIDE_PIXELS = 16
LARGEST_SIDE_PIXELS = 8192
LONGEST_DURATION_S = 24 * 3600.0

# Packets looked at before the first shown time is settled: reordering never spans that many.
_HEAD_PACKETS = 48
# Packets that may fail before the first picture is given up.
_FIRST_PICTURE_PACKETS = 300
# Demuxers with an index: a seek to the end is exact, and spares reading the whole file.
_INDEXED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm", "avi"})
# Decoding times that fall back further than by careless rounding start a new time line.
_RESTART_S = 0.25
# A file that ends this much before its index says is cut off; less is rounding.
_CUT_OFF_S = 0.5
# "Demuxers" that turn a text or a single picture into a video stream.
_NOT_VIDEO_FORMATS = frozenset({"tty", "image2", "bin", "xbin", "adf", "idf", "lrc", "srt"})


# Signs of the display matrix by the clockwise turn of the picture.
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a video file holds.

    Attributes:
        path: the file.
        container: name of the container format, as libavformat calls it.
        video_index: index of the video stream within the file.
        video_codec: name of the video codec.
        pixel_format: name of the pixel format.
        width: pixels of the picture as it is shown, after rotation.
        height: pixels of the picture as it is shown, after rotation.
        rotation_deg: clockwise turn that a player applies: 0, 90, 180 or 270.
        orientation: signs (a, b, c, d) of the display matrix; (1, 0, 0, 1) changes nothing.
        pixel_aspect: width of a pixel over its height.
        start_s: time stamp of the first shown frame; may be non-zero or negative.
        duration_s: from the first shown frame to the end of the last one.
        rate_hz: average frames per second.
        has_audio: whether there is a sound track.
        audio_rate_hz: its sample rate, None without sound.
        audio_channels: its channels, None without sound.
        audio_start_s: time stamp of its first sample, on the scale of `start_s`; None if unknown.
        subtitle_count: number of subtitle tracks.
        chapter_count: number of chapters.
        reorders_pictures: whether pictures are stored in another order than they are shown in
            (B-frames).
        undated_packets: packets at the start without a decoding time, before one that has it.
        hides_frames: whether frames before the last shown one are hidden by an edit list.
        edits: the video's edit list, where it is more than one stretch; else empty.
        warnings: what is wrong with the file although it can be used.
    """

    path: Path
    container: str
    video_index: int
    video_codec: str
    pixel_format: str
    width: int
    height: int
    rotation_deg: int
    orientation: tuple[int, int, int, int]
    pixel_aspect: float
    start_s: float
    duration_s: float
    rate_hz: float
    has_audio: bool
    audio_rate_hz: int | None
    audio_channels: int | None
    audio_start_s: float | None
    subtitle_count: int
    chapter_count: int
    reorders_pictures: bool = False
    undated_packets: int = 0
    hides_frames: bool = False
    edits: tuple[Edit, ...] = ()
    warnings: tuple[str, ...] = ()


def probe(path: str | Path) -> MediaInfo:
    """Describe a video file.

    Args:
        path: a file with a video stream.

    Returns:
        What the file holds; times in seconds.

    Raises:
        MediaError: the file is missing, empty, damaged, encrypted, not a video, without a picture
            that can be decoded, longer than 24 h, its time stamps start again within it, or its
            picture is smaller than 16 or larger than 8192 pixels.

    Source: ours.
    """
    path = Path(path)
    with open_input(path) as container:
        stream = pick_video(container, path)
        _check_size(stream.codec_context.width, stream.codec_context.height, path)
        if is_encrypted(path, container.format.name, stream.id):
            raise MediaError(
                f"{path}: the video is encrypted",
                hint="export it without copy protection; its keys can't be copied",
            )
        head = _read_head(container, stream)
        if head.restart_s is not None:
            raise _restart_error(path, head.restart_s)
        if head.packet_count == 0:
            raise MediaError(
                f"{path}: the video stream is empty (zero length)",
                hint="export the clip again; its video track holds no frame",
            )
        if head.picture is None:
            raise MediaError(
                f"{path}: no frame of the {stream.codec_context.name} video can be decoded",
                hint="the file may be damaged; check that it plays",
            )
        _check_size(head.picture.width, head.picture.height, path)
        if head.first_pts is None:
            raise MediaError(
                f"{path}: the video has no time stamps (a raw {stream.codec_context.name} stream?)",
                hint="wrap it into mp4 or mkv first, with its frame rate",
            )
        time_base = time_base_of(stream)
        rate_hz = _average_rate_hz(stream, head, time_base)
        promised_s = _promised_end_s(container, stream)
        end_pts = _end_pts(container, stream, head, path, rate_hz)
        start_s = float(head.first_pts * time_base)
        duration_s = float((end_pts - head.first_pts) * time_base)
        _check_duration(duration_s, path)
        orientation = orientation_of(head.picture)
        turned = orientation[0] == 0
        width, height = head.picture.width, head.picture.height
        audio = container.streams.audio[0] if container.streams.audio else None
        sound = audio.codec_context if audio else None
        aspect = stream.sample_aspect_ratio
        edits = _unusual_edits(container, stream, path)
        end_s = float(end_pts * time_base)
        warnings = []
        if promised_s is not None and promised_s - end_s > _CUT_OFF_S:
            reached_s = end_s if stream.duration else _last_packet_end_s(path)
            if promised_s - reached_s > _CUT_OFF_S:
                warnings.append(
                    f"the file is cut off: it promises {promised_s - start_s:.2f} s, and"
                    f" {duration_s:.2f} s of video arrived"
                )
        return MediaInfo(
            path=path,
            container=container.format.name,
            video_index=stream.index,
            video_codec=stream.codec_context.name,
            pixel_format=head.picture.format.name,
            width=height if turned else width,
            height=width if turned else height,
            rotation_deg=_clockwise_deg(orientation),
            orientation=orientation,
            pixel_aspect=float(aspect) if aspect else 1.0,
            start_s=start_s,
            duration_s=duration_s,
            rate_hz=rate_hz,
            has_audio=audio is not None,
            audio_rate_hz=sound.sample_rate if sound else None,
            audio_channels=sound.channels if sound else None,
            audio_start_s=_stream_start_s(audio),
            subtitle_count=len(container.streams.subtitles),
            chapter_count=len(container.chapters()),
            reorders_pictures=bool(stream.codec_context.has_b_frames),
            undated_packets=head.undated_packets,
            hides_frames=head.hides_frames or sum(e.media_s is not None for e in edits) > 1,
            edits=edits,
            warnings=tuple(warnings),
        )


@contextmanager
def open_input(
    path: str | Path, *, options: Mapping[str, str] | None = None
) -> Iterator[InputContainer]:
    """Open a media file for reading, or say plainly why that can't be done.

    Args:
        path: a file on disk; never a URL or a pattern, whatever it looks like. Formats that name
            further files, such as playlists, are refused.
        options: further ones of the demuxer.

    Returns:
        A context manager that gives the open container.

    Raises:
        MediaError: the file is missing, a directory, a pipe, empty, unreadable, a playlist or
            not media.

    Source: ours.
    """
    path = Path(path)
    settings = {"format_whitelist": allowed_demuxers(), "protocol_whitelist": "file"}
    settings |= dict(options or {})
    if path.suffix.lower() == ".wav":
        settings |= _WAV_OPTIONS
    try:
        check_input_file(path)
        # The protocol is named, so that a colon in a file's name is never taken for one.
        container = av.open(f"file:{path}", "r", metadata_errors="replace", options=settings)
    except PermissionError as error:
        raise MediaError(
            f"{path}: not allowed to read it", hint="check the file's permissions"
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise_shortage(error)
        refused = refused_format(path)
        if refused is not None:
            what, hint = refused
            raise MediaError(
                f"{path}: {what}; the files that it names are not opened", hint=hint
            ) from error
        raise MediaError(
            f"{path}: not a media file that can be read ({_reason(error)})",
            hint="the file may be truncated (its index is written last) or of another kind;"
            " check that it plays",
        ) from error
    with container:
        yield container


def pick_video(container: InputContainer, path: str | Path) -> VideoStream:
    """The stream that a player would show.

    Args:
        container: an open file.
        path: its name, for messages.

    Raises:
        MediaError: there is none: audio only, cover art only, a text or a still picture.

    Source: ours.
    """
    names = set(container.format.name.split(","))
    if names & _NOT_VIDEO_FORMATS or any(name.endswith("_pipe") for name in names):
        raise MediaError(
            f"{path}: not a video (it reads as {container.format.name})",
            hint="a video file is needed, such as mp4, mov, mkv or webm",
        )
    streams = [s for s in container.streams.video if not is_cover_art(s)]
    if not streams:
        what = "sound only, no video stream" if container.streams.audio else "no video stream in it"
        raise MediaError(f"{path}: {what}", hint="a file with pictures is needed")
    usable = [s for s in streams if s.codec_context is not None]
    if not usable:
        raise MediaError(
            f"{path}: its video codec is not known here", hint="convert the video to h264 first"
        )
    preferred = [s for s in usable if s.disposition & Disposition.default]
    return (preferred or usable)[0]


def is_cover_art(stream: Stream) -> bool:
    """Whether a stream is a still picture attached to the file."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def read_packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet]:
    """Packets of some streams in the file's order, up to its end or to where it can't be read.

    A file that breaks off is used as far as it goes, with a warning. Empty packets come last, one
    per stream: they ask a decoder for what it still holds.

    Source: ours.
    """
    try:
        yield from container.demux(*streams)
    except (av.FFmpegError, OSError) as error:
        raise_shortage(error)
        logger.warning("%s: reading stopped early: %s", container.name, _reason(error))
        for stream in streams:
            ending = Packet()
            ending.stream = stream
            yield ending


def first_packet(path: Path, stream_index: int) -> bytes:
    """The content of a stream's first packet; empty where it has none."""
    with open_input(path) as container:
        for packet in read_packets(container, [container.streams[stream_index]]):
            if packet.size:
                return bytes(packet)
    return b""


def discard_others(container: InputContainer, stream: Stream) -> None:
    """Have the demuxer skip every stream but one.

    Source: ours.
    """
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def first_shown_s(container: InputContainer, stream: VideoStream) -> float:
    """Time stamp of the first shown frame, from a container that nobody has read from yet.

    Args:
        container: an open file, at its beginning; it is left somewhere behind it.
        stream: its video stream.

    Returns:
        Seconds; 0 where the stream has no time stamps at all.

    Source: ours.
    """
    head = _read_head(container, stream, picture_needed=False)
    return float((head.first_pts or 0) * time_base_of(stream))


def orientation_of(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs of the display matrix of a frame, as (a, b, c, d).

    A point (x, y) of the stored picture is shown at (a x + c y, b x + d y), moved back into view.

    Source: libavutil/display.h.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data of a kind that PyAV can't name (Exif, say) hides the matrix
        return _TURNS.get(round(-frame.rotation / 90) * 90 % 360, (1, 0, 0, 1))
    if matrix is None:
        return (1, 0, 0, 1)
    values = memoryview(bytes(cast(SideData, matrix))).cast("i")
    a, b, c, d = values[0], values[1], values[3], values[4]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


def _clockwise_deg(orientation: tuple[int, int, int, int]) -> int:
    a, _, c, d = orientation
    if a == 0:
        return 90 if c < 0 else 270
    return 180 if d < 0 else 0


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The first packets of a video stream and its first picture."""

    packet_count: int
    first_pts: int | None
    spacing: int  # median distance of time stamps, 0 if unknown
    end_pts: int  # end of the last shown packet seen
    complete: bool  # the whole stream was read
    picture: VideoFrame | None
    hides_frames: bool  # a packet that is not shown comes before one that is
    restart_s: float | None  # where time stamps start again
    undated_packets: int  # at the start, before the first decoding time


def _read_head(
    container: InputContainer, stream: VideoStream, *, picture_needed: bool = True
) -> _Head:
    discard_others(container, stream)
    shown: list[tuple[int, int]] = []
    count = 0
    complete = True
    picture: VideoFrame | None = None
    hidden = hides_frames = dated = False
    undated = 0
    restarts = _RestartWatch()
    for packet in read_packets(container, [stream]):
        restarts.look(packet)
        if picture_needed and picture is None:
            picture = _first_picture(stream, packet)
        if packet.size:
            count += 1
            dated = dated or packet.dts is not None
            undated += not dated
            if packet.pts is not None and not packet.is_discard:
                shown.append((packet.pts, packet.duration or 0))
                hides_frames = hidden
            hidden = hidden or packet.is_discard
            enough = len(shown) >= _HEAD_PACKETS or count >= 20 * _HEAD_PACKETS
            seen = not picture_needed or picture is not None or count >= _FIRST_PICTURE_PACKETS
            if enough and seen:
                complete = False
                break
    shown.sort()
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(shown) if b[0] > a[0]]
    spacing = round(statistics.median(gaps)) if gaps else 0
    return _Head(
        packet_count=count,
        first_pts=shown[0][0] if shown else None,
        spacing=spacing,
        end_pts=max((pts + (length or spacing) for pts, length in shown), default=0),
        complete=complete,
        picture=picture,
        hides_frames=hides_frames,
        restart_s=restarts.restart_s,
        undated_packets=undated if dated else 0,
    )


def _first_picture(stream: VideoStream, packet: Packet) -> VideoFrame | None:
    try:
        frames = stream.decode(packet if packet.size else None)
    except av.FFmpegError as error:
        raise_shortage(error)
        return None
    return frames[0] if frames else None


def _end_pts(
    container: InputContainer, stream: VideoStream, head: _Head, path: Path, rate_hz: float
) -> int:
    """End of the last shown frame: from the file's tail where it has an index, else from all."""
    time_base = time_base_of(stream)
    spacing = head.spacing or max(1, round(1 / (rate_hz * time_base)))
    end = head.end_pts
    if not head.complete:
        tail_end = _tail_end_pts(container, stream, spacing)
        if tail_end is None or tail_end < end:
            logger.debug("%s: reading all packets to learn the duration", path)
            tail_end = _all_end_pts(path, stream.index, spacing)
        end = max(end, tail_end)
    # A lone frame of unknown length is shown for one period.
    first = head.first_pts or 0
    return end if end > first else first + spacing


def _tail_end_pts(container: InputContainer, stream: VideoStream, spacing: int) -> int | None:
    if not set(container.format.name.split(",")) & _INDEXED_FORMATS:
        return None
    time_base = time_base_of(stream)
    if stream.duration:
        target = (stream.start_time or 0) + stream.duration
    elif container.duration:
        target = math.ceil(Fraction(container.duration, av.time_base) / time_base)
    else:
        return None
    try:
        container.seek(target, stream=stream)
    except (av.FFmpegError, OSError) as error:
        raise_shortage(error)
        return None
    ends = _shown_ends(read_packets(container, [stream]), spacing)
    return max(ends, default=None)


def _all_end_pts(path: Path, stream_index: int, spacing: int) -> int:
    restarts = _RestartWatch()
    with open_input(path) as container:
        stream = container.streams[stream_index]
        discard_others(container, stream)
        end = max(_shown_ends(read_packets(container, [stream]), spacing, restarts), default=0)
    if restarts.restart_s is not None:
        raise _restart_error(path, restarts.restart_s)
    return end


def _last_packet_end_s(path: Path) -> float:
    """Where the last packet of any stream ends."""
    end_s = 0.0
    with open_input(path) as container:
        for packet in read_packets(container, list(container.streams)):
            if packet.size and packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end_s


def _promised_end_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Where the video ends by the file's index or header; None where neither says so."""
    if not set(container.format.name.split(",")) & _INDEXED_FORMATS:
        return None
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * time_base_of(stream))
    if container.duration:
        return ((container.start_time or 0) + container.duration) / av.time_base
    return None


def _unusual_edits(container: InputContainer, stream: VideoStream, path: Path) -> tuple[Edit, ...]:
    """The edit list of the video, where a muxer can't write it by itself; else empty."""
    if "mov" not in container.format.name.split(","):
        return ()
    try:
        edits = read_edits(path, track_id=stream.id)
    except BoxError as error:
        logger.debug("%s: its edit list can't be read: %s", path, error)
        return ()
    if any(edit.media_s is not None and edit.rate != 1 for edit in edits):
        raise MediaError(
            f"{path}: its edit list plays a part at another speed, which is not supported",
            hint="export the clip again, so that its speed is part of the pictures",
        )
    return () if is_ordinary(edits) else edits


class _RestartWatch:
    """Looks out for decoding times that fall back to an earlier time.

    Attributes:
        restart_s: how far the time line had come; None as long as it goes on.
    """

    def __init__(self) -> None:
        self.restart_s: float | None = None
        self._last_s = -math.inf

    def look(self, packet: Packet) -> None:
        """Take notice of the next packet of a stream; those that an edit list hides don't count.

        Presentation times say nothing here: Matroska's first packets have no others, and theirs
        lie behind the decoding times that follow.
        """
        if packet.dts is None or packet.is_discard or not packet.size:
            return
        time_s = float(packet.dts * packet.time_base)
        if time_s < self._last_s - _RESTART_S and self.restart_s is None:
            self.restart_s = self._last_s
        self._last_s = max(self._last_s, time_s)


def _restart_error(path: Path, restart_s: float) -> MediaError:
    return MediaError(
        f"{path}: its time stamps start again after {restart_s:.2f} s, as where files were joined"
        " end to end",
        hint="join the parts by a program that rewrites time stamps (ffmpeg's concat demuxer)",
    )


def _shown_ends(
    packets: Iterator[Packet], spacing: int, restarts: _RestartWatch | None = None
) -> Iterator[int]:
    for packet in packets:
        if restarts is not None:
            restarts.look(packet)
        if packet.size and packet.pts is not None and not packet.is_discard:
            yield packet.pts + (packet.duration or spacing)


def _average_rate_hz(stream: VideoStream, head: _Head, time_base: Fraction) -> float:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    if head.spacing:
        return float(1 / (head.spacing * time_base))
    return 25.0


def time_base_of(stream: Stream) -> Fraction:
    """Seconds per tick of a stream's time stamps.

    Source: ours.
    """
    return stream.time_base or Fraction(1, av.time_base)


def _stream_start_s(stream: av.AudioStream | None) -> float | None:
    if stream is None or stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def _check_size(width: int, height: int, path: Path) -> None:
    if width == 0 or height == 0:
        return  # not in the header: known once a picture is decoded
    if min(width, height) < SMALLEST_SIDE_PIXELS or max(width, height) > LARGEST_SIDE_PIXELS:
        raise MediaError(
            f"{path}: the picture is {width}x{height}; sides of {SMALLEST_SIDE_PIXELS} to"
            f" {LARGEST_SIDE_PIXELS} pixels are supported",
            hint="scale the video first",
        )


def _check_duration(duration_s: float, path: Path) -> None:
    if not duration_s > 0:
        raise MediaError(f"{path}: the video lasts {duration_s:g} s", hint="export the clip again")
    if duration_s > LONGEST_DURATION_S:
        raise MediaError(
            f"{path}: the video seems to last {duration_s / 3600:.1f} h; up to 24 h are supported",
            hint="its time stamps may jump; write it anew with steady ones, or cut it",
        )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
