"""Substitutes for the command of foleyflow that end in each possible way.

The worker process of the robustness measurement imports them by name. Each accepts the arguments of
`foleyflow generate SOURCE -o OUTPUT --json`.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path


def add_silence(arguments):
    """Write a correct output without a model."""
    # Imported here because the other commands start ten times faster without it.
    import numpy as np

    from foleyflow.errors import MediaError
    from foleyflow.media import mux, probe

    source, output = _paths(arguments)
    try:
        info = probe(source)
        count = round(info.duration_s * 48_000)
        silence = [np.zeros((1, count), np.float32)]
        mux(source, output, silence, rate_hz=48_000, n_samples=count, info=info)
    except MediaError as error:
        _refuse(str(error))
    print(json.dumps({"output": str(output), "duration_s": count / 48_000, "warnings": []}))


def refuse_everything(arguments):
    _refuse("no video is good enough")


def raise_error(arguments):
    raise RuntimeError("a bug")


def exit_with_one(arguments):
    print("foleyflow: not enough memory", file=sys.stderr)
    sys.exit(1)


def kill_itself(arguments):
    os.kill(os.getpid(), signal.SIGSEGV)


def kill_itself_once(arguments):
    """Crash unless the clip is a mov file."""
    if "mov" not in arguments[1]:
        os.kill(os.getpid(), signal.SIGABRT)
    add_silence(arguments)


def hang(arguments):
    time.sleep(600)


def copy_the_input(arguments):
    """Write an output with the old sound or none."""
    source, output = _paths(arguments)
    shutil.copy(source, output)
    print(json.dumps({"output": str(output), "duration_s": 0.48, "warnings": []}))


def leave_a_file(arguments):
    source, _ = _paths(arguments)
    source.with_name(".clip.part").touch()
    _refuse("no space left")


def change_the_input(arguments):
    source, _ = _paths(arguments)
    source.write_bytes(source.read_bytes() + b"\0")
    _refuse("the file is damaged")


def print_an_extra_line(arguments):
    print("done")
    add_silence(arguments)


def refuse_without_a_message(arguments):
    print(json.dumps({"error": "no"}))
    sys.exit(2)


def _paths(arguments):
    verb, source, _, output, _ = arguments
    assert verb == "generate"
    return Path(source), Path(output)


def _refuse(message):
    print(json.dumps({"error": message, "hint": ""}))
    print(f"foleyflow: {message}\n  hint: take another one", file=sys.stderr)
    sys.exit(2)
