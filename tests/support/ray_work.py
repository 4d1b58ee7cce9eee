"""Work for tests of Ray, in a separate file so that workers import little."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from foleyflow.errors import MediaError
from foleyflow.parallel.precision import precision_setting


def recorded_square(folder: Path, number: int) -> tuple[int, int]:
    """The square and the process; writes a file when the work starts and when it ends."""
    name = f"{number}-{os.getpid()}-{time.time_ns()}"
    (folder / f"started-{name}").touch()
    time.sleep(1.0 if number == 5 else 0.05)  # long enough to kill its worker
    (folder / f"ended-{name}").touch()
    return number**2, os.getpid()


def current_precision(number: int) -> tuple[int, str]:
    """The number, and the precision setting of the worker."""
    return number, precision_setting()


def square_or_fail(number: int) -> int:
    if number == 3:
        raise MediaError("three is odd", hint="take four")
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2
