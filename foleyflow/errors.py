"""All errors that foleyflow raises on purpose.

A message names what was given and what was expected; `hint` names what to do. `exit_status` is that
of the command line.
"""

from __future__ import annotations


class FoleyflowError(Exception):
    """Base class of all errors raised on purpose; `hint` is one line about what to do."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FoleyflowError):
    """The request can't be fulfilled as given."""

    exit_status = 2


class MediaError(UsageError):
    """A media file can't be read, used or written."""


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type or out of range."""


class CheckpointError(UsageError):
    """Weights are missing, damaged, or belong to another model."""


class DataError(UsageError):
    """A data set is missing, damaged, or differs from its manifest."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed",
            hint=f"pip install 'foleyflow[{extra}]'",
        )


def import_failure(error: ImportError, package: str, extra: str) -> UsageError:
    """The error to raise for an optional package that is missing or broken.

    `extra` is the extra of foleyflow that installs it.
    """
    if error.name == package:
        return MissingExtra(package, extra)
    return ConfigError(
        f"{package} is installed but can't be imported: {str(error).splitlines()[0]}",
        hint="usually torchvision does not match torch; uninstall torchvision",
    )


class TrainingError(FoleyflowError):
    """Training can't continue, for example because of non-finite values.

    The last good checkpoint is kept.
    """
