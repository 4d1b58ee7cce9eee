"""A small untrained model in the shape of the smoke recipes, and functions to run the command line.

The weights that are initialised to zero are random here, so that every condition (frames, cues,
guidance, steps) changes the sound, and events are found.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

from foleyflow.alignment.model import Alignment
from foleyflow.cli.app import app
from foleyflow.codec.autoencoder import Codec
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.recipes import recipe_named
from foleyflow.training.journal import read_journal
from foleyflow.weights import save_component

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exit status and output of a command."""

    status: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        return json.loads(self.stdout)

    @property
    def error_lines(self) -> list[str]:
        """Lines on stderr."""
        return self.stderr.splitlines()


def make_model(
    folder: Path, *, seed: int = 0, with_cue_tracks: bool = True, certainty: float = 20.0
) -> Path:
    """Writes codec, aligner and flow of the smoke recipes with random weights.

    Without cue tracks, the flow takes the video alone. With less `certainty`, the onset
    probabilities are further from 0 and 1.
    """
    align, codec, flow = (recipe_named(task, "smoke") for task in ("align", "codec", "flow"))
    flow_config = flow.model
    if not with_cue_tracks:
        flow_config = dataclasses.replace(flow_config, cue_materials=())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 5)  # with seed 0, the aligner finds events in the tests' clips
        modules = {
            "codec": (Codec(codec.model), dataclasses.asdict(codec.model)),
            "align": (
                Alignment(align.model, encoder=MotionEncoder(align.encoder)),
                {
                    "model": dataclasses.asdict(align.model),
                    "encoder": dataclasses.asdict(align.encoder),
                },
            ),
            "flow": (FlowTransformer(flow_config), dataclasses.asdict(flow_config)),
        }
        with torch.no_grad():
            for parameter in modules["flow"][0].parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            modules["align"][0].onset_head.weight.mul_(certainty)
    for name, (module, config) in modules.items():
        save_component(folder, name, module=module, config=config, provenance={"seed": seed})
    return folder


def settings_flags(*settings: str) -> list[str]:
    """`--set KEY=VALUE` for each setting."""
    return [part for setting in settings for part in ("--set", setting)]


def run_cli(*arguments: str | Path) -> Outcome:
    """Runs a command in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(status=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def run_process(
    *arguments: str | Path,
    python: Sequence[str] = ("-m", "foleyflow"),
    cwd: Path | None = None,
    given: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Runs a command in a separate process, with `given` on standard input."""
    done = subprocess.run(
        [sys.executable, *python, *(str(a) for a in arguments)],
        capture_output=True,
        input=given,
        cwd=cwd,
        env=process_environment(environment),
        timeout=120,
    )
    return Outcome(status=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())


def losses(folder: Path) -> list[dict[str, Any]]:
    """The journal of a run without times."""
    return [
        {key: value for key, value in entry.items() if not key.endswith("_s")}
        for entry in read_journal(folder / "journal.jsonl")
    ]


def check_refusal(outcome: Outcome, *, status: int = 2) -> str:
    """Checks for one line and a hint on stderr and an empty stdout; returns the line."""
    assert outcome.status == status, outcome.stderr
    assert outcome.stdout == ""
    line, hint = outcome.error_lines
    assert line.startswith("foleyflow: ") and len(line) > 20
    assert hint.startswith("  hint: ") and len(hint) > 15
    return line


def process_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables to run this code with one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **(changes or {})}


def reset_signals() -> None:
    """Signals that the test process ignores, as under nohup, would be ignored by its children."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
