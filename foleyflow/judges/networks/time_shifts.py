"""Offsets of out-of-sync sounds in training and in control pairs; a third of them are small."""

from __future__ import annotations

SMALL_SHIFTS_S = (0.12, 0.32)  # close to the smallest that people notice
LARGE_SHIFTS_S = (0.32, 1.4)
SMALL_SHIFT_FRACTION = 1 / 3
