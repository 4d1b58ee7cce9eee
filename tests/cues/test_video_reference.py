"""Frames and time code of videos agree with closed forms, and with OpenTimelineIO."""

from __future__ import annotations

import math
from fractions import Fraction

import opentimelineio as otio
import pytest

from foleyflow.cues.cue import Cue
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

NTSC = Fraction(1000, 1001)


def code_of(count: int, rate: int) -> str:
    """The time code of a frame number without dropped numbers."""
    seconds, frames = divmod(count, rate)
    return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}"


def dropping_code_of(count: int, rate: int) -> str:
    """The time code with dropped numbers: the first `rate / 15` of each minute, but each tenth.

    Reference: SMPTE ST 12-1.
    """
    dropped = rate // 15
    tens, rest = divmod(count, 600 * rate - 9 * dropped)
    minutes = 0 if rest < 60 * rate else 1 + (rest - 60 * rate) // (60 * rate - dropped)
    code = code_of(count + dropped * (9 * tens + minutes), rate)
    return f"{code[:8]};{code[9:]}"


RATES = {
    "23.976": (24 * NTSC, "00:00:00:00", 24, code_of),
    "25": (Fraction(25), "00:00:00:00", 25, code_of),
    "29.97 drop": (30 * NTSC, "00:00:00;00", 30, dropping_code_of),
    "29.97 non-drop": (30 * NTSC, "00:00:00:00", 30, code_of),
    "30": (Fraction(30), "00:00:00:00", 30, code_of),
    "59.94 drop": (60 * NTSC, "00:00:00;00", 60, dropping_code_of),
    "119.88 drop": (120 * NTSC, "00:00:00;00", 120, dropping_code_of),
}


@pytest.mark.parametrize("name", RATES)
def test_time_code_is_that_of_the_closed_form(name):
    rate, start, nominal, closed_form = RATES[name]
    video = VideoReference(frame_rate=rate, start_time_code=start)
    day = 144 * (600 * nominal - 9 * (nominal // 15) * (";" in start))
    near_minutes = [
        minute * 60 * nominal + k for minute in (1, 2, 9, 10, 600) for k in range(-9, 9)
    ]
    for frame in [*range(3), *near_minutes, *range(7, day, 99_991), day - 1]:
        code = video.time_code(frame)
        assert code == closed_form(frame, nominal)
        wrapped = frame if frame < day - day // 2 else frame - day
        assert video.frame_of(code) == wrapped
    assert video.time_code(day) == video.time_code(0) == start


@pytest.mark.parametrize(
    ("rate", "start", "frame", "code"),
    [
        (30 * NTSC, "01:00:59;29", 1, "01:01:00;02"),  # numbers 00 and 01 are dropped
        (30 * NTSC, "01:09:59;29", 1, "01:10:00;00"),  # but in each tenth minute
        (60 * NTSC, "00:00:59;59", 1, "00:01:00;04"),
        (30 * NTSC, "00:00:00;00", 107_892, "01:00:00;00"),  # an hour of time
        (24 * NTSC, "00:00:00:00", 86_400, "01:00:00:00"),  # 3.6 s longer than an hour
        (Fraction(25), "23:59:59:24", 1, "00:00:00:00"),
        (Fraction(30), "10:00:00:29", 1, "10:00:01:00"),
    ],
)
def test_known_time_codes(rate, start, frame, code):
    video = VideoReference(frame_rate=rate, start_time_code=start)
    assert video.time_code(0) == start
    assert video.time_code(frame) == code
    assert video.frame_of(code) == frame


def test_time_code_is_that_of_opentimelineio():
    for rate, start in (
        (30 * NTSC, "01:00:00;00"),
        (25, "10:00:00:00"),
        (24 * NTSC, "01:00:00:00"),
    ):
        video = VideoReference(frame_rate=Fraction(rate), start_time_code=start)
        for frame in range(0, 90_000, 977):
            time = otio.opentime.RationalTime(video.first_count + frame, float(rate))
            assert video.time_code(frame) == time.to_timecode()


def test_times_go_to_the_nearest_frame_that_exists():
    video = VideoReference(frame_rate=Fraction(25))
    assert [video.nearest_frame(time_s) for time_s in (0, 0.019, 0.02, 0.05, 0.061)] == [
        0,
        0,
        1,
        1,
        2,
    ]
    assert video.time_s(3) == 0.12
    assert video.frames_of(Cue(time_s=3.99), 4.0) == (99, 100)
    assert video.frames_of(Cue(time_s=1, kind="roll", end_s=1.001), 4.0) == (25, 26)
    assert video.frames_of(Cue(time_s=1, kind="roll", end_s=4), 4.0) == (25, 100)
    # A day at 23.976 frames per second lasts longer than 24 hours; the time is exact
    assert VideoReference(frame_rate=24 * NTSC).time_s(24_000) == 1001.0


@pytest.mark.parametrize(
    ("rate_hz", "rate"),
    [
        (23.976, 24 * NTSC),
        (24.0, Fraction(24)),
        (29.97003, 30 * NTSC),
        (25.0001, Fraction(25)),
        (59.94, 60 * NTSC),
        (12.5, Fraction(25, 2)),
        (math.pi * 1e-3, Fraction(1)),
    ],
)
def test_measured_rates_become_standard_ones(rate_hz, rate):
    assert VideoReference.measured(rate_hz=rate_hz).frame_rate == rate


def test_a_time_code_that_does_not_fit_is_ignored_with_a_warning(caplog):
    video = VideoReference.measured(rate_hz=25.0, start_time_code="10:00:00:25", name="a.mov")
    assert video == VideoReference(frame_rate=Fraction(25), name="a.mov")
    assert "a.mov: its time code is ignored (time code '10:00:00:25': no such frame" in caplog.text


@pytest.mark.parametrize(
    ("rate", "code"),
    [
        (Fraction(25), "10:00:00:25"),
        (Fraction(25), "24:00:00:00"),
        (Fraction(25), "soon"),
        (30 * NTSC, "00:01:00;01"),
        (Fraction(0), None),
    ],
)
def test_impossible_values_are_refused(rate, code):
    with pytest.raises(ConfigError):
        VideoReference(frame_rate=rate, start_time_code=code)
