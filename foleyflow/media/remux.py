"""Copies a file's streams packet by packet into a new file, with a new sound track.

Nothing that is copied is decoded; only text subtitles are rewritten where the output's format has
its own kind. Whether and where a file may be written is `writer`'s matter.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.edit_list import limit_shown_duration
from foleyflow.media.formats import FORMATS, OutputFormat
from foleyflow.media.probe import MediaInfo, is_cover_art, read_packets, time_base_of
from foleyflow.media.sound_track import SoundTrack

logger = logging.getLogger(__name__)

# Metadata that describes the old file, not its content.
_STALE_METADATA = frozenset(
    "major_brand minor_version compatible_brands encoder duration vendor_id handler_name".split()
)
_STALE_PREFIXES = ("_statistics", "bps", "number_of_", "duration-")
# Keys that mp4 keeps in its usual place; any other needs QuickTime keys.
_ITUNES_METADATA = frozenset(
    "title artist album_artist album composer date comment genre copyright grouping lyrics"
    " description synopsis show episode_id network keywords episode_sort season_number track disc"
    " media_type hd_video gapless_playback compilation creation_time timecode".split()
)
_TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"})
# How far the sound runs ahead of the video in the file, so that players need no long buffer.
_SOUND_LEAD_S = 1.0
_LARGEST_TIMESCALE = 1_000_000
# Offered first where a format can't hold a video.
_USUAL_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv")


class Remux:
    """One pass over a source's packets into a new file.

    Attributes:
        dropped: what the output's format can't hold, in words.
    """

    def __init__(
        self,
        source: InputContainer,
        output: Path,
        output_format: OutputFormat,
        *,
        info: MediaInfo,
        sound: SoundTrack,
        keep_old_sound: bool,
    ) -> None:
        self._source = source
        self._output = output
        self._format = output_format
        self._info = info
        self._sound = sound
        self._keep_old_sound = keep_old_sound
        self._video = cast(VideoStream, source.streams[info.video_index])
        self._copies: dict[int, Stream] = {}
        self._last_dts: dict[int, int] = {}
        self._hidden_end = False  # frames beyond the last shown one were copied
        self.dropped: list[str] = []

    def run(self) -> None:
        """Write the new file.

        Raises:
            MediaError: the output's format does not take this video.
            av.FFmpegError, OSError: the file can't be written.

        Source: ours.
        """
        sink, sound_stream = self._opened_sink()
        with sink:
            self._copy_packets(sink, sound_stream)
        if self._format.has_edit_lists:
            if self._hidden_end:
                limit_shown_duration(self._output, track_index=0, duration_s=self._info.duration_s)
            # The muxer counts the encoder's delay as shown where a track begins later.
            limit_shown_duration(self._output, track_index=1, duration_s=self._sound.duration_s)

    def _opened_sink(self) -> tuple[OutputContainer, AudioStream]:
        """The output with its header written; codec tags are kept if the format takes them."""
        for keep_tags in (True, False):
            sink = av.open(
                f"file:{self._output}", "w", format=self._format.muxer, options=self._options()
            )
            self._copies.clear()
            self.dropped.clear()
            try:
                sound_stream = self._add_streams(sink, keep_tags=keep_tags)
                sink.metadata.update(_fresh(self._source.metadata))
                chapters = self._source.chapters()
                if chapters:
                    sink.set_chapters(chapters)
                sink.start_encoding()
                return sink, sound_stream
            except (av.FFmpegError, ValueError):
                sink.close()
                if not keep_tags:
                    raise
        raise AssertionError("the second attempt returns or raises")

    def _options(self) -> dict[str, str]:
        options = {"strict": "unofficial"}  # lets Dolby Vision and 360° descriptions through
        if self._format.has_edit_lists:
            options["movie_timescale"] = str(
                _movie_timescale(
                    time_base_of(self._video), self._sound.rate_hz, self._info.duration_s
                )
            )
            options["movflags"] = "+faststart"
            keys = {key.lower() for key in _fresh(self._source.metadata)}
            if keys - _ITUNES_METADATA:
                options["movflags"] += "+use_metadata_tags"
        return options

    def _add_streams(self, sink: OutputContainer, *, keep_tags: bool) -> AudioStream:
        try:
            self._add_copy(sink, self._video, keep_tags=keep_tags)
        except ValueError as error:
            suffixes = suffixes_holding(self._video)
            raise MediaError(
                f"{self._format.muxer} can't hold {self._info.video_codec} video, and the video is"
                " copied, never re-encoded",
                hint=f"choose another format: -o NAME{suffixes[0]}"
                if suffixes
                else "convert the video to h264 first",
            ) from error
        sound_stream = self._sound.add_to(sink)
        for stream in self._source.streams:
            if stream.index == self._video.index or not self._is_wanted(stream):
                continue
            try:
                self._add_copy(sink, stream, keep_tags=keep_tags)
            except ValueError:
                if not self._add_rewritten_text(sink, stream):
                    self._drop(stream)
        return sound_stream

    def _is_wanted(self, stream: Stream) -> bool:
        if stream.type == "audio":
            return self._keep_old_sound
        if stream.type == "data" and self._format.has_edit_lists:
            return False  # time codes and chapter texts are written anew
        if stream.type == "attachment":
            fits = self._format.takes_attachments
        elif stream.type == "video":
            fits = is_cover_art(cast(VideoStream, stream))
        else:
            fits = stream.type == "subtitle" and stream.codec_context is not None
        if not fits:
            self._drop(stream)
        return fits

    def _drop(self, stream: Stream) -> None:
        name = stream.codec_context.name if stream.codec_context else stream.name or "unknown"
        self.dropped.append(
            f"{stream.type} track {stream.index} ({name}) does not fit {self._format.muxer}"
            " and was left out"
        )

    def _add_copy(self, sink: OutputContainer, stream: Stream, *, keep_tags: bool) -> None:
        copy = sink.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(_fresh(stream.metadata))
        copy.disposition = stream.disposition
        if stream.type == "audio":
            copy.disposition &= ~Disposition.default
        if keep_tags and stream.codec_context is not None:
            with contextlib.suppress(UnicodeDecodeError):
                if stream.codec_context.codec_tag.isprintable():
                    copy.codec_context.codec_tag = stream.codec_context.codec_tag
        self._copies[stream.index] = copy

    def _add_rewritten_text(self, sink: OutputContainer, stream: Stream) -> bool:
        """A text subtitle track in the format's own kind of text, if there is one."""
        decoder = stream.codec_context
        if (
            self._format.text_codec is None
            or not isinstance(decoder, SubtitleCodecContext)
            or decoder.name not in _TEXT_SUBTITLES
        ):
            return False
        decoder.open(strict=False)
        copy = sink.add_stream(self._format.text_codec)
        if not isinstance(copy.codec_context, SubtitleCodecContext):
            raise AssertionError(f"{self._format.text_codec} is not a codec of subtitles")
        copy.codec_context.subtitle_header = decoder.subtitle_header
        copy.codec_context.time_base = copy.time_base = Fraction(1, 1000)
        copy.metadata.update(_fresh(stream.metadata))
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy
        return True

    def _copy_packets(self, sink: OutputContainer, sound_stream: AudioStream) -> None:
        sound = self._sound.packets(sound_stream)
        next_sound = next(sound, None)
        shift_s = self._shift_s()
        for packet in read_packets(self._source, [self._source.streams[i] for i in self._copies]):
            if packet.size == 0:
                continue
            if packet.stream.type == "video":
                self._mend_times(packet)
            self._note_hidden(packet)
            if shift_s and packet.pts is not None and packet.dts is not None:
                shift = round(shift_s / packet.time_base)
                packet.pts += shift
                packet.dts += shift
            if packet.dts is not None:
                now_s = float(packet.dts * packet.time_base) + _SOUND_LEAD_S
                while next_sound is not None and _time_s(next_sound) <= now_s:
                    sink.mux(next_sound)
                    next_sound = next(sound, None)
            self._mux_copy(sink, packet)
        while next_sound is not None:
            sink.mux(next_sound)
            next_sound = next(sound, None)

    def _mux_copy(self, sink: OutputContainer, packet: Packet) -> None:
        copy = self._copies[packet.stream.index]
        encoder = copy.codec_context
        if isinstance(encoder, SubtitleCodecContext) and encoder.is_encoder:
            decoder = cast(SubtitleCodecContext, packet.stream.codec_context)
            subtitles = decoder.decode2(packet)
            if subtitles is None:
                return  # the pause between two subtitles
            text = encoder.encode_subtitle(subtitles)
            if text.size == 0:
                return
            text.pts = text.dts = packet.pts
            text.duration = packet.duration
            text.time_base = packet.time_base
            packet = text
        packet.stream = copy
        sink.mux(packet)

    def _shift_s(self) -> float:
        """mov and mp4 hide what comes before time 0; a video that is shown there is moved."""
        if self._format.has_edit_lists and self._info.start_s < 0:
            return -self._info.start_s
        return 0.0

    def _note_hidden(self, packet: Packet) -> None:
        if packet.stream.index != self._video.index or not packet.is_discard or packet.pts is None:
            return
        shown_end_s = self._info.start_s + self._info.duration_s
        if float(packet.pts * packet.time_base) >= shown_end_s - 1e-6:
            self._hidden_end = True

    def _mend_times(self, packet: Packet) -> None:
        """Fill in what muxers insist on: decoding times that exist and increase."""
        index = packet.stream.index
        last = self._last_dts.get(index)
        step = max(packet.duration or 0, 1)
        if packet.dts is None:
            if last is not None:
                packet.dts = last + step
            elif packet.pts is not None:
                packet.dts = packet.pts - step * cast(VideoStream, packet.stream).has_b_frames
            else:
                packet.dts = 0
        if last is not None and packet.dts <= last:
            packet.dts = last + 1
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        self._last_dts[index] = packet.dts


def suffixes_holding(video: VideoStream) -> list[str]:
    """Suffixes of output formats that take a video as it is, the usual ones first.

    Source: ours.
    """
    names = {video.codec_context.name, video.codec_context.codec.canonical_name}
    found = []
    for suffix in dict.fromkeys([*_USUAL_SUFFIXES, *FORMATS]):
        sink = av.open(os.devnull, "w", format=FORMATS[suffix].muxer)
        if names & sink.supported_codecs:
            found.append(suffix)
        sink.close()
    return found


def _movie_timescale(time_base: Fraction, rate_hz: int, duration_s: float) -> int:
    """Ticks in which mov edit lists count: both the frames' and the samples' grid, if they fit."""
    both = math.lcm(time_base.denominator, rate_hz)
    for timescale in (both, time_base.denominator, rate_hz):
        if timescale <= _LARGEST_TIMESCALE and timescale * duration_s < 2**31:
            return timescale
    return 1000


def _time_s(packet: Packet) -> float:
    return float((packet.dts or 0) * packet.time_base)


def _fresh(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what describes the old file."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE_METADATA and not key.lower().startswith(_STALE_PREFIXES)
    }
