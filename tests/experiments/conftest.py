"""Fixtures of the tests of experiments."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli_model import run_cli


@pytest.fixture(scope="session")
def judge(simulated_data, tmp_path_factory) -> Path:
    """A tagger after a minimal training."""
    out = tmp_path_factory.mktemp("judge")
    arguments = ("train", "judge", "--recipe", "smoke", "--data", simulated_data, "--out", out)
    outcome = run_cli(*arguments, "--device", "cpu")
    assert outcome.status == 0, outcome.stderr
    return out / "model"
