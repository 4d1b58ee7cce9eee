"""Runs the command line with so many more bytes of memory than it takes once all is imported.

python limited_memory.py BYTES generate clip.mp4 ...
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import foleyflow.cli.generate
import foleyflow.report  # noqa: F401
from foleyflow.cli import main


def limit(extra_bytes: int) -> None:
    """Bound this process's address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


if __name__ == "__main__":
    limit(int(sys.argv.pop(1)))
    main()
