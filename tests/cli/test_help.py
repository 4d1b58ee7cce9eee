"""Help and version of every verb, and wrong usage: instant, without the heavy packages."""

import subprocess
import sys

import pytest
from support.cli_model import ROOT, run_cli

import foleyflow

VERBS = [
    ("generate",),
    ("train",),
    ("evaluate",),
    ("ablate",),
    ("reel",),
    ("bench",),
    ("doctor",),
    ("data",),
    ("data", "simulate"),
    ("data", "vggsound"),
    ("data", "audioset"),
    ("data", "folder"),
    ("data", "doctor"),
    ("measure",),
    ("measure", "robustness"),
]
# The flags that the product promises; one that is not there yet is not accepted silently.
GENERATE_FLAGS = (
    "--output --model --seed --steps --guidance --material --loudness --audio-only --overwrite "
    "--report --events --sidecar --device --json --dry-run --debug"
).split()


@pytest.mark.parametrize("verb", [(), *VERBS], ids=" ".join)
def test_help_of_every_verb(verb):
    outcome = run_cli(*verb, "--help")
    assert outcome.status == 0
    assert outcome.stdout.startswith("Usage: ")
    assert outcome.stderr == ""


def test_the_root_lists_every_verb():
    text = run_cli("--help").stdout
    for verb in VERBS:
        if len(verb) == 1:
            assert f"\n  {verb[0]} " in text


def test_generate_lists_every_flag():
    text = run_cli("generate", "--help").stdout
    assert [flag for flag in GENERATE_FLAGS if flag not in text] == []


def test_version():
    assert run_cli("--version").stdout == f"foleyflow {foleyflow.__version__}\n"


def test_no_help_text_loads_a_heavy_package():
    code = (
        "import sys\n"
        "from foleyflow.cli.app import app\n"
        f"for verb in {[*VERBS, ()]!r}:\n"
        "    try:\n"
        "        app([*verb, '--help'], prog_name='foleyflow')\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code, verb\n"
        "heavy = {'torch', 'numpy', 'av', 'scipy', 'matplotlib', 'librosa', 'mujoco'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate",), "Missing argument"),
        (("generate", "a.mp4", "--candidates", "3"), "No such option"),
        (("generate", "a.mp4", "--seed", "-1"), "'--seed'"),
        (("generate", "a.mp4", "--steps", "0"), "'--steps'"),
        (("generate", "a.mp4", "--guidance", "0.5"), "'--guidance'"),
        (("generate", "a.mp4", "--guidance", "many"), "'--guidance'"),
        (("compose",), "No such command"),
        (("data", "simulate", "--clips", "0", "--out", "x"), "'--clips'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, said):
    outcome = run_cli(*arguments)
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert said in outcome.stderr
