"""Recognises a failed allocation, whichever library it failed in."""

from __future__ import annotations

import errno
import re

from foleyflow.errors import FoleyflowError, MediaError
from foleyflow.system.printable import printable

# torch, oneDNN, safetensors and the C++ library have no exception class of their own for it.
_MESSAGES = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    r"|could not create a (?:primitive|memory)|unable to mmap|unable to allocate"
    r"|can't start new thread|os error 12\b",
    re.IGNORECASE,
)
_ASKED_FOR = re.compile(r"tried to allocate \d[\d.]* ?\w+", re.IGNORECASE)
_LONGEST_DETAIL = 160


def memory_error_of(problem: BaseException) -> FoleyflowError | None:
    """The error to report where memory ran out.

    Args:
        problem: what was raised; its causes are looked through too.

    Returns:
        An error of exit status 1, or None if `problem` is of another kind.

    Source: ours.
    """
    if isinstance(problem, MediaError):
        return None  # media knows a lack of memory from a damaged size, see media.shortage
    cause: BaseException | None = problem
    while cause is not None:
        if _is_failed_allocation(cause):
            return _report(cause)
        cause = cause.__cause__
    return None


def _is_failed_allocation(problem: BaseException) -> bool:
    if isinstance(problem, MemoryError):  # numpy's and libav's too
        return True
    if isinstance(problem, OSError):
        # EAGAIN: no thread or process can be started.
        return problem.errno in (errno.ENOMEM, errno.EAGAIN)
    # The text of an error of ours may hold the name of a file.
    if isinstance(problem, FoleyflowError) or not isinstance(problem, Exception):
        return False
    return bool(_MESSAGES.search(str(problem)))


def _report(problem: BaseException) -> FoleyflowError:
    text = str(problem).strip()
    asked = _ASKED_FOR.search(text)
    first = text.splitlines()[0][:_LONGEST_DETAIL] if text else ""
    detail = printable(asked.group() if asked else first)
    if "CUDA" in text or "OutOfMemory" in type(problem).__name__:
        hint = "end other programs on the GPU, or use --device cpu"
    else:
        hint = "end other programs, scale a large video down, or use a machine with more memory"
    return FoleyflowError("not enough memory" + (f" ({detail})" if detail else ""), hint=hint)
