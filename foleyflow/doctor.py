"""Checks an installation: packages, devices, models, and how to fix what is missing.

Nothing is changed, downloaded or installed. Checks that may crash (opening OpenGL) run in separate
processes. All checks take about two seconds.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foleyflow.errors import CheckpointError
from foleyflow.parallel.precision import precision_on, precision_setting
from foleyflow.system.processor import feature_text, processor_features, processor_name

State = Literal["ok", "missing", "broken"]

OLDEST_PYTHON = (3, 10)
# Packages whose modules have the same name.
CORE = (
    *("torch", "numpy", "av", "soxr", "scipy", "safetensors", "typer", "matplotlib"),
    *("mido", "timecode"),
)
EXTRAS = {
    "encoders": ("timm",),
    "physics": ("mujoco", "soundfile"),
    "eval": ("librosa", "mir_eval"),
    "judges": ("transformers",),
    "cluster": ("ray",),
    "finetune": ("peft",),
    "edit": ("opentimelineio",),
    "web": ("fastapi", "uvicorn"),
    "notebook": ("ipykernel",),
}
ENCODERS = {
    "aac": "audio in mp4 and mov",
    "libopus": "audio in webm",
    "flac": "audio of simulated clips",
    "libx264": "video of simulated clips",
}
# timm needs torchvision, whose build for another torch version can't be imported.
TORCHVISION_TRIAL = "import torchvision"
GL_TRIAL = "from foleyflow.simulation.picture.render import open_gl; open_gl()"
TRIAL_TIMEOUT_S = 10.0
TORCH_PAGE = "https://pytorch.org/get-started/locally"
# The two ways to install torch: its build for Linux on PyPI is that for CUDA, of several GB.
TORCH_WAYS = f"without an NVIDIA GPU: a CPU build, see {TORCH_PAGE}; with one: pip install torch"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        name: the part that was checked, such as "package torch" or "extra physics".
        state: "ok", "missing" (not installed) or "broken" (installed, but not usable).
        detail: version, size or error in one line.
        fix: a command or advice in one line; empty if the state is "ok".
        needed: whether `foleyflow generate` needs this part.
    """

    name: str
    state: State
    detail: str
    fix: str = ""
    needed: bool = False


def examine(*, weights_dir: Path | None = None) -> list[Finding]:
    """Runs all checks.

    Args:
        weights_dir: folder with weights of published encoders, whose hashes are verified (a minute
            for all); None only checks that the files exist in the default folder.

    Raises:
        ConfigError: the precision setting is unknown.
    """
    # Both run in the background during the other checks.
    drawing = _start_trial(GL_TRIAL, needs="mujoco")
    vision = _start_trial(TORCHVISION_TRIAL, needs="timm")
    findings = [_python(), *_packages()]
    for name, packages in EXTRAS.items():
        findings.append(_extra(name, packages))
        if name == "physics":
            findings.append(_rendering(drawing))
        elif name == "encoders" and vision is not None:
            findings.append(_torchvision(vision))
    findings += [*_machine(), *_media_encoders(), _model(None), *_encoder_weights(weights_dir)]
    return findings


def is_usable(findings: list[Finding]) -> bool:
    """Whether `foleyflow generate` can run: all that it needs is ok."""
    return all(finding.state == "ok" for finding in findings if finding.needed)


def _finding(
    name: str, ok: bool, detail: str, *, fix: str, failed: State = "broken", needed: bool = False
) -> Finding:
    state: State = "ok" if ok else failed
    return Finding(name=name, state=state, detail=detail, fix="" if ok else fix, needed=needed)


def _python() -> Finding:
    return _finding(
        "python",
        sys.version_info[:2] >= OLDEST_PYTHON,
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        fix=f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer",
        needed=True,
    )


def _packages() -> Iterator[Finding]:
    for package in CORE:
        name, version = f"package {package}", _version(package)
        if not version:
            fix = TORCH_WAYS if package == "torch" else f"pip install {package}"
            yield _finding(name, False, "not installed", fix=fix, failed="missing", needed=True)
            continue
        try:
            importlib.import_module(package)
        except (ImportError, OSError, RuntimeError) as error:
            detail = f"{version}, can't be imported: {_one_line(error)}"
            fix = f"pip install --force-reinstall {package}"
            yield _finding(name, False, detail, fix=fix, needed=True)
        else:
            yield _finding(name, True, version, fix="", needed=True)


def _extra(extra: str, packages: tuple[str, ...]) -> Finding:
    versions = {package: _version(package) for package in packages}
    return _finding(
        f"extra {extra}",
        all(versions.values()),
        ", ".join(f"{package} {version or 'missing'}" for package, version in versions.items()),
        fix=f"pip install 'foleyflow[{extra}]'",
        failed="missing",
    )


def _machine() -> Iterator[Finding]:
    """The processor, the devices of torch, and the precision of the networks on each."""
    features = feature_text(processor_features())
    yield _finding("processor", True, f"{processor_name()}, features: {features}", fix="")
    try:
        import torch
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall torch"
        yield _finding("devices", False, _one_line(error), fix=fix, needed=True)
        return
    devices = ["cpu"]
    parts = [f"cpu with {torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        devices.append(f"cuda:{index}")
        parts.append(f"cuda:{index} {gpu.name} with {gpu.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        parts.append("no cuda")
    yield _finding("devices", True, ", ".join(parts), fix="", needed=True)
    detail = torch_build(torch.version.cuda, gpu_is_usable=torch.cuda.is_available())
    yield _finding("torch build", True, detail, fix="")
    precisions = [f"{precision_on(torch.device(device))} on {device}" for device in devices]
    detail = f"{', '.join(precisions)} (setting: {precision_setting()})"
    yield _finding("precision", True, detail, fix="")


def torch_build(cuda: str | None, *, gpu_is_usable: bool) -> str:
    """For which devices torch was built, and when the other way to install it is better."""
    if cuda is None:
        return f"for the CPU; to use an NVIDIA GPU, install one for CUDA: {TORCH_PAGE}"
    if gpu_is_usable:
        return f"for CUDA {cuda}"
    return f"for CUDA {cuda}, but no GPU is usable; a CPU build saves several GB: {TORCH_PAGE}"


def _start_trial(code: str, *, needs: str) -> subprocess.Popen[str] | None:
    """Starts code in a separate process, if the package that it needs is installed."""
    if not _version(needs):
        return None
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _trial_error(trial: subprocess.Popen[str]) -> str:
    """The last line of the error of a trial; empty if it succeeded."""
    try:
        _, errors = trial.communicate(timeout=TRIAL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        trial.kill()
        trial.communicate()
        errors = f"no answer in {TRIAL_TIMEOUT_S:.0f} s"
    if trial.returncode == 0:
        return ""
    return errors.strip().splitlines()[-1] if errors.strip() else f"exit {trial.returncode}"


def _torchvision(trial: subprocess.Popen[str]) -> Finding:
    """Whether timm can be imported, which needs a torchvision built for this torch."""
    error = _trial_error(trial)
    return _finding(
        "torchvision (encoders only)",
        not error,
        error[:160] or str(_version("torchvision")),
        fix=f"install matching torch and torchvision: {TORCH_PAGE}",
    )


def _rendering(trial: subprocess.Popen[str] | None) -> Finding:
    """Whether simulated clips can be rendered, which needs OpenGL without a screen."""
    name = "rendering (simulation only)"
    if trial is None:
        fix = "pip install 'foleyflow[physics]'"
        return _finding(name, False, "needs mujoco", fix=fix, failed="missing")
    error = _trial_error(trial)
    backend = os.environ.get("MUJOCO_GL", "osmesa")
    return _finding(
        name,
        not error,
        f"{backend}: {error}" if error else f"OpenGL with {backend}",
        fix="apt-get install libosmesa6" if backend == "osmesa" else "unset MUJOCO_GL",
    )


def _media_encoders() -> Iterator[Finding]:
    try:
        import av
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall av"
        yield _finding("media", False, _one_line(error), fix=fix, needed=True)
        return
    for encoder, purpose in ENCODERS.items():
        available = _can_encode(encoder)
        lacking = f"PyAV {av.__version__} was built without it: {purpose}"
        yield _finding(
            f"encoder {encoder}",
            available,
            purpose if available else lacking,
            fix="pip install --force-reinstall --only-binary av av",
            failed="missing",
            needed=encoder == "aac",
        )


def _can_encode(encoder: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        return bool(Codec(encoder, "w").is_encoder)
    except UnknownCodecError:
        return False


def _model(folder: Path | None) -> Finding:
    """Whether a model exists, its hashes match and it can be loaded."""
    name = "embedded model" if folder is None else f"model {folder}"
    fix = "pip install --force-reinstall --no-deps foleyflow" if folder is None else ""
    try:
        from foleyflow import pretrained
        from foleyflow.inference.calibration import read_calibration

        folder = folder or pretrained.EMBEDDED
        if not (folder / "config.json").is_file():
            detail = f"no config.json in {folder}"
            return _finding(name, False, detail, fix=fix, failed="missing", needed=True)
        for load in (pretrained.load_codec, pretrained.load_aligner, pretrained.load_flow):
            load(folder)
        read_calibration(folder)
    except (CheckpointError, OSError, ImportError) as error:
        return _finding(name, False, _one_line(error), fix=fix, needed=True)
    size_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    detail = f"{size_bytes / 1e6:.1f} MB, hashes match, loads"
    return _finding(name, True, detail, fix="", needed=True)


def _encoder_weights(folder: Path | None) -> Iterator[Finding]:
    """Whether weights of published encoders exist and have the published hashes."""
    from foleyflow.encoders.catalogue import (
        SOUND_ENCODERS,
        VIDEO_ENCODERS,
        Encoder,
        default_folder,
        weights_path,
    )
    from foleyflow.weights import file_sha256

    weights = folder or default_folder()
    encoders: list[Encoder[Any]] = [*VIDEO_ENCODERS.values(), *SOUND_ENCODERS.values()]
    for encoder in encoders:
        name = f"weights of {encoder.name}"
        file = encoder.file
        try:
            path = weights_path(encoder, weights)
        except CheckpointError as error:
            damaged = (weights / file.name).is_file()
            yield Finding(
                name=name,
                state="broken" if damaged else "missing",
                detail=_one_line(error) if damaged else f"{encoder.description}; {file.licence}",
                fix=error.hint or "",
            )
            continue
        origin = "the published hash" if file.sha256 else "no hash is published"
        hashed = f"sha256 {file_sha256(path)[:16]}..., {origin}" if folder else "hash not verified"
        detail = f"{path.name}, {path.stat().st_size / 1e6:.0f} MB, {hashed}; {file.licence}"
        yield Finding(name=name, state="ok", detail=detail)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
