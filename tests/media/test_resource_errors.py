"""A lack of memory is distinguished from a damaged file that asks for too much."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import pytest

from foleyflow.errors import MediaError
from foleyflow.media.resource_errors import raise_shortage

ENOMEM = (12, "Cannot allocate memory")


def test_with_memory_to_spare_it_is_the_file():
    raise_shortage(av.error.MemoryError(*ENOMEM))
    raise_shortage(av.error.InvalidDataError(1, "Invalid data"))
    with pytest.raises(MediaError, match="damaged"):
        try:
            raise av.error.MemoryError(*ENOMEM)
        except av.FFmpegError as error:
            raise_shortage(error)
            raise MediaError("damaged") from error


def test_threads_that_can_not_start_are_a_shortage():
    with pytest.raises(av.error.BlockingIOError):
        raise_shortage(av.error.BlockingIOError(11, "Resource temporarily unavailable"))


def test_without_memory_it_is_a_shortage():
    script = f"""
import resource
import av
from foleyflow.media.shortage import raise_shortage
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
try:
    raise_shortage(av.error.MemoryError(*{ENOMEM}))
except MemoryError:
    print("a shortage")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "a shortage", done.stderr
