"""Adds shared options, and the printing of results, to the functions of commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import typer

from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Json

REQUIRED = inspect.Parameter.empty
Shared = Mapping[str, tuple[Any, Any]]  # option -> (annotation, default), or REQUIRED
# JSON value, text, and the exit status if it may be other than 0
Result = tuple[Any, str] | tuple[Any, str, int]


def printing(
    function: Callable[..., Result | None], shared: Shared | None = None
) -> Callable[..., None]:
    """A command with --json and --debug that prints the result, if any, or error of a function.

    Its options are the parameters of the function, except keyword-only ones, and those in `shared`.
    """

    def command(*, as_json: bool, debug: bool, **options: Any) -> None:
        status: list[int] = []
        with handle_errors(debug=debug, as_json=as_json):
            if result := function(**options):
                value, text, *status = result
                print_result(value, as_json=as_json, text=text)
        raise typer.Exit(*status)

    hints = get_type_hints(function, include_extras=True)
    options = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    }
    options |= {**(shared or {}), "as_json": (Json, False), "debug": (Debug, False)}
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in options.items()
    ]
    functools.update_wrapper(command, function)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362
    return command
