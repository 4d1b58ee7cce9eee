"""Help of every command, the version, and wrong usage, without heavy packages."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from support.cli_model import ROOT, run_cli

import foleyflow
from foleyflow.cli.app import app
from foleyflow.pretrained import EMBEDDED
from foleyflow.weights import file_sha256

COMMAND = typer.main.get_command(app)


def command_paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The command line's groups and commands, such as () and ("data", "simulate")."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_paths(inner, (*path, name))


PATHS = list(command_paths(COMMAND))
# Documented flags.
GENERATE_FLAGS = (
    "--output --files-from --cues --sensitivity --model --seed --steps --guidance --material "
    "--loudness "
    "--library --library-variation --mix --mix-level --duck-depth --keep-original "
    "--audio-only --format --project --overwrite --report --events --sidecar --device --json "
    "--dry-run --debug"
).split()


def test_all_commands_are_found():
    assert {(), ("generate",), ("data", "prepare"), ("measure", "robustness")} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_of_every_command(path):
    outcome = run_cli(*path, "--help")
    assert outcome.status == 0
    assert outcome.stdout.startswith("Usage: ")
    assert outcome.stderr == ""


def test_each_group_lists_its_commands():
    for path in PATHS[1:]:
        assert f"\n  {path[-1]} " in run_cli(*path[:-1], "--help").stdout


def test_generate_lists_every_documented_flag():
    text = run_cli("generate", "--help").stdout
    assert [flag for flag in GENERATE_FLAGS if flag not in text] == []
    assert "Default: that of the model" in " ".join(text.split())


def test_version():
    """The hashes are those of the files."""
    first, *lines = run_cli("--version").stdout.splitlines()
    assert first == f"foleyflow {foleyflow.__version__}"
    files = sorted(EMBEDDED.glob("*.safetensors"))
    assert lines == [f"{file_sha256(path)}  {path.name}" for path in files]


def test_help_loads_no_heavy_package():
    code = (
        "import sys\n"
        "from foleyflow.cli.app import app\n"
        f"for path in {PATHS!r}:\n"
        "    try:\n"
        "        app([*path, '--help'], prog_name='foleyflow')\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code, path\n"
        "heavy = {'torch', 'numpy', 'av', 'scipy', 'matplotlib', 'librosa', 'mujoco'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate",), "Missing argument"),
        (("generate", "a.mp4", "--pictures", "3"), "No such option"),
        (("generate", "a.mp4", "--seed", "-1"), "'--seed'"),
        (("generate", "a.mp4", "--steps", "0"), "'--steps'"),
        (("generate", "a.mp4", "--guidance", "0.5"), "'--guidance'"),
        (("generate", "a.mp4", "--guidance", "many"), "'--guidance'"),
        (("compose",), "No such command"),
        (("data", "simulate", "--clips", "0", "--out", "x"), "'--clips'"),
    ],
)
def test_wrong_usage_has_exit_status_2(arguments, message):
    outcome = run_cli(*arguments)
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert message in outcome.stderr
