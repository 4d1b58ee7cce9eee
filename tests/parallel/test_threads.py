"""The number of threads that torch uses, also in background threads."""

from __future__ import annotations

import threading

import pytest
import torch

from foleyflow.parallel import threads
from foleyflow.parallel.threads import (
    available_cores,
    default_threads,
    in_background,
    torch_threads,
)


@pytest.fixture(autouse=True)
def restored_thread_count():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("parameters", "cores", "expected"),
    [
        (0, 8, 1),
        (17_000_000, 8, 1),
        (50_000_000, 8, 1),
        (50_000_001, 8, 2),
        (157_000_000, 8, 4),
        (2_000_000_000, 8, 8),
        (2_000_000_000, 1, 1),
    ],
)
def test_threads_follow_the_model_size_up_to_the_cores(monkeypatch, parameters, cores, expected):
    monkeypatch.setattr(threads, "available_cores", lambda: cores)
    assert default_threads(parameters) == expected


def test_at_least_one_core_is_available():
    assert available_cores() >= 1


def test_the_count_is_restored_after_the_block_and_after_errors():
    torch.set_num_threads(2)
    with torch_threads(3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), torch_threads(1):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_background_threads_use_the_count_of_their_caller():
    def counts():
        for _ in range(2):
            yield threading.current_thread(), torch.get_num_threads()

    for count in (1, 3):
        with torch_threads(count):
            found = list(in_background(counts(), depth=1))
        assert [number for _, number in found] == [count, count]
        assert all(thread is not threading.current_thread() for thread, _ in found)
