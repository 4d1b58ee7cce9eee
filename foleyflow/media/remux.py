"""Copy the streams of a file packet by packet into a new file, with a new audio track.

Nothing is decoded, except text subtitles that the output's format stores in another form.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
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
from foleyflow.media.boxes import edit_index
from foleyflow.media.container_error import ContainerError
from foleyflow.media.ebml import set_pixel_aspect
from foleyflow.media.edit_list import limit_shown_duration, write_edits
from foleyflow.media.formats import FORMATS, TIMES_UNKNOWN_IN_AVI, OutputFormat
from foleyflow.media.input_file import (
    first_packet,
    format_names,
    is_cover_art,
    open_input,
    read_packets,
    time_base_of,
)
from foleyflow.media.presentation_times import PresentationTimes
from foleyflow.media.probe import MediaInfo, read_mov_index
from foleyflow.media.properties import content_metadata, stream_name
from foleyflow.media.sample_entry import (
    DESCRIPTIONS,
    KEPT_IN_MATROSKA,
    add_descriptions,
    descriptions_of,
    entry_kind,
)
from foleyflow.media.sound_track import SoundTrack

# Keys that mp4 stores in its iTunes metadata; others need QuickTime keys.
_ITUNES_METADATA = frozenset(
    "title artist album_artist album composer date comment genre copyright grouping lyrics"
    " description synopsis show episode_id network keywords episode_sort season_number track disc"
    " media_type hd_video gapless_playback compilation creation_time timecode".split()
)
_TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"})
# The sound precedes the video in the file by this much, so that players need no long buffer.
_SOUND_LEAD_S = 1.0
_LARGEST_TIMESCALE = 1_000_000
# Of the video's own audio tracks in the copy.
_KEPT_TITLE = "Original"
# Permits Dolby Vision and 360-degree descriptions.
_MUXER_OPTIONS = {"strict": "unofficial"}
# Suggested first if a format can't hold a video.
_USUAL_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv")
# Formats that share codec tags; a tag of one family has no meaning in another.
_TAG_FAMILIES = (
    frozenset({"mov", "mp4", "m4a", "3gp", "3g2", "mj2", "ipod", "psp"}),
    frozenset({"matroska", "webm"}),
    frozenset({"avi"}),
    frozenset({"asf"}),
)
# Marks MPEG-4 video with two frames in one packet (DivX's packed bit stream).
_PACKED = re.compile(rb"DivX\d+[Bb](?:uild)?\d+p")
# Bit stream filters for conversions that a muxer lacks, by (muxer, codec).
_FILTERS = {("avi", "h264"): "h264_mp4toannexb", ("mpegts", "mpeg4"): "dump_extra"}
# Data tracks that the muxer creates from metadata and chapters.
_WRITTEN_BY_MUXER = frozenset({b"tmcd", b"text"})
_IMAGE_TYPES = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png")}


def check_fits(
    info: MediaInfo, source: InputContainer, output: Path, output_format: OutputFormat
) -> None:
    """Refuse a format that can't hold a video, of which `info` is the result of `probe`.

    Raises:
        MediaError: the format can't hold the codec, can't hide the frames that the source hides, or
            would show frames in another order.
    """
    misfit = _misfit(info, source, output_format)
    if misfit is not None:
        suffixes = suffixes_holding(info, source)
        hint = "convert the video to h264 in mp4 first"
        if suffixes:
            hint = f"choose another format: -o NAME{suffixes[0]}"
        raise MediaError(f"{output}: {misfit}", hint=hint)


def suffixes_holding(info: MediaInfo, source: InputContainer) -> list[str]:
    """Return the suffixes of output formats that can hold a video, the usual ones first."""
    suffixes = dict.fromkeys([*_USUAL_SUFFIXES, *FORMATS])
    return [suffix for suffix in suffixes if _misfit(info, source, FORMATS[suffix]) is None]


def _misfit(info: MediaInfo, source: InputContainer, output_format: OutputFormat) -> str | None:
    """Why a format can't hold a video; None if it can."""
    muxer, name = output_format.muxer, info.path.name
    if not _holds_codec(output_format, cast(VideoStream, source.streams[info.video_index])):
        return f"{muxer} can't hold {info.video_codec} video, which is copied, never re-encoded"
    if info.hides_frames and not output_format.has_edit_lists:
        return (
            f"{name} hides frames by its edit list (it was trimmed without re-encoding), and"
            f" {muxer} can't hide frames"
        )
    if not _keeps_order(output_format, info, source):
        return (
            f"the frames of {name} are stored out of order (B-frames), and their times can't be"
            f" kept from {source.format.name} to {muxer}"
        )
    return None


def _holds_codec(output_format: OutputFormat, video: VideoStream) -> bool:
    """Whether a muxer writes a header for a video; some muxers refuse a codec only then."""
    names = {video.codec_context.name, video.codec_context.codec.canonical_name}
    if output_format.video_codecs is not None:
        return bool(names & output_format.video_codecs)
    sink = av.open(os.devnull, "w", format=output_format.muxer, options=_MUXER_OPTIONS)
    supports = bool(names & sink.supported_codecs)
    sink.close()
    return supports and accepts_streams(output_format, [video])


def accepts_streams(
    output_format: OutputFormat, streams: Sequence[VideoStream | AudioStream]
) -> bool:
    """Whether a muxer writes a header for these streams."""
    sink = av.open(os.devnull, "w", format=output_format.muxer, options=_MUXER_OPTIONS)
    try:
        for stream in streams:
            sink.add_stream_from_template(stream, opaque=True)
        sink.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    finally:
        sink.close()
    return True


def _keeps_order(output_format: OutputFormat, info: MediaInfo, source: InputContainer) -> bool:
    """Whether frames that are not stored in presentation order keep their times."""
    if not info.reorders_pictures or output_format.muxer in format_names(source):
        return True
    if source.format.name == "avi":
        if info.video_codec in TIMES_UNKNOWN_IN_AVI or _PACKED.search(
            first_packet(info.path, info.video_index)
        ):
            return False
    return output_format.stamps_pictures


class Remux:
    """One pass over a source's packets into a new file."""

    def __init__(
        self,
        source: InputContainer,
        output: Path,
        output_format: OutputFormat,
        *,
        info: MediaInfo,
        sound: SoundTrack,
        keep_original: bool,
    ) -> None:
        self._source = source
        self._output = output
        self._format = output_format
        self._info = info
        self._sound = sound
        self._keep_original = keep_original
        self._video = cast(VideoStream, source.streams[info.video_index])
        self._formats = format_names(source)
        self._index = read_mov_index(source, info.path)
        self._descriptions = descriptions_of(self._index, self._video.id) if self._index else ()
        self._copies: dict[int, Stream] = {}
        self._last_dts: dict[int, int] = {}
        self._hides_end = False  # frames after the last shown one were copied
        self._first_video_s: Fraction | None = None
        self._filter: BitStreamFilterContext | None = None
        self._out_of_order: Counter[int] = Counter()
        self._untimed_count = 0  # video packets without a usable time stamp
        self.dropped: list[str] = []  # descriptions of what the output's format can't hold
        # When the source shows its frames
        self.shown = PresentationTimes(by_decoding_time=output_format.muxer == "avi")

    def run(self) -> None:
        """Write the new file; `MediaError` if its format can't hold the video.

        Errors of libav and of the system while writing are not converted.
        """
        sink, sound_stream = self._open_sink()
        with sink:
            self._copy_packets(sink, sound_stream)
        self._report_losses()
        if self._format.has_edit_lists:
            try:
                self._finish_index()
            except ContainerError as error:
                raise MediaError(
                    f"{self._info.path}: its edit list can't be copied ({error})",
                    hint="export the clip again",
                ) from error
        aspect = self._video.sample_aspect_ratio
        if self._format.muxer in ("matroska", "webm") and aspect and aspect != 1:
            with contextlib.suppress(ContainerError):  # `verify_copy` reports the loss
                set_pixel_aspect(self._output, aspect)

    def _finish_index(self) -> None:
        """Write what the muxer can't write into the index of an mp4 or mov file."""
        with edit_index(self._output) as index:
            if self._info.edits:
                first_packet_s = self._first_video_s or Fraction(0)
                write_edits(index, self._info.edits, track_index=0, first_packet_s=first_packet_s)
            elif self._hides_end:
                limit_shown_duration(index, track_index=0, duration_s=self._info.duration_s)
            # If a track begins later, the muxer counts the encoder's delay as shown.
            limit_shown_duration(index, track_index=1, duration_s=self._sound.duration_s)
            if self._descriptions:
                add_descriptions(index, self._descriptions, track_index=0)

    def _report_losses(self) -> None:
        """Add what was lost while copying to `dropped`."""
        muxer = self._format.muxer
        if self._untimed_count:
            self.dropped.append(
                f"{self._untimed_count} frames with missing or backward time stamps are shown at"
                " their decoding times"
            )
        for index, count in sorted(self._out_of_order.items()):
            self.dropped.append(
                f"{count} packets of {stream_name(self._source.streams[index])} are out of order"
                " and were left out"
            )
        if self._info.orientation != (1, 0, 0, 1) and not self._format.holds_rotation:
            self.dropped.append(
                f"{muxer} can't hold the rotation of the video ({self._info.rotation_deg} degrees)"
            )
        if not self._format.has_edit_lists:
            kept = KEPT_IN_MATROSKA if muxer == "matroska" else frozenset()
            lost = {DESCRIPTIONS[box.kind] for box in self._descriptions if box.kind not in kept}
            self.dropped += [f"{muxer} can't hold {name}" for name in sorted(lost)]

    def _open_sink(self) -> tuple[OutputContainer, AudioStream]:
        """Open the output and write its header, with codec tags and data tracks if possible."""
        same_family = any(
            self._formats & family and self._format.muxer in family for family in _TAG_FAMILIES
        )
        attempts = [
            (keep_tags, copy_data)
            for keep_tags in ((True, False) if same_family else (False,))
            for copy_data in ((True, False) if self._source.streams.data else (False,))
        ]
        for keep_tags, copy_data in attempts:
            sink = av.open(
                f"file:{self._output}", "w", format=self._format.muxer, options=self._options()
            )
            self._copies.clear()
            self.dropped.clear()
            try:
                sound_stream = self._add_streams(sink, keep_tags=keep_tags, copy_data=copy_data)
                sink.metadata.update(content_metadata(self._source.metadata))
                chapters = self._source.chapters()
                if chapters:
                    sink.set_chapters(chapters)
                sink.start_encoding()
                return sink, sound_stream
            except (av.FFmpegError, ValueError):
                sink.close()
                if (keep_tags, copy_data) == attempts[-1]:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _options(self) -> dict[str, str]:
        options = dict(_MUXER_OPTIONS)
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

    def _add_streams(
        self, sink: OutputContainer, *, keep_tags: bool, copy_data: bool
    ) -> AudioStream:
        copy = cast(VideoStream, self._add_copy(sink, self._video, keep_tags))
        filter_name = _FILTERS.get((self._format.muxer, self._info.video_codec))
        if filter_name and self._format.muxer not in self._formats:
            self._filter = BitStreamFilterContext(filter_name, self._video, copy)
        # Aspect ratio and frame rate may be stored in the container alone.
        aspect = self._video.sample_aspect_ratio
        if aspect and aspect != (copy.codec_context.sample_aspect_ratio or 1):
            copy.codec_context.sample_aspect_ratio = aspect
        if not copy.codec_context.framerate and self._video.average_rate:
            copy.codec_context.framerate = self._video.average_rate
        if self._format.muxer == "avi" and self._source.format.name != "avi":
            # AVI counts frames; with a finer time base it would fill the gaps with empty ones.
            copy.time_base = 1 / (self._video.average_rate or Fraction(25))
        sound_stream = self._sound.add_to(sink)
        for stream in self._source.streams:
            if stream.index == self._video.index or not self._is_wanted(stream, copy_data):
                continue
            if is_cover_art(stream) and self._format.takes_attachments:
                self._attach_cover(sink, stream)
                continue
            try:
                self._add_copy(sink, stream, keep_tags)
            except ValueError:
                if not self._add_converted_text(sink, stream):
                    self._drop(stream)
        return sound_stream

    def _is_wanted(self, stream: Stream, copy_data: bool) -> bool:
        """Whether a stream is copied; one that is left out without need is added to `dropped`."""
        if stream.type == "audio":
            return self._keep_original
        has_codec = stream.codec_context is not None
        if stream.type == "data":
            if self._format.has_edit_lists and self._kind_of(stream) in _WRITTEN_BY_MUXER:
                return False
            fits = copy_data and self._format.has_edit_lists and "mov" in self._formats
        elif stream.type == "attachment":
            fits = self._format.takes_attachments
        elif stream.type == "video":
            fits = is_cover_art(stream) and has_codec
        else:
            fits = stream.type == "subtitle" and has_codec
        if not fits:
            self._drop(stream)
        return fits

    def _kind_of(self, stream: Stream) -> bytes:
        """Type of an mp4 or mov track's content, four letters; empty if unknown."""
        return entry_kind(self._index, stream.id) if self._index else b""

    def _drop(self, stream: Stream) -> None:
        kind = self._kind_of(stream).decode("latin-1").strip()
        prefix = f"{kind}: " if stream.codec_context is None and kind.isprintable() and kind else ""
        self.dropped.append(
            f"{prefix}{stream_name(stream)} does not fit {self._format.muxer} and was left out"
        )

    def _add_copy(self, sink: OutputContainer, stream: Stream, keep_tags: bool) -> Stream:
        copy = sink.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(content_metadata(stream.metadata))
        copy.disposition = stream.disposition
        if stream.type == "audio":
            copy.disposition &= ~Disposition.default
            # mp4 and mov files call the title of a track its name
            own_title = copy.metadata.pop("name", None) or copy.metadata.get("title")
            is_titled = own_title not in (None, _KEPT_TITLE)
            copy.metadata["title"] = f"{_KEPT_TITLE} ({own_title})" if is_titled else _KEPT_TITLE
        if keep_tags and stream.codec_context is not None:
            with contextlib.suppress(UnicodeDecodeError):
                if stream.codec_context.codec_tag.isprintable():
                    copy.codec_context.codec_tag = stream.codec_context.codec_tag
        self._copies[stream.index] = copy
        return copy

    def _attach_cover(self, sink: OutputContainer, stream: Stream) -> None:
        """Attach a cover picture as a file, as Matroska stores it."""
        mimetype, suffix = _IMAGE_TYPES.get(stream.codec_context.name, ("", ""))
        data = first_packet(self._info.path, stream.index) if mimetype else b""
        if not data:
            self._drop(stream)
            return
        name = stream.metadata.get("filename") or f"cover.{suffix}"
        sink.add_attachment(name, mimetype, data)

    def _add_converted_text(self, sink: OutputContainer, stream: Stream) -> bool:
        """Add a text subtitle track in the format's own kind of text, if there is one."""
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
        # mov and mp4 hide everything before time 0; video that is shown there is moved.
        shift_s = max(-self._info.start_s, 0.0) if self._format.has_edit_lists else 0.0
        shown_end_s = self._info.start_s + self._info.duration_s
        has_hidden = False  # hidden packets were left out, and no shown one has followed yet
        with contextlib.closing(self._packets()) as packets:
            for packet in packets:
                if packet.stream.index == self._video.index:
                    # Leave out frames hidden at the end if the format can't hide them
                    if packet.is_discard and not self._format.has_edit_lists:
                        has_hidden = True
                        continue
                    if has_hidden:
                        raise MediaError(
                            f"{self._info.path}: its edit list hides frames, and"
                            f" {self._format.muxer} can't hide frames",
                            hint="choose another format: -o NAME.mp4 or -o NAME.mov",
                        )
                    self._fill_in_times(packet)
                    if packet.is_discard and packet.pts is not None:
                        pts_s = float(packet.pts * packet.time_base)
                        self._hides_end = self._hides_end or pts_s >= shown_end_s - 1e-6
                elif not is_cover_art(packet.stream) and not self._is_in_order(packet):
                    continue
                if shift_s and packet.pts is not None and packet.dts is not None:
                    shift = round(shift_s / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                # Write new sound shortly before the frames of the same time
                if packet.dts is not None:
                    now_s = float(packet.dts * packet.time_base) + _SOUND_LEAD_S
                    while next_sound is not None and _time_s(next_sound) <= now_s:
                        sink.mux(next_sound)
                        next_sound = next(sound, None)
                self._mux_copy(sink, packet)
            while next_sound is not None:
                sink.mux(next_sound)
                next_sound = next(sound, None)

    def _packets(self) -> Generator[Packet, None, None]:
        """The packets to copy; `shown` records the video as a player shows it."""
        streams = [self._source.streams[index] for index in self._copies]
        if self._info.edits:
            yield from self._packets_without_edits(streams)
            return
        for packet in read_packets(self._source, streams):
            if packet.stream.index == self._video.index:
                self.shown.add(packet)
            if packet.size:
                yield packet

    def _packets_without_edits(self, streams: list[Stream]) -> Iterator[Packet]:
        """All packets of the video's media, and the other streams as they are shown.

        The edit list of the source is added to the output after the packets.
        """
        with open_input(self._info.path) as edited:
            for packet in read_packets(edited, [edited.streams[self._video.index]]):
                self.shown.add(packet)
        with open_input(self._info.path, options={"ignore_editlist": "1"}) as raw:
            sources = [read_packets(raw, [raw.streams[self._video.index]])]
            others = [stream for stream in streams if stream.index != self._video.index]
            if others:
                sources.append(read_packets(self._source, others))
            for packet in heapq.merge(*sources, key=_time_s):
                if packet.size:
                    if self._first_video_s is None and packet.stream.type == "video":
                        self._first_video_s = (packet.dts or 0) * packet.time_base
                    yield packet

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
        packets = [packet]
        if self._filter is not None and packet.stream.index == self._video.index:
            time_base = packet.time_base
            packets = self._filter.filter(packet)
            for filtered in packets:
                filtered.time_base = time_base
        for filtered in packets:
            filtered.stream = copy
            sink.mux(filtered)

    def _is_in_order(self, packet: Packet) -> bool:
        """Whether a muxer accepts a packet of another stream; refused packets are counted.

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
        """Give a video packet what muxers require: decoding times that exist and increase."""
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
        self._untimed_count += packet.pts is None
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        self._last_dts[index] = packet.dts


def _movie_timescale(time_base: Fraction, rate_hz: int, duration_s: float) -> int:
    """Ticks per second of mov edit lists: a multiple of frame and sample rate if it fits."""
    both = math.lcm(time_base.denominator, rate_hz)
    for timescale in (both, time_base.denominator, rate_hz):
        if timescale <= _LARGEST_TIMESCALE and timescale * duration_s < 2**31:
            return timescale
    return 1000


def _time_s(packet: Packet) -> float:
    return float((packet.dts or 0) * packet.time_base)
