"""Runs the command line under a memory limit that starts when the first weights are opened.

All imports are finished by then, so that loading the weights fails on every machine.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from foleyflow.cli import main

SPARE_BYTES = 2**21


def limit_when_weights_are_opened(event: str, arguments: tuple) -> None:
    """An audit hook that limits the address space to its current size plus SPARE_BYTES."""
    if event == "open" and str(arguments[0]).endswith(".safetensors"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * resource.getpagesize() + SPARE_BYTES
        if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


if __name__ == "__main__":
    sys.addaudithook(limit_when_weights_are_opened)
    main()
