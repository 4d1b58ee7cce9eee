"""Memory of this process: how much it used, and whether an error means that memory ran out."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

from foleyflow.errors import FoleyflowError, MediaError
from foleyflow.system.printable import printable

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# torch, oneDNN, safetensors and the C++ library have no exception class for failed allocations.
_MESSAGES = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    r"|could not create a (?:primitive|memory)|unable to mmap|unable to allocate"
    r"|can't start new thread|os error 12\b",
    re.IGNORECASE,
)
_REQUESTED = re.compile(r"tried to allocate \d[\d.]* ?\w+", re.IGNORECASE)
_LONGEST_DETAIL = 160


def peak_memory_mb() -> float:
    """The largest resident size of this process, in MiB; 0 where the system does not count it."""
    # On Linux, getrusage includes the parent process's peak; VmHWM does not.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if resource is None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def memory_error_of(problem: BaseException) -> FoleyflowError | None:
    """The error to report if `problem` or one of its causes is a failed allocation, else None.

    Its exit status is 1. A `MediaError` never counts, because `media` has already distinguished a
    lack of memory from a damaged size in a file.
    """
    if isinstance(problem, MediaError):
        return None
    cause: BaseException | None = problem
    while cause is not None:
        if _is_failed_allocation(cause):
            return _report(cause)
        cause = cause.__cause__
    return None


def _is_failed_allocation(problem: BaseException) -> bool:
    if isinstance(problem, MemoryError):  # also those of numpy and libav
        return True
    if isinstance(problem, OSError):
        # EAGAIN: no thread or process can be started.
        return problem.errno in (errno.ENOMEM, errno.EAGAIN)
    # The message of a FoleyflowError may contain a file name that looks like a match.
    if isinstance(problem, FoleyflowError) or not isinstance(problem, Exception):
        return False
    return bool(_MESSAGES.search(str(problem)))


def _report(problem: BaseException) -> FoleyflowError:
    text = str(problem).strip()
    requested = _REQUESTED.search(text)
    first_line = text.splitlines()[0][:_LONGEST_DETAIL] if text else ""
    detail = printable(requested.group() if requested else first_line)
    if "CUDA" in text or "OutOfMemory" in type(problem).__name__:
        hint = "close other programs on the GPU, or use --device cpu"
    else:
        hint = "close other programs, scale a large video down, or use a machine with more memory"
    return FoleyflowError("not enough memory" + (f" ({detail})" if detail else ""), hint=hint)
