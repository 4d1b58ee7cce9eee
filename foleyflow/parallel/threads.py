"""How many threads torch computes with, and threads that compute as their caller does.

Two threads of one operation wait for each other at its end by spinning: where another process keeps
one of them from running, both take many times longer. Small networks therefore run on one thread,
and the stages of a stream run at the same time instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from foleyflow.parallel.prefetch import prefetch

Item = TypeVar("Item")

# One more thread for each so many parameters: the embedded model has 17 million.
PARAMETERS_PER_THREAD = 50_000_000


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(parameter_count: int) -> int:
    """Threads of one operation for a model of this size.

    Args:
        parameter_count: of all its networks.

    Returns:
        1 up to 50 million parameters, one more for each further 50 million begun, and never more
        than there are cores.
    """
    wanted = max(1, -(-parameter_count // PARAMETERS_PER_THREAD))
    return min(wanted, available_cores())


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Operations within use `count` threads; afterwards as many as before.

    The count is one for the process as far as torch keeps it, and each thread's own as far as
    OpenMP does: threads that are started within must go through `in_background`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_background(items: Iterable[Item], *, depth: int) -> Generator[Item, None, None]:
    """`prefetch` by a thread whose operations use as many threads as the caller's do now.

    Gradient modes and autocast are a thread's own too, and are not handed on: `items` enters them.
    """
    count = torch.get_num_threads()
    return prefetch(items, depth=depth, on_start=functools.partial(torch.set_num_threads, count))
