"""Videos for browsers: which originals play, the copy of the others, and times of frames."""

from __future__ import annotations

import numpy as np
import pytest
from support.media_files import Sound, grey_level, grey_painter, make_video

from foleyflow.media import probe, read_frames_with_aspect, read_waveform
from foleyflow.media.browser_playback import encode_for_browsers, played_as, player_offset_s
from foleyflow.media.frame_times import read_frame_times

SIZE = (96, 64)


def click(rate_hz: int = 48_000) -> Sound:
    samples = np.zeros((1, rate_hz), np.float32)
    samples[0, 24_000:24_200] = 0.5
    return Sound(samples=samples, rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("clip.mp4", {}, "video/mp4"),
        ("clip.mov", {}, "video/mp4"),
        ("clip.mkv", {}, None),
        ("clip.avi", {}, None),
        ("clip.mp4", {"codec": "mpeg4"}, None),
    ],
)
def test_only_what_browsers_play_is_played(tmp_path, name, options, expected):
    path = make_video(tmp_path / name, n_frames=10, painter=grey_painter(*SIZE), **options)
    assert played_as(probe(path)) == expected


def test_the_copy_shows_the_same_frames_and_sound_at_the_same_times(tmp_path):
    source = make_video(
        tmp_path / "clip.mkv", n_frames=25, painter=grey_painter(*SIZE), sound=click()
    )
    info, seen = probe(source), []
    target = tmp_path / "copy.mp4"
    encode_for_browsers(info, target, short_side=32, progress=seen.append)
    copy = probe(target)
    assert played_as(copy) == "video/mp4" and player_offset_s(copy) == 0.0
    assert (copy.width, copy.height) == (48, 32)
    assert copy.duration_s == pytest.approx(info.duration_s, abs=0.05)
    assert np.allclose(read_frame_times(copy), read_frame_times(info), atol=0.002)
    assert seen == sorted(seen) and len(seen) == 25
    frames = [pixels for _, pixels in read_frames_with_aspect(target)]
    levels = [float(pixels.mean()) for pixels in frames]
    assert np.allclose(levels, [grey_level(index) for index in range(25)], atol=6)
    before, after = (read_waveform(path, rate_hz=48_000).samples[0] for path in (source, target))
    assert abs(int(np.abs(before).argmax()) - int(np.abs(after).argmax())) < 300


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mp4", {"b_frames": 2, "start_s": 1.5}),
        ("clip.mkv", {"times_s": np.cumsum(np.tile([0.04, 0.1, 0.02], 10))}),
        ("clip.webm", {"codec": "libvpx"}),
        ("clip.avi", {}),
        ("clip.avi", {"b_frames": 2}),
        ("clip.ts", {"b_frames": 2}),
    ],
)
def test_times_of_frames_are_those_of_the_reader(tmp_path, name, options):
    painter = grey_painter(*SIZE)
    path = make_video(tmp_path / name, n_frames=30, painter=painter, **options)
    expected = [time_s for time_s, _ in read_frames_with_aspect(path)]
    assert np.allclose(read_frame_times(probe(path)), expected, atol=1e-4)
