"""Errors of libav that say nothing about the file: memory or threads ran out.

They are FFmpegErrors like those of damaged files. Whoever catches an FFmpegError lets these pass
first, or a lack of memory looks like a bad file.
"""

from __future__ import annotations

import av

# BlockingIOError is what a decoder raises that can't start its threads (EAGAIN).
SHORTAGE_ERRORS = (MemoryError, av.error.BlockingIOError)
