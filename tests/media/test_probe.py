"""`probe` describes real files correctly and refuses files that can't be used."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from support.media_files import SHARED_CLIPS, Sound, cut_bytes, impulses, make_bad_files, make_video

from foleyflow.errors import MediaError
from foleyflow.media import probe, read_frames

BAD_NAMES = (
    "missing directory empty truncated text text_by_name audio_only cover_art picture zero_length"
    " tiny too_wide undecodable no_time_stamps jumping"
).split()


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    return make_bad_files(tmp_path_factory.mktemp("bad"))


def test_every_bad_file_is_tested(bad_files):
    assert sorted(bad_files) == sorted(BAD_NAMES)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_file_is_refused_with_a_hint(bad_files, name):
    with pytest.raises(MediaError, match=bad_files[name].match) as caught:
        probe(bad_files[name].path)
    assert str(bad_files[name].path) in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    "rate",
    [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)],
    ids=["23.976", "25", "29.97", "60"],
)
def test_duration_and_rate(tmp_path, rate):
    info = probe(make_video(tmp_path / "a.mp4", rate=rate, n_frames=100))
    assert info.rate_hz == pytest.approx(float(rate))
    assert info.duration_s == pytest.approx(float(100 / rate), abs=1e-9)
    assert info.start_s == 0.0
    assert (info.width, info.height, info.video_codec) == (96, 64, "h264")
    assert (info.has_audio, info.audio_rate_hz, info.audio_start_s) == (False, None, None)


def test_variable_rate_video_lasts_to_the_end_of_its_last_frame(tmp_path):
    times_s = np.cumsum(np.tile([0.02, 0.05, 0.08], 40))
    path = make_video(tmp_path / "a.mkv", times_s=times_s - times_s[0])
    last_s = times_s[-1] - times_s[0]
    # The last frame's own duration is not stored: the usual spacing replaces it.
    assert last_s + 0.02 < probe(path).duration_s < last_s + 0.09


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts", "flv", "webm"])
def test_duration_in_every_container(tmp_path, suffix):
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(suffix, "libx264")
    path = make_video(tmp_path / f"a.{suffix}", codec=codec, n_frames=150)
    assert probe(path).duration_s == pytest.approx(6.0, abs=0.002)


def test_start_other_than_zero(tmp_path):
    sound = Sound(samples=impulses(48_000, [100]), start_s=0.75)
    info = probe(make_video(tmp_path / "a.mp4", start_s=0.5, sound=sound))
    assert info.start_s == pytest.approx(0.5, abs=1e-3)
    assert info.duration_s == pytest.approx(2.0, abs=1e-9)
    assert (info.has_audio, info.audio_rate_hz) == (True, 48_000)
    assert info.audio_start_s == pytest.approx(0.75, abs=0.03)


def test_frames_hidden_by_an_edit_list_do_not_count(tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", start_s=-0.48, n_frames=50))
    assert info.start_s == pytest.approx(0.0, abs=1e-9)
    assert info.duration_s == pytest.approx(2.0 - 0.48, abs=1e-6)


def test_frames_before_time_zero_without_edit_list_count(tmp_path):
    path = make_video(
        tmp_path / "a.mp4",
        b_frames=2,
        options={"movflags": "negative_cts_offsets", "use_editlist": "0"},
    )
    info = probe(path)
    frames = [time_s for time_s, _ in read_frames(path)]
    assert len(frames) == 50
    assert frames[0] == 0.0
    assert info.duration_s == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_rotation_swaps_width_and_height(tmp_path, rotation_deg):
    info = probe(make_video(tmp_path / "a.mp4", rotation_deg=rotation_deg, n_frames=3))
    assert info.rotation_deg == rotation_deg
    assert (info.width, info.height) == ((64, 96) if rotation_deg in (90, 270) else (96, 64))


def test_single_frame_lasts_for_its_duration(tmp_path):
    assert probe(make_video(tmp_path / "a.mp4", n_frames=1)).duration_s == pytest.approx(0.04)


def test_single_frame_of_unknown_duration_lasts_one_period(tmp_path):
    path = make_video(tmp_path / "a.mkv", n_frames=1, times_s=[0.0], rate=25)
    assert probe(path).duration_s == pytest.approx(0.04, abs=0.002)


def test_truncated_file_lasts_to_its_last_frame(tmp_path):
    complete = make_video(tmp_path / "a.mkv", n_frames=200, key_frame_every=10)
    path = cut_bytes(complete, tmp_path / "b.mkv", 0.5)
    info = probe(path)
    times_s = [time_s for time_s, _ in read_frames(path)]
    assert 1.0 < info.duration_s < 7.0
    assert info.duration_s == pytest.approx(times_s[-1] + 0.04, abs=0.045)


def test_colon_in_the_name_is_no_protocol(tmp_path):
    assert probe(make_video(tmp_path / "take 1: slow.mp4")).duration_s == pytest.approx(2.0)


def test_real_clips_last_to_the_end_of_their_last_frame():
    clips = sorted(SHARED_CLIPS.glob("*.mp4"))
    if not clips:
        pytest.skip("the real clips in ../shared/clips are missing")
    for path in clips[2::25]:
        info = probe(path)
        times_s = [time_s for time_s, _ in read_frames(path, size=16, info=info)]
        assert times_s[0] == 0.0
        assert times_s[-1] < info.duration_s <= times_s[-1] + 2.1 / info.rate_hz
