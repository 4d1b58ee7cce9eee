"""Every error that foleyflow raises on purpose, drawn as one tree.

    FoleyflowError            exit status 1 in the command line, unless a child says otherwise
    ├── UsageError            the call itself is wrong (exit 2)
    │   ├── MediaError        the file given can't be used, or the output can't be written (exit 2)
    │   ├── ConfigError       a setting is unknown or out of range (exit 2)
    │   ├── CheckpointError   weights are missing, damaged or of another kind (exit 2)
    │   ├── DataError         a data set is missing, damaged or not what its manifest says (exit 2)
    │   └── MissingExtra      an optional dependency is not installed (exit 2)
    └── TrainingError         training can't go on; the last good checkpoint is kept (exit 1)

A message says what was given and what was expected; `hint` says what to do.
"""

from __future__ import annotations


class FoleyflowError(Exception):
    """Base of all errors raised on purpose; `hint` is the line that says what to do."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FoleyflowError):
    """What was asked for can't be done as it was asked."""

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


def why_not_imported(error: ImportError, package: str, extra: str) -> UsageError:
    """What to say of an optional package whose import failed: it is missing, or it can't be used.

    Args:
        error: of the import.
        package: that was imported.
        extra: of foleyflow, that brings it.

    Source: ours.
    """
    if error.name == package:
        return MissingExtra(package, extra)
    return ConfigError(
        f"{package} is there but can't be imported: {str(error).splitlines()[0]}",
        hint="a torchvision that doesn't fit torch is the usual reason; take it out",
    )


class TrainingError(FoleyflowError):
    """Training can't go on (non-finite numbers, say)."""
