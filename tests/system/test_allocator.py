"""Freed memory is returned to the system, measured by the resident size of a process."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from foleyflow.inference import analysis
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.system.allocator import release_freed_memory

SCRIPT = """
from foleyflow.system.allocator import release_freed_memory

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

blocks = [bytes(60_000) for _ in range(4_000)]  # each too small to be mapped by itself
kept = blocks[::100] + blocks[-1:]  # holes between them, and one at the top of the heap
del blocks
before_mb = resident_mb()
released = release_freed_memory()
print(released, before_mb - resident_mb() > 150)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_free_memory_between_blocks_is_released():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.parametrize(("after_s", "expected"), [(0.0, True), (20.0, False)])
def test_only_long_videos_release_memory(smoke_model, clip_file, monkeypatch, after_s, expected):
    calls = []

    def counted():
        calls.append(True)
        return release_freed_memory()

    monkeypatch.setattr(analysis, "RELEASE_AFTER_S", after_s)
    monkeypatch.setattr(analysis, "release_freed_memory", counted)
    FoleyFlow.from_pretrained(smoke_model).generate(clip_file)
    assert bool(calls) == expected
