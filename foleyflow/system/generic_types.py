"""Types that many modules use: a type variable for items, and callbacks of progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")
Progress = Callable[[int, int], None]  # (done, total)
