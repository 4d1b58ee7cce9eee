"""Distinguish a lack of memory or threads from a damaged file.

libav reports both as FFmpegError. Every handler of FFmpegError calls `raise_if_out_of_resources`
first, so that a lack of memory is not reported as a bad file. A damaged size in a header may ask
for more memory than any machine has; it raises the same error, but the file is damaged.
"""

from __future__ import annotations

import av
import numpy as np

# More than any supported frame needs (8192 x 8192 pixels of 4 x 16 bits).
_ENOUGH_BYTES = 1 << 30


def raise_if_out_of_resources(error: Exception) -> None:
    """Raise an error of libav again if it is due to a lack of memory or threads."""
    if isinstance(error, av.error.BlockingIOError):  # a decoder that can't start its threads
        raise error
    if isinstance(error, MemoryError):
        try:
            np.empty(_ENOUGH_BYTES, np.uint8)  # reserved, never touched
        except MemoryError:
            raise error from None
