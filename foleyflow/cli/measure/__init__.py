"""`foleyflow measure`: measure parts of foleyflow.

`commands` registers all commands, each of which is a function in a file of its subject.
"""

from foleyflow.cli.measure.commands import app

__all__ = ["app"]
