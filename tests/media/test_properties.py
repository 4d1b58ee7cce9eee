"""Properties of a file are kept if the output can hold them, and reported if it can't."""

from __future__ import annotations

import binascii
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from support.media_files import (
    Sound,
    add_to_sample_entry,
    box,
    encoded_picture,
    impulses,
    make_video,
    shown,
)
from support.muxed_copies import copy_packets, quiet_copy

from foleyflow.errors import MediaError
from foleyflow.media import check_copy, default_suffix, ebml, probe, read_frames
from foleyflow.media.boxes import edit_index, read_index
from foleyflow.media.sample_entry import descriptions_of


def descriptions_in(path):
    return descriptions_of(read_index(path)[0], 1)


def pixel_aspect(path):
    with av.open(str(path)) as source:
        return source.streams.video[0].sample_aspect_ratio


def with_pixel_aspect(path, codec, pixel_format):
    """A video whose pixel aspect ratio is stored in the container but not in the codec."""
    return make_video(
        path,
        codec=codec,
        pixel_format=pixel_format,
        width=90,
        n_frames=10,
        settings={"sample_aspect_ratio": Fraction(64, 45)},
    )


@pytest.mark.parametrize(
    ("source", "target", "codec", "pixel_format"),
    [
        ("mov", "mov", "prores_ks", "yuv422p10le"),
        ("mp4", "mp4", "libvpx-vp9", "yuv420p"),
        ("mp4", "mkv", "libvpx-vp9", "yuv420p"),
        ("mp4", "webm", "libvpx-vp9", "yuv420p"),
        ("mov", "mkv", "prores_ks", "yuv422p10le"),
    ],
)
def test_pixel_aspect_ratio_of_the_container_is_kept(tmp_path, source, target, codec, pixel_format):
    video = with_pixel_aspect(tmp_path / f"a.{source}", codec, pixel_format)
    assert pixel_aspect(video) == Fraction(64, 45)
    assert quiet_copy(video, tmp_path / f"b.{target}") == []
    output = tmp_path / f"b.{target}"
    assert pixel_aspect(output) == Fraction(64, 45)
    assert shown(output).pictures == shown(video).pictures
    again = tmp_path / f"c.{target}"
    assert quiet_copy(output, again) == []
    assert pixel_aspect(again) == Fraction(64, 45)


def test_changed_matroska_header_has_correct_positions_and_checksums(tmp_path):
    video = with_pixel_aspect(tmp_path / "a.mp4", "libvpx-vp9", "yuv420p")
    output = tmp_path / "b.mkv"
    quiet_copy(video, output)
    data = output.read_bytes()
    (segment,) = ebml.find_elements(data, [ebml.SEGMENT])
    parts = ebml.parse_elements(data, segment.content, segment.end)
    places = {part.element_id: part.start - segment.content for part in parts}
    seeks = ebml.find_elements(data, [ebml.SEGMENT, ebml.SEEK_HEAD, ebml.SEEK])
    assert len(seeks) >= 3
    for seek in seeks:
        number, place = (
            int.from_bytes(data[inner.content : inner.end], "big")
            for inner in ebml.parse_elements(data, seek.content, seek.end)
        )
        assert places[number] == place
    for part in parts:
        if data[part.content : part.content + 2] == b"\xbf\x84":
            stored = int.from_bytes(data[part.content + 2 : part.content + 6], "little")
            assert binascii.crc32(data[part.content + 6 : part.end]) == stored


def test_lost_pixel_aspect_ratio_is_reported(tmp_path):
    video = with_pixel_aspect(tmp_path / "a.mp4", "libvpx-vp9", "yuv420p")
    (warning,) = quiet_copy(video, tmp_path / "b.flv")
    assert warning == "flv can't hold the pixel aspect ratio 64:45"


@pytest.mark.parametrize(
    ("target", "kept"), [("mov", True), ("mkv", True), ("avi", False), ("ts", False)]
)
@pytest.mark.parametrize("rotation_deg", [90, 180])
def test_rotation_is_kept_or_reported(tmp_path, target, kept, rotation_deg):
    video = make_video(tmp_path / "a.mp4", rotation_deg=rotation_deg, n_frames=10)
    lost = quiet_copy(video, tmp_path / f"b.{target}")
    assert (probe(tmp_path / f"b.{target}").rotation_deg == rotation_deg) == kept
    text = f"rotation of the video ({rotation_deg} degrees)"
    assert any(text in warning for warning in lost) == (not kept)


CODE = "10:00:00:05"


def timecodes(path):
    with av.open(str(path)) as source:
        tags = [stream.metadata for stream in source.streams]
        return [metadata["timecode"] for metadata in tags if "timecode" in metadata]


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("libx264", "yuv420p"), ("prores_ks", "yuv422p10le"), ("mjpeg", "yuvj420p")],
)
def test_time_code_is_kept_or_reported(tmp_path, codec, pixel_format):
    video = make_video(
        tmp_path / "a.mov", codec=codec, pixel_format=pixel_format, metadata={"timecode": CODE}
    )
    assert timecodes(video) == [CODE, CODE]
    assert quiet_copy(video, tmp_path / "b.mov") == []
    assert timecodes(tmp_path / "b.mov") == [CODE, CODE]
    if codec == "libx264":
        (warning,) = [t for t in quiet_copy(video, tmp_path / "b.ts") if "data" not in t]
        assert warning == f"mpegts can't hold the time code {CODE}"


@pytest.mark.parametrize(
    ("name", "codec", "tag", "code"),
    [
        ("a.mov", "libx264", "timecode", CODE),
        ("a.mp4", "libx264", "timecode", "01:00:00;02"),
        ("a.mkv", "libx264", "TIMECODE", CODE),
        ("a.mxf", "mpeg2video", "timecode", CODE),
        ("a.avi", "mpeg4", "ICRD", None),
    ],
)
def test_the_start_time_code_is_read(tmp_path, name, codec, tag, code):
    rate = Fraction(30_000, 1001) if code and ";" in code else 25
    metadata = {tag: code or "2020"}
    video = make_video(tmp_path / name, codec=codec, rate=rate, n_frames=10, metadata=metadata)
    assert probe(video).start_time_code == code


def with_data_track(path, kind):
    """An mp4 whose second track is timed data: a text track, renamed in the index."""
    text = [(0.1 * k, 0.1 * k + 0.05, "A" * 50) for k in range(3)]
    make_video(path, n_frames=20, subtitles=text, subtitle_codec="mov_text")
    with edit_index(path) as index:
        for track in index.all(b"trak"):
            handler = track.find(b"mdia", b"hdlr")
            if handler.body[8:12] in (b"sbtl", b"text"):
                handler.body = handler.body[:8] + b"meta" + handler.body[12:]
                description = track.find(b"mdia", b"minf", b"stbl", b"stsd")
                description.body = description.body[:8] + box(kind, bytes(6) + b"\0\1")
    return path


def test_data_tracks_are_kept_or_reported(tmp_path):
    camera = with_data_track(tmp_path / "a.mp4", b"gpmd")
    assert quiet_copy(camera, tmp_path / "b.mp4") == []
    with av.open(str(tmp_path / "b.mp4")) as copy:
        assert [s.type for s in copy.streams] == ["video", "audio", "data"]
        assert [bytes(p)[2:6] for p in copy.demux(copy.streams[2]) if p.size > 2] == [b"AAAA"] * 3
    (warning,) = quiet_copy(camera, tmp_path / "b.mkv")
    assert "gpmd: data track 1" in warning and "does not fit matroska" in warning
    unknown = with_data_track(tmp_path / "c.mp4", b"mebx")
    (warning,) = quiet_copy(unknown, tmp_path / "d.mp4")
    assert "mebx: data track 1" in warning and "was left out" in warning
    assert shown(tmp_path / "d.mp4").pictures == shown(unknown).pictures


DOLBY_VISION = box(b"dvvC", bytes([1, 0, 16, 29, 16]) + bytes(19))
PANORAMA = box(b"st3d", b"\0\0\0\0\2") + box(
    b"sv3d",
    box(b"svhd", b"\0\0\0\0x\0") + box(b"proj", box(b"prhd", bytes(16)) + box(b"equi", bytes(20))),
)
CLEAN_APERTURE = box(b"clap", struct.pack(">8I", 90, 1, 60, 1, 0, 1, 0, 1))


@pytest.mark.parametrize(
    ("boxes", "kinds", "name"),
    [
        (PANORAMA, [b"st3d", b"sv3d"], "the 360-degree description"),
        (CLEAN_APERTURE, [b"clap"], "the clean aperture"),
    ],
)
@pytest.mark.parametrize("suffix", ["mov", "mp4"])
def test_picture_descriptions_are_kept_or_reported(tmp_path, boxes, kinds, name, suffix):
    video = make_video(tmp_path / f"a.{suffix}", n_frames=10)
    add_to_sample_entry(video, boxes)
    original = descriptions_in(video)
    assert [b.kind for b in original] == kinds
    for target in ("mov", "mp4"):
        assert quiet_copy(video, tmp_path / f"b.{target}", overwrite=True) == []
        copied = descriptions_in(tmp_path / f"b.{target}")
        assert set(kinds) <= {b.kind for b in copied}  # mp4 has Apple's form of them as well
        assert shown(tmp_path / f"b.{target}").pictures == shown(video).pictures
    assert f"mpegts can't hold {name}" in quiet_copy(video, tmp_path / "b.ts")


def test_dolby_vision_is_kept_in_mov(tmp_path):
    video = make_video(
        tmp_path / "a.mov",
        codec="libx265",
        pixel_format="yuv420p10le",
        n_frames=5,
        codec_options={"x265-params": "log-level=none"},
    )
    add_to_sample_entry(video, DOLBY_VISION)
    assert quiet_copy(video, tmp_path / "b.mov") == []
    assert b"".join(b.to_bytes() for b in descriptions_in(tmp_path / "b.mov")) == DOLBY_VISION


def with_cover(path):
    plain = make_video(path.with_name("plain.mkv"), n_frames=10)
    jpeg = encoded_picture("mjpeg", "yuvj420p")
    return copy_packets(plain, path, attachment=("cover.jpg", "image/jpeg", jpeg))


def test_cover_picture_stays_a_cover_picture(tmp_path):
    video = with_cover(tmp_path / "a.mkv")
    cover = av.stream.Disposition.attached_pic
    for suffix in ("mkv", "mp4"):
        assert quiet_copy(video, tmp_path / f"b.{suffix}") == []
        with av.open(str(tmp_path / f"b.{suffix}")) as copy:
            kinds = [bool(s.disposition & cover) for s in copy.streams.video]
        assert kinds == [False, True]
    warnings = quiet_copy(video, tmp_path / "b.ts")
    assert any("cover picture" in text or "mjpeg" in text for text in warnings)


def test_lost_tags_are_reported(tmp_path):
    video = make_video(
        tmp_path / "a.mkv", codec="mpeg4", metadata={"TITLE": "Ein Titel", "SHOT_BY": "somebody"}
    )
    assert quiet_copy(video, tmp_path / "b.mkv") == []
    (warning,) = quiet_copy(video, tmp_path / "b.avi")
    assert warning == "avi can't hold the tags shot_by"


@pytest.mark.parametrize("fourcc", [b"ac-4", b"mhm1"])
def test_old_audio_track_without_a_decoder_is_reported(tmp_path, fourcc):
    video = make_video(
        tmp_path / "a.mp4", n_frames=25, sound=Sound(samples=impulses(48_000, [9_000]))
    )
    data = video.read_bytes()
    entry = data.index(b"mp4a", data.index(b"soun"))
    settings = data.index(b"esds", entry)
    video.write_bytes(
        data[:entry] + fourcc + data[entry + 4 : settings] + b"free" + data[settings + 4 :]
    )
    info = probe(video)
    assert info.has_audio and info.audio_rate_hz is None
    quiet_copy(video, tmp_path / "b.mp4")
    assert shown(tmp_path / "b.mp4").pictures == shown(video).pictures
    with pytest.raises(MediaError, match=r"can't be kept: audio track 1 \(unknown codec\)"):
        quiet_copy(video, tmp_path / "c.mp4", keep_original=True)


@pytest.mark.parametrize(
    ("suffix", "codec", "text", "old", "new"),
    [
        ("ts", "dvb_teletext", "\x10\x02\x2c" + 44 * "\0", b"", b""),
        ("mp4", "mov_text", "hello", b"tx3g", b"stpp"),
        ("mkv", "subrip", "hello", b"S_TEXT/UTF8", b"S_TEXT/WEBV"),
    ],
    ids=["teletext", "ttml", "webvtt"],
)
def test_subtitles_without_a_decoder_are_reported(tmp_path, suffix, codec, text, old, new):
    video = tmp_path / f"a.{suffix}"
    make_video(video, n_frames=25, subtitles=[(0.1, 0.6, text)], subtitle_codec=codec)
    if old:
        video.write_bytes(video.read_bytes().replace(old, new))
    output = tmp_path / f"b{video.suffix}"
    (warning,) = quiet_copy(video, output)
    assert "subtitle track 1 (unknown codec)" in warning and "was left out" in warning
    assert shown(output).pictures == shown(video).pictures


def test_subtitles_out_of_order_are_reported(tmp_path):
    lines = [(0.2, 0.4, "Erste"), (0.6, 0.8, "Zweite"), (1.0, 1.2, "Dritte")]
    video = make_video(tmp_path / "a.mkv", subtitles=lines)
    data = bytearray(video.read_bytes())
    block = data.index(b"Zweite") - 3  # before the text: 2 bytes of time, 1 of flags
    data[block : block + 2] = struct.pack(">h", 100)
    video.write_bytes(data)
    (warning,) = quiet_copy(video, tmp_path / "b.mkv")
    assert warning == "1 packets of subtitle track 1 (srt) are out of order and were left out"
    with av.open(str(tmp_path / "b.mkv")) as copy:
        texts = [bytes(p) for p in copy.demux(copy.streams.subtitles[0]) if p.size]
    assert texts == [b"Erste", b"Dritte"]


def test_frames_without_a_time_stamp_are_reported(tmp_path):
    """The frame of a damaged transport stream packet header keeps its place."""
    video = make_video(tmp_path / "a.ts", n_frames=12)
    data = bytearray(video.read_bytes())
    headers = [at for at in range(len(data)) if data[at : at + 4] == b"\0\0\1\xe0"]
    data[headers[6] + 7] &= 0x3F  # the flags for time stamps
    video.write_bytes(data)
    (warning,) = quiet_copy(video, tmp_path / "b.ts")
    assert warning == (
        "1 frames with missing or backward time stamps are shown at their decoding times"
    )


def test_side_data_of_a_type_unknown_to_pyav(tmp_path):
    """The motion JPEG of old cameras has Exif data in every frame."""
    plain = make_video(tmp_path / "plain.avi", codec="mjpeg", pixel_format="yuvj420p", n_frames=10)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHI4s", 0x010F, 2, 4, b"Cam\0")
    exif = b"Exif\0\0" + tiff + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif

    def add_exif(number, packet):
        data = bytes(packet)
        changed = av.Packet(data[:2] + segment + data[2:])
        changed.time_base, changed.is_keyframe = packet.time_base, True
        changed.pts = changed.dts = packet.dts
        return changed

    video = copy_packets(plain, tmp_path / "a.avi", change=add_exif)
    assert probe(video).rotation_deg == 0
    assert len(list(read_frames(video, size=16))) == 10
    quiet_copy(video, tmp_path / "b.avi")


# --- encryption ---


def protected(path):
    """An mp4 with a sample entry for encrypted samples, whose first samples are not encrypted."""
    make_video(path, n_frames=20)
    scheme = box(b"schm", b"\0\0\0\0cenc\0\1\0\0")
    keys = box(b"schi", box(b"tenc", b"\0\0\0\0\0\0\1\x08" + b"K" * 16))
    add_to_sample_entry(path, box(b"sinf", box(b"frma", b"avc1") + scheme + keys))
    data = path.read_bytes()
    entry = data.index(b"avc1", data.rindex(b"stsd"))
    path.write_bytes(data[:entry] + b"encv" + data[entry + 4 :])
    return path


def scrambled(path):
    """A transport stream whose video packets, all but the first 10, are marked as scrambled."""
    make_video(path, n_frames=50, painter=noise_picture)
    data = bytearray(path.read_bytes())
    count = 0
    for offset in range(0, len(data), 188):
        if (data[offset + 1] & 0x1F) << 8 | data[offset + 2] == 0x100:
            count += 1
            if count > 10:
                data[offset + 3] |= 0x80
    path.write_bytes(data)
    return path


def noise_picture(index):
    return np.random.default_rng(index).integers(256, size=(64, 96, 3), dtype=np.uint8)


def encrypted_matroska(path):
    """A Matroska file with a track that is marked as encrypted."""
    plain = make_video(path.with_name("plain.mkv"), n_frames=20)
    data = plain.read_bytes()
    encryption = b"\x50\x35" + bytes([0x80 | 4]) + b"\x47\xe1\x81\x05"  # ContentEncAlgo: AES
    encoding = b"\x62\x40" + bytes([0x80 | len(encryption)]) + encryption
    encodings = b"\x6d\x80" + bytes([0x80 | len(encoding)]) + encoding
    # The encodings replace the codec's private data, so the entry keeps its size.
    private = data.index(b"\x63\xa2")
    size = data[private + 2] & 0x7F
    free = 3 + size - len(encodings)
    filled = encodings + b"\xec" + bytes([0x80 | (free - 2)]) + bytes(free - 2)
    path.write_bytes(data[:private] + filled + data[private + 3 + size :])
    return path


@pytest.mark.parametrize(
    "make, name", [(protected, "a.mp4"), (scrambled, "a.ts"), (encrypted_matroska, "a.mkv")]
)
def test_encrypted_video_is_refused(tmp_path, make, name):
    with pytest.raises(MediaError, match="the video is encrypted") as caught:
        probe(make(tmp_path / name))
    assert "without copy protection" in caught.value.hint


# --- choice of the output format ---


def test_default_suffix_for_containers_that_can_not_be_written(tmp_path):
    gif = make_video(tmp_path / "a.gif", codec="gif", pixel_format="rgb8", n_frames=10)
    assert default_suffix(gif) == ".mov"
    check_copy(probe(gif), tmp_path / "b.mov")
    odd = make_video(tmp_path / "a.nut", codec="ffv1")
    assert default_suffix(odd) == ".mkv"
    tape = make_video(
        tmp_path / "a.dv",
        codec="dvvideo",
        width=720,
        height=576,
        n_frames=3,
        format="dv",
        sound=Sound(samples=np.zeros((2, 5_760), np.float32), codec="pcm_s16le"),
    )
    assert default_suffix(tape) == ".mov"
    assert default_suffix(tmp_path / "missing.xyz") == ".mkv"
    assert default_suffix(tmp_path / "A.MP4") == ".MP4"


@pytest.mark.parametrize("suffix", ["m2ts", "mts"])
def test_disc_streams_keep_their_192_byte_packets(tmp_path, suffix):
    video = make_video(tmp_path / f"a.{suffix}", format="mpegts", options={"mpegts_m2ts_mode": "1"})
    quiet_copy(video, tmp_path / f"b.{suffix}")
    for path in (video, tmp_path / f"b.{suffix}"):
        data = path.read_bytes()
        assert {data[offset] for offset in range(4, len(data), 192)} == {0x47}
    assert shown(tmp_path / f"b.{suffix}").pictures == shown(video).pictures
