"""A failed allocation is one line and exit 1, wherever it fails; under a real limit."""

import os
import sys
from pathlib import Path

import pytest
from cli_model import run_process
from media_files import make_video

from foleyflow.cli.memory import memory_error_of
from foleyflow.errors import MediaError

LIMITED = Path(__file__).with_name("limited_memory.py")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's limit of memory")
@pytest.mark.parametrize("extra_mb", [30, 110, 170])
def test_a_limit_of_memory(tmp_path, extra_mb):
    """Loading the model fails, or the first picture of 24 million pixels, or what comes after."""
    video = make_video(tmp_path / "a.mp4", n_frames=3, width=6000, height=4000)
    outcome = run_process(
        *(str(extra_mb << 20), "generate", video, "-o", tmp_path / "out.mp4", "--json"),
        python=(str(LIMITED),),
    )
    assert outcome.status == 1, outcome.stderr
    line, hint = outcome.error_lines
    assert line.startswith("foleyflow: not enough memory") and hint.startswith("  hint: ")
    assert outcome.answer.keys() == {"video", "error", "hint"}
    assert outcome.answer["error"] == line.removeprefix("foleyflow: ")
    assert os.listdir(tmp_path) == ["a.mp4"]


def raised(action) -> BaseException:
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def numpy_array():
    import numpy as np

    np.empty(2**60, np.uint8)


def torch_tensor():
    import torch

    torch.empty(2**60, dtype=torch.uint8)


def python_bytes():
    bytes(2**62)


@pytest.mark.parametrize("action", [numpy_array, torch_tensor, python_bytes])
def test_allocations_that_no_machine_grants(action):
    error = memory_error_of(raised(action))
    assert error is not None and error.exit_status == 1
    assert "\n" not in str(error) and error.hint


def test_a_cause_counts_and_a_file_name_does_not():
    error = MediaError("x")
    assert memory_error_of(error) is None
    error.__cause__ = raised(python_bytes)
    assert memory_error_of(error) is not None
    assert memory_error_of(MediaError("out of memory.mp4: no such file")) is None
    assert memory_error_of(FileNotFoundError(2, "no such file", "out of memory.mp4")) is None
    assert memory_error_of(RuntimeError("size mismatch")) is None
