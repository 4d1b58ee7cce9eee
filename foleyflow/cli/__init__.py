"""The command line: one file per command, which imports what it needs only when it runs."""

from foleyflow.cli.app import main

__all__ = ["main"]
