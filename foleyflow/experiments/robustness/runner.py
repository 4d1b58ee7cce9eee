"""Distribute cases over worker processes and collect the results.

A worker runs one case after the other and is restarted after a crash or a hang. Results do not
depend on the worker and are returned in the order of the cases.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from foleyflow.errors import FoleyflowError
from foleyflow.experiments.robustness.cases import Case, Corpus
from foleyflow.experiments.robustness.corpus import write_seed_clips
from foleyflow.experiments.robustness.verdict import CRASH, FAILURES, HANG, KINDS

DEFAULT_LIMIT_S = 30.0
FOLEYFLOW = "foleyflow.experiments.robustness.worker:WarmFoleyflow"
_START_LIMIT_S = 180.0
# Additional time for each second of videos up to this span; see `verdict`.
_LONGEST_SPAN_S = 600.0
_SECONDS_PER_SECOND = 0.25


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one case."""

    case: str  # its name
    kind: str  # one of `verdict.KINDS`
    why: str  # the error line of a refusal, or a description of the failure
    changes: tuple[str, ...] = ()  # descriptions of what was changed in the seed clip
    stderr: str = ""  # of the command or of a crashed process, for failures

    @property
    def failed(self) -> bool:
        """Whether the case shows a defect of the product."""
        return self.kind in FAILURES


def run_cases(
    cases: Sequence[Case],
    *,
    seed: int = 0,
    workers: int = 2,
    limit_s: float = DEFAULT_LIMIT_S,
    keep: Path | None = None,
    product: str = FOLEYFLOW,
    on_result: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run every case in one of several processes, and return the results in the same order.

    Args:
        cases: the cases to run.
        seed: seed of the mutations.
        workers: number of processes, at least 1.
        limit_s: a case that takes longer is a hang; its process is killed.
        keep: existing folder for the files of failed cases; None to keep none.
        product: module:function to run, see `worker`.
        on_result: called with each result when it is available, in any order, from one thread at
            a time.

    Raises:
        FoleyflowError: a worker can't be started.
        ValueError: fewer than 1 worker, or a limit that is not positive.
    """
    if workers < 1 or not limit_s > 0:
        raise ValueError(f"workers={workers}, limit_s={limit_s}: expected >= 1 and > 0")
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="foleyflow-robustness-") as folder_name:
        folder = Path(folder_name)
        (folder / "corpus").mkdir()
        write_seed_clips(folder / "corpus")
        corpus = Corpus(folder / "corpus", seed=seed)
        processes = [
            _Worker(folder, number, seed=seed, product=product)
            for number in range(min(workers, len(cases)))
        ]
        free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for process in processes:
            free.put(process)

        def run(case: Case) -> Result:
            process = free.get()
            try:
                result = process.run(case, limit_s=limit_s)
            finally:
                free.put(process)
            with lock:
                if result.failed:  # a dead process does not report the changes
                    mutant = corpus.mutant(case)
                    result = replace(result, changes=mutant.changes)
                    if keep is not None:
                        name = f"{case.name.replace(':', '-')}{mutant.suffix}"
                        (keep / name).write_bytes(mutant.data)
                on_result(result)
            return result

        with ThreadPoolExecutor(workers) as pool:
            try:
                return list(pool.map(run, cases))
            finally:
                pool.shutdown(cancel_futures=True)
                for process in processes:
                    process.stop()


def counts(results: Iterable[Result]) -> dict[str, dict[str, int]]:
    """Count the results of each kind, by container and in `all`."""
    listed = list(results)
    table: dict[str, dict[str, int]] = {}
    for name in [*dict.fromkeys(r.case.partition(":")[0] for r in listed), "all"]:
        found = Counter(r.kind for r in listed if name in ("all", r.case.partition(":")[0]))
        table[name] = {kind: found[kind] for kind in KINDS}
    return table


class _Worker:
    """One worker process, started for its first case."""

    def __init__(self, folder: Path, number: int, *, seed: int, product: str) -> None:
        self._folder = folder
        self._log = folder / f"worker-{number}.log"
        self._command = [
            *(sys.executable, "-m", "foleyflow.experiments.robustness.worker"),
            *(str(folder / "corpus"), str(seed), product),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, case: Case, *, limit_s: float) -> Result:
        """Run one case; a process that crashed or hung has ended afterwards."""
        process = self._process or self._start()
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            request = json.dumps({"case": case.name, "folder": folder}) + "\n"
            with contextlib.suppress(OSError):  # a dead process is detected when it is read
                cast(IO[bytes], process.stdin).write(request.encode())
            stage, allowed_s = "sent", limit_s
            while True:
                line = _read_line(process, timeout_s=allowed_s)
                if line is None:
                    return self._ended(case, HANG, f"took longer than {allowed_s:.0f} s", stage)
                if not line:
                    return self._ended(case, CRASH, _cause_of_death(process), stage)
                reply = json.loads(line)
                stage, allowed_s = reply.pop("stage"), limit_s
                if stage == "played" and reply["span_s"] <= _LONGEST_SPAN_S:
                    allowed_s += _SECONDS_PER_SECOND * max(reply["span_s"], 0.0)
                if stage == "done":
                    reply["changes"] = tuple(reply["changes"])
                    return Result(case=case.name, **reply)

    def stop(self) -> None:
        """Kill the process, if there is one."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._log, "wb") as log:
            process = self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        if not _read_line(process, timeout_s=_START_LIMIT_S):
            self.stop()
            lines = self._log_text().strip().splitlines()
            raise FoleyflowError(
                f"a worker process can't be started: {lines[-1] if lines else 'no message'}",
                hint="foleyflow doctor checks the installation",
            )
        return process

    def _ended(self, case: Case, kind: str, why: str, stage: str) -> Result:
        """The result of a case whose process crashed or hung."""
        why += {
            "sent": ", while the input was decoded with PyAV alone",
            "ran": ", while the output was compared with the input",
        }.get(stage, "")
        log = self._log_text()
        self.stop()
        start = max(log.rfind("Fatal Python error"), 0)
        return Result(case=case.name, kind=kind, why=why, stderr=log[start:][:4000])

    def _log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def _read_line(process: subprocess.Popen[bytes], *, timeout_s: float) -> bytes | None:
    """The next line of a process; empty if the process ended, None if it takes too long."""
    pipe = cast(IO[bytes], process.stdout)
    if not select.select([pipe], [], [], timeout_s)[0]:
        return None
    line = pipe.readline()
    return line if line.endswith(b"\n") else b""


def _cause_of_death(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"the process ended with status {status}"
