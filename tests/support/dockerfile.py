"""Reads a Dockerfile, and runs the steps of a stage in a folder, without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = "/opt/foleyflow"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction, such as RUN, and its text."""

    instruction: str
    text: str


def read_stages(path: Path) -> dict[str, list[Step]]:
    """The steps of each stage; the last one is called "final"."""
    stages: dict[str, list[Step]] = {}
    name = ""
    for line in path.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, _, text = line.partition(" ")
        if instruction == "FROM":
            name = text.split(" AS ")[1] if " AS " in text else "final"
        stages.setdefault(name, []).append(Step(instruction=instruction, text=text))
    return stages


def variables_of(steps: list[Step]) -> dict[str, str]:
    """The values of all ENV steps."""
    text = " ".join(step.text for step in steps if step.instruction == "ENV")
    return dict(pair.split("=", 1) for pair in text.split())


def run_stage(
    steps: list[Step], *, root: Path, source: Path, arguments: dict[str, str], without: str
) -> None:
    """Runs a stage with `root` in place of the root of the file system.

    Args:
        steps: of the stage.
        root: an empty folder; of the image's folders, /src, /opt and /tmp are in it.
        source: the folder that COPY reads; a folder of another stage is empty.
        arguments: build arguments.
        without: RUN steps with this text are left out.
    """

    def located(text: str) -> str:
        return re.sub(r"(?<![\w./])/(src|opt|tmp)\b", rf"{root}/\1", text)

    for name in ("src", "opt", "tmp", "bin"):
        (root / name).mkdir()
    (root / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    environment = {**os.environ, **arguments, "PATH": f"{root}/bin{os.pathsep}{os.environ['PATH']}"}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    for step in steps:
        if step.instruction == "ENV":
            name, value = located(step.text).split("=", 1)
            environment[name] = value.replace(f"${name}", environment.get(name, ""))
        elif step.instruction == "COPY":
            _copy(step.text, source, root / "src")
        elif step.instruction == "RUN" and without not in step.text:
            command = ["sh", "-euc", located(step.text)]
            subprocess.run(command, cwd=root / "src", env=environment, check=True, timeout=900)


def copied(steps: list[Step]) -> list[str]:
    """The files and folders of the source that COPY reads."""
    texts = [step.text for step in steps if step.instruction == "COPY"]
    return [name for text in texts if not text.startswith("--") for name in text.split()[:-1]]


def _copy(text: str, source: Path, target: Path) -> None:
    *names, place = text.split()
    if names[0].startswith("--from="):
        (target / place).mkdir(parents=True, exist_ok=True)
        return
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "page")
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / place, ignore=ignored, dirs_exist_ok=True)
        else:
            folder = target / place
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, folder)
