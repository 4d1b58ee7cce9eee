"""Defaults of options from FOLEYFLOW_* variables and TOML files, under the names of the options.

A name in a table applies to all commands of the table that have the option: `device` at the top to
all, `generate.seed` to `foleyflow generate`. The first source that has a value counts: command
line, environment, project file, user file, the option's own default.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from foleyflow.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "FOLEYFLOW_"
USER_VARIABLE = "FOLEYFLOW_CONFIG"
USER_FILE = "config.toml"
PROJECT_FILE = "foleyflow.toml"
# A project file may come with a folder of somebody else. It can't open the studio to the network.
NOT_IN_PROJECTS = frozenset({"host", "allow-remote"})
_WITHOUT_DEFAULT = frozenset({"help", "version"})

CommandPath = tuple[str, ...]  # of a command, such as ("data", "simulate"); () is foleyflow itself


@dataclass(frozen=True, kw_only=True)
class Default:
    """The value of an option, where it comes from, and the folder where its file names start."""

    value: Any
    origin: str
    folder: Path | None = None


Layer = Mapping[tuple[CommandPath, str], Default]  # (table, name of the option) -> default


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A configuration file, which need not exist."""

    level: str
    path: Path

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.path.is_file()


def typed_parameters(context: typer.Context) -> set[str]:
    """The parameters that the command line has, not a default or the configuration."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def options_of(command: Any, path: CommandPath = ()) -> dict[CommandPath, dict[str, Any]]:
    """The options of a command and all below it: path -> long name -> option."""
    found = {path: {name: each for each in command.params for name in _long_names(each)}}
    for name, inner in getattr(command, "commands", {}).items():
        found |= options_of(inner, (*path, name))
    return found


def config_files(environment: Mapping[str, str]) -> list[ConfigFile]:
    """The user file and the nearest project file, the stronger one last."""
    named = environment.get(USER_VARIABLE)
    if named == "":
        return []
    user = Path(named or Path(typer.get_app_dir("foleyflow")) / USER_FILE)
    files = [ConfigFile(level="user", path=user)]
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return [*files, ConfigFile(level="project", path=folder / PROJECT_FILE)]
    return files


class Configuration:
    """All defaults from environment and files, looked up by command and option."""

    def __init__(self, root: Any, context: Any, environment: Mapping[str, str]) -> None:
        """Reads everything.

        Args:
            root: the command `foleyflow`.
            context: its context, for conversions.
            environment: the variables.

        Raises:
            ConfigError: a file can't be read, or has an unknown name.
        """
        self.options = options_of(root)
        self.files = config_files(environment)
        self._context, self._variables = context, environment
        named = USER_VARIABLE in environment
        read = [
            _read_file(file, self.options)
            for file in reversed(self.files)
            if file.exists or (file.level == "user" and named)
        ]
        self.layers: list[Layer] = [self._environment(), *read]

    def default(self, path: CommandPath, name: str) -> Default | None:
        """The converted default of an option; None if only the command has one.

        Raises:
            ConfigError: the option can't have this value.
        """
        for layer in self.layers:
            for length in range(len(path), -1, -1):
                found = layer.get((path[:length], name))
                if found is not None:
                    value = self._converted(self.options[path][name], found)
                    return Default(value=value, origin=found.origin)
        return None

    def default_map(self, command: str) -> dict[str, Any]:
        """The defaults of a command, or of all in a group, as the parser takes them at the root."""
        result: dict[str, Any] = {}
        for path, options in self.options.items():
            if path[:1] != (command,):
                continue
            place = result
            for name in path:
                place = place.setdefault(name, {})
            defaults = {options[name].name: self.default(path, name) for name in options}
            place.update({name: each.value for name, each in defaults.items() if each is not None})
        return result

    def unknown_variables(self) -> list[str]:
        """FOLEYFLOW_* variables that belong to no option, each with the nearest one."""
        known = [*variables(self.options), USER_VARIABLE]
        return [
            f"{name}: no such option{_nearest(name, known)}"
            for name in sorted(self._variables)
            if name.startswith(PREFIX) and name not in known
        ]

    def _environment(self) -> Layer:
        return {
            key: Default(value=self._variables[name], origin=name)
            for name, key in variables(self.options).items()
            if self._variables.get(name)
        }

    def _converted(self, option: Any, found: Default) -> Any:
        value = found.value
        if option.multiple and isinstance(value, str):
            value = value.split()
        # In a file, `true` is for flags only, as "1" is for numbers.
        wrong = isinstance(value, bool) != option.is_flag and not isinstance(value, str)
        wrong |= isinstance(value, list) != option.multiple
        expected = "true or false" if option.is_flag else "a list" if option.multiple else "text"
        try:
            if not wrong:
                return _located(option.process_value(self._context, value), option, found.folder)
        except Exception as error:
            # The parser's class of errors depends on the version of typer.
            if not hasattr(error, "format_message"):
                raise
            expected = str(getattr(error, "message", error)).rstrip(".")
        else:
            expected = f"{expected} was expected"
        raise ConfigError(
            f"{found.origin} = {value!r}: {expected}",
            hint="`foleyflow config` shows all values and where they come from",
        )


def variables(
    options: Mapping[CommandPath, Mapping[str, Any]],
) -> dict[str, tuple[CommandPath, str]]:
    """All environment variables: name -> (table, name of the option)."""
    keys = {
        (path[:length], name)
        for path, named in options.items()
        for name in named
        for length in range(len(path) + 1)
    }
    # Short tables last, so that FOLEYFLOW_SEED is never a table's
    ordered = sorted(keys, key=lambda key: (-len(key[0]), key))
    return {_variable(path, name): (path, name) for path, name in ordered}


def _variable(path: CommandPath, name: str) -> str:
    return PREFIX + "_".join((*path, name)).upper().replace("-", "_")


def _long_names(parameter: Any) -> list[str]:
    names = [each[2:] for each in parameter.opts if each.startswith("--")]
    return [name for name in names[:1] if name not in _WITHOUT_DEFAULT]


def _read_file(file: ConfigFile, options: Mapping[CommandPath, Mapping[str, Any]]) -> Layer:
    """The values of one file.

    Raises:
        ConfigError: it can't be read, or has an unknown name.
    """
    try:
        content = tomllib.loads(file.path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(
            f"{file.path}: {reason}", hint=f"correct it, or unset {USER_VARIABLE}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{file.path}: {error}", hint='expected TOML, such as `device = "cpu"`'
        ) from error
    return dict(_values(file, content, (), options))


def _values(
    file: ConfigFile,
    table: Mapping[str, Any],
    path: CommandPath,
    options: Mapping[CommandPath, Any],
) -> Iterator[tuple[tuple[CommandPath, str], Default]]:
    below = {each: named for each, named in options.items() if each[: len(path)] == path}
    commands = {each[len(path)] for each in below if len(each) > len(path)}
    named = {name: option for each in below.values() for name, option in each.items()}
    for name, value in table.items():
        origin = f"{file.path}: {'.'.join((*path, name))}"
        if isinstance(value, Mapping) and name in commands:
            yield from _values(file, value, (*path, name), options)
        elif isinstance(value, Mapping):
            raise ConfigError(
                f"{origin}: no such command{_nearest(name, commands)}",
                hint="a table has the name of a command, such as [generate] or [data.simulate]",
            )
        elif name not in named:
            raise ConfigError(
                f"{origin}: no such option{_nearest(name, named)}",
                hint=f"`{' '.join(('foleyflow', *path))} --help` lists the names",
            )
        elif file.level == "project" and name in NOT_IN_PROJECTS:
            raise ConfigError(
                f"{origin}: only the user file may open the studio to other machines",
                hint=f"give --{name}; `foleyflow config` names the user file",
            )
        else:
            folder = file.path.absolute().parent
            yield (path, name), Default(value=value, origin=origin, folder=folder)


def _located(value: Any, option: Any, folder: Path | None) -> Any:
    """The value; if it is the name of a file, and not absolute, it starts at a folder."""
    if folder is None or value is None:
        return value
    if isinstance(value, list):
        return [_located(each, option, folder) for each in value]
    metavar = option.metavar or ""
    if isinstance(value, Path):
        return folder / value.expanduser()
    if not isinstance(value, str) or not value or value in metavar.split("|"):
        return value
    is_name = "FILE" in metavar or "FOLDER" in metavar
    # os.path.join keeps the slash at the end
    return os.path.join(folder, os.path.expanduser(value)) if is_name else value


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
