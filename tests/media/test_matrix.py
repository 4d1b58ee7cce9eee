"""Every kind of video is copied to every suffix with the same frames, or a suffix is suggested."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import numpy as np
import pytest
from support.media_files import make_video, painted_number, shown
from support.muxed_copies import assert_same_frames, quiet_copy

from foleyflow.errors import MediaError
from foleyflow.media.formats import FORMATS

# Suffix, settings, and the output suffixes that must work, so that refusing all fails the test
SOURCES = {
    "h264 in mp4": ("mp4", {"b_frames": 2}, ".mp4 .mov .m4v .mkv .ts .flv .m2ts .mts .3gp"),
    "h264 without b-frames": ("mp4", {}, ".mp4 .mov .mkv .ts .flv .avi .wmv"),
    "h264 of 29.97 fps": (
        "mp4",
        {"b_frames": 2, "rate": Fraction(30000, 1001)},
        ".mp4 .mov .mkv .ts .flv",
    ),
    "h264 in mkv": ("mkv", {"b_frames": 2, "rate": 30}, ".mp4 .mov .mkv .ts .flv"),
    "h264 in ts": ("ts", {"b_frames": 2}, ".mp4 .mov .mkv .ts .flv"),
    "h264 in flv": ("flv", {"b_frames": 2}, ".mp4 .mov .mkv .ts .flv"),
    "h264 in avi": ("avi", {"b_frames": 2}, ".avi"),
    "h264 in avi without b-frames": ("avi", {}, ".avi .mp4 .mkv .mov .ts"),
    "hevc in mp4": (
        "mp4",
        {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}},
        ".mp4 .mov .mkv .ts .flv",
    ),
    "mpeg4 in mp4": ("mp4", {"codec": "mpeg4", "b_frames": 2}, ".mp4 .mov .mkv .ts .3gp"),
    "mpeg4 in avi": ("avi", {"codec": "mpeg4", "b_frames": 2}, ".avi .mp4 .mkv .mov .ts"),
    "mpeg2 in mpg": (
        "mpg",
        {"codec": "mpeg2video", "b_frames": 2},
        ".mpg .mpeg .ts .mkv .mp4 .mov",
    ),
    "mpeg1 in mpg": ("mpg", {"codec": "mpeg1video"}, ".mpg .mpeg .ts .mkv .mp4 .mov"),
    "vp8 in webm": ("webm", {"codec": "libvpx"}, ".webm .mkv .avi"),
    "vp9 in webm": ("webm", {"codec": "libvpx-vp9"}, ".webm .mkv .mp4 .flv"),
    "mjpeg in mov": ("mov", {"codec": "mjpeg", "pixel_format": "yuvj420p"}, ".mov .mp4 .mkv .avi"),
    "prores in mov": ("mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}, ".mov .mkv"),
    "png in mov": ("mov", {"codec": "png", "pixel_format": "rgb24"}, ".mov .mp4 .avi"),
    "ffv1 in mkv": ("mkv", {"codec": "ffv1"}, ".mkv .mp4 .avi"),
    "huffyuv in avi": ("avi", {"codec": "huffyuv", "pixel_format": "yuv422p"}, ".avi"),
    "gif": ("gif", {"codec": "gif", "pixel_format": "rgb8"}, ".mov"),
    "wmv2 in wmv": ("wmv", {"codec": "wmv2"}, ".wmv .asf .avi"),
    "flv1 in flv": ("flv", {"codec": "flv"}, ".flv .avi .wmv"),
    "variable rate": (
        "mp4",
        {"times_s": list(np.cumsum(np.tile([0.02, 0.05, 0.11], 8)))},
        ".mp4 .mov .mkv .ts .flv",
    ),
}


def codec_of(path):
    with av.open(str(path)) as source:
        return source.streams.video[0].codec_context.name


@pytest.mark.parametrize("name", SOURCES)
def test_each_suffix_shows_the_same_frames_or_suggests_one_that_does(tmp_path, name):
    suffix, settings, must_work = SOURCES[name]
    settings = {"n_frames": 24, "painter": painted_number(96, 64)} | settings
    video = make_video(tmp_path / f"a.{suffix}", **settings)
    assert len(shown(video).pictures) == 24
    worked, suggested = set(), set()
    for target in FORMATS:
        output = tmp_path / f"b{target}"
        try:
            lost = quiet_copy(video, output)
        except MediaError as refusal:
            suggested |= set(re.findall(r"-o NAME(\.\w+)", refusal.hint))
            assert not output.exists(), target
            continue
        assert_same_frames(video, output)
        assert codec_of(output) == codec_of(video), target
        assert lost == [], target
        worked.add(target)
    assert set(must_work.split()) <= worked
    assert suggested <= worked, "a suggested suffix does not work"


# PyAV has no encoder for Theora, the only video that .ogv holds.
@pytest.mark.parametrize("target", [target for target in FORMATS if target != ".ogv"])
def test_each_suffix_can_be_written(tmp_path, target):
    suffix, settings, _ = {
        ".webm": SOURCES["vp8 in webm"],
        ".mpg": SOURCES["mpeg2 in mpg"],
        ".mpeg": SOURCES["mpeg2 in mpg"],
    }.get(target, SOURCES["h264 without b-frames"])
    video = make_video(tmp_path / f"a.{suffix}", n_frames=12, **settings)
    quiet_copy(video, tmp_path / f"b{target}")
    assert_same_frames(video, tmp_path / f"b{target}")
