"""Runs an iterator ahead in a background thread, by a bounded number of items.

Decoders, convolutions and file writes release the interpreter lock, so the stages of a stream that
are each behind a `prefetch` work at the same time. Order and values do not change.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from foleyflow.system.generic_types import Item


@dataclass(frozen=True)
class _Ended:
    """The last entry of the queue: the items ended, or failed with an error."""

    error: BaseException | None


def prefetch(
    items: Iterable[Item], *, depth: int, on_start: Callable[[], object] | None = None
) -> Generator[Item, None, None]:
    """The same items, computed ahead in a thread.

    The thread starts when the first item is taken. It ends with the items, with an error, or when
    the generator is closed, which waits for the current item and then closes `items`. Use
    `contextlib.closing` if the consumer may stop early.

    Args:
        items: the source; only the thread reads it.
        depth: largest number of waiting items, at least 1; one more may be in progress.
        on_start: called in the thread before the first item, for settings per thread.

    Raises:
        ValueError: a depth below 1.
        Exception: an exception of `items`, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth: got {depth}, expected at least 1 item")
    waiting: queue.Queue[Item | _Ended] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def produce() -> None:
        error: BaseException | None = None
        try:
            if on_start is not None:
                on_start()
            for item in items:
                if stopped.is_set():
                    break
                waiting.put(item)
        except BaseException as problem:  # the consumer raises it
            error = problem
        waiting.put(_Ended(error))

    thread = threading.Thread(target=produce, name="foleyflow-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _Ended):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        # The queue is drained, so that the thread never waits for a consumer that has stopped.
        stopped.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
            thread.join(timeout=0.01)
        if isinstance(items, Generator):
            items.close()
