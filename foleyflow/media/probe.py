"""Describe a media file without decoding more than its first frame.

`probe` reads the header, the packets at both ends of the file, and one frame.
"""

from __future__ import annotations

import itertools
import logging
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.boxes import Box, read_index
from foleyflow.media.container_error import ContainerError
from foleyflow.media.edit_list import Edit, is_written_by_muxer, read_edits
from foleyflow.media.encryption import is_encrypted
from foleyflow.media.input_file import (
    discard_others,
    format_names,
    open_input,
    pick_video,
    read_packets,
    time_base_of,
)
from foleyflow.media.properties import start_time_code
from foleyflow.media.resource_errors import raise_if_out_of_resources

logger = logging.getLogger(__name__)

SMALLEST_SIDE_PIXELS = 16
LARGEST_SIDE_PIXELS = 8192
LONGEST_DURATION_S = 24 * 3600.0

# Packets read to find the time of the first shown frame: reordering never spans that many.
_HEAD_PACKETS = 48
# Packets that may fail to decode before the search for a first frame ends.
_FIRST_FRAME_PACKETS = 300
# Formats with an index: a seek to the end is exact, and avoids reading the complete file.
_INDEXED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm", "avi"})
# Decoding times that fall back by more than rounding start a new time line.
_RESTART_S = 0.25
# A file that ends this much before the end in its index is cut off; less is rounding.
_CUT_OFF_S = 0.5
# Signs of the display matrix by the clockwise rotation.
_ROTATIONS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """The properties of a video file."""

    path: Path
    container: str  # libavformat's names of the container format
    video_index: int  # index of the video stream within the file
    video_codec: str
    pixel_format: str
    width: int  # pixels of the displayed frame, after rotation
    height: int  # likewise
    rotation_deg: int  # clockwise rotation that a player applies: 0, 90, 180 or 270
    # Signs (a, b, c, d) of the display matrix, see `orientation_of`
    orientation: tuple[int, int, int, int]
    pixel_aspect: float  # width of a pixel over its height
    start_s: float  # time stamp of the first shown frame; may be negative
    duration_s: float  # from the first shown frame to the end of the last one
    rate_hz: float  # average frames per second
    has_audio: bool
    audio_rate_hz: int | None  # of the first audio track
    # Time stamp of its first sample, on the scale of `start_s`; None if unknown
    audio_start_s: float | None
    reorders_pictures: bool = False  # frames are stored in another order than shown (B-frames)
    start_time_code: str | None = None  # of the first frame, if the file stores it
    undated_packets: int = 0  # packets at the start that lack a decoding time
    hides_frames: bool = False  # an edit list hides frames before the last shown one
    # The video's edit list if libavformat's muxer can't write it; else empty
    edits: tuple[Edit, ...] = ()
    warnings: tuple[str, ...] = ()  # defects of the file that do not prevent its use
    is_file: bool = True  # False for frames that were given in memory


def probe(path: str | Path) -> MediaInfo:
    """Describe a video file.

    Raises:
        MediaError: the file is missing, empty, damaged, encrypted, not a video, or longer than
            24 h; no frame can be decoded; time stamps are missing or start again within the file;
            an edit list changes the speed; or a side is below 16 or above 8192 pixels.
    """
    path = Path(path)
    with open_input(path) as container:
        # Refuse files that can't be used
        stream = pick_video(container, path)
        check_frame_size(stream.codec_context.width, stream.codec_context.height, path)
        index = read_mov_index(container, path)
        if is_encrypted(path, format_names(container), stream.id, index=index):
            raise MediaError(
                f"{path}: the video is encrypted",
                hint="export it without copy protection; its keys can't be copied",
            )
        head = _read_head(container, stream)
        frame, first_pts = _check_head(head, stream, path)
        # Measure start and duration
        time_base = time_base_of(stream)
        rate_hz = _average_rate_hz(stream, head, time_base)
        indexed_end_s = _indexed_end_s(container, stream)
        end_pts = _end_pts(container, stream, head, path, rate_hz)
        start_s = float(first_pts * time_base)
        duration_s = float((end_pts - first_pts) * time_base)
        check_duration(duration_s, path)
        warnings = []
        if indexed_end_s is not None:
            end_s = float(end_pts * time_base)
            if indexed_end_s - end_s > _CUT_OFF_S and not stream.duration:
                end_s = _last_packet_end_s(path)
            if indexed_end_s - end_s > _CUT_OFF_S:
                warnings.append(
                    f"the file is cut off: its index describes {indexed_end_s - start_s:.2f} s of"
                    f" video, and it contains {duration_s:.2f} s"
                )
        # Describe the streams
        orientation = orientation_of(frame)
        swaps_axes = orientation[0] == 0
        audio = container.streams.audio[0] if container.streams.audio else None
        audio_codec = audio.codec_context if audio else None
        audio_start_s = None
        if audio is not None and audio.start_time is not None:
            audio_start_s = float(audio.start_time * time_base_of(audio))
        aspect = stream.sample_aspect_ratio
        edits = _unusual_edits(index, stream, path)
        return MediaInfo(
            path=path,
            container=container.format.name,
            video_index=stream.index,
            video_codec=stream.codec_context.name,
            pixel_format=frame.format.name,
            width=frame.height if swaps_axes else frame.width,
            height=frame.width if swaps_axes else frame.height,
            rotation_deg=_clockwise_deg(orientation),
            orientation=orientation,
            pixel_aspect=float(aspect) if aspect else 1.0,
            start_s=start_s,
            duration_s=duration_s,
            rate_hz=rate_hz,
            has_audio=audio is not None,
            audio_rate_hz=audio_codec.sample_rate if audio_codec else None,
            audio_start_s=audio_start_s,
            reorders_pictures=bool(stream.codec_context.has_b_frames),
            start_time_code=start_time_code(container, stream),
            undated_packets=head.undated_packets,
            hides_frames=head.hides_frames or sum(e.media_s is not None for e in edits) > 1,
            edits=edits,
            warnings=tuple(warnings),
        )


def read_mov_index(container: InputContainer, path: Path) -> Box | None:
    """Read the index of an mp4 or mov file; None for other formats, or if it can't be read."""
    if "mov" not in format_names(container):
        return None
    try:
        return read_index(path)[0]
    except ContainerError as error:
        logger.debug("%s: its index can't be read: %s", path, error)
        return None


def first_shown_s(container: InputContainer, stream: VideoStream) -> float:
    """Return the time stamp of the first shown frame; 0 if the stream has no time stamps.

    No packet of the file may have been read before; its position changes.
    """
    head = _read_head(container, stream, needs_frame=False)
    return float((head.first_pts or 0) * time_base_of(stream))


def orientation_of(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return the signs of the display matrix of a frame, as (a, b, c, d).

    A point (x, y) of the stored frame is shown at (a x + c y, b x + d y), moved back into view.

    Reference: libavutil/display.h.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV fails on side data of unknown kinds (Exif, for example)
        return _ROTATIONS.get(round(-frame.rotation / 90) * 90 % 360, (1, 0, 0, 1))
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


class _RestartDetector:
    """Detects decoding times that fall back, as in files that were joined end to end."""

    def __init__(self) -> None:
        self._last_s = -math.inf
        self._restart_s: float | None = None

    def watch(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Yield the packets, and examine the decoding times of those that are shown.

        Presentation times can't replace missing decoding times: those of the first packets of
        Matroska lie after the decoding times that follow.
        """
        for packet in packets:
            if packet.dts is not None and packet.size and not packet.is_discard:
                time_s = float(packet.dts * packet.time_base)
                if time_s < self._last_s - _RESTART_S and self._restart_s is None:
                    self._restart_s = self._last_s
                self._last_s = max(self._last_s, time_s)
            yield packet

    def check(self, path: Path) -> None:
        """Raise `MediaError` if decoding times fell back."""
        if self._restart_s is not None:
            raise MediaError(
                f"{path}: its time stamps start again after {self._restart_s:.2f} s, as in files"
                " that were joined end to end",
                hint="join the parts with a program that rewrites time stamps, such as ffmpeg's"
                " concat demuxer",
            )


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The first packets of a video stream and its first frame."""

    packet_count: int
    first_pts: int | None
    spacing: int  # median distance of time stamps, 0 if unknown
    end_pts: int  # end of the last shown packet
    is_complete: bool  # the stream has no further packets
    frame: VideoFrame | None
    hides_frames: bool  # a packet that is not shown precedes one that is
    restarts: _RestartDetector
    undated_packets: int  # at the start, before the first decoding time


def _read_head(
    container: InputContainer, stream: VideoStream, *, needs_frame: bool = True
) -> _Head:
    discard_others(container, stream)
    shown: list[tuple[int, int]] = []  # (time stamp, duration)
    count = undated = 0
    is_complete = True
    frame: VideoFrame | None = None
    is_hidden = hides_frames = is_dated = False
    restarts = _RestartDetector()
    for packet in restarts.watch(read_packets(container, [stream])):
        if needs_frame and frame is None:
            frame = _first_frame(stream, packet)
        if packet.size:
            count += 1
            is_dated = is_dated or packet.dts is not None
            undated += not is_dated
            if packet.pts is not None and not packet.is_discard:
                shown.append((packet.pts, packet.duration or 0))
                hides_frames = is_hidden
            is_hidden = is_hidden or packet.is_discard
            has_times = len(shown) >= _HEAD_PACKETS or count >= 20 * _HEAD_PACKETS
            has_frame = not needs_frame or frame is not None or count >= _FIRST_FRAME_PACKETS
            if has_times and has_frame:
                is_complete = False
                break
    shown.sort()
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(shown) if b[0] > a[0]]
    spacing = round(statistics.median(gaps)) if gaps else 0
    return _Head(
        packet_count=count,
        first_pts=shown[0][0] if shown else None,
        spacing=spacing,
        end_pts=max((pts + (length or spacing) for pts, length in shown), default=0),
        is_complete=is_complete,
        frame=frame,
        hides_frames=hides_frames,
        restarts=restarts,
        undated_packets=undated if is_dated else 0,
    )


def _first_frame(stream: VideoStream, packet: Packet) -> VideoFrame | None:
    try:
        frames = stream.decode(packet if packet.size else None)
    except av.FFmpegError as error:
        raise_if_out_of_resources(error)
        return None
    return frames[0] if frames else None


def _check_head(head: _Head, stream: VideoStream, path: Path) -> tuple[VideoFrame, int]:
    """The first frame and the first time stamp; unusable video is refused."""
    head.restarts.check(path)
    codec = stream.codec_context.name
    if head.packet_count == 0:
        raise MediaError(
            f"{path}: the video stream is empty (zero length)",
            hint="export the clip again; its video track has no frames",
        )
    if head.frame is None:
        raise MediaError(
            f"{path}: no frame of the {codec} video can be decoded",
            hint="check that the file plays; it may be damaged",
        )
    check_frame_size(head.frame.width, head.frame.height, path)
    if head.first_pts is None:
        raise MediaError(
            f"{path}: the video has no time stamps (it may be a raw {codec} stream)",
            hint="put it into an mp4 or mkv file first and give its frame rate",
        )
    return head.frame, head.first_pts


def _end_pts(
    container: InputContainer, stream: VideoStream, head: _Head, path: Path, rate_hz: float
) -> int:
    """End of the last shown frame: from the end of an indexed file, else from all packets."""
    spacing = head.spacing or max(1, round(1 / (rate_hz * time_base_of(stream))))
    end = head.end_pts
    if not head.is_complete:
        tail_end = _tail_end_pts(container, stream, spacing)
        if tail_end is None or tail_end < end:
            logger.debug("%s: reading all packets to find the duration", path)
            tail_end = _all_end_pts(path, stream.index, spacing)
        end = max(end, tail_end)
    # A single frame of unknown duration is shown for one period.
    first = head.first_pts or 0
    return end if end > first else first + spacing


def _tail_end_pts(container: InputContainer, stream: VideoStream, spacing: int) -> int | None:
    if not format_names(container) & _INDEXED_FORMATS:
        return None
    if stream.duration:
        target = (stream.start_time or 0) + stream.duration
    elif container.duration:
        target = math.ceil(Fraction(container.duration, av.time_base) / time_base_of(stream))
    else:
        return None
    try:
        container.seek(target, stream=stream)
    except (av.FFmpegError, OSError) as error:
        raise_if_out_of_resources(error)
        return None
    return max(_shown_ends(read_packets(container, [stream]), spacing), default=None)


def _all_end_pts(path: Path, stream_index: int, spacing: int) -> int:
    restarts = _RestartDetector()
    with open_input(path) as container:
        stream = container.streams[stream_index]
        discard_others(container, stream)
        packets = restarts.watch(read_packets(container, [stream]))
        end = max(_shown_ends(packets, spacing), default=0)
    restarts.check(path)
    return end


def _shown_ends(packets: Iterator[Packet], spacing: int) -> Iterator[int]:
    for packet in packets:
        if packet.size and packet.pts is not None and not packet.is_discard:
            yield packet.pts + (packet.duration or spacing)


def _last_packet_end_s(path: Path) -> float:
    """End of the last packet of any stream."""
    end_s = 0.0
    with open_input(path) as container:
        for packet in read_packets(container, list(container.streams)):
            if packet.size and packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end_s


def _indexed_end_s(container: InputContainer, stream: VideoStream) -> float | None:
    """End of the video according to the file's index or header; None if neither has it."""
    if not format_names(container) & _INDEXED_FORMATS:
        return None
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * time_base_of(stream))
    if container.duration:
        return ((container.start_time or 0) + container.duration) / av.time_base
    return None


def _unusual_edits(index: Box | None, stream: VideoStream, path: Path) -> tuple[Edit, ...]:
    """The edit list of the video if a muxer can't write it; else empty."""
    if index is None:
        return ()
    try:
        edits = read_edits(index, track_id=stream.id)
    except ContainerError as error:
        logger.debug("%s: its edit list can't be read: %s", path, error)
        return ()
    if any(edit.media_s is not None and edit.rate != 1 for edit in edits):
        raise MediaError(
            f"{path}: its edit list plays a part at another speed, which is not supported",
            hint="export the clip again, so that its frames are stored at the final speed",
        )
    return () if is_written_by_muxer(edits) else edits


def _average_rate_hz(stream: VideoStream, head: _Head, time_base: Fraction) -> float:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return float(1 / (head.spacing * time_base)) if head.spacing else 25.0


def check_frame_size(width: int, height: int, path: Path) -> None:
    """Raise `MediaError` if a side of the frames is too small or too large."""
    if width == 0 or height == 0:
        return  # not in the header; known when a frame is decoded
    if min(width, height) < SMALLEST_SIDE_PIXELS or max(width, height) > LARGEST_SIDE_PIXELS:
        raise MediaError(
            f"{path}: the frames have {width}x{height} pixels, expected sides of"
            f" {SMALLEST_SIDE_PIXELS} to {LARGEST_SIDE_PIXELS}",
            hint="scale the video first",
        )


def check_duration(duration_s: float, path: Path) -> None:
    """Raise `MediaError` if a video is empty or longer than 24 h."""
    if not duration_s > 0:
        raise MediaError(
            f"{path}: the video lasts {duration_s:g} s, expected more than 0",
            hint="export the clip again",
        )
    if duration_s > LONGEST_DURATION_S:
        raise MediaError(
            f"{path}: the video seems to last {duration_s / 3600:.1f} h, expected at most 24 h",
            hint="cut it, or export it again if its time stamps jump",
        )
