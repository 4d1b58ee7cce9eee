"""Decodes pictures of a stretch of video, one after the other, on the clip's clock.

Never holds the file: a frame is decoded, scaled, handed out and forgotten. Time 0 is the first
shown frame; each picture keeps its own presentation time stamp. HDR pictures are not tone-mapped.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.media.frames import keep_at_rate
from foleyflow.media.probe import (
    MediaInfo,
    discard_others,
    open_input,
    probe,
    read_packets,
    time_base_of,
)
from foleyflow.media.resource_errors import raise_shortage

logger = logging.getLogger(__name__)

# A frame at the very edge of a range belongs to it, whatever the binary error of its time.
_EDGE_S = 1e-6
# How far before the start decoding begins at first: more than any reordering of frames.
_SEEK_MARGINS_S = (0.5, 5.0)
# Share of packets that may be lost before the video counts as unreadable.
_LARGEST_LOSS = 0.5
# A picture that is shown for longer is a jump of time stamps; recorders of screens and slides
# write a picture at least every few minutes.
LONGEST_GAP_S = 600.0
# Up to this span of video, pictures are taken in one pass rather than by seeking.
_ONE_PASS_S = 60.0


@dataclass
class DecodeCounts:
    """What happened while decoding; grows as frames are read.

    Attributes:
        packets: video packets given to the decoder.
        lost_packets: packets that could not be decoded.
        dropped_frames: frames without a time stamp, or not later than the one before.
    """

    packets: int = 0
    lost_packets: int = 0
    dropped_frames: int = 0

    def warnings(self) -> list[str]:
        """What a user should know, one line each; empty if nothing was lost."""
        found = []
        if self.lost_packets:
            found.append(
                f"{self.lost_packets} of {self.packets} video packets are damaged and were skipped"
            )
        if self.dropped_frames:
            found.append(
                f"{self.dropped_frames} frames with missing or backward time stamps were not"
                " looked at"
            )
        return found


class FrameStream(Iterator[tuple[float, NDArray[np.uint8]]]):
    """Pictures with their times, as an iterator; see `read_frames`.

    Attributes:
        counts: losses so far.
    """

    def __init__(self, pairs: Iterator[tuple[float, NDArray[np.uint8]]], counts: DecodeCounts):
        self._pairs = pairs
        self.counts = counts

    def __next__(self) -> tuple[float, NDArray[np.uint8]]:
        """The next (seconds, (size, size, 3) uint8 RGB) pair."""
        return next(self._pairs)


def read_frames(
    path: str | Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    size: int = 112,
    max_rate_hz: float = 32.0,
    info: MediaInfo | None = None,
) -> FrameStream:
    """Decode the frames with start_s <= time < end_s, squashed to a square.

    Decoding begins at the key frame before `start_s` and stops at `end_s`. Damaged packets are
    skipped, counted and logged.

    Args:
        path: a video file.
        start_s: seconds after the first shown frame.
        end_s: seconds after the first shown frame; None for the end of the video.
        size: side of the pictures, pixels; the whole picture is squashed to it.
        max_rate_hz: frames beyond this rate are left out, see `frames.keep_at_rate`.
        info: what `probe` said of the file, to spare a second look.

    Returns:
        An iterator of (seconds, (size, size, 3) uint8 RGB 0..255) with `counts` of losses; times
        increase strictly.

    Raises:
        MediaError: the file can't be used, or more than half of its packets are damaged (when the
            iterator comes to the end).
        ValueError: a size below 1.

    Source: ours; AREA scaling averages all pixels that fall together.
    """
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 pixel")
    info = info or probe(path)
    return _stream(
        info, start_s=start_s, end_s=end_s, max_rate_hz=max_rate_hz, shape=lambda _: (size, size)
    )


def read_shaped_frames(
    path: str | Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    short_side: int | None = None,
    max_rate_hz: float = 1000.0,
    info: MediaInfo | None = None,
) -> FrameStream:
    """The same frames as `read_frames`, in the shape that the video has.

    Args:
        path: a video file.
        start_s: seconds after the first shown frame.
        end_s: seconds after the first shown frame; None for the end of the video.
        short_side: pictures with a longer short side are scaled down to it, both sides even; None
            for their own size.
        max_rate_hz: frames beyond this rate are left out.
        info: what `probe` said of the file, to spare a second look.

    Returns:
        An iterator of (seconds, (H, W, 3) uint8 RGB 0..255) with `counts` of losses.

    Raises:
        MediaError: as `read_frames`.

    Source: ours.
    """

    def shape(frame: VideoFrame) -> tuple[int, int]:
        shorter = min(frame.width, frame.height)
        if short_side is None or shorter <= short_side:
            return frame.width, frame.height
        scale = short_side / shorter
        return 2 * round(frame.width * scale / 2), 2 * round(frame.height * scale / 2)

    info = info or probe(path)
    return _stream(info, start_s=start_s, end_s=end_s, max_rate_hz=max_rate_hz, shape=shape)


def _stream(
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float | None,
    max_rate_hz: float,
    shape: Callable[[VideoFrame], tuple[int, int]],
) -> FrameStream:
    """Frames scaled to the (width, height) that `shape` says of each."""
    counts = DecodeCounts()

    def pairs() -> Iterator[tuple[float, NDArray[np.uint8]]]:
        scaler = VideoReformatter()
        decoded = _decode(info, start_s=start_s, end_s=end_s, counts=counts)
        inside = ((t, frame) for t, frame in decoded if t >= start_s - _EDGE_S)
        read_any = False
        for time_s, frame in keep_at_rate(inside, max_rate_hz=max_rate_hz):
            read_any = True
            yield time_s, _picture(frame, scaler, *shape(frame), info)
        _check_losses(info, counts)
        if not read_any and start_s <= 0:
            raise _no_picture(info)

    return FrameStream(pairs(), counts)


def read_pictures(
    path: str | Path,
    times_s: Sequence[float],
    *,
    height: int = 180,
    width: int | None = None,
    info: MediaInfo | None = None,
) -> list[NDArray[np.uint8]]:
    """The pictures on screen at given times, in their own shape unless another one is asked for.

    Args:
        path: a video file.
        times_s: seconds after the first shown frame, in any order; times outside of the video give
            its first or last picture.
        height: of the pictures, pixels.
        width: of the pictures, pixels; None for what the aspect ratio makes of the height.
        info: what `probe` said of the file.

    Returns:
        One (height, width, 3) uint8 RGB picture for each time.

    Raises:
        MediaError: the file can't be used, or no picture could be decoded.

    Source: ours.
    """
    info = info or probe(path)
    shown_height = max(height, 1)
    turned = info.orientation[0] == 0
    aspect = info.width / info.height
    aspect = aspect / info.pixel_aspect if turned else aspect * info.pixel_aspect
    shown_width = max(round(shown_height * aspect) if width is None else width, 1)
    stored = (shown_height, shown_width) if turned else (shown_width, shown_height)

    order = np.argsort(times_s, kind="stable")
    one_pass = not len(times_s) or max(times_s) - min(times_s) <= _ONE_PASS_S
    groups = [list(order)] if one_pass else [[index] for index in order]
    scaler = VideoReformatter()
    pictures: dict[int, NDArray[np.uint8]] = {}
    for group in groups:
        wanted = [(int(index), float(times_s[index])) for index in group]
        for index, frame in _frames_on_screen(info, wanted):
            pictures[index] = _picture(frame, scaler, *stored, info)
    return [pictures[index] for index in range(len(times_s))]


def _frames_on_screen(
    info: MediaInfo, wanted: list[tuple[int, float]]
) -> Iterator[tuple[int, VideoFrame]]:
    """The last frame at or before each of the increasing times."""
    if not wanted:
        return
    last_frame_s = max(info.duration_s - 1.0 / info.rate_hz, 0.0)
    start_s = min(max(wanted[0][1], 0.0), last_frame_s)
    waiting = list(wanted)
    on_screen: VideoFrame | None = None
    for time_s, frame in _decode(info, start_s=start_s, end_s=None, counts=DecodeCounts()):
        while on_screen is not None and waiting and time_s > waiting[0][1] + _EDGE_S:
            yield waiting.pop(0)[0], on_screen
        if not waiting:
            return
        on_screen = frame
    if on_screen is None:
        raise _no_picture(info)
    for index, _ in waiting:
        yield index, on_screen


def _decode(
    info: MediaInfo, *, start_s: float, end_s: float | None, counts: DecodeCounts
) -> Iterator[tuple[float, VideoFrame]]:
    """Frames in order of time, from one at or before `start_s` (where there is one) to `end_s`."""
    margins_s = [margin_s for margin_s in _SEEK_MARGINS_S if margin_s < start_s]
    if _must_count(info):
        margins_s = []  # the number of a frame is only known from the beginning on
    for seek_s in [*(start_s - margin_s for margin_s in margins_s), None]:
        counts.packets = counts.lost_packets = counts.dropped_frames = 0
        frames = _decode_from(info, seek_s=seek_s, end_s=end_s, counts=counts)
        first = next(frames, None)
        if seek_s is not None and (first is None or first[0] > start_s + _EDGE_S):
            frames.close()  # the seek came out too late: begin earlier
            continue
        if first is not None:
            yield first
            yield from frames
        return


def _decode_from(
    info: MediaInfo, *, seek_s: float | None, end_s: float | None, counts: DecodeCounts
) -> Generator[tuple[float, VideoFrame], None, None]:
    with open_input(info.path) as container:
        stream = cast(VideoStream, container.streams[info.video_index])
        discard_others(container, stream)
        stream.thread_type = ThreadType.AUTO
        time_base = time_base_of(stream)
        if seek_s is not None:
            try:
                container.seek(int((seek_s + info.start_s) / time_base), stream=stream)
            except (av.FFmpegError, OSError):
                return
        last_s = -2 * _EDGE_S  # the first frame is at 0; what comes before is not shown
        packets = read_packets(container, [stream])
        if _must_count(info):
            stamped = _counted(packets, stream, counts, shift=round(info.start_s / time_base))
        else:
            stamped = (
                (frame.pts if frame.pts is not None else frame.dts, frame)
                for frame in _frames(packets, stream, counts)
            )
        for stamp, frame in stamped:
            time_s = None if stamp is None else float(stamp * time_base) - info.start_s
            if time_s is None or time_s <= last_s:
                counts.dropped_frames += 1
                continue
            if end_s is not None and time_s >= end_s - _EDGE_S:
                return
            if seek_s is None or last_s >= 0:
                _check_gap(info, max(last_s, 0.0), time_s)
            last_s = time_s
            yield max(time_s, 0.0), frame
        _check_gap(info, max(last_s, 0.0), info.duration_s if end_s is None else last_s)


def _frames(
    packets: Iterator[Packet], stream: VideoStream, counts: DecodeCounts
) -> Iterator[VideoFrame]:
    """Decoded frames; a packet that can't be decoded takes only itself away."""
    for packet in packets:
        counts.packets += packet.size > 0
        try:
            frames = stream.decode(packet if packet.size else None)
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            raise_shortage(error)
            counts.lost_packets += 1
            logger.debug("a packet can't be decoded: %s", error)
            continue
        yield from frames


def _no_picture(info: MediaInfo) -> MediaError:
    return MediaError(f"{info.path}: no picture could be decoded", hint="check that it plays")


def _check_gap(info: MediaInfo, before_s: float, after_s: float) -> None:
    """Refuse time stamps that jump: hours of sound for one picture are nobody's wish."""
    if after_s - before_s > LONGEST_GAP_S:
        raise MediaError(
            f"{info.path}: its time stamps jump from {before_s:.2f} s to {after_s:.2f} s; one"
            f" picture is shown for {LONGEST_GAP_S / 60:.0f} minutes at most",
            hint="write the video again with steady time stamps, or cut it",
        )


def _must_count(info: MediaInfo) -> bool:
    """Whether time stamps may be in the order of decoding: AVI stores no others."""
    return info.container == "avi" and info.reorders_pictures


def _counted(
    packets: Iterator[Packet], stream: VideoStream, counts: DecodeCounts, *, shift: int
) -> Iterator[tuple[int | None, VideoFrame]]:
    """Decoded frames with time stamps that follow from their number.

    Frames leave a decoder in the order of presentation. The n-th one is shown at the n-th decoding
    time, moved by `shift` ticks; packets that give no picture keep theirs.
    """
    first = stream.start_time or 0
    waiting: list[int] = []
    lost: set[int] = set()

    def noted() -> Iterator[Packet]:
        for packet in packets:
            stamp = None if packet.dts is None else packet.dts - first + shift
            if packet.size and stamp is not None:
                heapq.heappush(waiting, stamp)
            lost_before = counts.lost_packets
            yield packet
            if counts.lost_packets > lost_before and stamp is not None:
                lost.add(stamp)

    for frame in _frames(noted(), stream, counts):
        while waiting and waiting[0] in lost:
            lost.remove(heapq.heappop(waiting))
        yield (heapq.heappop(waiting) if waiting else None), frame


def _check_losses(info: MediaInfo, counts: DecodeCounts) -> None:
    if counts.lost_packets > _LARGEST_LOSS * counts.packets:
        raise MediaError(
            f"{info.path}: {counts.lost_packets} of {counts.packets} video packets are damaged",
            hint="copy or export the file again",
        )
    for text in counts.warnings():
        logger.warning("%s: %s", info.path, text)


def _picture(
    frame: VideoFrame, scaler: VideoReformatter, width: int, height: int, info: MediaInfo
) -> NDArray[np.uint8]:
    """A frame scaled to (width, height) as stored, then turned as it is shown; RGB."""
    small = scaler.reformat(
        frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA
    )
    return orient(cast(NDArray[np.uint8], small.to_ndarray()), info.orientation)


def orient(pixels: NDArray[np.uint8], orientation: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turn and mirror a stored picture as its display matrix asks.

    Args:
        pixels: (H, W, 3) as stored.
        orientation: `MediaInfo.orientation`.

    Returns:
        (H, W, 3), or (W, H, 3) where the matrix swaps the axes.

    Source: libavutil/display.h.
    """
    a, b, c, d = orientation
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    if flip_x:
        pixels = pixels[:, ::-1]
    if flip_y:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
