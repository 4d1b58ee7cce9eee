"""Training in several processes: the only module that uses torch's DDP and FSDP.

`torchrun` and `accelerate launch` start the same command in every process and describe the group
in environment variables. A single process does not import FSDP, which takes seconds. Only the first
process writes the journal and checkpoints. A checkpoint contains unsharded tensors, so that a run
can be resumed with a different number of processes.
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

# The first process may compute cached features while the others wait for it.
TIMEOUT = timedelta(hours=4)

LossFunction = Callable[[Batch, int], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The number of processes of a run over all machines, and the rank of this one."""

    rank: int = 0
    count: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process writes the journal, the checkpoints and the model."""
        return self.rank == 0

    def items(self, config: TrainConfig) -> NDArray[np.int64]:
        """Positions of this process's items in a batch, equally many in each accumulation part.

        Raises:
            ConfigError: the batch cannot be divided evenly.
        """
        per_part, rest = divmod(config.batch_clips, config.accumulate * self.count)
        if rest:
            raise ConfigError(
                f"train.batch_clips={config.batch_clips}: cannot be divided evenly between "
                f"{self.count} processes with train.accumulate={config.accumulate}",
                hint="set train.batch_clips to a multiple, or start another number of processes",
            )
        positions = np.arange(config.batch_clips).reshape(config.accumulate, self.count, per_part)
        return positions[:, self.rank].ravel()

    def mean(self, figures: dict[str, float]) -> dict[str, float]:
        """The mean of each figure over all processes."""
        if self.count == 1:
            return figures
        values = torch.tensor(list(figures.values()), dtype=torch.float64, device=_own_device())
        distributed.all_reduce(values)
        return dict(zip(figures, (values / self.count).tolist(), strict=True))

    def gather_text(self, text: str) -> list[str]:
        """The text of each process, in the order of ranks."""
        if self.count == 1:
            return [text]
        texts: list[Any] = [None] * self.count
        distributed.all_gather_object(texts, text)
        return texts

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """The other processes enter after the first one has left, so that they find its caches."""
        if not self.is_leader:
            distributed.barrier()
        yield
        if self.is_leader and self.count > 1:
            distributed.barrier()

    def broadcast_weights_(self, *modules: nn.Module) -> None:
        """Copies the first process's parameters and buffers to all processes."""
        if self.count > 1:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    distributed.broadcast(tensor.detach(), 0)


SINGLE_PROCESS = Processes()
Module = TypeVar("Module", bound=nn.Module)


@contextlib.contextmanager
def join_processes(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Joins the process group of torchrun or `accelerate launch`, if this process is in one.

    Yields:
        The processes, and this process's device: "cuda" without a number becomes the device of the
        local rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS, device
        return
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        with warnings.catch_warnings():
            # Which parameters a loss uses depends on the recipe; searching for them costs little.
            warnings.filterwarnings("ignore", message=r"find_unused_parameters=True")
            yield (
                Processes(rank=distributed.get_rank(), count=distributed.get_world_size()),
                device,
            )
    finally:
        distributed.destroy_process_group()


class LossModule(nn.Module):
    """The loss of a phase as the forward pass of a module, which DDP and FSDP can wrap.

    Tasks call several methods of a model, not only `forward`.
    """

    def __init__(self, task: Task, phase: str, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._task, self._phase = task, phase

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """See `Task.loss`."""
        return self._task.loss(self._phase, batch, step)


class PhaseLoss:
    """The loss of one phase with the gradient synchronisation of one or several processes."""

    def __init__(
        self, task: Task, phase: str, module: nn.Module, processes: Processes, config: TrainConfig
    ) -> None:
        self._processes = processes
        self._sharded = processes.count > 1 and config.shard
        self._loss: LossFunction
        if processes.count == 1:
            self._loss = lambda batch, step: task.loss(phase, batch, step)
        elif self._sharded:
            self._loss = shard_(LossModule(task, phase, module))
        else:
            self._loss = DistributedDataParallel(
                LossModule(task, phase, module),
                broadcast_buffers=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
                init_sync=False,
            )

    @contextlib.contextmanager
    def of_part(self, *, is_last: bool) -> Iterator[LossFunction]:
        """The loss function of a part of the batch; the last part synchronises the gradients."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(sharded_batch(self._processes.rank, self._processes.count))
            if isinstance(self._loss, DistributedDataParallel) and not is_last:
                stack.enter_context(self._loss.no_sync())
            if self._sharded:
                cast(Any, self._loss).set_requires_gradient_sync(is_last)
            yield self._loss


def check_shardable(task: Task) -> None:
    """Raises ConfigError for a task whose weights cannot be sharded."""
    if len(task.phases) > 1 or set(task.modules) != set(task.phases):
        raise ConfigError(
            f"train.shard=True: expected a task of one module, this one has "
            f"{', '.join(task.modules)}",
            hint="set train.shard=false, so that each process keeps all weights",
        )
    for module in task.modules.values():
        for name, parameter in module.named_parameters():
            if not parameter.ndim:
                raise ConfigError(
                    f"train.shard=True: {name!r} is a single number, which cannot be sharded",
                    hint="set train.shard=false; contrast between clips needs it",
                )


def shard_(module: Module) -> Module:
    """Shards the parameters; each block of a stack is gathered and released as one unit."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(_own_device().type, (distributed.get_world_size(),))
    for child in list(module.modules()):
        if isinstance(child, nn.ModuleList):
            for block in child:
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def unsharded(value: Tensor) -> Tensor:
    """The complete tensor; if it is sharded, every process must call this."""
    return cast(Any, value).full_tensor() if _is_sharded(value) else value


def shard_like(value: Tensor, own: Tensor) -> Tensor:
    """A complete tensor with the sharding of `own`."""
    if not _is_sharded(own):
        return value
    from torch.distributed.tensor import distribute_tensor

    sharding = cast(Any, own)
    return distribute_tensor(
        value.to(own.device), sharding.device_mesh, sharding.placements, src_data_rank=None
    )


def _is_sharded(tensor: Tensor) -> bool:
    """Whether this is a DTensor, whose package alone takes seconds to import."""
    return hasattr(tensor, "full_tensor")


class UnshardedCopies:
    """Modules with complete weights, for validation and export."""

    def __init__(self, modules: dict[str, nn.Module], *, sharded: bool) -> None:
        """Takes the modules before they are sharded."""
        self._modules = modules
        self._copies = {n: copy.deepcopy(m).cpu() for n, m in modules.items()} if sharded else None

    def __call__(self, device: torch.device) -> dict[str, nn.Module]:
        """The modules with their present weights; every process must call this."""
        if self._copies is None:
            return self._modules
        for name, module in self._modules.items():
            state = {key: unsharded(value) for key, value in module.state_dict().items()}
            self._copies[name].to(device).load_state_dict(state)
        return self._copies


def _own_device() -> torch.device:
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
