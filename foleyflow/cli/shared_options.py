"""Commands that have options in common, which each function does not repeat."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

REQUIRED = inspect.Parameter.empty


def with_options(
    command: Callable[..., None],
    function: Callable[..., Any],
    shared: Mapping[str, tuple[Any, Any]],
) -> Callable[..., None]:
    """`command` with the name, help and options of `function`, and shared options.

    Args:
        command: takes all options by keyword.
        function: its keyword-only parameters are not options.
        shared: name -> annotation and default (`REQUIRED` for none).
    """
    hints = get_type_hints(function, include_extras=True)
    options = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    }
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in (options | dict(shared)).items()
    ]
    functools.update_wrapper(command, function)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362
    return command
