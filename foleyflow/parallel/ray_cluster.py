"""Work that many machines share, by Ray: the only file that knows it.

Ray starts workers, hands them work, and gives what a lost worker had to another one. Nothing is
lost or done twice because whoever does the work writes its output at once, by renaming; a piece of
work whose worker died is done again and leaves the same output. All machines must see the same
files and have foleyflow installed.
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
from contextlib import ExitStack, redirect_stdout
from types import ModuleType
from typing import Any, Protocol, TextIO, TypeVar, cast

from foleyflow.errors import ConfigError, FoleyflowError, MissingExtra
from foleyflow.parallel.precision import PRECISION_VARIABLE, precision_setting

ATTEMPTS = 3  # at one piece of work, should its worker die
AHEAD = 4  # pieces of work handed out for each processor
LOCAL = "local"

Item = TypeVar("Item")
Result = TypeVar("Result")


class ParallelMap(Protocol):
    """A way to do work: `map` in this process, `RayCluster.spread` on many machines."""

    def __call__(
        self, work: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """The results of all items, in their order.

        `work` must be importable (a function at the top of a module), and its items and results
        small enough to travel; larger things it reads and writes as files.
        """


class RayCluster:
    """A context in which work can be handed out."""

    def __init__(self, address: str) -> None:
        """Takes "local" for one that starts and ends here, "auto" for the one this machine is in,
        or an address as Ray has them ("10.0.0.1:6379", "ray://10.0.0.1:10001").

        Raises:
            MissingExtra: Ray is not installed.
        """
        self.address = address
        self._ray = _imported()
        self._stack = ExitStack()

    def __enter__(self) -> RayCluster:
        """Connects, unless this process is connected already.

        Raises:
            ConfigError: nobody answers at the address.
        """
        self._stack.enter_context(redirect_stdout(cast(TextIO, _OwnThreadOnly())))
        if self._ray.is_initialized():
            return self
        # What a cluster of our own would send to Ray's makers is nobody's business.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {"include_dashboard": False} if self.address == LOCAL else {}
        ends_by = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                address=self.address, log_to_driver=False, logging_level=logging.WARNING, **own
            )
            # Ray puts a handler of its own in place of the program's, which would go unheard.
            if callable(ends_by) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ends_by)
        except (ConnectionError, ValueError, RuntimeError) as error:
            self._stack.close()
            raise ConfigError(
                f"--ray {self.address}: {str(error).splitlines()[0]}",
                hint="`ray start --head` begins a cluster; --ray local needs none",
            ) from error
        self._stack.callback(self._ray.shutdown)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def has_gpus(self) -> bool:
        """Whether any of its machines offers one."""
        return bool(self._ray.cluster_resources().get("GPU", 0))

    def parallel_map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        /,
        *,
        gpus: float = 0.0,
        at_once: int | None = None,
        calls_per_worker: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Result]:
        """See `Spread`.

        Args:
            work: what is to be done to one item, on one processor.
            items: taken as they are needed.
            gpus: that it needs.
            at_once: pieces of work at a time; None for a few more than there are processors.
            calls_per_worker: a worker ends after so many, and another starts; 0 for never.
            environment: variables for the workers, besides the precision chosen here.

        Raises:
            FoleyflowError: an item's workers died `ATTEMPTS` times.
            Exception: whatever `work` raised, which is not tried again.

        Source: ours; retries are Ray's.
        """
        ray = self._ray
        remote = ray.remote(
            num_cpus=1,
            num_gpus=gpus,
            max_retries=ATTEMPTS - 1,
            max_calls=calls_per_worker,
            runtime_env={"env_vars": {**_chosen_precision(), **(environment or {})}},
        )(_do)
        limit = at_once or AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[Any] = deque()
        rest, folder = iter(items), os.getcwd()
        try:
            while True:
                waiting.extend(
                    remote.remote(work, item, folder)
                    for item in itertools.islice(rest, limit - len(waiting))
                )
                if not waiting:
                    return
                yield self._result(waiting.popleft())
        finally:
            for left in waiting:
                ray.cancel(left, force=True)

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
                hint="what is finished is kept; look at Ray's logs, then say the command again",
            ) from error


class _OwnThreadOnly:
    """Stdout for the thread that makes it; what others print there, as Ray does, is for stderr.

    Ray tells of lost workers on stdout, where a program expects a command's answer.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._out, self._others = sys.stdout, sys.stderr

    def write(self, text: str) -> int:
        """Writes where the calling thread's words belong."""
        return (self._out if threading.get_ident() == self._thread else self._others).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


def _do(work: Callable[[Item], Result], item: Item, folder: str) -> Result:
    os.chdir(folder)  # so that relative paths mean what they mean to whoever hands out the work
    return work(item)


def _chosen_precision() -> dict[str, str]:
    """The variable that hands the precision on to workers of a cluster that others started.

    Without a choice there is none, for workers with variables are started afresh.
    """
    setting = precision_setting()
    return {} if setting == "auto" else {PRECISION_VARIABLE: setting}


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "cluster") from error
    module: ModuleType = ray
    return module
