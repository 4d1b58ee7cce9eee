"""The output shows exactly the frames of the input at the same times, or is refused."""

from __future__ import annotations

import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from support.media_files import Sound, cut_bytes, make_video, painted_number, set_edits, shown
from support.muxed_copies import assert_same_frames, quiet_copy

from foleyflow.errors import MediaError
from foleyflow.media import check_copy, probe, read_frames, remux
from foleyflow.media.boxes import Box, parse_boxes, read_index, write_index
from foleyflow.media.container_error import ContainerError
from foleyflow.media.edit_list import Edit, is_written_by_muxer, read_edits
from foleyflow.media.presentation_times import PresentationTimes

RATE_HZ = 48_000
EDITS = {
    "two parts": [(1, 0), (1, 2.2)],
    "backwards": [(1, 2.2), (1, 0)],
    "repeated": [(1, 0), (1, 0)],
    "with a pause": [(1, 0), (1, None), (1, 1)],
    "late and inside a group of pictures": [(0.5, None), (2, 0.52)],
    "three short parts": [(0.2, 0.4), (0.2, 1.44), (0.2, 3.0)],
    "trimmed at both ends": [(2, 0.52)],
}


def make_numbered(path, **settings):
    """Write an mp4 of 100 different frames with a key frame every 25."""
    return make_video(
        path,
        n_frames=100,
        painter=painted_number(96, 64),
        key_frame_every=25,
        codec_options={"x264-params": "scenecut=0"},
        **settings,
    )


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    return make_numbered(tmp_path_factory.mktemp("numbered") / "a.mp4")


def edited(numbered, tmp_path, name):
    path = tmp_path / "edited.mp4"
    shutil.copy(numbered, path)
    return set_edits(path, EDITS[name])


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("name", EDITS)
def test_edit_lists_are_kept(tmp_path, numbered, name, suffix):
    video = edited(numbered, tmp_path, name)
    output = tmp_path / f"b.{suffix}"
    assert quiet_copy(video, output) == []
    assert_same_frames(video, output)
    assert shown(output).times_s[0] == pytest.approx(shown(video).times_s[0], abs=1e-3)


@pytest.mark.parametrize("name", ["two parts", "with a pause"])
def test_edit_lists_are_kept_with_frames_out_of_order(tmp_path, name):
    video = set_edits(make_numbered(tmp_path / "a.mp4", b_frames=2), EDITS[name])
    quiet_copy(video, tmp_path / "b.mp4")
    assert_same_frames(video, tmp_path / "b.mp4")


@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv"])
@pytest.mark.parametrize("name", ["two parts", "trimmed at both ends"])
def test_hidden_frames_are_refused_by_formats_that_would_show_them(
    tmp_path, numbered, name, suffix
):
    video = edited(numbered, tmp_path, name)
    output = tmp_path / f"b.{suffix}"
    with pytest.raises(MediaError, match="hides frames by its edit list") as caught:
        check_copy(probe(video), output)
    assert caught.value.hint == "choose another format: -o NAME.mp4"
    with pytest.raises(MediaError, match="hides frames"):
        quiet_copy(video, output)
    assert not output.exists()


def test_frames_hidden_at_the_end_are_left_out_of_other_formats(tmp_path, numbered):
    video = set_edits(shutil.copy(numbered, tmp_path / "a.mp4"), [(2, 0)])
    quiet_copy(video, tmp_path / "b.mkv")
    assert_same_frames(video, tmp_path / "b.mkv")


def test_edit_that_changes_the_speed_is_refused(tmp_path, numbered):
    video = edited(numbered, tmp_path, "two parts")
    data = video.read_bytes()
    place = data.index(b"elst") + 12 + 8  # the rate of the first entry
    video.write_bytes(data[:place] + b"\0\2\0\0" + data[place + 4 :])
    with pytest.raises(MediaError, match="another speed") as caught:
        probe(video)
    assert "export" in caught.value.hint


def test_edits_are_read_as_written(tmp_path, numbered):
    video = edited(numbered, tmp_path, "with a pause")
    index, _ = read_index(video)
    assert read_edits(index, track_id=1) == (
        Edit(duration_s=Fraction(1), media_s=Fraction(0), rate=Fraction(1)),
        Edit(duration_s=Fraction(1), media_s=None, rate=Fraction(1)),
        Edit(duration_s=Fraction(1), media_s=Fraction(1), rate=Fraction(1)),
    )
    with pytest.raises(ContainerError, match="no track with the identifier 9"):
        read_edits(index, track_id=9)


def test_edit_lists_that_a_muxer_writes():
    def edits(*pairs):
        return [
            Edit(
                duration_s=Fraction(1), media_s=None if s is None else Fraction(s), rate=Fraction(r)
            )
            for s, r in pairs
        ]

    assert is_written_by_muxer([])
    assert is_written_by_muxer(edits((2, 1)))
    assert is_written_by_muxer(edits((None, 1), (0, 1)))
    assert not is_written_by_muxer(edits((None, 1), (2, 1)))
    assert not is_written_by_muxer(edits((0, 1), (2, 1)))
    assert not is_written_by_muxer(edits((0, 2)))


def test_growing_index_moves_the_media_after_it(tmp_path):
    path = make_video(
        tmp_path / "a.mp4", options={"movflags": "faststart"}, painter=painted_number(96, 64)
    )
    before = shown(path)
    index, place = read_index(path)
    assert place.stop < path.stat().st_size - 1000
    index.children.append(Box(b"free", body=bytes(5_000)))
    write_index(path, index, place)
    assert shown(path).pictures == before.pictures
    index, place = read_index(path)
    index.children = [child for child in index.children if child.kind != b"free"]
    write_index(path, index, place)
    assert shown(path).pictures == before.pictures


@pytest.mark.parametrize("spare", [1, 4, 7, 8, 9])
def test_shrinking_index_is_padded(tmp_path, spare):
    path = make_video(tmp_path / "a.mp4", options={"movflags": "faststart"}, n_frames=5)
    index, place = read_index(path)
    index.children.append(Box(b"free", body=bytes(100)))
    write_index(path, index, place)
    before = shown(path).pictures
    index, place = read_index(path)
    index.children[-1].body = bytes(100 - spare)
    write_index(path, index, place)
    assert shown(path).pictures == before


def test_boxes_round_trip_and_tolerate_damage():
    inner = Box(b"tkhd", body=b"abc")
    tree = Box(b"moov", children=[Box(b"trak", children=[inner]), Box(b"free", body=b"")])
    data = tree.to_bytes()
    assert parse_boxes(data) == [tree]
    for length in range(len(data)):
        assert all(len(b.to_bytes()) <= length for b in parse_boxes(data[:length]))
    with pytest.raises(ContainerError, match="no mdia box in trak"):
        tree.find(b"trak", b"mdia")


@pytest.mark.parametrize("target", ["mp4", "mkv", "ts", "flv"])
def test_matroska_whose_first_packets_have_no_decoding_time(tmp_path, target):
    """The second packet is shown after the next eight."""
    video = make_video(
        tmp_path / "a.mkv",
        n_frames=80,
        b_frames=8,
        key_frame_every=40,
        painter=painted_number(96, 64),
        codec_options={"x264-params": "bframes=8:b-pyramid=normal:ref=8:b-adapt=0"},
    )
    info = probe(video)
    assert (info.undated_packets, info.duration_s) == (2, pytest.approx(3.2))
    quiet_copy(video, tmp_path / f"b.{target}")
    assert_same_frames(video, tmp_path / f"b.{target}")


def test_avi_with_frames_out_of_order(tmp_path):
    """AVI stores no presentation times, but no frame is lost or shown out of order."""
    video = make_video(
        tmp_path / "a.avi", n_frames=75, b_frames=2, codec_options={"x264-params": "b-adapt=0"}
    )
    frames = read_frames(video, size=16)
    times = [time_s for time_s, _ in frames]
    assert times == pytest.approx(np.arange(75) / 25)
    assert frames.counts.dropped_frames == 0
    assert probe(video).duration_s == pytest.approx(3.0)
    quiet_copy(video, tmp_path / "b.avi")
    assert_same_frames(video, tmp_path / "b.avi")
    with pytest.raises(MediaError, match=r"out of order \(B-frames\)") as caught:
        check_copy(probe(video), tmp_path / "b.mp4")
    assert caught.value.hint == "choose another format: -o NAME.avi"


def test_avi_with_two_frames_in_one_packet(tmp_path):
    """DivX's packed bit stream: a P- and a B-frame in one packet, then an empty placeholder."""
    plain = make_video(
        tmp_path / "plain.avi",
        codec="mpeg4",
        b_frames=2,
        n_frames=60,
        painter=painted_number(96, 64),
    )
    packed = pack_frames(plain, tmp_path / "packed.avi")
    frames = list(read_frames(packed, size=16))
    expected = list(read_frames(plain, size=16))
    assert [t for t, _ in frames] == pytest.approx([t for t, _ in expected])
    assert len(frames) == 60
    for (_, got), (_, wanted) in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    quiet_copy(packed, tmp_path / "b.avi")
    assert_same_frames(packed, tmp_path / "b.avi")
    with pytest.raises(MediaError, match="out of order"):
        check_copy(probe(packed), tmp_path / "b.mp4")


def pack_frames(source, target):
    """Move the first B-frame after each other frame into the packet of that frame."""
    marker = b"\0\0\1\xb2DivX503b1393p"
    placeholder = b"\0\0\1\xb6\x51\0\0"
    start = b"\0\0\1\xb6"
    with av.open(str(source)) as plain, av.open(str(target), "w") as sink:
        video = plain.streams.video[0]
        copy = sink.add_stream_from_template(video, opaque=True)
        groups: list[list[bytes]] = []
        for packet in plain.demux(video):
            if packet.size:
                data = bytes(packet)
                is_b_frame = data[data.index(start) + 4] >> 6 == 2
                if is_b_frame:
                    groups[-1].append(data)
                else:
                    groups.append([data])
        place = groups[0][0].index(start)
        groups[0][0] = groups[0][0][:place] + marker + groups[0][0][place:]
        packets = []
        for first, *rest in groups:
            packets += [first + rest[0], *rest[1:], placeholder] if rest else [first]
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base = copy, Fraction(1, 25)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            sink.mux(packet)
    return target


def test_truncated_mp4_has_a_warning(tmp_path):
    """The index comes first and describes more than the file contains."""
    complete = make_video(
        tmp_path / "a.mp4", n_frames=200, options={"movflags": "faststart"}, key_frame_every=10
    )
    assert probe(complete).warnings == ()
    cut = cut_bytes(complete, tmp_path / "cut.mp4", 0.7)
    info = probe(cut)
    (warning,) = info.warnings
    assert "its index describes 8.00 s" in warning
    assert f"contains {info.duration_s:.2f} s" in warning
    assert 2.0 < info.duration_s < 7.0
    quiet_copy(cut, tmp_path / "b.mp4")
    assert probe(tmp_path / "b.mp4").duration_s == pytest.approx(info.duration_s, abs=1e-3)


def test_truncated_matroska_has_a_warning(tmp_path):
    complete = make_video(tmp_path / "a.mkv", n_frames=200, key_frame_every=10)
    cut = cut_bytes(complete, tmp_path / "cut.mkv", 0.5)
    assert probe(complete).warnings == ()
    assert "its index describes 8.00 s" in probe(cut).warnings[0]


def test_sound_longer_than_the_video_is_no_truncation(tmp_path):
    video = make_video(
        tmp_path / "a.mkv", n_frames=25, sound=Sound(samples=np.zeros((1, 4 * 48_000), np.float32))
    )
    assert probe(video).warnings == ()


def packets_at(times_s):
    """A record of packets with these time stamps."""
    record = PresentationTimes()
    for time_s in times_s:
        packet = av.Packet(bytes(10))
        packet.time_base = Fraction(1, 1000)
        packet.pts = round(1000 * time_s)
        record.add(packet)
    return record


def test_records_of_presentation_times_are_compared():
    times_s = np.arange(0, 4, 0.04)
    expected = packets_at(times_s + 7)
    assert len(list(expected.times_s())) == 100
    assert expected.difference(packets_at(times_s), tolerance_s=1e-3) is None
    late = times_s.copy()
    late[50] += 0.02
    difference = expected.difference(packets_at(late), tolerance_s=1e-3)
    assert difference == "frame 50 would be shown at 2.020 s instead of 2.000 s"
    missing = expected.difference(packets_at(times_s[:-1]), tolerance_s=1e-3)
    assert "99, at 3.960 s, would be missing" in missing
    extra = expected.difference(packets_at([*times_s, 4.0]), tolerance_s=1e-3)
    assert "100 would be shown in addition" in extra


def test_copy_that_shows_other_frames_is_refused(tmp_path, monkeypatch):
    """The muxer is changed to lose a packet."""
    video = make_video(tmp_path / "a.mp4", n_frames=30)
    copy = remux.Remux._mux_copy
    packets = []

    def lose_one(self, sink, packet):
        packets.append(packet)
        if len(packets) != 20:
            copy(self, sink, packet)

    monkeypatch.setattr(remux.Remux, "_mux_copy", lose_one)
    with pytest.raises(MediaError, match=r"frame 19 would be shown at 0\.800 s instead of 0\.760"):
        quiet_copy(video, tmp_path / "b.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]
