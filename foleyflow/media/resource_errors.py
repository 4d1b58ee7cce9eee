"""Tells errors of libav that say nothing about the file: memory or threads ran out.

They are FFmpegErrors like those of damaged files. Whoever catches an FFmpegError lets these pass
first, or a lack of memory looks like a bad file. A damaged size in a header can ask for more memory
than there ever is, and raises the same error: that is a bad file.
"""

from __future__ import annotations

import av
import numpy as np

# More than any picture that is supported takes (8192 x 8192 pixels of 4 x 16 bits).
_PLENTY_BYTES = 1 << 30


def raise_shortage(error: Exception) -> None:
    """Raise an error again where it tells of a lack of memory or threads; else do nothing.

    Args:
        error: that a call into libav raised.
    """
    if isinstance(error, av.error.BlockingIOError):  # a decoder that can't start its threads
        raise error
    if isinstance(error, MemoryError):
        try:
            np.empty(_PLENTY_BYTES, np.uint8)  # reserved, never touched
        except MemoryError:
            raise error from None
