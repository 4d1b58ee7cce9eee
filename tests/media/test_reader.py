"""Frames are read with the right time and orientation from every kind of file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from support.media_files import (
    Sound,
    corner_painter,
    damage,
    grey_level,
    impulses,
    make_video,
)

from foleyflow.errors import MediaError
from foleyflow.media import probe, read_frames, read_frames_at, read_frames_at_rate
from foleyflow.media.frame_scaling import keep_at_rate


def levels(pairs):
    return [int(np.median(picture)) for _, picture in pairs]


def times(pairs):
    return np.array([time_s for time_s, _ in pairs])


def assert_frames(pairs, indices):
    got = np.array(levels(pairs))
    expected = np.array([grey_level(index) for index in indices])
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 6


@pytest.mark.parametrize(
    ("rate", "kept_step"),
    [
        (Fraction(24000, 1001), 1),
        (Fraction(25), 1),
        (Fraction(30000, 1001), 1),
        (Fraction(50), 2),
        (Fraction(60000, 1001), 2),
        (Fraction(60), 2),
        (Fraction(120), 4),
    ],
)
def test_frame_rate_is_reduced_by_time(tmp_path, rate, kept_step):
    pairs = list(read_frames(make_video(tmp_path / "a.mp4", rate=rate, n_frames=60), size=16))
    indices = range(0, 60, kept_step)
    assert_frames(pairs, indices)
    assert times(pairs) == pytest.approx([float(index / rate) for index in indices], abs=1e-4)


def test_variable_rate_keeps_the_original_times(tmp_path):
    rng = np.random.default_rng(3)
    times_s = np.cumsum(rng.uniform(0.034, 0.3, 40))
    times_s -= times_s[0]
    pairs = list(read_frames(make_video(tmp_path / "a.mp4", times_s=times_s), size=16))
    assert_frames(pairs, range(40))
    assert times(pairs) == pytest.approx(times_s, abs=1e-4)


@pytest.mark.parametrize("start_s", [0.5, 1 / 30, 3600.0])
def test_time_zero_is_the_first_frame(tmp_path, start_s):
    pairs = list(read_frames(make_video(tmp_path / "a.mp4", start_s=start_s), size=16))
    assert_frames(pairs, range(50))
    assert times(pairs) == pytest.approx(np.arange(50) / 25, abs=1e-3)


def test_hidden_frames_before_the_start_are_left_out(tmp_path):
    pairs = list(read_frames(make_video(tmp_path / "a.mp4", start_s=-0.48), size=16))
    assert_frames(pairs, range(12, 50))
    assert times(pairs) == pytest.approx(np.arange(38) / 25, abs=1e-4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 1.0), (2.0, 3.0), (5.02, 5.5), (7.5, 99.0)])
def test_range_gives_its_frames_only(tmp_path, suffix, start_s, end_s):
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = make_video(
        tmp_path / f"a.{suffix}", codec=codec, n_frames=200, key_frame_every=30, b_frames=2
    )
    stream = read_frames(path, start_s=start_s, end_s=end_s, size=16)
    pairs = list(stream)
    indices = [i for i in range(200) if start_s - 0.002 <= i / 25 < end_s - 0.002]
    assert_frames(pairs, indices)
    assert times(pairs) == pytest.approx(np.array(indices) / 25, abs=2e-3)


def test_decoding_stops_at_the_end_of_the_range(tmp_path):
    path = make_video(tmp_path / "a.mp4", n_frames=600)
    stream = read_frames(path, start_s=10.0, end_s=10.5, size=16)
    assert len(list(stream)) == 13
    assert stream.counts.packets < 120


def test_empty_range_gives_no_frames(tmp_path):
    path = make_video(tmp_path / "a.mp4")
    assert list(read_frames(path, start_s=5.0, size=16)) == []
    assert list(read_frames(path, start_s=1.0, end_s=1.0, size=16)) == []


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_frames_have_the_displayed_orientation(tmp_path, rotation_deg, mirrored):
    path = make_video(
        tmp_path / "a.mp4",
        n_frames=2,
        painter=corner_painter(96, 64),
        rotation_deg=rotation_deg,
        mirrored=mirrored,
    )
    stored = corner_painter(96, 64)(0)
    # The stored frame is rotated clockwise, then mirrored.
    shown = np.rot90(stored, -rotation_deg // 90)
    shown = shown[:, ::-1] if mirrored else shown
    picture = next(read_frames(path, size=32))[1]
    corners = [(4, 4), (4, 27), (27, 4), (27, 27)]
    height, width = shown.shape[:2]
    for row, column in corners:
        expected = shown[row * height // 32, column * width // 32].astype(int)
        assert np.abs(picture[row, column].astype(int) - expected).max() < 40, (row, column)
    (large,) = read_frames_at(path, [0.0], height=90)
    assert large.shape == (90, round(90 * width / height), 3)
    expected = shown[4, 4].astype(int)
    assert np.abs(large[4, 4].astype(int) - expected).max() < 40


UNUSUAL_FORMATS = {
    "10 bit": {"pixel_format": "yuv420p10le"},
    "4:4:4, odd size": {"pixel_format": "yuv444p", "width": 97, "height": 65},
    "grey": {"pixel_format": "gray"},
    "full range": {"pixel_format": "yuvj420p"},
    "interlaced": {"codec": "mpeg2video", "codec_options": {"flags": "+ildct+ilme"}},
    "HDR": {
        "pixel_format": "yuv420p10le",
        "settings": {"color_trc": 16, "color_primaries": 9, "colorspace": 9},
    },
    "alpha in mov": {"codec": "qtrle", "pixel_format": "argb", "suffix": "mov"},
    "png in mov": {"codec": "png", "pixel_format": "rgba", "suffix": "mov"},
    "alpha in webm": {
        "codec": "libvpx-vp9",
        "pixel_format": "yuva420p",
        "suffix": "webm",
        "codec_options": {"cpu-used": "8", "deadline": "realtime"},
    },
    "lossless": {"codec": "ffv1", "pixel_format": "yuv420p", "suffix": "mkv"},
    "prores": {"codec": "prores_ks", "pixel_format": "yuv422p10le", "suffix": "mov"},
    "motion jpeg": {"codec": "mjpeg", "pixel_format": "yuvj422p", "suffix": "avi"},
    "gif": {"codec": "gif", "pixel_format": "rgb8", "suffix": "gif"},
    "packed b-frames": {"codec": "mpeg4", "suffix": "avi", "b_frames": 2},
}


@pytest.mark.parametrize("name", UNUSUAL_FORMATS)
def test_unusual_formats_are_read(tmp_path, name):
    settings = dict(UNUSUAL_FORMATS[name])
    suffix = settings.pop("suffix", "mp4")
    path = make_video(tmp_path / f"a.{suffix}", n_frames=20, **settings)
    pairs = list(read_frames(path, size=24))
    assert all(picture.shape == (24, 24, 3) for _, picture in pairs)
    assert len(pairs) == 20
    assert times(pairs) == pytest.approx(np.arange(20) / 25, abs=2e-3)
    got = np.array(levels(pairs))
    expected = np.array([grey_level(index) for index in range(20)])
    # 8-bit colour is coarse; grey does not define whether black is 0 or 16.
    assert np.abs(got - expected).max() <= (25 if name in ("gif", "grey") else 8)


def test_video_of_one_frame_is_read(tmp_path):
    assert_frames(list(read_frames(make_video(tmp_path / "a.mp4", n_frames=1), size=16)), [0])


def test_smallest_frame_size_is_read(tmp_path):
    path = make_video(tmp_path / "a.mp4", width=16, height=16, n_frames=3)
    assert_frames(list(read_frames(path)), range(3))


def test_damaged_packets_are_skipped_and_counted(tmp_path, caplog):
    good = make_video(tmp_path / "a.mp4", n_frames=200, key_frame_every=10)
    stream = read_frames(damage(good, tmp_path / "b.mp4", fraction=0.1), size=16)
    pairs = list(stream)
    assert stream.counts.packets == 200
    assert 1 <= stream.counts.lost_packets <= 25
    assert 170 <= len(pairs) < 200
    assert f"{stream.counts.lost_packets} of 200 video packets are damaged" in caplog.text


def test_mostly_damaged_packets_are_refused(tmp_path):
    good = make_video(tmp_path / "a.mp4", n_frames=200, key_frame_every=50)
    path = damage(good, tmp_path / "b.mp4", fraction=0.9)
    with pytest.raises(MediaError, match="of 200 video packets are damaged"):
        list(read_frames(path, size=16))


def joined_transport_streams(tmp_path, *frame_counts):
    """Transport streams joined end to end: the time stamps start again in the middle."""
    joined = tmp_path / "joined.ts"
    takes = [
        make_video(tmp_path / f"{number}.ts", n_frames=count)
        for number, count in enumerate(frame_counts)
    ]
    joined.write_bytes(b"".join(take.read_bytes() for take in takes))
    return joined


@pytest.mark.parametrize("frame_counts", [(50, 75), (12, 12, 12)])
def test_time_stamps_that_start_again_are_refused(tmp_path, frame_counts):
    joined = joined_transport_streams(tmp_path, *frame_counts)
    with pytest.raises(MediaError, match=r"time stamps start again after \d") as caught:
        probe(joined)
    assert "join the parts" in caught.value.hint


def test_time_stamps_that_jump_are_refused(tmp_path):
    still = make_video(tmp_path / "still.mkv", times_s=[0.0, 0.04, 500.0, 1000.0])
    assert times(list(read_frames(still, size=16))) == pytest.approx([0.0, 0.04, 500.0, 1000.0])
    jumping = make_video(tmp_path / "jumping.mkv", times_s=[0.0, 0.04, 0.08, 1000.0])
    with pytest.raises(MediaError, match=r"jump from 0\.08 s to 1000\.00 s") as caught:
        list(read_frames(jumping, size=16))
    assert "steady time stamps" in caught.value.hint


def test_backward_time_stamps_are_dropped_and_counted(tmp_path, caplog):
    joined = joined_transport_streams(tmp_path, 50, 75)
    stream = read_frames(joined, size=16, info=replace(probe(tmp_path / "0.ts"), path=joined))
    pairs = list(stream)
    assert (np.diff(times(pairs)) > 0).all()
    assert stream.counts.dropped_frames >= 49
    assert "backward time stamps" in caplog.text


@pytest.mark.parametrize("duration_s", [8, 80])
def test_frames_at_given_times(tmp_path, duration_s):
    path = make_video(tmp_path / "a.mp4", n_frames=25 * duration_s, b_frames=2)
    wanted_s = [0.0, duration_s / 2, 0.05, -3.0, duration_s - 0.01, duration_s + 9.0]
    pictures = read_frames_at(path, wanted_s, height=32)
    last = 25 * duration_s - 1
    indices = [0, 25 * duration_s // 2, 1, 0, last, last]
    assert [picture.shape for picture in pictures] == [(32, 48, 3)] * 6
    for picture, index in zip(pictures, indices, strict=True):
        assert abs(int(np.median(picture)) - grey_level(index)) <= 6, index


BIT_PX = 8  # width of a bit in the pictures of `number_painter`


def number_painter(index):
    """A picture with the bits of a frame's number as stripes."""
    stripes = np.repeat([(index >> bit & 1) * 255 for bit in range(12)], BIT_PX).astype(np.uint8)
    return np.broadcast_to(stripes[None, :, None], (64, 12 * BIT_PX, 3)).copy()


def number_in(picture):
    """The frame number in a picture of `number_painter`."""
    bits = picture[picture.shape[0] // 2, BIT_PX // 2 :: BIT_PX].mean(-1) > 127
    return sum(1 << bit for bit, is_set in enumerate(bits) if is_set)


def numbers_by_filter(path, rate_hz, *, first_s=0.0):
    """Source frames that ffmpeg's filter chooses, when its input begins at `first_s`."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream, time_base=stream.time_base)
        resampler, sink = graph.add("fps", f"fps={rate_hz}"), graph.add("buffersink")
        source.link_to(resampler)
        resampler.link_to(sink)
        graph.configure()
        numbers = []
        shift = None
        for frame in [*container.decode(stream), None]:
            if frame is not None:
                shift = frame.pts - round(first_s / stream.time_base) if shift is None else shift
                frame.pts -= shift if first_s else 0
            graph.vpush(frame)
            while True:
                try:
                    numbers.append(number_in(graph.vpull().to_ndarray(format="rgb24")))
                except (av.BlockingIOError, av.EOFError):
                    break
        return numbers


def numbers_at_rate(path, rate_hz, **options):
    """Source frames that `read_frames_at_rate` chooses."""
    frames = read_frames_at_rate(path, rate_hz, **{"most": 10_000, "height": 64, **options})
    return [number_in(picture) for picture in frames]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (30, 25),
        (30, 4),
        (24, 4),
        (25, 0.5),
        (30, 0.5),
        (Fraction(30000, 1001), 25),
        (50, 25),
        (10, 25),
    ],
)
@pytest.mark.parametrize(("suffix", "start_s"), [("mp4", 0.0), ("mkv", 0.3), ("avi", 0.0)])
def test_frames_at_a_rate_are_those_of_the_filter(tmp_path, source, target, suffix, start_s):
    n_frames = int(5.3 * source) + 1
    path = make_video(
        tmp_path / f"a.{suffix}",
        rate=source,
        n_frames=n_frames,
        start_s=start_s,
        painter=number_painter,
    )
    numbers = numbers_at_rate(path, target)
    assert numbers == numbers_by_filter(path, target)
    assert len(numbers) == pytest.approx(n_frames / source * target, abs=1)


@pytest.mark.parametrize("target", [0.5, 4, 25])
def test_frames_at_a_rate_of_a_variable_rate_are_those_of_the_filter(tmp_path, target):
    rng = np.random.default_rng(4)
    steps_s = rng.uniform(0.01, 0.2, 60)
    steps_s[30] = 5.0  # a gap
    path = make_video(
        tmp_path / "a.mkv", times_s=0.7 + np.cumsum(steps_s), painter=number_painter, b_frames=2
    )
    assert numbers_at_rate(path, target) == numbers_by_filter(path, target)


def test_frames_at_a_rate_in_closed_form(tmp_path):
    """A frame takes the nearest place on the grid, and halves are rounded up."""
    path = make_video(tmp_path / "a.mp4", rate=8, n_frames=16, painter=number_painter)
    # Frame n has the place n / 2, hence the places 0, 1, 1, 2, 2, 3, 3 ..., and the end is 8
    assert numbers_at_rate(path, 4) == [0, 2, 4, 6, 8, 10, 12, 14]
    # Place n / 16: from frame 8, at 1 s, the second picture; the end at 2 s is place 1
    assert numbers_at_rate(path, 0.5) == [7]
    assert numbers_at_rate(path, 0.1) == []
    assert numbers_at_rate(path, 16)[:5] == [0, 0, 1, 1, 2]
    assert numbers_at_rate(path, 4, most=3) == [0, 2, 4]


@pytest.mark.parametrize("source", [25, 30])
def test_frames_at_a_rate_are_nearest_and_not_those_on_screen(tmp_path, source):
    path = make_video(tmp_path / "a.mp4", rate=source, n_frames=8 * source, painter=number_painter)
    before_s, after_s = {}, {}
    for rate_hz in (0.5, 4, 25):
        numbers = np.array(numbers_at_rate(path, rate_hz))
        wanted_s = np.arange(len(numbers)) / rate_hz
        on_screen = read_frames_at(path, wanted_s.tolist(), height=64)
        before_s[rate_hz] = np.array([number_in(p) for p in on_screen]) / source - wanted_s
        after_s[rate_hz] = numbers / source - wanted_s
        assert len(numbers) == round(8 * rate_hz)
    if source == 30:
        moved_s = [np.abs(after_s[rate_hz] - before_s[rate_hz]).max() for rate_hz in before_s]
        assert moved_s == pytest.approx([29 / 30, 4 / 30, 1 / 30], abs=1e-9)


def test_frames_at_a_rate_can_count_from_the_start_of_the_file(tmp_path):
    tone = Sound(samples=impulses(48_000 * 3, [24_000]), start_s=0.9)
    path = make_video(
        tmp_path / "a.mkv", n_frames=60, start_s=1.1, painter=number_painter, sound=tone
    )
    info = probe(path)
    from_start = info.start_s - info.audio_start_s
    assert from_start == pytest.approx(0.2, abs=0.03)
    from_file = numbers_at_rate(path, 4, origin="file")
    assert from_file == numbers_by_filter(path, 4, first_s=from_start)
    assert from_file != numbers_at_rate(path, 4) == numbers_by_filter(path, 4)


def test_frames_at_a_rate_have_the_size_of_the_result_and_repeats_are_shared(tmp_path):
    path = make_video(tmp_path / "a.mp4", rate=10, n_frames=10, rotation_deg=90)
    frames = read_frames_at_rate(path, 25, most=99, height=30)
    assert {frame.shape for frame in frames} == {(30, 20, 3)} and len(frames) == 25
    assert frames[0] is frames[1]
    assert read_frames_at_rate(path, 25, most=1, height=8, width=8)[0].shape == (8, 8, 3)
    with pytest.raises(ValueError, match="rate_hz: got 0, expected a positive rate"):
        read_frames_at_rate(path, 0, most=1, height=8)


def test_no_times_give_no_frames(tmp_path):
    assert read_frames_at(make_video(tmp_path / "a.mp4", n_frames=2), []) == []


def test_known_info_does_not_change_the_frames(tmp_path):
    path = make_video(tmp_path / "a.mp4", start_s=0.5)
    with_info = list(read_frames(path, size=16, info=probe(path)))
    without = list(read_frames(path, size=16))
    assert np.array_equal(times(with_info), times(without))
    assert np.array_equal(with_info[-1][1], without[-1][1])


def test_size_below_1_is_refused(tmp_path):
    with pytest.raises(ValueError, match="size: got 0"):
        read_frames(tmp_path / "a.mp4", size=0)


def test_keep_at_rate_never_moves_or_repeats_frames():
    pairs = [(index / 60, index) for index in range(120)]
    kept = list(keep_at_rate(pairs, max_rate_hz=32.0))
    assert [index for _, index in kept] == list(range(0, 120, 2))
    assert all(time_s == index / 60 for time_s, index in kept)
    with pytest.raises(ValueError, match="max_rate_hz"):
        list(keep_at_rate(pairs, max_rate_hz=0.0))


def test_keep_at_rate_accepts_rounded_time_stamps():
    exact = np.arange(90) / 30
    rounded = [(round(time_s, 3), index) for index, time_s in enumerate(exact)]
    assert len(list(keep_at_rate(rounded, max_rate_hz=30.0))) == 90
