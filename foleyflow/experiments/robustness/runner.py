"""Shares cases among worker processes and collects what became of each.

A worker takes case after case; it is started again after a crash or a hang. Which worker takes a
case changes nothing: results come back in the order of the cases.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from foleyflow.errors import FoleyflowError
from foleyflow.experiments.robustness.cases import Case, Corpus
from foleyflow.experiments.robustness.corpus import write_seed_clips
from foleyflow.experiments.robustness.verdict import CRASH, FAILURES, HANG, KINDS

DEFAULT_LIMIT_S = 30.0
FOLEYFLOW = "foleyflow.experiments.robustness.worker:WarmFoleyflow"
_START_LIMIT_S = 180.0
# Videos up to this long may take so much more time; see `verdict`.
_LONGEST_SPAN_S = 600.0
_SECONDS_PER_SECOND = 0.25


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one case.

    Attributes:
        case: its name.
        kind: one of `verdict.KINDS`.
        why: in words: the refusal's error line, or what is wrong.
        changes: what was done to the seed clip.
        stderr: the last of what the command, or a crashed process, printed; empty for right and
            refused ones.
    """

    case: str
    kind: str
    why: str
    changes: tuple[str, ...] = ()
    stderr: str = ""

    @property
    def failed(self) -> bool:
        """Whether this must not happen."""
        return self.kind in FAILURES


def run_cases(
    cases: Sequence[Case],
    *,
    seed: int = 0,
    workers: int = 2,
    limit_s: float = DEFAULT_LIMIT_S,
    keep: Path | None = None,
    model: str = "embedded",
    product: str = FOLEYFLOW,
    on_result: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run every case and judge it.

    Args:
        cases: what to run.
        seed: of the mutations.
        workers: processes, at least 1.
        limit_s: a case that takes longer is a hang; its process is killed.
        keep: existing folder that gets the files of the cases that failed, None for nowhere.
        model: what `FoleyFlow.from_pretrained` takes.
        product: module:function of what is run, see `worker`.
        on_result: called with each result when it is there, in any order, from one thread at a
            time.

    Returns:
        One result for each case, in their order.

    Raises:
        FoleyflowError: a worker can't be started.
        ValueError: fewer than 1 worker, or a limit that is not positive.
    """
    if workers < 1 or not limit_s > 0:
        raise ValueError(f"workers={workers}, limit_s={limit_s}: expected at least 1, above 0")
    results: dict[int, Result] = {}
    failures: list[BaseException] = []
    waiting: queue.SimpleQueue[tuple[int, Case]] = queue.SimpleQueue()
    for numbered in enumerate(cases):
        waiting.put(numbered)
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="foleyflow-robustness-") as place:
        folder = Path(place)
        (folder / "corpus").mkdir()
        write_seed_clips(folder / "corpus")
        corpus = Corpus.of_folder(folder / "corpus", seed=seed)

        def work(number: int) -> None:
            worker = _Worker(folder, number, seed=seed, product=product, model=model)
            try:
                while not failures:
                    index, case = waiting.get_nowait()
                    result = worker.run(case, limit_s=limit_s)
                    with lock:
                        if not result.changes:  # a dead process names none
                            result = replace(result, changes=corpus.mutant(case).changes)
                        results[index] = result
                        if keep is not None and result.failed:
                            _keep(keep, corpus, case)
                        on_result(result)
            except queue.Empty:
                return
            except BaseException as error:  # shown by the caller's thread
                failures.append(error)
            finally:
                worker.stop()

        threads = [
            threading.Thread(target=work, args=(number,), daemon=True)
            for number in range(min(workers, len(cases)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(cases))]


def counts(results: Iterable[Result]) -> dict[str, dict[str, int]]:
    """How often each kind came up, by container and in `all`."""
    listed = list(results)
    table: dict[str, dict[str, int]] = {}
    for name in [*dict.fromkeys(r.case.partition(":")[0] for r in listed), "all"]:
        found = Counter(r.kind for r in listed if name in ("all", r.case.partition(":")[0]))
        table[name] = {kind: found[kind] for kind in KINDS}
    return table


def _keep(folder: Path, corpus: Corpus, case: Case) -> None:
    mutant = corpus.mutant(case)
    name = f"{case.name.replace(':', '-')}{mutant.suffix}"
    (folder / name).write_bytes(mutant.data)


class _Worker:
    """One worker process, started when it is needed."""

    def __init__(self, folder: Path, number: int, *, seed: int, product: str, model: str) -> None:
        self._folder = folder
        self._log = folder / f"worker-{number}.log"
        self._command = [
            *(sys.executable, "-m", "foleyflow.experiments.robustness.worker"),
            *(str(folder / "corpus"), str(seed), product, model),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self, case: Case, *, limit_s: float) -> Result:
        """Run one case; the process is gone afterwards if it crashed or hung."""
        if self._process is None:
            self._start()
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            self._send({"case": case.name, "folder": place})
            stage, allowed_s = "sent", limit_s
            while True:
                try:
                    line = self._lines.get(timeout=allowed_s)
                except queue.Empty:
                    return self._ended(case, HANG, f"took longer than {allowed_s:.0f} s", stage)
                if not line:
                    return self._ended(case, CRASH, self._cause_of_death(), stage)
                answer = json.loads(line)
                stage, allowed_s = answer.pop("stage"), limit_s
                if stage == "played" and answer["span_s"] <= _LONGEST_SPAN_S:
                    allowed_s += _SECONDS_PER_SECOND * max(answer["span_s"], 0.0)
                if stage == "done":
                    answer["changes"] = tuple(answer["changes"])
                    return Result(case=case.name, **answer)

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

    def _start(self) -> None:
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._lines = queue.SimpleQueue()
        reader = threading.Thread(
            target=_read_lines, args=(self._process.stdout, self._lines), daemon=True
        )
        reader.start()
        try:
            first = self._lines.get(timeout=_START_LIMIT_S)
        except queue.Empty:
            first = ""
        if not first:
            self.stop()
            raise FoleyflowError(
                f"a worker process can't be started: {self._last_words()}",
                hint="foleyflow doctor checks the installation",
            )

    def _send(self, wanted: dict[str, str]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died meanwhile: found when it is read from
                self._process.stdin.write(json.dumps(wanted) + "\n")
                self._process.stdin.flush()

    def _ended(self, case: Case, kind: str, why: str, stage: str) -> Result:
        """The result of a case whose process is gone."""
        why += {
            "sent": ", while the input was played with PyAV alone",
            "ran": ", while its output was compared with its input",
        }.get(stage, "")
        log = self._log.read_text(encoding="utf-8", errors="replace")
        self.stop()
        began = max(log.rfind("Fatal Python error"), 0)
        return Result(case=case.name, kind=kind, why=why, stderr=log[began:][:4000])

    def _cause_of_death(self) -> str:
        status = self._process.wait() if self._process is not None else 0
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        return f"the process ended with status {status}"

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def _read_lines(pipe: IO[str] | None, lines: queue.SimpleQueue[str]) -> None:
    """Hand on every line, and an empty one at the end."""
    with contextlib.suppress(OSError, ValueError):
        for line in pipe or ():
            lines.put(line)
    lines.put("")
