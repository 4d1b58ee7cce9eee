"""How a verb ends: its result on stdout, its errors in one line and a hint on stderr."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from foleyflow.errors import FoleyflowError


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
    typer.echo(f"foleyflow: {error}", err=True)
    if error.hint:
        typer.echo(f"  hint: {error.hint}", err=True)
    return error.exit_status


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Turns errors inside into one line, a hint and an exit status; shows log warnings."""
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING, format="foleyflow: %(message)s"
    )
    try:
        yield
    except FoleyflowError as error:
        raise typer.Exit(complain(error, debug=debug)) from None
    except KeyboardInterrupt:
        say("foleyflow: stopped")
        raise typer.Exit(130) from None
    except (OSError, MemoryError) as error:
        if debug:
            typer.echo(traceback.format_exc(), err=True)
        say(f"foleyflow: {error}")
        raise typer.Exit(1) from None
