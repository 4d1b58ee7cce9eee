"""Chooses and sets the number of threads of torch's operations.

The threads of an operation wait for each other by spinning: if another process keeps one of them
from running, all take many times longer. Small networks therefore run on one thread, and the stages
of a stream run at the same time instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import nn

from foleyflow.errors import ConfigError
from foleyflow.parallel.prefetch import prefetch
from foleyflow.system.generic_types import Item

PARAMETERS_PER_THREAD = 50_000_000  # the embedded model has 17 million parameters


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(parameter_count: int) -> int:
    """One thread per 50 million parameters, rounded up, and at most one per core."""
    return min(max(1, -(-parameter_count // PARAMETERS_PER_THREAD)), available_cores())


def choose_threads(wanted: int | None, networks: Iterable[nn.Module]) -> int:
    """Threads per operation: `wanted`, or the default for the networks if it is None or 0.

    Raises:
        ConfigError: a negative number.
    """
    if wanted is not None and wanted < 0:
        raise ConfigError(
            f"threads={wanted}: expected 0 or more",
            hint="None and 0 choose by the size of the model",
        )
    parameters = (p.numel() for network in networks for p in network.parameters())
    return wanted or default_threads(sum(parameters))


@contextmanager
def worker_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that start no new work once the caller has stopped."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch operations in the block use `count` threads; the previous number is restored.

    Torch keeps the number per process, but OpenMP keeps it per thread: threads that are started
    in the block must go through `in_background`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_background(items: Iterable[Item], *, depth: int) -> Generator[Item, None, None]:
    """`prefetch` in a thread whose operations use as many threads as the caller's.

    Gradient mode and autocast are per thread and not passed on: `items` must enter them itself.
    """
    count = torch.get_num_threads()
    return prefetch(items, depth=depth, on_start=functools.partial(torch.set_num_threads, count))
