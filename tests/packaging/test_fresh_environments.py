"""The built distributions in fresh environments, and the steps of the Dockerfile.

They take minutes and install 1 GB, so `make test` leaves them out; `make test-installs` runs them.
torch is installed from the folder with a CPU build that pip is set up with (PIP_FIND_LINKS), and
never from an index, which could offer a CUDA build.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli_model import ROOT
from support.dockerfile import copied, read_stages, run_stage, variables_of

WANTED = os.environ.get("INSTALLS") == "1"
CPU_BUILDS = os.environ.get("PIP_FIND_LINKS", "")
LIMIT_BYTES = 850_000_000  # of the environment in the image
CONSUMER = """
from foleyflow import Cue, CueSheet, FoleyFlow, Generated

model = FoleyFlow.from_pretrained()
result: Generated = model.generate("clip.mp4", seed=0)
sheet: CueSheet = result.cues.replace(0, time_s=0.5)
cue: Cue = sheet[0]
seconds: float = cue.time_s
reveal_type(result.sample_rate_hz)
model.generate("clip.mp4", seed="zero")
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.skipif(not WANTED, reason="make test-installs runs it"),
]


def run(*command: str | Path, config: str | Path = "", **options) -> str:
    """Runs a command outside the project, and returns what it prints."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment | {"FOLEYFLOW_CONFIG": str(config)},
        timeout=900,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(folder: Path, python: str | Path) -> Path:
    """The interpreter of a new environment."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def install(python: Path, *arguments: str | Path) -> None:
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", *arguments)


def install_torch(python: Path) -> None:
    if not any(Path(CPU_BUILDS).glob("torch-*")):
        pytest.skip("PIP_FIND_LINKS is no folder with a CPU build of torch")
    install(python, "--no-deps", "--no-index", "--find-links", CPU_BUILDS, "torch")


@functools.cache
def interpreter(version: str) -> str | None:
    """A Python of this version that runs, if there is one."""
    candidate = shutil.which(f"python{version}")
    works = candidate and subprocess.run([candidate, "-V"], capture_output=True).returncode == 0
    return candidate if works else None


@pytest.fixture(scope="session")
def distributions(tmp_path_factory) -> dict[str, Path]:
    """The wheel and the sdist, built from the tracked files."""
    folder = tmp_path_factory.mktemp("distributions")
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    (folder / "source").mkdir()
    subprocess.run(["tar", "x", "-C", folder / "source"], input=archive, check=True)
    python = environment(folder / "build", sys.executable)
    install(python, "build", "setuptools>=77")
    run(python, "-m", "build", "--no-isolation", "-o", folder / "dist", cwd=folder / "source")
    (wheel,), (sdist,) = (list((folder / "dist").glob(f"*.{end}")) for end in ("whl", "tar.gz"))
    return {"wheel": wheel, "sdist": sdist}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_pip_install_and_generate(distributions, tmp_path, kind):
    """As a user without CUDA does it: a CPU build of torch first, then foleyflow."""
    python = environment(tmp_path / "env", sys.executable)
    install_torch(python)
    install(python, distributions[kind])
    packages = run(python, "-m", "pip", "list")
    assert "nvidia" not in packages and "triton" not in packages
    foleyflow = python.parent / "foleyflow"
    clip = ROOT / "foleyflow/assets/examples/falling.mp4"
    run(foleyflow, "generate", clip, "-o", tmp_path / "out.mp4", cwd=tmp_path)
    assert (tmp_path / "out.mp4").stat().st_size > 0
    run(foleyflow, "doctor")
    if kind == "wheel":
        check_types(python, tmp_path)


def check_types(python: Path, folder: Path) -> None:
    """mypy reads the types of the installed package in another project, and finds the error."""
    (folder / "consumer.py").write_text(CONSUMER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", python, "--strict", "consumer.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = [line for line in done.stdout.splitlines() if ": error:" in line or ": note:" in line]
    assert len(lines) == 2, done.stdout
    assert 'Revealed type is "int"' in lines[0].replace("builtins.", "")
    assert 'has incompatible type "str"; expected "int"' in lines[1]


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_other_versions_of_python(distributions, tmp_path, version):
    """All that does not need torch, whose CPU build is at hand for one version only."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version}")
    python = environment(tmp_path / "env", python)
    install(python, "--no-deps", distributions["wheel"])
    script = "import importlib.metadata as m; print('\\n'.join(m.requires('foleyflow')))"
    needed = run(python, "-c", script).splitlines()
    core = [each for each in needed if "extra ==" not in each and not each.startswith("torch")]
    install(python, *core)
    foleyflow = python.parent / "foleyflow"
    for arguments in (("--version",), ("generate", "--help"), ("config",), ("completion", "bash")):
        run(foleyflow, *arguments, cwd=tmp_path)
    config = tmp_path / "config.toml"
    config.write_text("seed = 3")
    assert f"{config}: seed" in run(foleyflow, "config", config=config)
    run(python, "-c", "from foleyflow import Cue, CueSheet; CueSheet(cues=(Cue(time_s=0.5),))")
    place = run(python, "-c", "import foleyflow; print(foleyflow.__path__[0])").strip()
    run(python, "-m", "compileall", "-q", place)


def test_the_image_of_the_dockerfile(tmp_path):
    """Builds the environment of the image, generates, serves, and writes nothing into it."""
    if not any(Path(CPU_BUILDS).glob("torch-*")) or shutil.which("strip") is None:
        pytest.skip("needs a CPU build of torch in PIP_FIND_LINKS, and strip")
    stages = read_stages(ROOT / "Dockerfile")
    root = tmp_path / "root"
    root.mkdir()
    run_stage(
        stages["build"],
        root=root,
        source=ROOT,
        arguments={"TORCH_WHEELS": CPU_BUILDS},
        without="apt-get",
    )
    assert {"foleyflow", "requirements.lock"} <= set(copied(stages["build"]))
    built = root / "opt" / "foleyflow"
    before = {path: path.lstat().st_mtime_ns for path in built.rglob("*")}
    total = sum(path.lstat().st_size for path in before if path.is_file())
    assert total < LIMIT_BYTES, total
    assert all(path.stat().st_mode & 0o004 for path in before if path.exists())
    # The commands of the image, with its variables
    variables = {
        name: value.replace("/opt/foleyflow", str(built)).replace("/tmp", str(tmp_path))
        for name, value in variables_of(stages["final"]).items()
    }
    shell = {**variables, "PATH": f"{built}/bin{os.pathsep}{os.environ['PATH']}"}
    clip = ROOT / "foleyflow/assets/examples/falling.mp4"
    command = [built / "bin/foleyflow", "generate", clip, "-o", tmp_path / "out.mp4", "--report"]
    subprocess.run(command, cwd=tmp_path, env=shell, check=True, timeout=300)
    for arguments in ("--help", "--version"):
        subprocess.run([built / "bin/foleyflow", arguments], env=shell, check=True, timeout=60)
    check_health(stages["final"], built, tmp_path, shell)
    assert {path: path.lstat().st_mtime_ns for path in built.rglob("*")} == before


def check_health(final, built: Path, folder: Path, shell: dict[str, str]) -> None:
    """The health check of the image succeeds while the server runs."""
    texts = {step.instruction: step.text for step in final}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = json.loads(texts["CMD"].replace("/clips", str(folder)).replace("8000", port))
    health = texts["HEALTHCHECK"].split(" CMD ")[1].replace("8000", port)
    server = subprocess.Popen([built / "bin/foleyflow", *arguments], env=shell, cwd=folder)
    try:
        for _ in range(120):
            time.sleep(0.5)
            healthy = subprocess.run(["sh", "-c", health], env=shell, capture_output=True)
            if healthy.returncode == 0:
                break
        assert healthy.returncode == 0, healthy.stderr
    finally:
        server.terminate()
        server.wait(timeout=60)
