"""The sensitivity with which cues are found, as a user gives it."""

from __future__ import annotations

from foleyflow.errors import ConfigError

DEFAULT_SENSITIVITY = 0.5


def check_sensitivity(sensitivity: float) -> None:
    """Raises a ConfigError if the sensitivity is not between 0 and 1."""
    if not 0 < sensitivity < 1:
        raise ConfigError(
            f"sensitivity={sensitivity}: expected a number above 0 and below 1",
            hint="0.5 is the default; higher values find more hits",
        )
