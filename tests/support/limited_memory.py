"""Runs the command line under a limit of memory that holds from the first weights on.

By then all is imported and the video is known, so that it does not depend on the machine what
fails: the weights have no room.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from foleyflow.cli import main

SPARE_BYTES = 2**21


def limit_when_weights_are_opened(event: str, arguments: tuple) -> None:
    """An audit hook that bounds this process's address space to what it has, and a little more."""
    if event == "open" and str(arguments[0]).endswith(".safetensors"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * resource.getpagesize() + SPARE_BYTES
        if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


if __name__ == "__main__":
    sys.addaudithook(limit_when_weights_are_opened)
    main()
