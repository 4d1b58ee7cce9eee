"""Completion of commands, options, values and files in real shells."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from support.cli_model import process_environment, run_cli

CASES = {
    "foleyflow ge": {"generate"},
    "foleyflow generate --mater": {"--material"},
    "foleyflow generate --material me": {"metal", "membrane"},
    "foleyflow generate clip": {"clip.mp4"},
}
# Each prints a line per completion of its argument.
SHELLS = {
    "bash": (
        "source <(foleyflow completion bash)\n"
        "COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        "_foleyflow_completion foleyflow\n"
        'test ${#COMPREPLY[@]} -gt 0 || COMPREPLY=($(compgen -f "${COMP_WORDS[-1]}"))\n'
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    ),
    "fish": "foleyflow completion fish | source\ncomplete -C $argv[1] | cut -f1\n",
    # Its completion system offers what these two functions get.
    "zsh": (
        "compdef() { }; _files() { print -r -- ${words[-1]}*(N) }\n"
        "_arguments() { print -r -- $1 }\n"
        "source <(foleyflow completion zsh)\n"
        "words=(${=1}); CURRENT=$#words\n"
        "_foleyflow_completion\n"
    ),
}


@pytest.fixture
def shell_environment(tmp_path):
    """The command `foleyflow` on PATH, and a home of its own."""
    command = tmp_path / "bin" / "foleyflow"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m foleyflow "$@"\n')
    command.chmod(0o755)
    (tmp_path / "clip.mp4").touch()
    environment = process_environment({"HOME": str(tmp_path)})
    return environment | {"PATH": f"{command.parent}{os.pathsep}{environment['PATH']}"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell, shell_environment, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = tmp_path / "script"
    script.write_text(SHELLS[shell])
    for line, expected in CASES.items():
        done = subprocess.run(
            [shell, str(script), line],
            capture_output=True,
            cwd=tmp_path,
            env=shell_environment,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found = re.findall(r'"([^"]+)"(?::"[^"]*")?', done.stdout) or done.stdout.split()
        assert set(found) == expected, line


def test_the_scripts_name_the_command():
    for shell in ("bash", "zsh", "fish", "powershell"):
        outcome = run_cli("completion", shell)
        assert outcome.status == 0
        assert "_FOLEYFLOW_COMPLETE" in outcome.stdout
    assert run_cli("completion", "csh").status == 2
