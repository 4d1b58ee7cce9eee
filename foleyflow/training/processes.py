"""The one file that knows of training in many processes: how they meet, and what they share.

`torchrun` and `accelerate launch` start the same command in every process and say who is who in
the environment; torch's own DDP and FSDP do the rest, so nothing beyond torch is needed. Alone, a
process does none of this, nor does it wait the seconds that FSDP takes to be imported. Journal and
checkpoints are the first process's; a checkpoint holds whole tensors, so that any number of
processes can go on with it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from foleyflow.errors import ConfigError
from foleyflow.parallel.batch_sharding import sharded_batch
from foleyflow.training.task import Batch, Task, TrainConfig

# The first process may compute what a data set lacks while the others wait for it.
PATIENCE = timedelta(hours=4)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Who trains together.

    Attributes:
        rank: of this process, over all machines.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the journal, the checkpoints and the model."""
        return self.rank == 0

    def rows(self, config: TrainConfig) -> NDArray[np.int64]:
        """Which rows of each batch are this process's: of every accumulation part as many.

        Raises:
            ConfigError: the batch can't be shared out evenly.
        """
        share, rest = divmod(config.batch_clips, config.accumulate * self.count)
        if rest:
            raise ConfigError(
                f"train.batch_clips={config.batch_clips}: can't be shared out evenly to "
                f"{self.count} processes with train.accumulate={config.accumulate}",
                hint="start as many processes as divide the batch, or set another batch",
            )
        places = np.arange(config.batch_clips).reshape(config.accumulate, self.count, share)
        return places[:, self.rank].ravel()

    def mean(self, figures: dict[str, float]) -> dict[str, float]:
        """Means over all processes of the same figures."""
        if self.count == 1:
            return figures
        values = torch.tensor(list(figures.values()), dtype=torch.float64, device=_own_device())
        distributed.all_reduce(values)
        return dict(zip(figures, (values / self.count).tolist(), strict=True))

    def gather_text(self, text: str) -> list[str]:
        """What each process says, in the order of ranks."""
        if self.count == 1:
            return [text]
        texts: list[Any] = [None] * self.count
        distributed.all_gather_object(texts, text)
        return texts

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """The first process goes through before the others: what it stores, they find."""
        if not self.leads:
            distributed.barrier()
        yield
        if self.leads and self.count > 1:
            distributed.barrier()

    def same_weights_(self, *modules: nn.Module) -> None:
        """Gives all processes the first one's parameters and buffers."""
        if self.count > 1:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    distributed.broadcast(tensor.detach(), 0)


SINGLE_PROCESS = Processes()
Module = TypeVar("Module", bound=nn.Module)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Meets the other processes that torchrun or `accelerate launch` started, if it did.

    Args:
        device: as the command line says; a CUDA device without a number becomes the one of this
            process's place on its machine.

    Yields:
        The processes, and this one's device.

    Source: torch's environment variables (torch.distributed, "env://").
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS, device
        return
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        with warnings.catch_warnings():
            # Which parts a loss leaves out depends on the recipe; looking for them costs little.
            warnings.filterwarnings("ignore", message=r"find_unused_parameters=True")
            yield (
                Processes(rank=distributed.get_rank(), count=distributed.get_world_size()),
                device,
            )
    finally:
        distributed.destroy_process_group()


class LossModule(nn.Module):
    """A turn's loss as the forward pass of a module: what DDP and FSDP know how to wrap.

    Tasks call a model's methods, not only `forward`; wrapped from outside, all of them are within.
    """

    def __init__(self, task: Task, turn: str, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._task, self._turn = task, turn

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """See `Task.loss`."""
        return self._task.loss(self._turn, batch, step)


class Turn:
    """How one turn's loss is computed and differentiated, whoever else takes part."""

    def __init__(
        self, task: Task, turn: str, module: nn.Module, processes: Processes, config: TrainConfig
    ) -> None:
        self._processes = processes
        self._sharded = False
        self._loss: Callable[[Batch, int], tuple[Tensor, dict[str, float]]]
        if processes.count == 1:
            self._loss = lambda batch, step: task.loss(turn, batch, step)
        elif config.shard:
            self._loss = shard_(LossModule(task, turn, module))
            self._sharded = True
        else:
            self._loss = DistributedDataParallel(
                LossModule(task, turn, module),
                broadcast_buffers=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
                init_sync=False,
            )

    @contextlib.contextmanager
    def part(
        self, *, last: bool
    ) -> Iterator[Callable[[Batch, int], tuple[Tensor, dict[str, float]]]]:
        """Gives the loss of a part of the batch; gradients meet in the last one's backward pass."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(sharded_batch(self._processes.rank, self._processes.count))
            if isinstance(self._loss, DistributedDataParallel) and not last:
                stack.enter_context(self._loss.no_sync())
            if self._sharded:
                cast(Any, self._loss).set_requires_gradient_sync(last)
            yield self._loss


def check_shardable(task: Task) -> None:
    """Raises ConfigError for a task whose modules look at each other's weights."""
    if len(task.turns) > 1 or set(task.modules) != set(task.turns):
        raise ConfigError(
            f"train.shard=True: expected a task of one module, this one has "
            f"{', '.join(task.modules)}",
            hint="set train.shard=false; each process then holds all weights",
        )
    for module in task.modules.values():
        for name, parameter in module.named_parameters():
            if not parameter.ndim:
                raise ConfigError(
                    f"train.shard=True: {name!r} is a single number, which can't be shared out",
                    hint="set train.shard=false; contrast between clips needs it",
                )


def shard_(module: Module) -> Module:
    """Parameters become shares of themselves; each block of a stack comes and goes as one."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(_own_device().type, (distributed.get_world_size(),))
    for child in list(module.modules()):
        if isinstance(child, nn.ModuleList):
            for block in child:
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def whole(value: Tensor) -> Tensor:
    """A tensor with all of its shares; every process must ask for it.

    Source: ours.
    """
    return cast(Any, value).full_tensor() if _is_share(value) else value


def shared_like(value: Tensor, own: Tensor) -> Tensor:
    """A whole tensor in the shares that `own` has; itself where that is whole.

    Source: ours.
    """
    if not _is_share(own):
        return value
    share = cast(Any, own)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        value.to(own.device), share.device_mesh, share.placements, src_data_rank=None
    )


def _is_share(tensor: Tensor) -> bool:
    """Whether it is one of torch's DTensors, whose package alone takes seconds to import."""
    return hasattr(tensor, "full_tensor")


class UnshardedCopies:
    """Modules as they are without shares, for who validates or exports them."""

    def __init__(self, modules: dict[str, nn.Module], *, sharded: bool) -> None:
        """Takes modules before they are sharded."""
        self._modules = modules
        self._plain = {n: copy.deepcopy(m).cpu() for n, m in modules.items()} if sharded else None

    def __call__(self, device: torch.device) -> dict[str, nn.Module]:
        """The modules with their present weights; every process must ask."""
        if self._plain is None:
            return self._modules
        for name, module in self._modules.items():
            state = {key: whole(value) for key, value in module.state_dict().items()}
            self._plain[name].to(device).load_state_dict(state)
        return self._plain


def _own_device() -> torch.device:
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
