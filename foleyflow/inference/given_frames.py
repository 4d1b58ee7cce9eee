"""Frames from memory or from an iterator, in place of a video file.

They are scaled as the frames of a file are, and only one at a time is converted. The clip begins
with the first frame.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from numbers import Rational, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import ConfigError, MediaError
from foleyflow.inference.picture_checks import check_dtype, check_shape, picture_of
from foleyflow.media import MediaInfo
from foleyflow.media.frame_scaling import UPRIGHT, scale_pictures
from foleyflow.media.probe import check_duration, check_frame_size
from foleyflow.media.reader import LONGEST_GAP_S, DecodeCounts, FrameStream

NAME = "frames"  # in messages, and in place of the path of a file
_CHOICE_HINT = (
    "rate_hz=25 for frames at a constant rate, times_s=[...] for others; an iterator gives pairs "
    "(time_s, frame)"
)
Times = Sequence[float] | NDArray[np.float64]  # of frames, in seconds
_Frame = tuple[int, Any]  # number and picture


class GivenFrames:
    """Frames that the user gave, with their times; see `FoleyFlow.generate`.

    Attributes:
        duration_s: from the first frame to the end of the last one; infinite until the end of an
            iterator is reached.
    """

    def __init__(
        self, frames: Any, *, rate_hz: float | Fraction | None = None, times_s: Times | None = None
    ) -> None:
        """Checks everything that needs no pass over the frames.

        Args:
            frames: a sequence of pictures, such as an array or a tensor (T, H, W, 3), or an
                iterable of (seconds, picture); a picture is (H, W, 3) RGB, uint8 or float 0..1.
            rate_hz: frames per second of a sequence; a frame is shown for 1 / rate_hz.
            times_s: seconds of each frame of a sequence. The last one, as that of an iterable, is
                shown as long as the one before it.

        Raises:
            ConfigError: the rate or the times are missing, not valid, or given twice.
            MediaError: the frames can't be used.
        """
        self.duration_s = math.inf
        self._count = 0
        if isinstance(frames, str | bytes | Mapping) or not isinstance(frames, Iterable):
            raise MediaError(
                f"{NAME}: got {type(frames).__name__}, expected an array or a tensor (T, H, W, 3), "
                "or an iterator of pairs (time_s, frame)",
                hint="give the name of a video file as `video`",
            )
        if hasattr(frames, "__len__") and hasattr(frames, "__getitem__") and not _has_pairs(frames):
            self._timed = self._of_sequence(frames, rate_hz, times_s)
        else:
            if rate_hz is not None or times_s is not None:
                raise ConfigError(
                    f"{NAME}: rate_hz or times_s was given with an iterator, expected neither, "
                    "because an iterator has the times: (time_s, frame)",
                    hint="pairs at a constant rate: ((n / rate_hz, frame) for n, frame in "
                    "enumerate(frames))",
                )
            self._timed = self._of_pairs(iter(frames))
        # The size of the first picture
        first = next(self._timed)
        picture = picture_of(first[1][1], f"{NAME}: frame 0")
        self._height, self._width = picture.shape[:2]
        self._timed = itertools.chain([first], self._timed)

    @property
    def info(self) -> MediaInfo:
        """The properties of a video with these frames, as `probe` returns those of a file."""
        return MediaInfo(
            path=Path(NAME),
            container=NAME,
            video_index=0,
            video_codec="rawvideo",
            pixel_format="rgb24",
            width=self._width,
            height=self._height,
            rotation_deg=0,
            orientation=UPRIGHT,
            pixel_aspect=1.0,
            start_s=0.0,
            duration_s=self.duration_s,
            rate_hz=self._count / self.duration_s,
            has_audio=False,
            audio_rate_hz=None,
            audio_start_s=None,
            is_file=False,
        )

    def read(self, *, size: int | None, max_rate_hz: float) -> FrameStream:
        """The frames as `read_frames` returns those of a file; only once, because they may be read
        from an iterator.

        Args:
            size: side of the square that frames are scaled to, pixels; None keeps their size.
            max_rate_hz: frames beyond this rate are left out.

        Raises:
            MediaError: while they are read: a frame can't be used, or times do not increase.
        """
        pairs = scale_pictures(self._timed, _checked_picture, size=size, max_rate_hz=max_rate_hz)
        return FrameStream(pairs, DecodeCounts())

    def _of_sequence(
        self, frames: Any, rate_hz: float | Fraction | None, times_s: Times | None
    ) -> Iterator[tuple[float, _Frame]]:
        """The frames of a sequence with their times, after a check of all but their values."""
        if (shape := getattr(frames, "shape", None)) is not None:
            if not (len(shape) == 4 and shape[0] == 0):
                check_shape(tuple(shape), NAME, is_batch=True)
            check_dtype(getattr(frames, "dtype", None), NAME)
        _check_count(len(frames))
        if (rate_hz is None) == (times_s is None):
            given = "no rate_hz and no times_s" if rate_hz is None else "rate_hz and times_s"
            raise ConfigError(f"{NAME}: {given} given, expected one of them", hint=_CHOICE_HINT)
        times, self.duration_s = _clock(len(frames), rate_hz, times_s)
        self._count = len(frames)
        check_duration(self.duration_s, Path(NAME))
        return ((times[number], (number, frames[number])) for number in range(len(frames)))

    def _of_pairs(self, pairs: Iterator[Any]) -> Iterator[tuple[float, _Frame]]:
        """The frames of an iterator; the length of the clip is known at its end."""
        origin_s = last_s = step_s = 0.0
        for number, pair in enumerate(pairs):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise MediaError(
                    f"{NAME}: item {number} of the iterator is a {type(pair).__name__}, expected a "
                    "pair (time_s, frame)",
                    hint="give an array or a list of frames with rate_hz or times_s instead",
                )
            time_s = _seconds(pair[0], f"the time of frame {number}")
            if number == 0:
                origin_s = time_s
            else:
                step_s = _checked_step(number, last_s, time_s)
            last_s = time_s
            check_duration(time_s - origin_s + 1e-9, Path(NAME))
            self._count = number + 1
            yield time_s - origin_s, (number, pair[1])
        _check_count(self._count)
        self.duration_s = last_s - origin_s + step_s


def given_video(
    video: str | Path | MediaInfo | None,
    frames: Any,
    rate_hz: float | Fraction | None,
    times_s: Times | None,
) -> str | Path | MediaInfo | GivenFrames:
    """The video or the frames, of which a caller of `FoleyFlow` gives one.

    Raises:
        ConfigError: both or none were given, or a rate or times for a file.
        MediaError: the frames can't be used.
    """
    if frames is not None and video is None:
        return GivenFrames(frames, rate_hz=rate_hz, times_s=times_s)
    if video is None or frames is not None:
        given = "neither a video nor frames were" if video is None else "a video and frames were"
        raise ConfigError(
            f"{given} given, expected one of them",
            hint="the name of a file, or frames=array with rate_hz or times_s",
        )
    if rate_hz is not None or times_s is not None:
        raise ConfigError(
            "rate_hz or times_s was given with a video, expected neither, because a file has its "
            "own times",
            hint="leave them out; they are for frames",
        )
    return video


def _checked_picture(frame: _Frame) -> NDArray[np.uint8]:
    name = f"{NAME}: frame {frame[0]}"
    picture = picture_of(frame[1], name)
    check_frame_size(picture.shape[1], picture.shape[0], Path(name))
    return picture


def _has_pairs(frames: Any) -> bool:
    """Whether a sequence holds pairs of a time and a frame, as an iterator does."""
    first = frames[0] if isinstance(frames, list | tuple) and frames else None
    return isinstance(first, tuple) and len(first) == 2


def _check_count(count: int) -> None:
    if count < 2:
        raise MediaError(
            f"{NAME}: {count or 'no'} frame{'' if count else 's'} given, expected at least 2, "
            "because a sound follows from changes of the picture",
            hint="give all frames of the video; an iterator can be read only once",
        )


def _clock(
    count: int, rate_hz: float | Fraction | None, times_s: Times | None
) -> tuple[list[float], float]:
    """The times of the frames of a sequence from the first one on, and the length of the clip."""
    if times_s is None:
        if not isinstance(rate_hz, Real) or isinstance(rate_hz, bool) or not 0 < rate_hz < math.inf:
            raise ConfigError(
                f"rate_hz={rate_hz!r}, expected frames per second above 0",
                hint="such as 25, or Fraction(30000, 1001)",
            )
        _checked_step(1, 0.0, 1 / float(rate_hz))
        rate = rate_hz if isinstance(rate_hz, Rational) else float(rate_hz)
        return [float(number / rate) for number in range(count)], float(count / rate)
    if len(times_s) != count:
        raise ConfigError(
            f"times_s: {len(times_s)} times for {count} frames, expected one for each",
            hint="the time at which each frame is shown first, in seconds",
        )
    times = [_seconds(time_s, f"times_s[{n}]") for n, time_s in enumerate(times_s)]
    for number in range(1, count):
        last_step_s = _checked_step(number, times[number - 1], times[number])
    shown_s = [time_s - times[0] for time_s in times]
    return shown_s, shown_s[-1] + last_step_s


def _seconds(value: Any, name: str) -> float:
    try:
        time_s = float(value)
    except (TypeError, ValueError):
        time_s = math.nan
    if not math.isfinite(time_s):
        raise ConfigError(
            f"{NAME}: {name} is {value!r}, expected a finite number of seconds",
            hint="the time at which the frame is shown first",
        )
    return time_s


def _checked_step(number: int, before_s: float, time_s: float) -> float:
    """Seconds from the frame before to frame `number`."""
    if not time_s > before_s:
        raise ConfigError(
            f"{NAME}: frame {number} is at {time_s:g} s, expected later than the frame before it "
            f"({before_s:g} s)",
            hint="give the frames in the order of time, each with a time of its own",
        )
    if time_s - before_s > LONGEST_GAP_S:
        raise ConfigError(
            f"{NAME}: frame {number} is {time_s - before_s:g} s after the frame before it, "
            f"expected at most {LONGEST_GAP_S:g} s",
            hint="times are in seconds, rates in frames per second",
        )
    return time_s - before_s
