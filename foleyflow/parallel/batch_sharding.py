"""Collectives that make sharded losses equal to single-process losses.

Losses are written as if one process had the full batch. Three operations differ if each process has
a shard of it: random numbers, which must depend on an item's position in the batch; means over a
number of elements that differs between shards; and comparisons between items. Each has a function
here, which changes nothing in a single process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """Shard `index` of `count` shards of equal size, in the order of the batch."""

    index: int
    count: int


_shard: ContextVar[_Shard | None] = ContextVar("shard", default=None)


@contextmanager
def sharded_batch(index: int, count: int) -> Iterator[None]:
    """In the block, each batch is shard `index` of `count`; every process enters its own."""
    token = _shard.set(_Shard(index=index, count=count) if count > 1 else None)
    try:
        yield
    finally:
        _shard.reset(token)


def sample_for_full_batch(sample: Callable[[int], Tensor], size: int) -> Tensor:
    """Random values (size, ...) for this shard, sampled as a single process does.

    `sample` returns (n, ...) for n items, from torch's generator, whose state is the same in all
    processes.
    """
    shard = _shard.get()
    if shard is None:
        return sample(size)
    return sample(size * shard.count)[shard.index * size : (shard.index + 1) * size]


def normal_like(tensor: Tensor) -> Tensor:
    """Standard normal values in the shape (B, ...) of a tensor, see `sample_for_full_batch`."""
    if _shard.get() is None:
        return torch.randn_like(tensor)

    def sample(size: int) -> Tensor:
        return torch.randn(size, *tensor.shape[1:], dtype=tensor.dtype, device=tensor.device)

    return sample_for_full_batch(sample, len(tensor))


def rescale_to_global_mean(mean: Tensor, count: Tensor) -> Tensor:
    """Rescales this shard's mean so that the mean over all shards is that over all elements.

    `mean` is () over the `count` elements of this shard; 0 if it has none.
    """
    shard = _shard.get()
    if shard is None:
        return mean
    total = count.detach().float().clone()
    distributed.all_reduce(total)
    return mean * (count * shard.count / total.clamp_min(1))


def any_rank(flags: Tensor) -> bool:
    """Whether any flag is set in any shard.

    All processes must take the same branch through a network whose weights are sharded.
    """
    found = flags.any()
    if _shard.get() is not None:
        number = found.int()
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        found = number
    return bool(found)


def all_gather_with_grad(items: Tensor) -> Tensor:
    """The items of all shards (B, ...) in the order of the batch, with gradients to each shard.

    Reference: the gathered features of OpenCLIP's contrastive loss.
    """
    if _shard.get() is None:
        return items
    from torch.distributed.nn import functional

    return torch.cat(functional.all_gather(items.contiguous()))
