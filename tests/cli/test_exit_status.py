"""The table of exit statuses in docs/shell.md is that of the code."""

import re
import signal

import pytest
from support.cli_model import ROOT, run_cli

from foleyflow import errors

ROWS = re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|$", (ROOT / "docs/shell.md").read_text(), re.M)
DOCUMENTED = {int(status): re.findall(r"`(\w+)`", names) for status, names in ROWS}
SIGNALS = {128 + getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM")}


def test_the_table_has_every_error():
    by_status: dict[int, list[str]] = {0: [], **{status: [] for status in SIGNALS}}
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.FoleyflowError):
            by_status.setdefault(value.exit_status, []).append(name)
    assert DOCUMENTED == by_status


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--version",), 0),
        (("config", "none"), 2),
        (("generate", "none.mp4", "--dry-run", "--seed", "x"), 2),
        (("generate", "none.mp4"), 2),
        (("data", "simulate"), 2),
    ],
)
def test_statuses(arguments, status):
    assert run_cli(*arguments).status == status
    assert status in DOCUMENTED
