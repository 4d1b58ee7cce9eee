"""Cuts a clip into the overlapping windows that the networks were trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foleyflow.pretrained import aligner_segments, trained_segments


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """Sizes of the windows, in segments of the aligner.

    Attributes:
        length: segments per window.
        context: segments at the start of a window that the previous window has generated. Errors
            spread to the next window through them.
        ahead: segments at the end of a window that the next window generates instead, with more of
            the video after them.
    """

    length: int = 40
    context: int = 3
    ahead: int = 5

    @classmethod
    def of_length(cls, length: int) -> WindowPlan:
        """Windows of `length` segments; at least half of each short window is new."""
        quarter = length // 4
        return cls(length=length, context=min(cls.context, quarter), ahead=min(cls.ahead, quarter))

    @property
    def hop(self) -> int:
        """Segments from the start of one window to the start of the next."""
        return self.length - self.context - self.ahead

    def cut(self, segments: int) -> Iterator[tuple[int, int, int]]:
        """(start, length, kept) of each window; the kept segments together cover the clip."""
        return self.cut_until_end(lambda end: segments)

    def cut_until_end(
        self, segments_by: Callable[[int], int | None]
    ) -> Iterator[tuple[int, int, int]]:
        """`cut` for a clip whose length may not be known before its end is reached.

        Args:
            segments_by: called with the segment at which a window of full length ends; returns the
                segments of the clip, or None if there are more than that.
        """
        start = 0
        while True:
            segments = segments_by(start + self.length)
            length = self.length if segments is None else min(self.length, segments - start)
            last = segments is not None and start + length >= segments
            yield start, length, length if last else length - self.ahead
            if last:
                return
            start += self.hop


def trained_plan(flow_folder: Path) -> WindowPlan:
    """The windows that a flow was trained on; the default if its record does not contain them."""
    return WindowPlan.of_length(trained_segments(flow_folder) or WindowPlan.length)


def aligner_plan(folder: Path) -> WindowPlan:
    """The windows of a model's flow, or those that its aligner was trained on."""
    if (folder / "flow.safetensors").is_file():
        return trained_plan(folder)
    return WindowPlan.of_length(aligner_segments(folder) or WindowPlan.length)
