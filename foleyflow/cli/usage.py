"""Prints wrong usage found by the command-line parser like every other error.

typer itself prints arguments without escaping them, and it does not know --json.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

from foleyflow.cli.console import print_result
from foleyflow.system.printable import printable

_AS_JSON = "foleyflow.as_json"


class ReportingGroup(TyperGroup):
    """A command group that escapes messages of wrong usage, and prints them as JSON on --json."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Parses the options before the command."""
        as_json = "--json" in args[: args.index("--") if "--" in args else None]
        with _reported_usage(as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        """Parses the command's own arguments and runs it."""
        with _reported_usage(ctx.meta[_AS_JSON]):
            return super().invoke(ctx)


def wants_json(context: Any) -> bool:
    """Whether the command line of a root context has --json."""
    return bool(context.meta[_AS_JSON])


@contextmanager
def _reported_usage(as_json: bool) -> Iterator[None]:
    try:
        yield
    except Exception as problem:
        # The parser's exceptions are recognised by their attributes, because their module depends
        # on the version of typer. NoArgsIsHelpError carries the help text, which must stay as is.
        is_help = type(problem).__name__ == "NoArgsIsHelpError"
        if hasattr(problem, "format_message") and hasattr(problem, "message") and not is_help:
            problem.message = printable(problem.message)
            if as_json:
                hint = "run the command with --help to list its options"
                error = printable(problem.format_message())
                print_result({"error": error, "hint": hint}, as_json=True, text="")
        raise
