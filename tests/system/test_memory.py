"""A failed allocation in any library is reported in one line with exit status 1."""

import os
import sys
from pathlib import Path

import pytest
from support.cli_model import run_process
from support.media_files import make_video

from foleyflow.errors import CheckpointError, MediaError
from foleyflow.system.memory import memory_error_of

LIMITED = Path(__file__).parents[1] / "support" / "limited_memory.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's memory limit")
def test_generate_under_a_memory_limit(tmp_path):
    """Each video of a batch is tried, because a smaller one may fit."""
    videos = [make_video(tmp_path / f"{name}.mp4", n_frames=5) for name in "ab"]
    outcome = run_process(
        *("generate", *videos, "-o", f"{tmp_path}/new/", "--json"), python=(str(LIMITED),)
    )
    assert outcome.status == 1, outcome.stderr
    lines = outcome.error_lines
    assert len(lines) == 4
    assert all(line.startswith("foleyflow: not enough memory") for line in lines[::2])
    assert all(line.startswith("  hint: ") for line in lines[1::2])
    answer = outcome.answer
    assert [error["video"] for error in answer["errors"]] == [str(video) for video in videos]
    assert [f"foleyflow: {error['error']}" for error in answer["errors"]] == lines[::2]
    assert answer["results"] == [] and sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mp4"]


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
def test_failed_allocations_are_recognised(action):
    error = memory_error_of(raised(action))
    assert error is not None and error.exit_status == 1
    assert "\n" not in str(error) and error.hint


def test_causes_are_searched_and_file_names_are_ignored():
    error = CheckpointError("x")
    assert memory_error_of(error) is None
    error.__cause__ = raised(python_bytes)
    assert memory_error_of(error) is not None
    damaged = MediaError("a size in its header is damaged")  # media has examined the cause
    damaged.__cause__ = raised(python_bytes)
    assert memory_error_of(damaged) is None
    assert memory_error_of(MediaError("out of memory.mp4: no such file")) is None
    assert memory_error_of(FileNotFoundError(2, "no such file", "out of memory.mp4")) is None
    assert memory_error_of(RuntimeError("size mismatch")) is None
