"""`foleyflow config`: the defaults of options, and where each comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument

from foleyflow.cli.configuration import USER_VARIABLE, Configuration
from foleyflow.cli.console import handle_errors, print_result
from foleyflow.cli.options import Debug, Json
from foleyflow.errors import UsageError
from foleyflow.system.printable import printable

_BUILT_IN = "default"


def config(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        Argument(metavar="COMMAND", help="A command, such as generate or data simulate."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the defaults of options and where each comes from.

    Without COMMAND, it shows what environment variables and configuration files set. With one, it
    shows all options of the command.
    """
    with handle_errors(debug=debug, as_json=as_json):
        root = context.find_root()
        configuration = Configuration(root.command, root, root.obj)
        path = tuple(command or ())
        if path not in configuration.options:
            raise UsageError(
                f"{' '.join(path)!r}: no such command", hint="`foleyflow --help` lists the commands"
            )
        shown = [path] if path else list(configuration.options)
        settings = [each for one in shown for each in _settings(configuration, one, bool(path))]
        files = [
            {"level": file.level, "path": str(file.path), "exists": file.exists}
            for file in configuration.files
        ]
        unknown = configuration.unknown_variables()
        value = {"files": files, "settings": settings, "unknown_variables": unknown}
        print_result(value, as_json=as_json, text=_text(value))
    raise typer.Exit(0)


def _settings(
    configuration: Configuration, path: tuple[str, ...], with_built_in: bool
) -> list[dict[str, Any]]:
    """The options of one command, those without any configuration only if wanted."""
    settings = []
    for name, option in configuration.options[path].items():
        found = configuration.default(path, name)
        if found is None and not with_built_in:
            continue
        value, origin = option.default, _BUILT_IN
        if found is not None:
            value, origin = found.value, found.origin
        elif option.required:
            value, origin = None, "required"
        settings.append(
            {
                "command": " ".join(path),
                "option": f"--{name}",
                "value": _plain(value),
                "origin": origin,
            }
        )
    return settings


def _plain(value: Any) -> Any:
    """A value of an option as JSON can hold it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _text(value: dict[str, Any]) -> str:
    lines = [
        f"{file['level']} file: {printable(file['path'])}{'' if file['exists'] else ' (none)'}"
        for file in value["files"]
    ]
    if not lines:
        lines.append(f"no configuration files: {USER_VARIABLE} is empty")
    for each in value["settings"]:
        option = f"{each['command']} {each['option']}".strip()
        shown = "" if each["value"] is None else printable(str(each["value"]))
        lines.append(f"{option:32s} {shown:16s} {printable(each['origin'])}")
    if not value["settings"]:
        lines.append("all options have their own defaults; name a command to see them")
    return "\n".join(
        [*lines, *(f"ignored: {printable(text)}" for text in value["unknown_variables"])]
    )
