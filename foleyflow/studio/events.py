"""Passes events from any thread to the open event streams."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

MOST_WAITING = 1000  # events of a stream whose reader is too slow; it is closed then
KEEP_ALIVE_S = 15.0

_Event = tuple[str, str, dict[str, Any]]  # (name, project, data)


@dataclass(eq=False)
class _Stream:
    """One open stream: its loop, its events, and its project if it is only for one."""

    loop: asyncio.AbstractEventLoop
    project: str | None
    events: asyncio.Queue[_Event | None] = field(default_factory=asyncio.Queue)


class EventHub:
    """The open event streams."""

    def __init__(self) -> None:
        self._streams: set[_Stream] = set()
        self._lock = threading.Lock()

    def publish(self, name: str, project: str, data: dict[str, Any]) -> None:
        """Sends an event to all streams of its project, from any thread."""
        with self._lock:
            streams = [each for each in self._streams if each.project in (None, project)]
        for stream in streams:
            stream.loop.call_soon_threadsafe(self._put, stream, (name, project, data))

    def close(self) -> None:
        """Ends all streams."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.loop.call_soon_threadsafe(stream.events.put_nowait, None)

    async def stream(self, project: str | None, present: list[_Event]) -> AsyncIterator[bytes]:
        """Yields server-sent events of one project or of all, beginning with the `present` ones."""
        stream = _Stream(loop=asyncio.get_running_loop(), project=project)
        with self._lock:
            self._streams.add(stream)
        try:
            yield b": foleyflow\n\n"
            for name, _, data in present:
                yield _encoded(name, data)
            while True:
                try:
                    event = await asyncio.wait_for(stream.events.get(), KEEP_ALIVE_S)
                except asyncio.TimeoutError:
                    yield b": still here\n\n"
                    continue
                if event is None:
                    return
                yield _encoded(event[0], event[2])
        finally:
            with self._lock:
                self._streams.discard(stream)

    @staticmethod
    def _put(stream: _Stream, event: _Event) -> None:
        if stream.events.qsize() < MOST_WAITING:
            stream.events.put_nowait(event)
        else:  # the reader connects again and reads the present state
            stream.events.put_nowait(None)


def _encoded(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
