"""Output of all commands: results on stdout, status and errors on stderr.

With --json, a failure is also a JSON object on stdout, so that a calling program never has to read
stderr. File names are escaped (see `printable`), and so is what the terminal's encoding lacks.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from foleyflow.cli.stopping import stopped_by_signals
from foleyflow.errors import ConfigError, FoleyflowError, MediaError
from foleyflow.parallel.precision import precision_setting
from foleyflow.system.memory import memory_error_of
from foleyflow.system.printable import json_text, printable

STOPPED = "stopped"
_PARTIAL = "partial_result"


def print_status(text: str) -> None:
    """Prints text for people, on stderr."""
    _write(text, on_stderr=True)


def print_result(value: Any, *, as_json: bool, text: str) -> None:
    """Prints a command's result on stdout: one JSON object, or text."""
    _write(json_text(value) if as_json else text)


def print_error(error: FoleyflowError, *, debug: bool) -> int:
    """Prints an error and its hint on stderr; returns its exit status."""
    if debug:
        print_status("".join(traceback.format_exception(error)))
    print_status(f"foleyflow: {printable(error)}")
    if error.hint:
        print_status(f"  hint: {printable(error.hint)}")
    return error.exit_status


def _write(text: str, *, on_stderr: bool = False) -> None:
    """Prints text with its line breaks; the caller has escaped the names in it."""
    stream = sys.stderr if on_stderr else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    escaped = printable(text, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding)
    typer.echo(escaped, err=on_stderr)


@contextmanager
def partial_result(value: dict[str, Any]) -> Iterator[None]:
    """If the block fails or is stopped, --json prints the present `value` with the error."""
    try:
        yield
    except BaseException as problem:
        setattr(problem, _PARTIAL, value)
        raise


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """Yields a list of the warnings that the library logs in the block, each once, not printed."""
    texts: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() not in texts:
                texts.append(record.getMessage())

    def is_not_collected(record: logging.LogRecord) -> bool:
        ours = record.name.split(".")[0] == "foleyflow"
        return not ours or record.levelno < logging.WARNING

    collector = Collector(logging.WARNING)
    library, printing = logging.getLogger("foleyflow"), list(logging.getLogger().handlers)
    library.addHandler(collector)
    for handler in printing:
        handler.addFilter(is_not_collected)
    try:
        yield texts
    finally:
        library.removeHandler(collector)
        for handler in printing:
            handler.removeFilter(is_not_collected)


@contextmanager
def progress_on_stderr(label: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, which appears when the yielded function is first called.

    Yields:
        A function of (done, total) and optionally a text that replaces the label.
    """
    with ExitStack() as stack:
        bars: list[Any] = []

        def show(done: int, total: int, text: str = "") -> None:
            if not bars:
                bar = typer.progressbar(length=total, label=printable(label), file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].label = text or bars[0].label
            bars[0].update(done - bars[0].pos)

        yield show


@contextmanager
def stages_on_stderr() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on stderr, one after the other; yields a function of (stage, done, total)."""
    with ExitStack() as stack:
        present: list[str] = []
        shows: list[Callable[..., None]] = []

        def show(stage: str, done: int, total: int) -> None:
            if [stage] != present:
                stack.pop_all().close()
                present[:] = [stage]
                shows[:] = [stack.enter_context(progress_on_stderr(stage))]
            shows[0](done, total)

        yield show


@contextmanager
def training_progress(name: str, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A progress bar with the last loss; yields the `progress` of `training.run.train`."""
    label = f"training {name}"
    with progress_on_stderr(label) as show:

        def progress(step: int, figures: dict[str, float]) -> None:
            losses = [value for key, value in figures.items() if key.endswith("/loss")]
            show(step, steps, f"{label}  loss {losses[-1]:.3f}" if losses else "")

        yield progress


def check_writable(path: Path | None) -> None:
    """Raises MediaError if `path` is a directory or its folder is missing."""
    if path is not None and path.is_dir():
        raise MediaError(f"{path}: is a directory", hint="name a file in it")
    if path is not None and not path.parent.is_dir():
        raise MediaError(f"{path.parent}: no such folder", hint=f"mkdir -p {path.parent}")


def write_report(path: Path | None, report: Any) -> None:
    """Writes a report as JSON, if a path is given."""
    if path is not None:
        from foleyflow.weights import write_atomically

        write_atomically(path, json_text(report) + "\n")


def refuse_given(table: str, options: Mapping[str, object]) -> None:
    """Raises ConfigError if an option was given that only other tables or stages have."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"table {table!r}: {', '.join(given)} is for other tables or stages",
            hint="foleyflow ablate --help lists the options of each table and stage",
        )


class _OneLine(logging.Formatter):
    """Escapes names, so that they can't break a log line or send control codes to the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


@contextmanager
def handle_errors(*, debug: bool, as_json: bool = False) -> Iterator[None]:
    """Turns errors in the block into one line, a hint and an exit status; shows logged warnings.

    SIGTERM and SIGHUP end the block as Ctrl-C does. An unknown precision is refused first. Any
    exception other than a FoleyflowError, an OSError or a failed allocation is a bug, so its
    traceback is shown.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("foleyflow: %(message)s"))
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler])
    received: list[int] = []
    try:
        with stopped_by_signals() as received:
            precision_setting()
            yield
    except KeyboardInterrupt as problem:
        # Exit status as in shells. Libraries may raise their own KeyboardInterrupt for a signal.
        status = 128 + (received or [signal.SIGINT])[0]
        hint = "finished outputs are kept; unfinished ones were removed"
        with suppress(OSError):  # the terminal may be closed
            if as_json:
                _print_error_json(problem, STOPPED, hint)
            print_status(f"foleyflow: {STOPPED}")
        raise typer.Exit(status) from None
    except Exception as problem:
        error = _reported_error(problem)
        if error is None:
            # typer's own exits and a closed stdout are not bugs.
            if as_json and not (hasattr(problem, "exit_code") or isinstance(problem, OSError)):
                text = f"{type(problem).__name__}: {problem}"
                _print_error_json(problem, text, "this is a bug in foleyflow")
            raise
        status = print_error(error, debug=debug)
        if as_json:
            with suppress(OSError):  # stdout itself may be what can't be written
                _print_error_json(problem, str(error), error.hint or "")
        raise typer.Exit(status) from None


def _reported_error(problem: Exception) -> FoleyflowError | None:
    """The error to print; None if the traceback must be shown instead."""
    error = memory_error_of(problem)
    if error is None and isinstance(problem, FoleyflowError):
        return problem
    if error is None and isinstance(problem, OSError) and problem.errno != errno.EPIPE:
        reason = problem.strerror or str(problem) or type(problem).__name__
        error = MediaError(
            f"{problem.filename}: {reason}" if problem.filename else reason,
            hint="check that the folder exists, has space and is writable",
        )
    if error is not None:
        error.__cause__ = problem
    return error


def _print_error_json(problem: BaseException, text: str, hint: str) -> None:
    partial = getattr(problem, _PARTIAL, {})
    print_result({**partial, "error": text, "hint": hint}, as_json=True, text="")
