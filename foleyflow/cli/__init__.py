"""The command line: one file per command or subject, which imports what it needs when it runs."""

from foleyflow.cli.app import main

__all__ = ["main"]
