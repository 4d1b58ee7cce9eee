"""A run that was killed and resumed has the results of an uninterrupted run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import killable_training
from support.cli_model import losses

from foleyflow.errors import CheckpointError
from foleyflow.training.checkpoint import STATE_NAME, TrainState, load_state, save_state
from foleyflow.training.journal import Journal, read_journal
from foleyflow.training.optimiser import MovingAverage, make_optimiser
from foleyflow.training.tasks.codec import CodecLossConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    killable_training.run(folder)
    return folder


def test_killed_run_resumes_exactly(uninterrupted, tmp_path):
    killed_at = 5  # after the state of step 3 and the validation of step 4
    script = Path(killable_training.__file__)
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(killed_at)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    interrupted = losses(tmp_path)
    assert interrupted == losses(uninterrupted)[: len(interrupted)]
    assert interrupted[-1]["step"] == killed_at
    killable_training.run(tmp_path)
    assert losses(tmp_path) == losses(uninterrupted)
    one, other = load_file(tmp_path / STATE_NAME), load_file(uninterrupted / STATE_NAME)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


class Stop(Exception):
    """An error that stops a run."""


@pytest.mark.parametrize("stopped_at", [1, 3, 8])
def test_run_resumes_after_any_step(uninterrupted, tmp_path, stopped_at, monkeypatch):
    def stop(pid: int, number: int) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", stop)
        with pytest.raises(Stop):
            killable_training.run(tmp_path, killed_at=stopped_at)
    assert losses(tmp_path)[-1]["step"] == stopped_at
    killable_training.run(tmp_path)
    assert losses(tmp_path) == losses(uninterrupted)


def test_finished_run_is_unchanged(uninterrupted):
    before = losses(uninterrupted)
    average = killable_training.run(uninterrupted)["codec"].state_dict()
    assert losses(uninterrupted) == before
    stored = load_file(uninterrupted / STATE_NAME)
    for key, value in average.items():
        assert torch.equal(value, stored[f"codec/average/{key}"])


def test_journal_has_all_steps_and_figures(uninterrupted):
    entries = losses(uninterrupted)
    assert [e["step"] for e in entries if "codec/loss" in e] == list(range(1, 10))
    assert [e["step"] for e in entries if "validation/mel" in e] == [4, 8, 9]
    step = entries[0]
    parts = {"mel", "spectral", "envelope", "kl"}
    wanted = {"step", "codec/loss", "codec/gradient_norm", "codec/learning_rate"}
    assert step.keys() == wanted | parts
    weights = CodecLossConfig()
    total = sum(getattr(weights, part) * step[part] for part in parts)
    assert step["codec/loss"] == pytest.approx(total, rel=1e-4)


# ---------------------------------------------------------------------------------- journal


def test_journal_is_truncated_to_its_checkpoint(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, keep_to_step=0) as journal:
        for step in range(1, 6):
            journal.write({"step": step, "loss": step / 10})
    with Journal(path, keep_to_step=3) as journal:
        journal.write({"step": 4, "loss": 0.7})
    assert [(e["step"], e["loss"]) for e in read_journal(path)] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.3),
        (4, 0.7),
    ]
    assert not list(tmp_path.glob("*.part"))


def test_incomplete_line_is_dropped_with_a_warning(tmp_path, caplog):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_journal(path) == [{"step": 1}]
    assert 'dropped an incomplete line: {"step": 2, "lo' in caplog.text
    with Journal(path, keep_to_step=9) as journal:
        journal.write({"step": 2})
    assert read_journal(path) == [{"step": 1}, {"step": 2}]


def test_entries_are_flushed(tmp_path):
    with Journal(tmp_path / "journal.jsonl", keep_to_step=0) as journal:
        journal.write({"step": 1})
        assert read_journal(tmp_path / "journal.jsonl") == [{"step": 1}]


def test_missing_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "journal.jsonl") == []


# ---------------------------------------------------------------------------------- state


def fresh_state(width: int = 3) -> TrainState:
    torch.manual_seed(0)
    module = torch.nn.Linear(width, 2)
    config = killable_training.CONFIG
    return TrainState(
        modules={"main": module},
        averages={"main": MovingAverage(module, config.ema)},
        optimisers={"main": make_optimiser(module, config)},
    )


def stepped_state() -> TrainState:
    state = fresh_state()
    module, optimiser = state.modules["main"], state.optimisers["main"]
    module(torch.ones(4, 3)).square().mean().backward()
    optimiser.step()
    state.averages["main"].update_(module, 0)
    return state


def test_state_round_trip(tmp_path):
    state, other = stepped_state(), fresh_state()
    save_state(tmp_path, state, step=7)
    assert load_state(tmp_path, other) == 7
    for part in ("modules", "averages", "optimisers"):
        one, two = getattr(state, part)["main"], getattr(other, part)["main"]
        if part == "averages":
            one, two = one.module, two.module
        torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]


def test_missing_state_is_step_zero(tmp_path):
    assert load_state(tmp_path, fresh_state()) == 0


def test_leftover_draft_is_ignored(tmp_path):
    save_state(tmp_path, stepped_state(), step=7)
    (tmp_path / f".{STATE_NAME}.part").write_bytes(b"half of it")
    assert load_state(tmp_path, fresh_state()) == 7
    save_state(tmp_path, stepped_state(), step=8)
    assert load_state(tmp_path, fresh_state()) == 8


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def foreign(path: Path) -> None:
    save_file({"x": torch.zeros(1)}, path, metadata={"progress": '{"step": 3}'})


def without_progress(path: Path) -> None:
    save_file(load_file(path), path)


@pytest.mark.parametrize("spoil", [damaged, foreign, without_progress])
def test_invalid_states_are_rejected(tmp_path, spoil):
    save_state(tmp_path, stepped_state(), step=7)
    spoil(tmp_path / STATE_NAME)
    with pytest.raises(
        CheckpointError, match=r"state.safetensors: cannot resume from this checkpoint"
    ):
        load_state(tmp_path, fresh_state())


def test_state_of_another_network_is_rejected(tmp_path):
    save_state(tmp_path, stepped_state(), step=7)
    with pytest.raises(CheckpointError, match="size mismatch"):
        load_state(tmp_path, fresh_state(width=4))
