"""`generate -` reads a video from standard input into a temporary file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli_model import check_refusal, process_environment, run_cli, run_process
from support.media_files import cut_bytes, video_packet_bytes


@pytest.fixture
def spools(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_video_from_a_pipe_works(model, clip, tmp_path, spools):
    output = tmp_path / "out.mp4"
    outcome = run_process(
        *("generate", "-", "--model", model, "-o", output, "--json", "--report", "--sidecar"),
        given=clip.read_bytes(),
    )
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.answer["video"] == "-"
    assert str(spools) not in outcome.stdout
    assert str(spools) not in (tmp_path / "out.mp4.json").read_text()
    assert video_packet_bytes(output) == video_packet_bytes(clip)
    assert os.listdir(spools) == []


@pytest.mark.parametrize("fraction", [0.0, 0.6])
def test_input_that_is_no_video_is_refused(model, clip, tmp_path, spools, fraction):
    data = cut_bytes(clip, tmp_path / "cut.mp4", fraction).read_bytes()
    outcome = run_process("generate", "-", "--model", model, "-o", tmp_path / "out.mp4", given=data)
    assert check_refusal(outcome).startswith("foleyflow: -: ")
    assert str(spools) not in outcome.stderr
    assert os.listdir(spools) == [] and not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-",), "with no -o: expected the name of the output file"),
        (("-", "-o", "folder/"), "with -o folder/: expected the name"),
        (("-", "-o", "."), "with -o .: expected the name"),
        (("-", "clip.mp4", "-o", "folder/"), "expected standard input alone"),
        (("-", "-o", "out.mp4", "--ray", "local"), "workers can't read it"),
        (("-", "-o", "nowhere/out.mp4"), "no such folder"),
    ],
)
def test_wrong_options_are_refused_before_reading(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in check_refusal(run_cli("generate", *arguments))
    assert os.listdir() == []


def test_a_dry_run_does_not_read(tmp_path):
    outcome = run_cli("generate", "-", "-o", tmp_path / "out.mp4", "--dry-run")
    assert outcome.answer["plan"] == [{"video": "-", "output": str(tmp_path / "out.mp4")}]


def test_a_terminal_and_closed_input_are_refused(model, tmp_path):
    pty = pytest.importorskip("pty")
    leader, terminal = pty.openpty()
    for stdin, message in ((terminal, "is a terminal"), (None, "is closed")):
        command = [sys.executable, "-m", "foleyflow", "generate", "-", "--model", str(model)]
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "out.mp4")],
            stdin=stdin,
            preexec_fn=None if stdin is not None else lambda: os.close(0),
            capture_output=True,
            env=process_environment(),
            timeout=120,
        )
        assert done.returncode == 2
        assert f"standard input {message}" in done.stderr.decode().splitlines()[0]
    os.close(leader)
    os.close(terminal)
    assert list(Path(tmp_path).iterdir()) == []
