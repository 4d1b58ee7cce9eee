"""Makes SIGTERM and SIGHUP stop a command as Ctrl-C does, so that temporary files are removed.

Only the command line does this; a program that imports foleyflow keeps its own signal handlers.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# `timeout` and terminals send the same signal twice, to the process and to its group. The second
# one must not interrupt the clean-up; a later one may stop a clean-up that hangs.
_REPEAT_S = 1.0
# Code that Python calls from C may swallow an exception. It is raised again after this time, unless
# it is being handled.
_LOST_S = 0.3


@contextmanager
def stopped_by_signals() -> Iterator[list[int]]:
    """Raises KeyboardInterrupt in the main thread if SIGTERM or SIGHUP arrives in the block.

    A signal that is ignored (SIGHUP under `nohup`) or that has another handler is left alone.
    Processes forked in the block end by the signal as if there were no handler.

    Yields:
        The numbers of the signals that arrived.
    """
    received: list[int] = []
    owner, last_s = os.getpid(), float("-inf")
    raised = KeyboardInterrupt()

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
            if can_repeat:
                signal.setitimer(signal.ITIMER_REAL, _LOST_S)
            raise raised

    def raise_if_lost(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, _LOST_S)
        handled = sys.exc_info()[1]
        while handled not in (None, raised):
            handled = handled.__context__ if handled else None
        if handled is None:
            raise raised

    installed = []
    can_repeat = False
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)
                installed.append(number)
        can_repeat = (
            bool(installed)
            and hasattr(signal, "setitimer")
            and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        )
        if can_repeat:
            signal.signal(signal.SIGALRM, raise_if_lost)
            installed.append(signal.SIGALRM)
    try:
        yield received
    finally:
        if can_repeat:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number in installed:
            signal.signal(number, signal.SIG_DFL)
