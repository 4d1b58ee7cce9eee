"""How a verb ends: its result on stdout, its errors in one line and a hint on stderr.

Knows no verb. With --json a failure is an object on stdout as well, so that a program that calls
foleyflow never has to read stderr. All that a command prints goes through this file: names of
files are escaped (see `printable`), and what the terminal's encoding lacks is too.
"""

from __future__ import annotations

import errno
import json
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from foleyflow.cli.memory import memory_error_of
from foleyflow.cli.stopping import stopped_by_signals
from foleyflow.errors import ConfigError, FoleyflowError, MediaError
from foleyflow.parallel.precision import precision_setting
from foleyflow.system.printable import printable, valid_unicode

STOPPED = "stopped"
_PARTIAL = "partial_answer"


def print_status(text: str) -> None:
    """Text for people, on stderr."""
    _write(text, on_stderr=True)


def print_result(value: Any, *, as_json: bool, text: str) -> None:
    """A command's result on stdout: one JSON object, or text."""
    _write(json_text(value) if as_json else text)


def json_text(value: Any) -> str:
    r"""JSON in ASCII that every parser takes: a name's bytes that are not UTF-8 become `\xNN`."""
    return json.dumps(valid_unicode(value), indent=1)


def print_error(error: FoleyflowError, *, debug: bool) -> int:
    """One line and a hint for an error; its exit status."""
    if debug:
        print_status(traceback.format_exc())
    print_status(f"foleyflow: {printable(error)}")
    if error.hint:
        print_status(f"  hint: {printable(error.hint)}")
    return error.exit_status


def _write(text: str, *, on_stderr: bool = False) -> None:
    """Print text whose line breaks are meant; names in it were escaped by whoever put them in."""
    stream = sys.stderr if on_stderr else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = printable(text, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding)
    typer.echo(shown, err=on_stderr)


@contextmanager
def partial_answer(value: dict[str, Any]) -> Iterator[None]:
    """Have --json print `value` too, beside the error, where the work inside fails or is stopped.

    Args:
        value: what is done so far; it may grow meanwhile.
    """
    try:
        yield
    except BaseException as problem:
        setattr(problem, _PARTIAL, value)
        raise


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """Collects what the library logs as warnings inside, instead of printing it.

    Returns:
        A context manager that gives the texts, in order and each once.
    """
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
def progress_on_stderr(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears when the function given is first told (done, wanted)."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def show(done: int, wanted: int) -> None:
            if not bars:
                bar = typer.progressbar(length=wanted, label=printable(label), file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield show


def check_writable(path: Path | None) -> None:
    """Refuses a file that could not be written, before the work that it is for.

    Raises:
        MediaError: it is a directory, or its folder is missing.
    """
    if path is not None and path.is_dir():
        raise MediaError(f"{path}: is a directory", hint="name a file within it")
    if path is not None and not path.parent.is_dir():
        raise MediaError(f"{path.parent}: no such folder", hint=f"mkdir -p {path.parent}")


def refuse_given(table: str, options: Mapping[str, object]) -> None:
    """Refuses options that the other stage's tables have.

    Raises:
        ConfigError: one of them was given.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"table {table!r}: {', '.join(given)} is for the other stage's tables",
            hint="foleyflow ablate --help says which",
        )


class _OneLine(logging.Formatter):
    """Log lines in which names can't break the line or reach the terminal as control codes."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


@contextmanager
def handle_errors(*, debug: bool, as_json: bool = False) -> Iterator[None]:
    """Turns errors inside into one line, a hint and an exit status; shows log warnings.

    An unknown --precision, the option that all verbs share, is an error before anything is done.
    SIGTERM and SIGHUP end the work inside as Ctrl-C does. An error that is no error of ours and no
    failed allocation is a defect: its traceback is shown.
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
        # As shells report it; libraries may have raised another KeyboardInterrupt in its place.
        status = 128 + (received or [signal.SIGINT])[0]
        hint = "outputs that were finished are kept; drafts were removed"
        with suppress(OSError):  # the terminal may be gone
            if as_json:
                _answer_error(problem, STOPPED, hint)
            print_status(f"foleyflow: {STOPPED}")
        raise typer.Exit(status) from None
    except Exception as problem:
        error = _error_of_ours(problem)
        if error is None:
            # Neither a plain end of the command, nor an answer that nobody reads any more.
            if as_json and not (hasattr(problem, "exit_code") or isinstance(problem, OSError)):
                _answer_error(problem, f"{type(problem).__name__}: {problem}", "this is a defect")
            raise
        status = print_error(error, debug=debug)
        if as_json:
            with suppress(OSError):  # it may be stdout itself that can't be written
                _answer_error(problem, str(error), error.hint or "")
        raise typer.Exit(status) from None


def _error_of_ours(problem: Exception) -> FoleyflowError | None:
    """The error to report, None where only a traceback tells what happened."""
    shortage = memory_error_of(problem)
    if shortage is not None:
        return shortage
    if isinstance(problem, FoleyflowError):
        return problem
    if isinstance(problem, OSError) and problem.errno != errno.EPIPE:  # nobody reads on
        return _of_the_system(problem)
    return None


def _answer_error(problem: BaseException, text: str, hint: str) -> None:
    done = getattr(problem, _PARTIAL, {})
    print_result({**done, "error": text, "hint": hint}, as_json=True, text="")


def _of_the_system(problem: OSError) -> MediaError:
    reason = problem.strerror or str(problem) or type(problem).__name__
    return MediaError(
        f"{problem.filename}: {reason}" if problem.filename else reason,
        hint="check that the place exists, has space and may be written to",
    )
