"""Finds events in the aligner's onset probability, and measures them in the generated sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foleyflow.event_peaks import SHORTEST_GAP_S, event_track, find_event_peaks
from foleyflow.signals import Event

EVENT_THRESHOLD = 0.5  # onset probability; best on simulated validation clips
QUIETEST_EVENT = 0.02  # level relative to the loudest event


class EventTracker:
    """Event times over successive windows; each event is found in exactly one window."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._settled: list[float] = []  # events whose latents are final
        self._found: list[float] = []  # later events, found in the newest window

    def track(
        self, probability: NDArray[np.float32], *, start_s: float, context_end_s: float
    ) -> NDArray[np.float32]:
        """The event track of the next window, (L,), from its onset probability, (L,).

        New events are accepted from `context_end_s` on; earlier windows found the others.
        """
        peaks_s = find_event_peaks(probability, rate_hz=self._rate_hz, threshold=EVENT_THRESHOLD)
        last_s = self._settled[-1] if self._settled else -np.inf
        first_s = max(context_end_s, last_s + SHORTEST_GAP_S)
        self._found = [float(t) for t in start_s + peaks_s if t >= first_s]
        self._settled = [t for t in self._settled if t >= start_s - SHORTEST_GAP_S]
        in_window_s = np.array([*self._settled, *self._found]) - start_s
        return event_track(in_window_s, len(probability), self._rate_hz)

    def settle(self, end_s: float) -> tuple[float, ...]:
        """The events of the newest window before `end_s`, which do not change any more."""
        settled = tuple(t for t in self._found if t < end_s)
        self._settled += settled
        return settled


def audible_events(
    times_s: Sequence[float],
    levels: NDArray[np.float32],
    *,
    rate_hz: float,
    duration_s: float,
) -> tuple[Event, ...]:
    """Events within the clip that are audible in its sound.

    Args:
        times_s: ascending event times.
        levels: (T,) peak level of the sound per latent frame.
        rate_hz: latent frames per second.
        duration_s: length of the clip.

    Returns:
        Events; `strength` is the peak level within 60 ms of the event, relative to the loudest one.
    """
    found: list[tuple[float, float]] = []
    for time_s in times_s:
        if time_s < duration_s:
            frame = int(time_s * rate_hz)
            level = float(levels[max(0, frame - 1) : frame + 4].max(initial=0.0))
            found.append((time_s, level))
    loudest = max((level for _, level in found), default=0.0)
    return tuple(
        Event(time_s=time_s, strength=level / loudest)
        for time_s, level in found
        if loudest > 0 and level >= QUIETEST_EVENT * loudest
    )
