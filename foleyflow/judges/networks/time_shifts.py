"""Offsets of out-of-sync sounds, in seconds: those of training and those of the control pairs.

A third of the offsets are small, close to the smallest that people notice.
"""

from __future__ import annotations

SMALL_SHIFTS_S = (0.12, 0.32)
LARGE_SHIFTS_S = (0.32, 1.4)
SMALL_SHIFT_FRACTION = 1 / 3
