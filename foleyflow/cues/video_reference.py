"""The video that the times of a cue sheet refer to: its frames and their time code."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from foleyflow.cues.cue import Cue
from foleyflow.errors import ConfigError

if TYPE_CHECKING:
    from timecode import Timecode

logger = logging.getLogger(__name__)

_NTSC = Fraction(1000, 1001)
# Frame rates of cameras and editing programs, per second
STANDARD_RATES = tuple(
    sorted(
        [Fraction(rate) for rate in (24, 25, 30, 48, 50, 60, 100, 120)]
        + [rate * _NTSC for rate in (24, 30, 48, 60, 120)]
    )
)
# A measured rate this near, in relation, is a standard one; 24 and 23.976 differ by 0.001.
_RATE_TOLERANCE = 0.0003
_TIME_CODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.,])(\d{2,3})")
_TIME_CODE_HINT = "a time code is hh:mm:ss:ff, or hh:mm:ss;ff with dropped frame numbers"


@dataclass(frozen=True, kw_only=True)
class VideoReference:
    """Frame rate, start time code and name of a video. Frames are counted from 0, the first one.

    Attributes:
        frame_rate: frames per second, such as Fraction(30000, 1001).
        start_time_code: of the first frame, such as "01:00:00:00"; with ";" before the frames,
            numbers are dropped (29.97 and 59.94 frames per second). None starts at zero.
        name: of the video, for titles.

    Raises:
        ConfigError: the rate is not 1..1000, or the video has no frame of this time code.
    """

    frame_rate: Fraction
    start_time_code: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_rate", Fraction(self.frame_rate))
        if not 1 <= self.frame_rate <= 1000:
            raise ConfigError(
                f"frame_rate={self.frame_rate}: expected 1..1000 frames per second",
                hint="give the frame rate of the video, such as Fraction(30000, 1001)",
            )
        if self.start_time_code is not None:
            self._count(self.start_time_code, drops=self.drops_frames)

    @classmethod
    def measured(
        cls, *, rate_hz: float, start_time_code: str | None = None, name: str = ""
    ) -> VideoReference:
        """The reference for the measured rate of a file, and for the time code that it stores.

        The rate becomes the standard one that is nearest, if there is one. A time code that is not
        valid is ignored with a warning.
        """
        nearest = min(STANDARD_RATES, key=lambda rate: abs(rate - rate_hz))
        if abs(nearest / rate_hz - 1) > _RATE_TOLERANCE:
            nearest = Fraction(rate_hz).limit_denominator(1001)
        rate = min(max(nearest, Fraction(1)), Fraction(1000))
        try:
            return cls(frame_rate=rate, start_time_code=start_time_code, name=name)
        except ConfigError as error:
            logger.warning("%s: its time code is ignored (%s)", name or "the video", error)
            return cls(frame_rate=rate, name=name)

    @property
    def can_drop_frames(self) -> bool:
        """Whether time code at this rate may drop frame numbers."""
        return (self.frame_rate / (30 * _NTSC)).denominator == 1

    @property
    def drops_frames(self) -> bool:
        """Whether the time code of the video drops frame numbers."""
        code = self.start_time_code
        return (
            self.can_drop_frames and bool(code) and re.search(r"[;.,]\d+$", code or "") is not None
        )

    @cached_property
    def first_count(self) -> int:
        """Number of frames from 00:00:00:00 to the first frame."""
        if self.start_time_code is None:
            return 0
        return self._count(self.start_time_code, drops=self.drops_frames)

    def nearest_frame(self, time_s: float) -> int:
        """The frame that is nearest to a time from the start of the video."""
        return math.floor(Fraction(time_s) * self.frame_rate + Fraction(1, 2))

    def time_s(self, frame: int) -> float:
        """The time of a frame from the start of the video."""
        return float(frame / self.frame_rate)

    def frames_of(self, cue: Cue, duration_s: float | None) -> tuple[int, int]:
        """The first frame of a cue and the one after its last; a hit has one frame.

        With the duration of the clip, the first frame is within the clip.
        """
        start = self.nearest_frame(cue.time_s)
        if duration_s is not None:
            last = math.ceil(Fraction(duration_s) * self.frame_rate) - 1
            start = max(min(start, last), 0)
        if cue.end_s is None:
            return start, start + 1
        return start, max(self.nearest_frame(cue.end_s), start + 1)

    def time_code(self, frame: int) -> str:
        """The time code of a frame; it starts again after 24 hours."""
        return str(self._code(frames=self.first_count + frame + 1, drops=self.drops_frames))

    def frame_of(self, time_code: str, *, drops: bool | None = None) -> int:
        """The frame with a time code; negative before the start of the video.

        Args:
            drops: whether it drops frame numbers; None takes that of the video. With ";" before
                the frames it always does.

        Raises:
            ConfigError: there is no such time code.
        """
        drops = self.drops_frames if drops is None else drops
        drops = self.can_drop_frames and (drops or ";" in time_code)
        frame = self._count(time_code, drops=drops) - self.first_count
        day = 1 + self._count(f"23:59:59:{self._nominal_rate - 1:02d}", drops=drops)
        return (frame + day // 2) % day - day // 2

    @property
    def _nominal_rate(self) -> int:
        """Frames in a second of time code."""
        return max(1, math.floor(self.frame_rate + Fraction(1, 2)))

    def _code(
        self, start: str | None = None, *, frames: int | None = None, drops: bool
    ) -> Timecode:
        from timecode import Timecode

        if drops:
            return Timecode(self.frame_rate, start, frames=frames)
        return Timecode(self._nominal_rate, start, frames=frames, force_non_drop_frame=True)

    def _count(self, time_code: str, *, drops: bool) -> int:
        """Number of frames from 00:00:00:00 to a time code.

        Raises:
            ConfigError: there is no such time code.
        """
        match = _TIME_CODE.fullmatch(time_code.strip())
        if match is None:
            raise ConfigError(f"time code {time_code!r}: not a time code", hint=_TIME_CODE_HINT)
        hours, minutes, seconds, _, frames = match.groups()
        fields = [int(hours), int(minutes), int(seconds), int(frames)]
        limits = (24, 60, 60, self._nominal_rate)
        if all(value < limit for value, limit in zip(fields, limits, strict=True)):
            code = self._code("{:02d}:{:02d}:{:02d}:{:02d}".format(*fields), drops=drops)
            if list(map(int, re.split("[:;]", str(code)))) == fields:  # not a dropped number
                return int(code.frames) - 1
        kind = "drop frame" if drops else "non-drop frame"
        raise ConfigError(
            f"time code {time_code!r}: no such frame at {float(self.frame_rate):.6g} frames per "
            f"second ({kind})",
            hint="check that the file belongs to a video of this frame rate",
        )
