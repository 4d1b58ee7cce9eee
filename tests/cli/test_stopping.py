"""A stopped command prints one line and leaves no draft and no temporary file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli_model import process_environment, reset_signals
from support.media_files import make_video

from foleyflow.cli.stopping import stopped_by_signals

WAIT_S = 100.0  # upper bound; the awaited state comes much earlier


@pytest.fixture
def temporary(tmp_path):
    """The folder for the command's temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def start(*arguments, temporary: Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "foleyflow", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=process_environment({"TMPDIR": str(temporary)}),
        preexec_fn=reset_signals,
        **options,
    )


def wait_for(process: subprocess.Popen, pattern: str, folder: Path) -> None:
    """Waits until a file that matches the pattern exists."""
    deadline_s = time.monotonic() + WAIT_S
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_stopped_while_standard_input_is_read(model, tmp_path, temporary, name, status):
    output = tmp_path / "out.mp4"
    process = start(
        *("generate", "-", "--model", model, "-o", output, "--json"),
        temporary=temporary,
        stdin=subprocess.PIPE,
    )
    process.stdin.write(b"\0" * 2**21)  # the first block is written when the second one arrives
    process.stdin.flush()
    wait_for(process, "foleyflow-*/standard-input", temporary)
    process.send_signal(getattr(signal, name))
    stdout, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stderr.decode()) == (status, "foleyflow: stopped\n")
    assert json.loads(stdout)["error"] == "stopped"
    assert list(temporary.iterdir()) == [] and not output.exists()


def test_stopped_while_an_output_is_written(model, tmp_path, temporary):
    """Finished results of a batch are kept and listed."""
    short = make_video(tmp_path / "short.mp4", n_frames=5)
    long = make_video(tmp_path / "long.mp4", rate=5, n_frames=800, width=32, height=32)
    process = start(
        *("generate", short, long, "--model", model, "-o", f"{tmp_path}/new/", "--json"),
        temporary=temporary,
    )
    wait_for(process, ".long.foley.mp4.*.part", tmp_path / "new")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # as `timeout` does: to the process and to its group
    stdout, stderr = process.communicate(timeout=WAIT_S)
    assert process.returncode == 143, (stdout, stderr)
    # The first line is the label of the progress bar of a long video.
    assert stderr.decode().splitlines() == ["long.mp4", "foleyflow: stopped"]
    answer = json.loads(stdout)
    assert answer["error"] == "stopped"
    assert [result["video"] for result in answer["results"]] == [str(short)]
    assert os.listdir(tmp_path / "new") == ["short.foley.mp4"]
    assert list(temporary.iterdir()) == []


def test_another_command_is_stopped_too(temporary):
    process = start("bench", temporary=temporary)
    wait_for(process, "foleyflow-bench-*", temporary)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stdout) == (143, b"")
    assert stderr.decode().splitlines()[-1] == "foleyflow: stopped"
    assert list(temporary.iterdir()) == []


def test_ignored_signals_and_other_handlers_are_kept():
    def handler(number, frame):
        raise AssertionError("not sent")

    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
        signal.signal(signal.SIGTERM, handler)
        with stopped_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with stopped_by_signals():
            assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@pytest.fixture
def default_signals():
    """No handlers, also if another test in this process has left one (Ray handles SIGTERM)."""
    numbers = (signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def wait_in_steps(duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        time.sleep(0.01)


@pytest.mark.usefixtures("default_signals")
def test_a_swallowed_interrupt_is_raised_again():
    swallowed = False
    with pytest.raises(KeyboardInterrupt), stopped_by_signals() as received:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            wait_in_steps(10.0)
        except KeyboardInterrupt:
            swallowed = True
        wait_in_steps(10.0)
    assert swallowed and received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.mark.usefixtures("default_signals")
def test_a_clean_up_is_not_interrupted():
    cleaned = []

    def results():
        try:
            yield 1
        finally:
            wait_in_steps(0.8)
            cleaned.append("generator")

    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            wait_in_steps(10.0)
        finally:
            generator = results()
            next(generator)
            generator.close()
            cleaned.append("block")
    assert cleaned == ["generator", "block"]
    wait_in_steps(0.5)  # nothing is raised after the block


def test_forked_processes_end_by_the_signal():
    """They end as without a handler, so that they do not clean up files of the parent."""
    code = (
        "import os, signal, time\n"
        "from foleyflow.cli.stopping import stopped_by_signals\n"
        "with stopped_by_signals():\n"
        "    reader, writer = os.pipe()\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os.write(writer, b'x')\n"
        "        for _ in range(600):\n"
        "            time.sleep(0.1)\n"
        "        os._exit(0)\n"
        "    os.read(reader, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print(os.WTERMSIG(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=process_environment(), timeout=60
    )
    assert done.stdout.split() == [b"15"], done.stderr
