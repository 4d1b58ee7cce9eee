"""Measures the time spent in each named part of a computation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from foleyflow.system.generic_types import Item


@dataclass
class Stopwatch:
    """Seconds by part, measured with one clock.

    Parts that run at the same time in different threads overlap, so their sum may exceed the
    elapsed time.

    `clock` is `time.perf_counter` for elapsed time or `time.process_time` for processor time.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    _lap_start_s: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.start()

    def add(self, part: str, duration_s: float) -> None:
        """Adds a duration to a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + duration_s

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time spent in the `with` block to a part."""
        start_s = self.clock()
        try:
            yield
        finally:
            self.add(part, self.clock() - start_s)

    def timed(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time that `items` takes to produce them is added to a part."""
        source = iter(items)
        while True:
            with self.measure(part):
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item

    def start(self) -> None:
        """Starts a lap."""
        self._lap_start_s = self.clock()

    def lap(self, part: str) -> None:
        """Adds the time since the lap started to a part, and starts the next lap."""
        now_s = self.clock()
        self.add(part, now_s - self._lap_start_s)
        self._lap_start_s = now_s
