"""Wrong usage found by the command line's parser, reported as every other error is.

The parser (typer) prints what was given as it is, and knows nothing of --json.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

from foleyflow.cli.console import print_result
from foleyflow.system.printable import printable

_JSON_WANTED = "foleyflow.as_json"


class ReportingGroup(TyperGroup):
    """Escapes foreign text in messages of wrong usage, and prints them as JSON where wanted."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Parses the options before the verb."""
        as_json = _wants_json(args)
        with _reported_usage(as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_JSON_WANTED] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        """Parses the verb's own arguments and runs it."""
        with _reported_usage(ctx.meta[_JSON_WANTED]):
            return super().invoke(ctx)


def _wants_json(arguments: Sequence[str]) -> bool:
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


@contextmanager
def _reported_usage(as_json: bool) -> Iterator[None]:
    try:
        yield
    except Exception as problem:
        # The parser's exceptions, which typer took from click; their module depends on its version.
        # A group without a verb shows its help by one more of them, whose lines are meant.
        is_help = type(problem).__name__ == "NoArgsIsHelpError"
        if hasattr(problem, "format_message") and hasattr(problem, "message") and not is_help:
            problem.message = printable(problem.message)
            if as_json:
                hint = "foleyflow VERB --help lists what it takes"
                error = printable(problem.format_message())
                print_result({"error": error, "hint": hint}, as_json=True, text="")
        raise
