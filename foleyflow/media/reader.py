"""Decode the frames of a part of a video, one at a time, on the clip's clock.

Time 0 is the first shown frame, and each frame keeps its presentation time. The video is never held
in memory. HDR is not tone-mapped.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.media.frame_scaling import HIGHEST_RATE_HZ, keep_at_rate, to_rgb
from foleyflow.media.input_file import discard_others, open_input, read_packets, time_base_of
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.resource_errors import raise_if_out_of_resources

logger = logging.getLogger(__name__)

# A frame at the edge of a range belongs to it despite the rounding of its time.
_EDGE_S = 1e-6
# Decoding starts this long before the range at first: longer than any reordering of frames.
_SEEK_MARGINS_S = (0.5, 5.0)
# Fraction of packets that may be lost before the video counts as unreadable.
_LARGEST_LOST_FRACTION = 0.5
# A frame that is shown for longer is a jump of the time stamps; recorders of screens and slides
# write a frame at least every few minutes.
LONGEST_GAP_S = 600.0
# Frames within this span are read in one pass rather than by seeking.
_ONE_PASS_S = 60.0


@dataclass
class DecodeCounts:
    """Losses while decoding; the counts grow as frames are read."""

    packets: int = 0  # video packets passed to the decoder
    lost_packets: int = 0  # packets that could not be decoded
    dropped_frames: int = 0  # frames without a time stamp, or not later than the previous one

    def warnings(self) -> list[str]:
        """Return one line for each kind of loss."""
        found = []
        if self.lost_packets:
            found.append(
                f"{self.lost_packets} of {self.packets} video packets are damaged and were skipped"
            )
        if self.dropped_frames:
            found.append(
                f"{self.dropped_frames} frames with missing or backward time stamps were ignored"
            )
        return found


class FrameStream(Iterator[tuple[float, NDArray[np.uint8]]]):
    """An iterator of (seconds, (H, W, 3) uint8 RGB) pairs, with the losses so far in `counts`."""

    def __init__(self, pairs: Iterator[tuple[float, NDArray[np.uint8]]], counts: DecodeCounts):
        self._pairs = pairs
        self.counts = counts

    def __next__(self) -> tuple[float, NDArray[np.uint8]]:
        """Return the next pair."""
        return next(self._pairs)


def read_frames(
    path: str | Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    size: int = 112,
    max_rate_hz: float = HIGHEST_RATE_HZ,
    info: MediaInfo | None = None,
) -> FrameStream:
    """Decode the frames with start_s <= time < end_s, resized to a square.

    Decoding begins at the key frame before `start_s` and stops at `end_s`. Damaged packets are
    skipped, counted and logged. AREA scaling averages all pixels that fall together.

    Args:
        path: a video file.
        start_s: seconds after the first shown frame.
        end_s: seconds after the first shown frame; None for the end of the video.
        size: side of the square, pixels; the aspect ratio is not kept.
        max_rate_hz: frames beyond this rate are left out, see `keep_at_rate`.
        info: the result of `probe`, if it is known.

    Returns:
        (seconds, (size, size, 3) uint8 RGB 0..255) pairs; times increase strictly.

    Raises:
        MediaError: the file can't be used, or more than half of its packets are damaged (at the end
            of the iteration).
        ValueError: a size below 1.
    """
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 pixel")
    info = info or probe(path)
    return _stream(
        info, start_s=start_s, end_s=end_s, max_rate_hz=max_rate_hz, shape=lambda _: (size, size)
    )


def read_frames_with_aspect(
    path: str | Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    short_side: int | None = None,
    max_rate_hz: float = 1000.0,
    info: MediaInfo | None = None,
) -> FrameStream:
    """Decode frames as `read_frames` does, but with the aspect ratio of the video.

    Frames with a longer short side than `short_side` are scaled down to it, both sides even; None
    keeps the original size.

    Returns:
        (seconds, (H, W, 3) uint8 RGB 0..255) pairs.
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
    """Frames resized to the (width, height) that `shape` returns for each."""
    counts = DecodeCounts()

    def pairs() -> Iterator[tuple[float, NDArray[np.uint8]]]:
        scaler = VideoReformatter()
        decoded = _decode(info, start_s=start_s, end_s=end_s, counts=counts)
        inside = ((t, frame) for t, frame in decoded if t >= start_s - _EDGE_S)
        has_frames = False
        for time_s, frame in keep_at_rate(inside, max_rate_hz=max_rate_hz):
            has_frames = True
            yield time_s, to_rgb(frame, scaler, *shape(frame), info.orientation)
        _check_losses(info, counts)
        if not has_frames and start_s <= 0:
            raise _no_frame_error(info)

    return FrameStream(pairs(), counts)


def read_frames_at(
    path: str | Path,
    times_s: Sequence[float],
    *,
    height: int = 180,
    width: int | None = None,
    info: MediaInfo | None = None,
) -> list[NDArray[np.uint8]]:
    """Return the frames that are shown at given times, as (height, width, 3) uint8 RGB arrays.

    Args:
        path: a video file.
        times_s: seconds after the first shown frame, in any order; times outside the video give its
            first or last frame.
        height: of the results, pixels.
        width: of the results, pixels; None to keep the aspect ratio.
        info: the result of `probe`, if it is known.

    Raises:
        MediaError: the file can't be used, or no frame could be decoded.
    """
    info = info or probe(path)
    stored = _stored_size(info, height, width)

    # Read the frames in one pass, or seek to each
    order = np.argsort(times_s, kind="stable")
    one_pass = not len(times_s) or max(times_s) - min(times_s) <= _ONE_PASS_S
    groups = [list(order)] if one_pass else [[index] for index in order]
    scaler = VideoReformatter()
    frames: dict[int, NDArray[np.uint8]] = {}
    for group in groups:
        wanted = [(int(index), float(times_s[index])) for index in group]
        for index, frame in _frames_on_screen(info, wanted):
            frames[index] = to_rgb(frame, scaler, *stored, info.orientation)
    return [frames[index] for index in range(len(times_s))]


def read_frames_at_rate(
    path: str | Path,
    rate_hz: float,
    *,
    most: int,
    height: int,
    width: int | None = None,
    origin: Literal["stream", "file"] = "stream",
    info: MediaInfo | None = None,
) -> list[NDArray[np.uint8]]:
    """Resample the frames of a video to a constant rate, with the rule of ffmpeg's filter `fps`.

    The time of each source frame is rounded to the nearest multiple of 1 / rate_hz, halves away
    from zero. The first result is at the rounded time of the first frame; each result is the last
    source frame whose rounded time is not later. The results end before the rounded end of the
    last frame, so a video that ends within half a period gives none. A result can show a frame up
    to half a period before its time.

    Args:
        path: a video file.
        rate_hz: rate of the results.
        most: number of results after which reading stops.
        height: of the results, pixels.
        width: of the results, pixels; None to keep the aspect ratio.
        origin: where the rounded times count from: the zero of the stream's own time stamps, as
            torio passes them to the filter, or the start of the earliest of the video and the
            audio track, as ffmpeg's command does. Both are equal if the file starts at 0.
        info: the result of `probe`, if it is known.

    Returns:
        (height, width, 3) uint8 RGB arrays; repeated frames are the same array.

    Raises:
        MediaError: the file can't be used, or no frame could be decoded.
        ValueError: a rate that is not positive.

    Reference: libavfilter/vf_fps.c with its defaults, round=near and eof_action=round.
    """
    if not rate_hz > 0:
        raise ValueError(f"rate_hz: got {rate_hz}, expected a positive rate")
    info = info or probe(path)
    stored = _stored_size(info, height, width)
    scaler = VideoReformatter()
    results: list[NDArray[np.uint8]] = []
    latest: VideoFrame | None = None
    for frame in itertools.islice(_frames_at_rate(info, Fraction(rate_hz), origin), most):
        results.append(
            results[-1] if frame is latest else to_rgb(frame, scaler, *stored, info.orientation)
        )
        latest = frame
    return results


def _frames_at_rate(
    info: MediaInfo, rate_hz: Fraction, origin: Literal["stream", "file"]
) -> Iterator[VideoFrame]:
    """The source frame of each result of `read_frames_at_rate`."""
    audio_start_s = info.start_s if info.audio_start_s is None else info.audio_start_s
    origin_s = 0.0 if origin == "stream" else min(info.start_s, audio_start_s)
    on_screen: VideoFrame | None = None
    place = end_place = 0  # of the next result, and of the end of the frame on screen
    for _, frame in _decode(info, start_s=0.0, end_s=None, counts=DecodeCounts()):
        # Exact times, because a rounding error would decide ties
        tick_s = cast(Fraction, frame.time_base)
        per_tick = tick_s * rate_hz
        ticks = cast(int, frame.pts) - round(origin_s / tick_s)
        frame_place = _round_half_away(ticks * per_tick)
        if on_screen is None:
            place = frame_place
        else:
            yield from itertools.repeat(on_screen, max(frame_place - place, 0))
        place = max(place, frame_place)
        end_place = _round_half_away((ticks + frame.duration) * per_tick)
        on_screen = frame
    if on_screen is None:
        raise _no_frame_error(info)
    yield from itertools.repeat(on_screen, max(end_place - place, 0))


def _round_half_away(value: Fraction) -> int:
    """The nearest integer, halves away from zero, as libavutil's AV_ROUND_NEAR_INF."""
    nearest = math.floor(abs(value) + Fraction(1, 2))
    return nearest if value >= 0 else -nearest


def _stored_size(info: MediaInfo, height: int, width: int | None) -> tuple[int, int]:
    """(width, height) before rotation of frames of a displayed size; None keeps the aspect."""
    shown_height = max(height, 1)
    swaps_axes = info.orientation[0] == 0
    aspect = info.width / info.height
    aspect = aspect / info.pixel_aspect if swaps_axes else aspect * info.pixel_aspect
    shown_width = max(round(shown_height * aspect) if width is None else width, 1)
    return (shown_height, shown_width) if swaps_axes else (shown_width, shown_height)


def _frames_on_screen(
    info: MediaInfo, wanted: list[tuple[int, float]]
) -> Iterator[tuple[int, VideoFrame]]:
    """The last frame at or before each of the increasing (index, time) pairs."""
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
        raise _no_frame_error(info)
    for index, _ in waiting:
        yield index, on_screen


def _decode(
    info: MediaInfo, *, start_s: float, end_s: float | None, counts: DecodeCounts
) -> Iterator[tuple[float, VideoFrame]]:
    """Frames in order of time, from one at or before `start_s` (if there is one) to `end_s`."""
    margins_s = [margin_s for margin_s in _SEEK_MARGINS_S if margin_s < start_s]
    if _needs_frame_numbers(info):
        margins_s = []  # the number of a frame is only known when all earlier ones are decoded
    for seek_s in [*(start_s - margin_s for margin_s in margins_s), None]:
        counts.packets = counts.lost_packets = counts.dropped_frames = 0
        frames = _decode_from(info, seek_s=seek_s, end_s=end_s, counts=counts)
        first = next(frames, None)
        if seek_s is not None and (first is None or first[0] > start_s + _EDGE_S):
            frames.close()  # the seek ended too late: begin earlier
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
        packets = read_packets(container, [stream])
        if _needs_frame_numbers(info):
            stamped = _stamp_by_number(
                packets, stream, counts, shift=round(info.start_s / time_base)
            )
        else:
            stamped = (
                (frame.pts if frame.pts is not None else frame.dts, frame)
                for frame in _decode_packets(packets, stream, counts)
            )
        last_s = -2 * _EDGE_S  # the first shown frame is at 0; earlier ones are hidden
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
            # Decoders of AVI give no or other stamps, and PyAV gives no time base
            frame.pts, frame.time_base = stamp, time_base
            yield max(time_s, 0.0), frame
        _check_gap(info, max(last_s, 0.0), info.duration_s if end_s is None else last_s)


def _decode_packets(
    packets: Iterator[Packet], stream: VideoStream, counts: DecodeCounts
) -> Iterator[VideoFrame]:
    """Decode packets; one that can't be decoded is counted and skipped."""
    for packet in packets:
        counts.packets += packet.size > 0
        try:
            frames = stream.decode(packet if packet.size else None)
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            raise_if_out_of_resources(error)
            counts.lost_packets += 1
            logger.debug("a packet can't be decoded: %s", error)
            continue
        yield from frames


def _needs_frame_numbers(info: MediaInfo) -> bool:
    """Whether times follow from the number of a frame: AVI stores decoding times only."""
    return info.container == "avi" and info.reorders_pictures


def _stamp_by_number(
    packets: Iterator[Packet], stream: VideoStream, counts: DecodeCounts, *, shift: int
) -> Iterator[tuple[int | None, VideoFrame]]:
    """Decoded frames with time stamps that follow from their number.

    Frames leave a decoder in presentation order. The n-th frame is shown at the n-th decoding time,
    moved by `shift` ticks; the times of packets that give no frame are skipped.
    """
    first = stream.start_time or 0
    waiting: list[int] = []
    lost: set[int] = set()

    def record_times() -> Iterator[Packet]:
        for packet in packets:
            stamp = None if packet.dts is None else packet.dts - first + shift
            if packet.size and stamp is not None:
                heapq.heappush(waiting, stamp)
            lost_before = counts.lost_packets
            yield packet
            if counts.lost_packets > lost_before and stamp is not None:
                lost.add(stamp)

    for frame in _decode_packets(record_times(), stream, counts):
        while waiting and waiting[0] in lost:
            lost.remove(heapq.heappop(waiting))
        yield (heapq.heappop(waiting) if waiting else None), frame


def _no_frame_error(info: MediaInfo) -> MediaError:
    return MediaError(
        f"{info.path}: no frame of the video could be decoded", hint="check that the file plays"
    )


def _check_gap(info: MediaInfo, before_s: float, after_s: float) -> None:
    """Refuse time stamps that jump, so that no hours of sound are generated for one frame."""
    if after_s - before_s > LONGEST_GAP_S:
        raise MediaError(
            f"{info.path}: its time stamps jump from {before_s:.2f} s to {after_s:.2f} s; a frame"
            f" may be shown for at most {LONGEST_GAP_S / 60:.0f} minutes",
            hint="cut the video, or export it again with steady time stamps",
        )


def _check_losses(info: MediaInfo, counts: DecodeCounts) -> None:
    if counts.lost_packets > _LARGEST_LOST_FRACTION * counts.packets:
        raise MediaError(
            f"{info.path}: {counts.lost_packets} of {counts.packets} video packets are damaged",
            hint="copy or export the file again",
        )
    for text in counts.warnings():
        logger.warning("%s: %s", info.path, text)
