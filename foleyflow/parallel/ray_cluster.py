"""Distributes work on a Ray cluster; the only module that imports Ray.

Ray repeats a task whose worker died. Nothing is lost, because a task writes its outputs atomically
and a repeated task writes the same outputs. All machines must have foleyflow installed and see the
same files.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from types import ModuleType
from typing import Any, Protocol, TextIO, TypeVar, cast

from foleyflow.errors import ConfigError, FoleyflowError, MissingExtra
from foleyflow.parallel.precision import PRECISION_VARIABLE, precision_setting
from foleyflow.system.generic_types import Item

ATTEMPTS = 3  # per task, if its worker dies
AHEAD = 4  # submitted tasks per processor
LOCAL = "local"

Result = TypeVar("Result")


class ParallelMap(Protocol):
    """A function that applies work to items: `map`, or `RayCluster.parallel_map`."""

    def __call__(
        self, work: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """The results of all items, in their order.

        `work` must be importable (a function at the top of a module). Items and results should be
        small; large data is read and written as files.
        """


class RayCluster:
    """A connection to a Ray cluster, as a context manager."""

    def __init__(self, address: str) -> None:
        """Takes "local" for a cluster that starts and ends here, "auto" for the one that this
        machine belongs to, or an address ("10.0.0.1:6379", "ray://10.0.0.1:10001").

        Raises:
            MissingExtra: Ray is not installed.
        """
        self.address = address
        self._ray = _import_ray()
        self._stack = ExitStack()

    def __enter__(self) -> RayCluster:
        """Connects, unless this process is already connected.

        Raises:
            ConfigError: no cluster can be reached at the address.
        """
        self._stack.enter_context(redirect_stdout(cast(TextIO, _OwnThreadOnly())))
        if self._ray.is_initialized():
            return self
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local = {"include_dashboard": False} if self.address == LOCAL else {}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                address=self.address, log_to_driver=False, logging_level=logging.WARNING, **local
            )
            # Ray replaces the program's handler of SIGTERM.
            if callable(handler) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
        except (ConnectionError, ValueError, RuntimeError) as error:
            self._stack.close()
            raise ConfigError(
                f"--ray {self.address}: {str(error).splitlines()[0]}",
                hint="start a cluster with `ray start --head`, or use --ray local",
            ) from error
        self._stack.callback(self._ray.shutdown)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def has_gpus(self) -> bool:
        """Whether any machine of the cluster offers a GPU."""
        return bool(self._ray.cluster_resources().get("GPU", 0))

    def parallel_map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        /,
        *,
        gpus: float = 0.0,
        max_pending: int | None = None,
        calls_per_worker: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Result]:
        """The results of all items, in their order; see `ParallelMap`.

        Args:
            work: applied to one item, on one processor.
            items: taken as they are needed.
            gpus: that each task needs.
            max_pending: tasks that are submitted ahead; None for four per processor.
            calls_per_worker: a worker is replaced after this number of tasks; 0 for never.
            environment: variables for the workers, in addition to the precision setting.

        Raises:
            FoleyflowError: the workers of one item died `ATTEMPTS` times.
            Exception: an exception of `work`, which is not repeated.
        """
        ray = self._ray
        remote = ray.remote(
            num_cpus=1,
            num_gpus=gpus,
            max_retries=ATTEMPTS - 1,
            max_calls=calls_per_worker,
            runtime_env={"env_vars": {**_precision_variable(), **(environment or {})}},
        )(_do)
        limit = max_pending or AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        # Results are yielded in order, while up to `limit` tasks are submitted ahead
        waiting: deque[Any] = deque()
        remaining, folder = iter(items), os.getcwd()
        try:
            while True:
                waiting.extend(
                    remote.remote(work, item, folder)
                    for item in itertools.islice(remaining, limit - len(waiting))
                )
                if not waiting:
                    return
                yield self._result(waiting.popleft())
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            raise error.cause from error
        except exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise FoleyflowError(
                f"a worker died {ATTEMPTS} times at the same work: {reason}",
                hint="finished outputs are kept; check Ray's logs, then run the command again",
            ) from error


@contextmanager
def optional_parallel_map(address: str | None) -> Iterator[ParallelMap | None]:
    """A context with the `parallel_map` of the cluster at an address; with None if it is None."""
    if address is None:
        yield None
        return
    with RayCluster(address) as cluster:
        yield cluster.parallel_map


class _OwnThreadOnly:
    """Stdout for the thread that creates it; output of other threads goes to stderr.

    Ray reports lost workers on stdout, where a program expects a command's result.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._stdout, self._stderr = sys.stdout, sys.stderr

    def write(self, text: str) -> int:
        """Writes to the stream of the calling thread."""
        own = threading.get_ident() == self._thread
        return (self._stdout if own else self._stderr).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


def _do(work: Callable[[Item], Result], item: Item, folder: str) -> Result:
    os.chdir(folder)  # so that relative paths have the same meaning as in the calling process
    return work(item)


def _precision_variable() -> dict[str, str]:
    """The precision setting for workers of a running cluster.

    It is left out if it is "auto", because Ray starts new workers for each set of variables.
    """
    setting = precision_setting()
    return {} if setting == "auto" else {PRECISION_VARIABLE: setting}


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "cluster") from error
    module: ModuleType = ray
    return module
