"""Work for tests of many machines, in a file of its own: workers import no more than it needs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from foleyflow.errors import MediaError
from foleyflow.parallel.precision import precision_setting


def noted(folder: Path, number: int) -> tuple[int, int]:
    """The number's square and who made it; leaves a file for each begin and each end."""
    name = f"{number}-{os.getpid()}-{time.time_ns()}"
    (folder / f"begun-{name}").touch()
    time.sleep(1.0 if number == 5 else 0.05)  # the fifth is to be killed in time
    (folder / f"ended-{name}").touch()
    return number**2, os.getpid()


def chosen_precision(number: int) -> tuple[int, str]:
    """The number, and the precision that is set where it is worked on."""
    return number, precision_setting()


def squared(number: int) -> int:
    if number == 3:
        raise MediaError("three is odd", hint="take four")
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2
