"""What the image and the lock file promise, read from the files themselves."""

import re
import subprocess

import pytest
from support.cli_model import ROOT, process_environment
from support.dockerfile import ENVIRONMENT, copied, read_stages, variables_of

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or later")
STAGES = read_stages(ROOT / "Dockerfile")
FINAL = {step.instruction: step.text for step in STAGES["final"]}
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
PACKAGING = (
    "Dockerfile",
    ".dockerignore",
    "requirements.lock",
    "scripts/lock.sh",
    "pyproject.toml",
)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    return {canonical(name): version for name, version in PINNED.findall(text)}


def test_the_image_runs_without_privileges_and_checks_its_health():
    assert FINAL["USER"] == "10001:10001"
    assert FINAL["ENTRYPOINT"] == '["foleyflow"]'
    assert FINAL["CMD"].startswith('["serve", "--host", "0.0.0.0", "--port", "8000"')
    assert " CMD " in FINAL["HEALTHCHECK"] and "8000" in FINAL["HEALTHCHECK"]
    assert FINAL["EXPOSE"] == "8000"
    assert variables_of(STAGES["final"])["HOME"] == "/tmp"  # the only folder that can be written
    assert FINAL["COPY"] == f"--from=build {ENVIRONMENT} {ENVIRONMENT}"


def test_what_is_copied_exists_and_is_not_ignored():
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for name in (name for steps in STAGES.values() for name in copied(steps)):
        assert (ROOT / name).exists()
        assert name.split("/")[0] in allowed


def test_torch_is_that_of_the_constraints():
    texts = " ".join(step.text for step in STAGES["build"])
    version = pinned((ROOT / "constraints.txt").read_text())["torch"]
    assert re.findall(r"torch==(\S+)", texts) == [version]
    assert "--no-index" in texts


def test_the_lock_file_has_the_versions_of_the_constraints():
    constraints = pinned((ROOT / "constraints.txt").read_text())
    lock = pinned(LOCK)
    assert {name: lock[name] for name in lock.keys() & constraints} == {
        name: constraints[name] for name in lock.keys() & constraints
    }
    assert not [name for name in lock if name.startswith(("torch", "nvidia", "cuda", "triton"))]


def test_the_lock_file_has_every_dependency_with_hashes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["web"]]
    names = {
        canonical(re.match(r"[\w.-]+", each)[0])
        for each in needed
        if "python_version < '3.11'" not in each
    }
    assert names - {"torch"} <= pinned(LOCK).keys()
    entries = LOCK.split("\n\n") if "\n\n" in LOCK else re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) == len(pinned(LOCK))
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("name", PACKAGING)
def test_no_address_of_a_package_host(name):
    text = (ROOT / name).read_text("utf-8")
    assert not re.findall(r"https?://(?!127\.0\.0\.1)\S+", text)


def test_the_health_check_fails_without_a_server():
    command = FINAL["HEALTHCHECK"].split(" CMD ")[1].replace("8000", "1")
    done = subprocess.run(["sh", "-c", command], env=process_environment(), capture_output=True)
    assert done.returncode == 1
