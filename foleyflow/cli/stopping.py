"""SIGTERM and SIGHUP stop a command as Ctrl-C does: by an exception, so that drafts are removed.

Only the command line does so; a program that imports foleyflow keeps its own signal handlers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# `timeout` and terminals send the same signal twice at once, to the process and to its group. The
# second must not break into the removal of drafts; a later one stops a clean-up that hangs.
_REPEAT_S = 1.0


@contextmanager
def stopped_by_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt in the main thread when SIGTERM or SIGHUP arrives inside.

    A signal that is ignored (SIGHUP under `nohup`) stays ignored, and one that the program has a
    handler for keeps it. Processes forked inside end by the signal as if there were no handler.

    Returns:
        A context manager that gives the numbers of the signals that arrived.
    """
    received: list[int] = []
    owner, last_s = os.getpid(), float("-inf")

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        repeated = time.monotonic() - last_s < _REPEAT_S
        last_s = time.monotonic()
        received.append(number)
        if not repeated:
            raise KeyboardInterrupt

    installed = []
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)
                installed.append(number)
    try:
        yield received
    finally:
        for number in installed:
            signal.signal(number, signal.SIG_DFL)
