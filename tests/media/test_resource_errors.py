"""A lack of memory is distinguished from a damaged file that requests too much memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import pytest

from foleyflow.errors import MediaError
from foleyflow.media.resource_errors import raise_if_out_of_resources

ENOMEM = (12, "Cannot allocate memory")


def test_memory_error_with_free_memory_is_a_damaged_file():
    raise_if_out_of_resources(av.error.MemoryError(*ENOMEM))
    raise_if_out_of_resources(av.error.InvalidDataError(1, "Invalid data"))
    with pytest.raises(MediaError, match="damaged"):
        try:
            raise av.error.MemoryError(*ENOMEM)
        except av.FFmpegError as error:
            raise_if_out_of_resources(error)
            raise MediaError("damaged") from error


def test_threads_that_can_not_start_are_a_lack_of_resources():
    with pytest.raises(av.error.BlockingIOError):
        raise_if_out_of_resources(av.error.BlockingIOError(11, "Resource temporarily unavailable"))


def test_memory_error_without_free_memory_is_a_lack_of_resources():
    script = f"""
import resource
import av
from foleyflow.media.resource_errors import raise_if_out_of_resources
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
try:
    raise_if_out_of_resources(av.error.MemoryError(*{ENOMEM}))
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
