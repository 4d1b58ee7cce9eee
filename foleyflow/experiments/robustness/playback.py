"""Decode a file as a player would: its frames, its sound, its tracks.

This module uses PyAV directly rather than `foleyflow.media`, so that it does not share errors with
it. Decoders run on one thread, because with several threads the frames of damaged streams vary.
"""

from __future__ import annotations

import hashlib
import itertools
import statistics
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from foleyflow.experiments.robustness.structure import parts_of


@dataclass(frozen=True, kw_only=True)
class ShownFrame:
    """A shown frame: its time stamp in seconds on the file's clock, if any, and a pixel digest."""

    time_s: float | None
    digest: str


@dataclass(frozen=True, kw_only=True)
class Playback:
    """What a file shows and contains; times in seconds on the file's clock."""

    container: str  # libavformat's names of the container format
    codec: str  # name of the video codec
    frames: tuple[ShownFrame, ...]  # the frames that can be decoded and are shown, in order
    packets: tuple[bytes, ...]  # the bytes of the video packets, in decoding order
    first_packet_s: float | None  # smallest time stamp of a shown video packet
    end_s: float | None  # largest end of a shown video packet
    period_s: float  # median distance of the time stamps, or the value of the header; at least 1 ms
    sound_start_s: float | None  # time stamp of the first sample of the first audio track
    sound_length_s: float  # number of samples of that track that are played, over its rate
    sound_tracks: int
    subtitle_tracks: int
    chapters: int
    orientation: tuple[int, ...]  # signs of the display matrix of the first frame; () without one
    pixel_aspect: float  # width over height of a pixel; 1 if it is unknown

    @property
    def span_s(self) -> float:
        """From the first shown video packet to the end of the last one; 0 without time stamps."""
        if self.first_packet_s is None or self.end_s is None:
            return 0.0
        return self.end_s - self.first_packet_s


def play(path: Path, *, with_sound: bool) -> Playback:
    """Decode a file as a player would, with or without its first audio track.

    Packets that can't be decoded are skipped, and a file that can't be read further ends there.

    Raises:
        av.FFmpegError, OSError, ValueError: the file can't be opened.
        LookupError: the file has no video stream that can be decoded.
    """
    with av.open(f"file:{path}", "r", metadata_errors="replace") as container:
        return _Player(container, with_sound=with_sound).run()


def playback_of(path: Path, *, with_sound: bool) -> Playback | None:
    """Call `play`; returns None for a file that can't be played at all."""
    try:
        return play(path, with_sound=with_sound)
    except (av.FFmpegError, OSError, ValueError, LookupError):
        return None


class _Player:
    """One pass over a file."""

    def __init__(self, container: InputContainer, *, with_sound: bool) -> None:
        self._container = container
        self._video = _shown_video(container)
        self._video.thread_type = ThreadType.NONE
        self._video.codec_context.thread_count = 1
        audio = container.streams.audio[0] if with_sound and container.streams.audio else None
        self._audio: Stream | None = audio if audio and audio.codec_context else None
        self._video_tick = self._video.time_base or Fraction(1, av.time_base)
        self._packets: list[bytes] = []
        self._spans: list[tuple[int, int]] = []  # (time stamp, duration) of shown packets
        self._has_stamps = False
        self._frames: list[tuple[int | None, int | None, str]] = []
        self._orientation: tuple[int, ...] = ()
        self._first_sound_pts: int | None = None
        self._sound_start_s: float | None = None
        self._sound_length_s = 0.0

    def run(self) -> Playback:
        """Read the file to its end."""
        # Decode all packets
        streams = [s for s in (self._video, self._audio) if s is not None]
        try:
            for packet in self._container.demux():
                self._take(packet)
        except (av.FFmpegError, OSError):
            for stream in streams:  # flush the decoders
                flush = Packet()
                flush.stream = stream
                self._take(flush)
        # Derive times and spacing
        times_s = self._times_s()
        spans = sorted(self._spans)
        stamps = [stamp for stamp, _ in spans]
        gaps = [b - a for a, b in itertools.pairwise(stamps) if b > a]
        period = round(statistics.median(gaps)) if gaps else 0
        ends = [stamp + (length or period) for stamp, length in spans]
        tick = self._video_tick
        aspect = self._video.sample_aspect_ratio
        container = self._container
        return Playback(
            container=container.format.name,
            codec=self._video.codec_context.name,
            frames=tuple(
                ShownFrame(time_s=time_s, digest=frame[2])
                for time_s, frame in zip(times_s, self._frames, strict=True)
            ),
            packets=tuple(self._packets),
            first_packet_s=float(stamps[0] * tick) if stamps else None,
            end_s=float(max(ends) * tick) if ends else None,
            period_s=max(float(period * tick), self._nominal_period_s(), 1e-3),
            sound_start_s=self._sound_start_s,
            sound_length_s=self._shown_sound_s(),
            sound_tracks=len(container.streams.audio),
            subtitle_tracks=len(container.streams.subtitles),
            chapters=len(container.chapters()),
            orientation=self._orientation,
            pixel_aspect=float(aspect) if aspect else 1.0,
        )

    def _shown_sound_s(self) -> float:
        """Length of the sound; an edit list may end within the last frame of the decoder."""
        if self._audio is None or "mov" not in self._container.format.name:
            return self._sound_length_s
        edited_s = edited_sound_s(Path(self._container.name.removeprefix("file:")).read_bytes())
        return min(self._sound_length_s, edited_s)

    def _nominal_period_s(self) -> float:
        rates = (self._video.average_rate, self._video.guessed_rate, Fraction(25))
        return float(1 / next(rate for rate in rates if rate and 0 < rate <= 1000))

    def _times_s(self) -> list[float | None]:
        """Times of the frames; without presentation times they follow from the order."""
        tick = self._video_tick
        if self._has_stamps:
            return [None if pts is None else float(pts * tick) for pts, _, _ in self._frames]
        # AVI numbers packets in decoding order: the k-th shown frame has the k-th smallest number.
        numbers = sorted(dts for _, dts, _ in self._frames if dts is not None)
        if len(numbers) < len(self._frames):
            return [None] * len(self._frames)
        return [float(dts * tick) for dts in numbers]

    def _take(self, packet: Packet) -> None:
        if packet.stream.index == self._video.index:
            if packet.size:
                self._record_packet(packet)
            for frame in _decode(packet):
                self._record_frame(cast(VideoFrame, frame))
        elif self._audio is not None and packet.stream.index == self._audio.index:
            if self._first_sound_pts is None:
                self._first_sound_pts = packet.pts
            for block in _decode(packet):
                self._record_sound(cast(AudioFrame, block))

    def _record_packet(self, packet: Packet) -> None:
        self._packets.append(bytes(packet))
        self._has_stamps |= packet.pts is not None
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and not packet.is_discard:
            self._spans.append((stamp, packet.duration or 0))

    def _record_frame(self, frame: VideoFrame) -> None:
        if not self._frames:
            self._orientation = _orientation_of(frame)
        self._frames.append((frame.pts, frame.dts, _digest(frame)))

    def _record_sound(self, frame: AudioFrame) -> None:
        # Decoders that return all frames at the end may have lost the time.
        stamp = self._first_sound_pts if frame.pts is None else frame.pts
        if self._sound_start_s is None and stamp is not None and self._audio is not None:
            self._sound_start_s = float(stamp * (self._audio.time_base or 0))
        if frame.sample_rate:
            self._sound_length_s += frame.samples / frame.sample_rate


def edited_sound_s(data: bytes) -> float:
    """Return the seconds that the edit list of the first audio track of an mp4 or mov file plays.

    The index of the file must be readable. Without an edit list, the result is infinity.
    """
    timescale = 0
    is_sound = False
    for part in parts_of(data):
        name, body = data[part.start + 4 : part.start + 8], part.body
        if name == b"mvhd":
            at = body + (20 if data[body] == 1 else 12)
            timescale = int.from_bytes(data[at : at + 4], "big")
        elif name == b"trak":
            # The edit list of a track precedes its handler type.
            is_sound = b"hdlr" in (track := data[body : part.end]) and (
                track[track.index(b"hdlr") + 12 : track.index(b"hdlr") + 16] == b"soun"
            )
        elif name == b"elst" and is_sound and timescale:
            return _shown_ticks(data[body : part.end]) / timescale
    return float("inf")


def _shown_ticks(table: bytes) -> int:
    """Sum of the durations of the entries that are not empty."""
    wide = table[0] == 1
    width, entry = (8, 20) if wide else (4, 12)
    total = 0
    for at in range(8, len(table) - entry + 1, entry):
        begin = int.from_bytes(table[at + width : at + 2 * width], "big", signed=True)
        if begin >= 0:
            total += int.from_bytes(table[at : at + width], "big")
    return total


def _shown_video(container: InputContainer) -> VideoStream:
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if s.codec_context is not None]
    streams = [s for s in streams if not s.disposition & still]
    preferred = [s for s in streams if s.disposition & Disposition.default]
    if not streams:
        raise LookupError("no video stream that can be decoded")
    return (preferred or streams)[0]


def _decode(packet: Packet) -> list[VideoFrame] | list[AudioFrame]:
    stream = cast(VideoStream, packet.stream)
    try:
        return stream.decode(packet if packet.size else None)
    except av.FFmpegError:
        return []


def _digest(frame: VideoFrame) -> str:
    try:
        pixels = frame.to_ndarray()
    except (ValueError, AssertionError):  # PyAV has no array for this format or odd size
        pixels = frame.to_ndarray(format="rgb24")
    shape = f"{frame.width}x{frame.height} {frame.format.name}"
    return hashlib.sha1(shape.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _orientation_of(frame: VideoFrame) -> tuple[int, ...]:
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data of a type that PyAV does not know
        return ()
    if matrix is None:
        return ()
    values = memoryview(bytes(cast(bytes, matrix))).cast("i")
    signs = tuple(
        (value > 0) - (value < 0) for value in (values[0], values[1], values[3], values[4])
    )
    return () if signs == (1, 0, 0, 1) else signs
