"""docs/extending.md, followed literally: its lines are applied to a copy, its commands are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "extending.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", GUIDE, flags=re.MULTILINE))
BLOCK = re.compile(r"^```(python|diff|console)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(foleyflow/\S+\.py)`")
# Section -> text that its command prints.
PRINTED = {
    "A metric": "peak_ratio",
    "A material": "ice",
    "An encoder": "384",
    "A recipe": '"decoder_width": 512',
    "An option of a command": "--problems-only",
}


def insert(path: Path, block: str) -> None:
    """Add the `+` lines of a diff where its other lines are, which must be in exactly one place."""
    lines = block.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    new = "".join(f"{line[1:]}\n" for line in lines)
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path.name} has these lines {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), "utf-8")


def run(command: str, root: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    executable = [sys.executable, "-m", "foleyflow"] if program == "foleyflow" else [sys.executable]
    return subprocess.run(
        [*executable, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the package, and two folders with a sound in each."""
    package = tmp_path / "foleyflow"
    shutil.copytree(
        ROOT / "foleyflow", package, ignore=shutil.ignore_patterns("assets", "__pycache__")
    )
    (package / "assets").symlink_to(ROOT / "foleyflow" / "assets")
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    for folder in ("results", "reference"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "clip.wav", noise, 16000)
    return tmp_path


def test_every_section_is_followed():
    assert set(SECTIONS) == set(PRINTED)
    assert all({"console"} < {kind for kind, _ in BLOCK.findall(s)} for s in SECTIONS.values())


@pytest.mark.parametrize("section", PRINTED)
def test_the_lines_of_a_section_work(section, copy):
    text = SECTIONS[section]
    for match in BLOCK.finditer(text):
        kind, block = match.groups()
        if kind == "console":
            outcome = run(block.removeprefix("$ "), copy)
            assert outcome.returncode == 0, outcome.stderr
            assert PRINTED[section] in outcome.stdout
            continue
        # A block belongs to the file that was named last before it
        path = copy / FILE.findall(text[: match.start()])[-1]
        if kind == "diff":
            insert(path, block)
        else:
            before = path.read_text("utf-8") + "\n\n" if path.exists() else ""
            path.write_text(before + block, "utf-8")
