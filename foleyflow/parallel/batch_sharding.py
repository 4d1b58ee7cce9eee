"""A batch that several processes share out: what a part must know of the whole.

Losses are written as if the whole batch were there. Where each process has some of its rows, three
things would differ from a single process: chance (which must follow a row's place in the batch and
not the process it is in), means over a number of things that differs from part to part, and
comparisons between rows. This file has a function for each. Nobody who calls them sees a rank;
in a single process each does, bit by bit, what it would do without this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, kw_only=True)
class _Share:
    """Part `index` of `count` parts of the same size, in the order of rows."""

    index: int
    count: int


_share: ContextVar[_Share | None] = ContextVar("share", default=None)


@contextmanager
def sharded_batch(index: int, count: int) -> Iterator[None]:
    """Within it, batches are part `index` of `count`; every process must be in its own.

    Source: ours.
    """
    token = _share.set(_Share(index=index, count=count) if count > 1 else None)
    try:
        yield
    finally:
        _share.reset(token)


def sample_for_full_batch(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """Chance for the rows that are here, as it would be drawn for the whole batch.

    Args:
        draw: gives (n, ...) for a batch of n rows, from torch's generator, which all processes
            have in the same state.
        rows: that are here.

    Returns:
        (rows, ...).

    Source: ours.
    """
    share = _share.get()
    if share is None:
        return draw(rows)
    return draw(rows * share.count)[share.index * rows : (share.index + 1) * rows]


def normal_like(tensor: Tensor) -> Tensor:
    """Standard normal numbers in the shape of (rows, ...), see `sample_for_full_batch`."""
    if _share.get() is None:
        return torch.randn_like(tensor)

    def draw(rows: int) -> Tensor:
        return torch.randn(rows, *tensor.shape[1:], dtype=tensor.dtype, device=tensor.device)

    return sample_for_full_batch(draw, len(tensor))


def rescale_to_global_mean(mean: Tensor, count: Tensor) -> Tensor:
    """A mean over things that some parts have more of, weighted by what this part has of them.

    Args:
        mean: () over the things here; 0 where there are none.
        count: () how many there are here.

    Returns:
        (): its mean over all parts is the mean over all things.

    Source: ours.
    """
    share = _share.get()
    if share is None:
        return mean
    total = count.detach().float().clone()
    distributed.all_reduce(total)
    return mean * (count * share.count / total.clamp_min(1))


def any_rank(flags: Tensor) -> bool:
    """Whether any flag is set in any part: all parts must take the same way through a network
    whose weights lie in shares.

    Source: ours.
    """
    found = flags.any()
    if _share.get() is not None:
        number = found.int()
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        found = number
    return bool(found)


def all_gather_with_grad(rows: Tensor) -> Tensor:
    """The rows of all parts in the order of the batch, with their gradients.

    Args:
        rows: (b, ...) of this part.

    Returns:
        (B, ...).

    Source: ours; gradients as in OpenCLIP's gathered features, by torch's own collective.
    """
    if _share.get() is None:
        return rows
    from torch.distributed.nn import functional

    return torch.cat(functional.all_gather(rows.contiguous()))
