"""Tells the C library to keep freed memory, or to give it back.

Training keeps it: a step frees and asks for the same hundreds of megabytes again and again. By
default the C library gives each large block back to the system, and the kernel clears it anew: half
of the processor time of an alignment step went there (2.7 s a step against 1.8 s).

Generation gives it back in long videos: stages that work at the same time leave holes between their
blocks, and the process would grow with the length of the video. Both are for Linux with glibc;
elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import platform

# <malloc.h>
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEPT_BYTES = 2**31 - 1
TOP_PAD_BYTES = 2**28


def keep_freed_memory() -> bool:
    """Keep what is freed for the rest of the process (mallopt(3)).

    Returns:
        True where it took effect.
    """
    if not _is_glibc():
        return False
    library = ctypes.CDLL(None)
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(library.mallopt(parameter, value) == 1 for parameter, value in settings)


def release_freed_memory() -> bool:
    """Give what is free back to the system, of all arenas (malloc_trim(3)); takes milliseconds.

    Returns:
        True where memory was given back.
    """
    return _is_glibc() and ctypes.CDLL(None).malloc_trim(0) == 1


def _is_glibc() -> bool:
    return platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
