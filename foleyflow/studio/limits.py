"""Limits of memory and processor time of a worker process, where the system has them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

try:
    import resource
except ImportError:  # Windows: only the time between two answers is limited there
    resource = None  # type: ignore[assignment]

# Threads of other libraries, and of the C library's allocator, reserve addresses that count
_FEWER_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "4"}


def limit_this_process(memory_bytes: int, *, processor_s: float | None = None) -> None:
    """Limits this process and lets it write no core files; on Windows, nothing happens."""
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":  # which refuses it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if processor_s is not None:
        limit_s = round(processor_s)
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))


def worker_options() -> dict[str, Any]:
    """Options of `subprocess` for a worker, which Ctrl-C in the terminal must not reach."""
    options: dict[str, Any] = {"env": {**os.environ, **_FEWER_THREADS}}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    return options
