"""Training in two processes: the losses of one process, and interchangeable checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import shared_training
from support.cli_model import losses

from foleyflow.parallel.batch_sharding import (
    all_gather_with_grad,
    normal_like,
    rescale_to_global_mean,
    sample_for_full_batch,
    sharded_batch,
)
from foleyflow.training.checkpoint import STATE_NAME
from foleyflow.training.processes import SINGLE_PROCESS

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4  # of losses


def torchrun(*arguments: str | Path, module: bool = False) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", *(["-m"] if module else [])]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Folder of the runs in one process."""
    folder = tmp_path_factory.mktemp("one")
    for name in shared_training.RUNS:
        shared_training.run(name, folder / name)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folder of the runs in two processes, some of which one process started; error messages."""
    folder = tmp_path_factory.mktemp("two")
    shared_training.run("flow", folder / "from one", steps=3)
    shutil.copytree(folder / "from one", folder / "from one, sharded")
    done = torchrun(shared_training.__file__, folder)
    assert done.returncode == 0, done.stderr
    return folder, [json.loads((folder / f"messages-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", shared_training.RUNS)
def test_two_processes_have_the_losses_of_one(one, two, name):
    alone, together = losses(one / name), losses(two[0] / name)
    assert [e.keys() for e in alone] == [e.keys() for e in together]
    turns = {key for entry in alone for key in entry if key.endswith("/loss")}
    assert turns
    for entry, other in zip(alone, together, strict=True):
        for key in turns & entry.keys():
            assert other[key] == pytest.approx(entry[key], abs=TOLERANCE), (key, entry["step"])
    steps = [entry[key] for entry in alone for key in turns & entry.keys()]
    assert max(steps) - min(steps) > 100 * TOLERANCE  # not constant
    same_state(one / name, two[0] / name)


def same_state(folder: Path, other: Path) -> None:
    """Checks that two checkpoints are equal up to rounding."""
    first, second = (load_file(path / STATE_NAME) for path in (folder, other))
    assert first.keys() == second.keys()
    for key, value in first.items():
        # AdamW divides by its moments, which amplifies rounding of small gradients in the weights.
        if "/optimiser/" not in key:
            torch.testing.assert_close(value, second[key], atol=2e-3, rtol=1e-2, msg=key)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("sharded", "flow"),
        ("align, sharded", "align, uneven masks"),
        ("from one", "flow"),
        ("from one, sharded", "flow"),
    ],
)
def test_sharding_and_resuming_do_not_change_the_losses(one, two, name, like):
    alone, together = (
        [entry[key] for entry in losses(folder) if (key := f"{like.split(',')[0]}/loss") in entry]
        for folder in (one / like, two[0] / name)
    )
    assert together == pytest.approx(alone, abs=TOLERANCE)
    last, other = losses(one / like)[-1], losses(two[0] / name)[-1]  # of the averaged weights
    assert other == pytest.approx(last, rel=0.02, abs=0.02)
    same_state(one / like, two[0] / name)


@pytest.mark.parametrize("name", ["for one", "sharded, for one"])
def test_one_process_resumes_a_run_of_two(one, two, tmp_path, name):
    shutil.copytree(two[0] / name, tmp_path / "run")
    assert [e["step"] for e in losses(tmp_path / "run") if "flow/loss" in e] == [1, 2, 3]
    shared_training.run("flow", tmp_path / "run", shard=name.startswith("sharded"))
    alone, resumed = (
        [entry["flow/loss"] for entry in losses(folder) if "flow/loss" in entry]
        for folder in (one / "flow", tmp_path / "run")
    )
    assert resumed == pytest.approx(alone, abs=TOLERANCE)


def test_nan_in_one_process_stops_both(two):
    folder, messages = two
    assert messages[0]["broken"] == messages[1]["broken"]
    message = messages[0]["broken"]
    # The message contains the input of both processes.
    assert "'video' of clip 111 not finite" in message and "input is finite" in message
    step = int(message.split(",")[0].removeprefix("step "))
    assert [e["step"] for e in losses(folder / "broken")] == list(range(1, step))
    state = folder / "broken" / STATE_NAME
    assert state.exists() == (step > 1)
    assert not state.exists() or all(bool(v.isfinite().all()) for v in load_file(state).values())


def test_indivisible_batches_and_weights_are_rejected(two):
    _, messages = two
    for each in messages:
        assert each["batch"].startswith("train.batch_clips=7: cannot be divided evenly between 2")
        assert each["polish"].startswith("train.shard=True: expected a task of one module")
        assert each["contrast"].startswith("train.shard=True: 'log_sharpness' is a single number")


def test_items_are_divided_within_each_part():
    from dataclasses import replace

    config = replace(shared_training.CONFIG, batch_clips=12, accumulate=2)
    group = [replace(SINGLE_PROCESS, rank=rank, count=3) for rank in range(3)]
    rows = [processes.items(config).tolist() for processes in group]
    assert rows == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert SINGLE_PROCESS.items(config).tolist() == list(range(12))


def test_randomness_follows_the_position_in_the_batch():
    def random_numbers(index: int, count: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(3)
        with sharded_batch(index, count):
            return normal_like(torch.zeros(rows, 4)), sample_for_full_batch(
                lambda n: torch.rand(n, 2), rows
            )

    complete = random_numbers(0, 1, 12)
    for count in (2, 3, 4):
        parts = [random_numbers(index, count, 12 // count) for index in range(count)]
        for kind in (0, 1):
            assert torch.equal(torch.cat([part[kind] for part in parts]), complete[kind])
    torch.manual_seed(3)
    assert torch.equal(complete[0], torch.randn(12, 4))


def test_single_process_changes_nothing():
    value = torch.tensor(0.3)
    assert rescale_to_global_mean(value, torch.tensor(0)) is value
    assert all_gather_with_grad(value[None]).data_ptr() == value.data_ptr()


def test_command_trains_in_two_processes(simulated_data, smoke_runs, tmp_path):
    command = ["foleyflow", "train", "align", "--recipe", "smoke", "--device", "cpu", "--json"]
    command += ["--data", str(simulated_data), "--out", str(tmp_path), "--set", "train.bf16=false"]
    command += ["--set", f"codec={smoke_runs / 'codec/model'}"]
    done = torchrun(*command, module=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["components"] == ["align"]  # only the first process prints
    assert json.loads((tmp_path / "environment.json").read_text())["processes"] == 2
    assert (tmp_path / "model" / "align.safetensors").exists()
