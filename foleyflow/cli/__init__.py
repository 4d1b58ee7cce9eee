"""The command line: verbs, each in a file of its own that imports what it needs when it runs."""

from foleyflow.cli.app import main

__all__ = ["main"]
