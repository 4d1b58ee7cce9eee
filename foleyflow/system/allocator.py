"""Makes the C library keep freed memory, or return it to the system (Linux with glibc only).

Training keeps it: each step frees and allocates the same hundreds of megabytes, and clearing blocks
that were returned took the kernel a third of an alignment step. Generation of long videos returns
it: stages that run at the same time leave holes between their blocks, and the process would grow
with the length of the video.
"""

from __future__ import annotations

import ctypes
import platform

# <malloc.h>
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEPT_BYTES = 2**31 - 1
TOP_PAD_BYTES = 2**28


def keep_freed_memory() -> bool:
    """Keeps freed memory for the rest of the process (mallopt(3)); True if it took effect."""
    if not _is_glibc():
        return False
    library = ctypes.CDLL(None)
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(library.mallopt(parameter, value) == 1 for parameter, value in settings)


def release_freed_memory() -> bool:
    """Returns freed memory to the system (malloc_trim(3)), in milliseconds; True if any was."""
    return _is_glibc() and ctypes.CDLL(None).malloc_trim(0) == 1


def _is_glibc() -> bool:
    return platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
