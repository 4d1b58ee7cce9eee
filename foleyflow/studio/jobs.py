"""Runs work in threads, one after the other in each lane; the projects of a lane take turns."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from foleyflow.errors import FoleyflowError
from foleyflow.studio.problems import NotFound, TooMany
from foleyflow.system.allocator import release_freed_memory
from foleyflow.system.memory import memory_error_of
from foleyflow.system.printable import printable

logger = logging.getLogger(__name__)

MOST_WAITING = 200  # jobs of one lane
KEPT_FINISHED = 100
SHORTEST_UPDATE_S = 0.25  # between two events of a job
CERTAIN_PROGRESS = 0.02  # from which on the time left is estimated

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Cancelled(Exception):
    """Raised in the thread of a job that was cancelled."""


@dataclass(eq=False, kw_only=True)
class Job:
    """A piece of work.

    Attributes:
        id, project, kind, label: as the API shows them.
        work: called with the job; returns the result.
        is_shown: whether the API lists it.
        state, progress, result, error: its present state; `error` is for the user.
        problem: the exception of a failed job.
        finished: set when the state is final.
    """

    id: str
    project: str
    kind: str
    label: str
    work: Callable[[Job], Any]
    is_shown: bool = True
    state: State = "waiting"
    progress: float | None = None
    result: Any = None
    error: dict[str, str] | None = None
    problem: BaseException | None = None
    finished: threading.Event = field(default_factory=threading.Event)
    started_s: float = 0.0
    published_s: float = 0.0
    is_cancelled: bool = False
    _changed: Callable[[Job], None] = lambda job: None

    def report(self, fraction: float) -> None:
        """Sets the progress, which never falls.

        Raises:
            Cancelled: the job was cancelled.
        """
        if self.is_cancelled:
            raise Cancelled
        self.progress = max(self.progress or 0.0, min(max(fraction, 0.0), 1.0))
        if time.monotonic() - self.published_s >= SHORTEST_UPDATE_S:
            self._changed(self)

    def part(self, start: float, end: float) -> Callable[[float], None]:
        """A function like `report` for the part of the progress from `start` to `end`."""
        return lambda fraction: self.report(start + min(fraction, 1.0) * (end - start))

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the progress so far; None if unknown."""
        if self.state != "running" or self.progress is None or self.progress < CERTAIN_PROGRESS:
            return None
        elapsed_s = time.monotonic() - self.started_s
        return round(elapsed_s * (1 - self.progress) / self.progress, 1)


class Lane:
    """A thread with a queue for each project; the projects take turns."""

    def __init__(self, name: str, changed: Callable[[Job], None], *, releases_memory: bool) -> None:
        self._releases_memory = releases_memory
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._condition = threading.Condition()
        self._changed = changed
        self.running: Job | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"studio-{name}", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Appends a job.

        Raises:
            TooMany: the queue is full.
        """
        with self._condition:
            if sum(map(len, self._waiting.values())) >= MOST_WAITING:
                raise TooMany(
                    f"{MOST_WAITING} jobs are waiting already",
                    hint="wait until some are finished, or cancel them",
                )
            self._waiting.setdefault(job.project, deque()).append(job)
            self._condition.notify()

    def remove(self, job: Job) -> bool:
        """Removes a waiting job; False if it does not wait here."""
        with self._condition:
            queue = self._waiting.get(job.project, deque())
            if job not in queue:
                return False
            queue.remove(job)
            if not queue:
                del self._waiting[job.project]
            return True

    def before(self, job: Job) -> int:
        """The number of jobs that run before a waiting one."""
        with self._condition:
            queue = list(self._waiting.get(job.project, ()))
            if job not in queue:
                return 0
            turn, own = queue.index(job), list(self._waiting).index(job.project)
            others = [
                min(len(other), turn + (place < own))
                for place, other in enumerate(self._waiting.values())
                if place != own
            ]
            return turn + sum(others) + (self.running is not None)

    def close(self) -> None:
        """Lets the thread end after the present job."""
        with self._condition:
            self._is_closed = True
            self._waiting.clear()
            self._condition.notify()

    def join(self, timeout_s: float) -> bool:
        """Waits for the end of a closed lane; False if its job does not end in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _next(self) -> Job | None:
        with self._condition:
            while not self._waiting and not self._is_closed:
                self._condition.wait()
            if self._is_closed:
                return None
            project, queue = self._waiting.popitem(last=False)
            job = queue.popleft()
            if queue:
                self._waiting[project] = queue  # at the end: the others have their turn first
            self.running = job
            return job

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job.state, job.started_s = "running", time.monotonic()
            self._changed(job)
            try:
                job.result = job.work(job)
                job.progress, job.state = 1.0, "done"
            except Cancelled:
                job.state = "cancelled"
            except Exception as problem:  # the next job has to run in any case
                job.error = describe_problem(problem)
                job.problem = _without_frames(problem)
                job.state = "failed"
            job.work = _nothing  # what it refers to can be freed
            self.running = None
            job.finished.set()
            self._changed(job)
            if self._releases_memory:
                release_freed_memory()


def _without_frames(problem: Exception) -> Exception:
    """The exception without its frames, which refer to all that the job has used."""
    cause: BaseException | None = problem
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return problem


def _nothing(job: Job) -> None:
    """The work of a finished job."""


class Jobs:
    """All jobs, in lanes by name.

    Args:
        lanes: names.
        changed: called from any thread when a shown job changes.
        quick: lanes that do not return freed memory to the system after each job.
    """

    def __init__(
        self,
        lanes: tuple[str, ...],
        changed: Callable[[Job], None],
        *,
        quick: tuple[str, ...] = (),
    ) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._on_change = changed
        self._lanes = {
            name: Lane(name, self._changed, releases_memory=name not in quick) for name in lanes
        }

    def start(
        self,
        lane: str,
        work: Callable[[Job], Any],
        *,
        project: str,
        kind: str,
        label: str = "",
        is_shown: bool = True,
    ) -> Job:
        """Queues work.

        Raises:
            TooMany: the lane is full.
        """
        job = Job(
            id=f"j{next(self._numbers)}",
            project=project,
            kind=kind,
            label=label,
            work=work,
            is_shown=is_shown,
            _changed=self._changed,
        )
        with self._lock:
            self._jobs[job.id] = job
            finished = [each.id for each in self._jobs.values() if each.finished.is_set()]
            for name in finished[:-KEPT_FINISHED]:
                del self._jobs[name]
        try:
            self._lanes[lane].put(job)
        except TooMany:
            with self._lock:
                del self._jobs[job.id]
            raise
        if not job.finished.is_set():
            self._changed(job)
        return job

    def cancel(self, job: Job) -> None:
        """Removes a waiting job, or lets a running one end at its next report of progress."""
        job.is_cancelled = True
        if any(lane.remove(job) for lane in self._lanes.values()):
            job.state = "cancelled"
            job.finished.set()
            self._changed(job)

    def cancel_of(self, project: str) -> None:
        """Cancels all jobs of a project."""
        for job in self.listed(project, hidden=True):
            if not job.finished.is_set():
                self.cancel(job)

    def get(self, name: str) -> Job:
        """The job with an id.

        Raises:
            NotFound: there is none.
        """
        with self._lock:
            job = self._jobs.get(name)
        if job is None or not job.is_shown:
            raise NotFound("there is no such job", hint="finished jobs are forgotten after a while")
        return job

    def listed(self, project: str | None, *, hidden: bool = False) -> list[Job]:
        """The jobs of a project, or of all, in order of their start."""
        with self._lock:
            jobs = list(self._jobs.values())
        return [job for job in jobs if project in (None, job.project) and (hidden or job.is_shown)]

    def to_json(self, job: Job) -> dict[str, Any]:
        """A job as the API shows it."""
        waiting = [lane.before(job) for lane in self._lanes.values()]
        return {
            "id": job.id,
            "project": job.project,
            "kind": job.kind,
            "state": job.state,
            "label": job.label,
            "progress": None if job.progress is None else round(job.progress, 4),
            "seconds_left": job.seconds_left,
            "waiting_for": max(waiting),
            "error": job.error,
            "result": job.result,
        }

    def close(self) -> None:
        """Lets all threads end."""
        for job in self.listed(None, hidden=True):
            job.is_cancelled = True
        for lane in self._lanes.values():
            lane.close()

    def join(self, timeout_s: float) -> bool:
        """Waits for the end of all closed lanes; False if a job does not end in time."""
        end_s = time.monotonic() + timeout_s
        lanes = self._lanes.values()
        return all([lane.join(max(end_s - time.monotonic(), 0.0)) for lane in lanes])

    def _changed(self, job: Job) -> None:
        job.published_s = time.monotonic()
        if job.is_shown:
            self._on_change(job)


def describe_problem(problem: Exception) -> dict[str, str]:
    """The error and hint of an exception for the user; an unexpected one is logged."""
    known = memory_error_of(problem)
    if known is None and isinstance(problem, FoleyflowError):
        known = problem
    if known is not None:
        return {"error": printable(known), "hint": printable(known.hint or "")}
    if isinstance(problem, OSError):
        reason = problem.strerror or type(problem).__name__
        return {"error": f"a file can't be read or written ({reason})", "hint": "check the disk"}
    logger.error("unexpected error", exc_info=problem)
    return {
        "error": f"unexpected error ({type(problem).__name__})",
        "hint": "this is a bug in foleyflow; the terminal shows more",
    }
