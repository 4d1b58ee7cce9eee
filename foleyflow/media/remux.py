"""Copies a file's streams packet by packet into a new file, with a new sound track.

Nothing that is copied is decoded; only text subtitles are rewritten where the output's format has
its own kind. Whether and where a file may be written is `writer`'s matter; whether the result shows
what the source shows is found out by `verification`.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.boxes import Box, BoxError, read_index
from foleyflow.media.ebml import EbmlError, set_pixel_aspect
from foleyflow.media.edit_list import limit_shown_duration, write_edits
from foleyflow.media.formats import FORMATS, TIMES_UNKNOWN_IN_AVI, OutputFormat
from foleyflow.media.probe import (
    MediaInfo,
    first_packet,
    is_cover_art,
    open_input,
    read_packets,
    time_base_of,
)
from foleyflow.media.properties import content_metadata, stream_name
from foleyflow.media.sample_entry import (
    DESCRIPTIONS,
    KEPT_IN_MATROSKA,
    add_descriptions,
    descriptions_of,
    entry_kind,
)
from foleyflow.media.shown_pictures import ShownPictures
from foleyflow.media.sound_track import SoundTrack

logger = logging.getLogger(__name__)

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
# Families whose members use the same codec tags; in another format a tag means nothing.
_TAG_FAMILIES = (
    frozenset({"mov", "mp4", "m4a", "3gp", "3g2", "mj2", "ipod", "psp"}),
    frozenset({"matroska", "webm"}),
    frozenset({"avi"}),
    frozenset({"asf"}),
)
# Marks MPEG-4 video that keeps two pictures in one packet (DivX's packed bit stream).
_PACKED = re.compile(rb"DivX\d+[Bb](?:uild)?\d+p")
# Bit stream filters for what a muxer does not convert: (muxer, codec) to filter.
_FORMS = {("avi", "h264"): "h264_mp4toannexb", ("mpegts", "mpeg4"): "dump_extra"}
# Data tracks that the muxer writes by itself, from metadata and chapters.
_WRITTEN_BY_MUXER = frozenset({b"tmcd", b"text"})
_IMAGE_TYPES = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png")}


def check_fits(
    info: MediaInfo, source: InputContainer, output: Path, output_format: OutputFormat
) -> None:
    """Refuse, before any work, a format that can't hold a video.

    Args:
        info: what `probe` said of the source.
        source: the source, open.
        output: the file that is going to be written, for messages.
        output_format: of the output.

    Raises:
        MediaError: the format can't hold the codec, can't hide the frames that the source hides, or
            would show pictures in another order.
    """
    video = cast(VideoStream, source.streams[info.video_index])
    muxer = output_format.muxer
    if not _holds_codec(output_format, video):
        raise MediaError(
            f"{muxer} can't hold {info.video_codec} video, and the video is copied,"
            " never re-encoded",
            hint=_hint_of_another(info, source),
        )
    if info.hides_frames and not output_format.has_edit_lists:
        raise MediaError(
            f"{output}: {info.path.name} hides frames by its edit list (it was trimmed without"
            f" re-encoding), and {muxer} can't hide them",
            hint=_hint_of_another(info, source),
        )
    if not _keeps_order(output_format, info, source):
        raise MediaError(
            f"{output}: the pictures of {info.path.name} are stored out of order (B-frames), and"
            f" from {source.format.name} to {muxer} their times can't be kept",
            hint=_hint_of_another(info, source),
        )


def _hint_of_another(info: MediaInfo, source: InputContainer) -> str:
    """What to do where a format does not fit; every format is tried for it."""
    suffixes = suffixes_holding(info, source)
    if suffixes:
        return f"choose another format: -o NAME{suffixes[0]}"
    return "convert the video to h264 in mp4 first"


def suffixes_holding(info: MediaInfo, source: InputContainer) -> list[str]:
    """Suffixes of output formats that take a video as it is, the usual ones first.

    Args:
        info: what `probe` said of the source.
        source: the source, open.
    """
    video = cast(VideoStream, source.streams[info.video_index])
    ordered = dict.fromkeys([*_USUAL_SUFFIXES, *FORMATS])
    return [
        suffix
        for suffix in ordered
        if _holds_codec(FORMATS[suffix], video)
        and _keeps_order(FORMATS[suffix], info, source)
        and (FORMATS[suffix].has_edit_lists or not info.hides_frames)
    ]


def _holds_codec(output_format: OutputFormat, video: VideoStream) -> bool:
    """Whether a muxer writes a header for a video; some say only then that they don't take it."""
    names = {video.codec_context.name, video.codec_context.codec.canonical_name}
    if output_format.video_codecs is not None:
        return bool(names & output_format.video_codecs)
    sink = av.open(os.devnull, "w", format=output_format.muxer, options={"strict": "unofficial"})
    try:
        if not names & sink.supported_codecs:
            return False
        sink.add_stream_from_template(video, opaque=True)
        sink.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    finally:
        sink.close()
    return True


def _keeps_order(output_format: OutputFormat, info: MediaInfo, source: InputContainer) -> bool:
    """Whether pictures that are not stored in the order of presentation keep their times."""
    if not info.reorders_pictures or output_format.muxer in source.format.name.split(","):
        return True
    if source.format.name == "avi":
        if info.video_codec in TIMES_UNKNOWN_IN_AVI or _PACKED.search(
            first_packet(info.path, info.video_index)
        ):
            return False
    return output_format.stamps_pictures


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """How the streams of an output are set up; a muxer that refuses one way may take the next."""

    keep_tags: bool
    copy_data: bool


class Remux:
    """One pass over a source's packets into a new file.

    Attributes:
        dropped: what the output's format can't hold, in words.
        shown: which pictures of the source are shown, and when.
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
        self._from_mov = "mov" in source.format.name.split(",")
        self._index: Box | None = None
        if self._from_mov:
            with contextlib.suppress(BoxError):
                self._index, _ = read_index(info.path)
        self._descriptions = (
            descriptions_of(self._index, self._video.id) if self._index is not None else ()
        )
        self._copies: dict[int, Stream] = {}
        self._last_dts: dict[int, int] = {}
        self._hidden_end = False  # frames beyond the last shown one were copied
        self._first_video_s: Fraction | None = None
        self._filter: BitStreamFilterContext | None = None
        self._out_of_order: Counter[int] = Counter()
        self._without_time = 0  # video packets
        self.dropped: list[str] = []
        self.shown = ShownPictures(by_decoding_time=output_format.muxer == "avi")

    def run(self) -> None:
        """Write the new file.

        Raises:
            MediaError: the output's format does not take this video.
            av.FFmpegError, OSError: the file can't be written.
        """
        sink, sound_stream = self._opened_sink()
        with sink:
            self._copy_packets(sink, sound_stream)
        self._note_losses()
        if self._format.has_edit_lists:
            try:
                self._finish_index()
            except BoxError as error:
                raise MediaError(
                    f"{self._info.path}: its edit list can't be copied ({error})",
                    hint="export the clip again",
                ) from error
        aspect = self._video.sample_aspect_ratio
        if self._format.muxer in ("matroska", "webm") and aspect and aspect != 1:
            with contextlib.suppress(EbmlError):  # the check of the copy names what is missing
                set_pixel_aspect(self._output, aspect)

    def _finish_index(self) -> None:
        """Set what the muxer can't write into the index of an mp4 or mov file."""
        if self._info.edits:
            write_edits(
                self._output,
                self._info.edits,
                track_index=0,
                first_packet_s=self._first_video_s or Fraction(0),
            )
        elif self._hidden_end:
            limit_shown_duration(self._output, track_index=0, duration_s=self._info.duration_s)
        # The muxer counts the encoder's delay as shown where a track begins later.
        limit_shown_duration(self._output, track_index=1, duration_s=self._sound.duration_s)
        if self._descriptions:
            add_descriptions(self._output, self._descriptions, track_index=0)

    def _note_losses(self) -> None:
        """What the streams were found to lose on the way."""
        if self._without_time:
            self.dropped.append(
                f"{self._without_time} pictures with missing or backward time stamps are shown at"
                " the time of their decoding"
            )
        for index, count in sorted(self._out_of_order.items()):
            self.dropped.append(
                f"{count} packets of {stream_name(self._source.streams[index])} are out of order"
                " and were left out"
            )
        if self._info.orientation != (1, 0, 0, 1) and not self._format.holds_rotation:
            self.dropped.append(
                f"{self._format.muxer} can't hold the rotation of the picture"
                f" ({self._info.rotation_deg} degrees)"
            )
        if not self._format.has_edit_lists:
            kept = KEPT_IN_MATROSKA if self._format.muxer == "matroska" else frozenset()
            lost = {DESCRIPTIONS[box.kind] for box in self._descriptions if box.kind not in kept}
            self.dropped += [f"{self._format.muxer} can't hold {name}" for name in sorted(lost)]

    def _opened_sink(self) -> tuple[OutputContainer, AudioStream]:
        """The output with its header written; codec tags are kept if the format takes them."""
        source_formats = set(self._source.format.name.split(","))
        same_family = any(
            source_formats & family and self._format.muxer in family for family in _TAG_FAMILIES
        )
        attempts = [
            _Attempt(keep_tags=keep_tags, copy_data=copy_data)
            for keep_tags in ((True, False) if same_family else (False,))
            for copy_data in ((True, False) if self._source.streams.data else (False,))
        ]
        for attempt in attempts:
            sink = av.open(
                f"file:{self._output}", "w", format=self._format.muxer, options=self._options()
            )
            self._copies.clear()
            self.dropped.clear()
            try:
                sound_stream = self._add_streams(sink, attempt)
                sink.metadata.update(content_metadata(self._source.metadata))
                chapters = self._source.chapters()
                if chapters:
                    sink.set_chapters(chapters)
                sink.start_encoding()
                return sink, sound_stream
            except (av.FFmpegError, ValueError):
                sink.close()
                if attempt == attempts[-1]:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _options(self) -> dict[str, str]:
        options = {"strict": "unofficial"}  # lets Dolby Vision and 360° descriptions through
        if self._format.has_edit_lists:
            options["movie_timescale"] = str(
                _movie_timescale(
                    time_base_of(self._video), self._sound.rate_hz, self._info.duration_s
                )
            )
            options["movflags"] = "+faststart"
            keys = {key.lower() for key in content_metadata(self._source.metadata)}
            if keys - _ITUNES_METADATA:
                options["movflags"] += "+use_metadata_tags"
        if self._format.wide_packets:
            options["mpegts_m2ts_mode"] = "1"
        return options

    def _add_streams(self, sink: OutputContainer, attempt: _Attempt) -> AudioStream:
        copy = cast(VideoStream, self._add_copy(sink, self._video, attempt))
        self._add_filter(copy)
        # Where the container alone knows these, the codec's settings lack them.
        aspect = self._video.sample_aspect_ratio
        if aspect and aspect != (copy.codec_context.sample_aspect_ratio or 1):
            copy.codec_context.sample_aspect_ratio = aspect
        if not copy.codec_context.framerate and self._video.average_rate:
            copy.codec_context.framerate = self._video.average_rate
        if self._format.muxer == "avi" and self._source.format.name != "avi":
            # AVI counts frames; on a finer time base it would fill the gaps with empty ones.
            copy.time_base = 1 / (self._video.average_rate or Fraction(25))
        sound_stream = self._sound.add_to(sink)
        for stream in self._source.streams:
            if stream.index == self._video.index or not self._is_wanted(stream, attempt):
                continue
            if is_cover_art(stream) and self._format.takes_attachments:
                self._attach_cover(sink, stream)
                continue
            try:
                self._add_copy(sink, stream, attempt)
            except ValueError:
                if not self._add_rewritten_text(sink, stream):
                    self._drop(stream)
        return sound_stream

    def _is_wanted(self, stream: Stream, attempt: _Attempt) -> bool:
        if stream.type == "audio":
            if self._keep_old_sound and stream.codec_context is None:
                self._drop(stream)
            return self._keep_old_sound and stream.codec_context is not None
        if stream.type == "data":
            if self._format.has_edit_lists and self._kind_of(stream) in _WRITTEN_BY_MUXER:
                return False
            fits = attempt.copy_data and self._format.has_edit_lists and self._from_mov
        elif stream.type == "attachment":
            fits = self._format.takes_attachments
        elif stream.type == "video":
            fits = is_cover_art(stream) and stream.codec_context is not None
        else:
            fits = stream.type == "subtitle" and stream.codec_context is not None
        if not fits:
            self._drop(stream)
        return fits

    def _kind_of(self, stream: Stream) -> bytes:
        """Four letters that say what an mp4 or mov track holds; empty if unknown."""
        return entry_kind(self._index, stream.id) if self._index is not None else b""

    def _drop(self, stream: Stream) -> None:
        kind = self._kind_of(stream).decode("latin-1").strip()
        known = f"{kind}: " if stream.codec_context is None and kind.isprintable() and kind else ""
        self.dropped.append(
            f"{known}{stream_name(stream)} does not fit {self._format.muxer} and was left out"
        )

    def _add_copy(self, sink: OutputContainer, stream: Stream, attempt: _Attempt) -> Stream:
        copy = sink.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(content_metadata(stream.metadata))
        copy.disposition = stream.disposition
        if stream.type == "audio":
            copy.disposition &= ~Disposition.default
        if attempt.keep_tags and stream.codec_context is not None:
            with contextlib.suppress(UnicodeDecodeError):
                if stream.codec_context.codec_tag.isprintable():
                    copy.codec_context.codec_tag = stream.codec_context.codec_tag
        self._copies[stream.index] = copy
        return copy

    def _attach_cover(self, sink: OutputContainer, stream: Stream) -> None:
        """Matroska keeps cover pictures as attached files."""
        mimetype, suffix = _IMAGE_TYPES.get(stream.codec_context.name, ("", ""))
        data = first_packet(self._info.path, stream.index) if mimetype else b""
        if not data:
            self._drop(stream)
            return
        name = stream.metadata.get("filename") or f"cover.{suffix}"
        sink.add_attachment(name, mimetype, data)

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
        copy.metadata.update(content_metadata(stream.metadata))
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy
        return True

    def _copy_packets(self, sink: OutputContainer, sound_stream: AudioStream) -> None:
        sound = self._sound.packets(sound_stream)
        next_sound = next(sound, None)
        shift_s = self._shift_s()
        held: list[Packet] = []  # hidden packets, until one that is shown follows
        with ExitStack() as stack:
            for packet in self._packets(stack):
                is_video = packet.stream.index == self._video.index
                if is_video:
                    # Frames hidden at the end are left out where the format can't hide them.
                    if packet.is_discard and not self._format.has_edit_lists:
                        held.append(packet)
                        continue
                    if held:
                        raise self._hidden_error()
                    self._fill_in_times(packet)
                    self._note_hidden(packet)
                elif not is_cover_art(packet.stream) and not self._is_in_order(packet):
                    continue
                if shift_s and packet.pts is not None and packet.dts is not None:
                    shift = round(shift_s / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                # New sound is written shortly before the pictures of its time.
                if packet.dts is not None:
                    now_s = float(packet.dts * packet.time_base) + _SOUND_LEAD_S
                    while next_sound is not None and _time_s(next_sound) <= now_s:
                        sink.mux(next_sound)
                        next_sound = next(sound, None)
                self._mux_copy(sink, packet)
            while next_sound is not None:
                sink.mux(next_sound)
                next_sound = next(sound, None)

    def _packets(self, stack: ExitStack) -> Iterator[Packet]:
        """The packets to copy; `shown` records the video as a player shows it."""
        streams = [self._source.streams[index] for index in self._copies]
        if self._info.edits:
            yield from self._packets_without_edits(stack, streams)
            return
        for packet in read_packets(self._source, streams):
            if packet.stream.index == self._video.index:
                self.shown.add(packet)
            if packet.size:
                yield packet

    def _packets_without_edits(self, stack: ExitStack, streams: list[Stream]) -> Iterator[Packet]:
        """All packets of the video's media, and the other streams as they are shown.

        The edit list of the source is written over those packets at the end.
        """
        with open_input(self._info.path) as edited:
            video = edited.streams[self._video.index]
            for packet in read_packets(edited, [video]):
                self.shown.add(packet)
        raw = stack.enter_context(open_input(self._info.path, options={"ignore_editlist": "1"}))
        media = read_packets(raw, [raw.streams[self._video.index]])
        others = read_packets(
            self._source, [stream for stream in streams if stream.index != self._video.index]
        )
        sources = [packets for packets in (media, others) if packets is media or len(streams) > 1]
        for packet in heapq.merge(*sources, key=_time_s):
            if packet.size:
                if self._first_video_s is None and packet.stream.type == "video":
                    self._first_video_s = (packet.dts or 0) * packet.time_base
                yield packet

    def _add_filter(self, copy: Stream) -> None:
        """Have packets changed to the form of the output, where its muxer does not do so itself."""
        wanted = _FORMS.get((self._format.muxer, self._info.video_codec))
        if wanted and self._format.muxer not in self._source.format.name.split(","):
            self._filter = BitStreamFilterContext(wanted, self._video, copy)

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
        filtered = [packet]
        if self._filter is not None and packet.stream.index == self._video.index:
            time_base = packet.time_base
            filtered = self._filter.filter(packet)
            for changed in filtered:
                changed.time_base = time_base
        for changed in filtered:
            changed.stream = copy
            sink.mux(changed)

    def _shift_s(self) -> float:
        """mov and mp4 hide what comes before time 0; a video that is shown there is moved."""
        if self._format.has_edit_lists and self._info.start_s < 0:
            return -self._info.start_s
        return 0.0

    def _note_hidden(self, packet: Packet) -> None:
        if not packet.is_discard or packet.pts is None:
            return
        shown_end_s = self._info.start_s + self._info.duration_s
        if float(packet.pts * packet.time_base) >= shown_end_s - 1e-6:
            self._hidden_end = True

    def _hidden_error(self) -> MediaError:
        return MediaError(
            f"{self._info.path}: hides frames by its edit list, and {self._format.muxer} can't"
            " hide them",
            hint="choose another format: -o NAME.mp4 or -o NAME.mov",
        )

    def _is_in_order(self, packet: Packet) -> bool:
        """Whether a muxer takes a packet of another stream; those that come too late are counted.

        Attachments have no packets, and data without time stamps can't be placed.
        """
        index = packet.stream.index
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.pts is None:
            packet.pts = packet.dts
        last = self._last_dts.get(index)
        if packet.dts is None or (last is not None and packet.dts < last):
            self._out_of_order[index] += 1
            return False
        self._last_dts[index] = packet.dts
        return True

    def _fill_in_times(self, packet: Packet) -> None:
        """Fill in what muxers insist on: decoding times that exist and increase."""
        index = packet.stream.index
        last = self._last_dts.get(index)
        step = max(packet.duration or 0, 1)
        if packet.dts is None:
            if last is not None:
                packet.dts = last + step
            elif packet.pts is not None:
                delay = self._info.undated_packets or int(self._info.reorders_pictures)
                packet.dts = packet.pts - step * delay
            else:
                packet.dts = 0
        if last is not None and packet.dts <= last:
            packet.dts = last + 1
        self._without_time += packet.pts is None
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        self._last_dts[index] = packet.dts


def _movie_timescale(time_base: Fraction, rate_hz: int, duration_s: float) -> int:
    """Ticks in which mov edit lists count: both the frames' and the samples' grid, if they fit."""
    both = math.lcm(time_base.denominator, rate_hz)
    for timescale in (both, time_base.denominator, rate_hz):
        if timescale <= _LARGEST_TIMESCALE and timescale * duration_s < 2**31:
            return timescale
    return 1000


def _time_s(packet: Packet) -> float:
    return float((packet.dts or 0) * packet.time_base)
