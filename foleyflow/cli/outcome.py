"""How a verb ends: its result on stdout, its errors in one line and a hint on stderr.

Knows no verb. With --json a failure is an object on stdout as well, so that a program that calls
foleyflow never has to read stderr.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import typer

from foleyflow.errors import ConfigError, FoleyflowError, MediaError
from foleyflow.precision import precision_setting


def say(text: str) -> None:
    """A line for people, on stderr."""
    typer.echo(text, err=True)


def answer(value: Any, *, as_json: bool, text: str) -> None:
    """A command's result on stdout: one JSON object, or text."""
    typer.echo(json.dumps(value, indent=1) if as_json else text)


def complain(error: FoleyflowError, *, debug: bool) -> int:
    """One line and a hint for an error; its exit status."""
    if debug:
        typer.echo(traceback.format_exc(), err=True)
    typer.echo(f"foleyflow: {' '.join(str(error).split())}", err=True)
    if error.hint:
        typer.echo(f"  hint: {error.hint}", err=True)
    return error.exit_status


@contextmanager
def progress_on_stderr(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears when the function given is first told (done, wanted)."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def show(done: int, wanted: int) -> None:
            if not bars:
                bar = typer.progressbar(length=wanted, label=label, file=sys.stderr)
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


@contextmanager
def reported(*, debug: bool, as_json: bool = False) -> Iterator[None]:
    """Turns errors inside into one line, a hint and an exit status; shows log warnings.

    An unknown --precision, the option that all verbs share, is an error before anything is done.
    """
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING, format="foleyflow: %(message)s"
    )
    try:
        precision_setting()
        yield
    except (FoleyflowError, OSError) as problem:
        error = problem if isinstance(problem, FoleyflowError) else _of_the_system(problem)
        status = complain(error, debug=debug)
        if as_json:
            answer({"error": str(error), "hint": error.hint or ""}, as_json=True, text="")
        raise typer.Exit(status) from None
    except KeyboardInterrupt:
        say("foleyflow: stopped")
        raise typer.Exit(130) from None
    except MemoryError:
        say("foleyflow: not enough memory")
        raise typer.Exit(1) from None


def _of_the_system(problem: OSError) -> MediaError:
    reason = problem.strerror or str(problem) or type(problem).__name__
    return MediaError(
        f"{problem.filename}: {reason}" if problem.filename else reason,
        hint="check that the place exists, has space and may be written to",
    )
