"""What is installed, which devices and models can be used, and the line that mends the rest.

It looks and tries, but changes nothing: no download, no installation. What may crash (opening
OpenGL) is tried in a process of its own. A full examination takes about two seconds.
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
# Package as pip knows it -> module to import, or None where the metadata must do (slow imports).
CORE = {
    "torch": "torch",
    "numpy": "numpy",
    "av": "av",
    "soxr": "soxr",
    "scipy": "scipy",
    "safetensors": "safetensors",
    "typer": "typer",
    "matplotlib": "matplotlib",
}
EXTRAS = {
    "encoders": ("timm",),
    "physics": ("mujoco", "soundfile"),
    "web": ("fastapi", "uvicorn"),
    "eval": ("librosa", "mir_eval"),
    "judges": ("transformers",),
    "cluster": ("ray",),
    "finetune": ("peft",),
}
ENCODERS = {
    "aac": "sound in mp4 and mov",
    "libopus": "sound in webm",
    "flac": "simulated sound",
    "libx264": "simulated video",
}
# What timm needs; a build for another torch can't be imported.
TORCHVISION_TRIAL = "import torchvision"
GL_TRIAL = "from foleyflow.simulation.picture.render import open_gl; open_gl()"
TRIAL_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is, "package torch" or "extra physics" for instance.
        state: "ok", "missing" (not there) or "broken" (there, but of no use).
        detail: version, size or what went wrong; one line.
        mend: the line that mends it; empty if there is nothing to mend.
        needed: whether the main job, `foleyflow generate`, can't do without it.
    """

    name: str
    state: State
    detail: str
    mend: str = ""
    needed: bool = False


def examine(*, model: Path | None = None, weights_dir: Path | None = None) -> list[Finding]:
    """Look at everything once.

    Args:
        model: the model folder to check; None for the embedded one.
        weights_dir: where published encoders' weights lie, whose hashes are computed then (a
            minute for all); None for the usual place, whose files are only looked for.

    Returns:
        findings in the order python, packages, extras, processor, devices, precision, media,
        model, encoders' weights.

    Raises:
        ConfigError: the precision that is set is unknown.

    Source: ours.
    """
    # Both run while the rest is looked at.
    drawing = _start_trial(GL_TRIAL, needs="mujoco")
    vision = _start_trial(TORCHVISION_TRIAL, needs="timm")
    findings = [_python(), *_packages()]
    for name, packages in EXTRAS.items():
        findings.append(_extra(name, packages))
        if name == "physics":
            findings.append(_rendering(drawing))
        elif name == "encoders" and vision is not None:
            findings.append(_torchvision(vision))
    findings += [_processor(), _devices(), *_precision()]
    findings += [*_media_encoders(), _model(model), *_encoder_weights(weights_dir)]
    return findings


def is_usable(findings: list[Finding]) -> bool:
    """Whether everything that the main job needs is there.

    Source: ours.
    """
    return all(finding.state == "ok" for finding in findings if finding.needed)


def _python() -> Finding:
    fresh = sys.version_info[:2] >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding(
        name="python",
        state="ok" if fresh else "broken",
        detail=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        mend="" if fresh else f"install Python {oldest} or newer",
        needed=True,
    )


def _packages() -> Iterator[Finding]:
    for package, module in CORE.items():
        version = _version(package)
        state: State = "ok" if version else "missing"
        detail = version or "not installed"
        if version and module:
            try:
                importlib.import_module(module)
            except (ImportError, OSError, RuntimeError) as error:
                state, detail = "broken", f"{version}, can't be imported: {_one_line(error)}"
        command = f"pip install {'--force-reinstall ' if state == 'broken' else ''}{package}"
        yield Finding(
            name=f"package {package}",
            state=state,
            detail=detail,
            mend="" if state == "ok" else command,
            needed=True,
        )


def _extra(extra: str, packages: tuple[str, ...]) -> Finding:
    versions = {package: _version(package) for package in packages}
    absent = [package for package, version in versions.items() if not version]
    return Finding(
        name=f"extra {extra}",
        state="missing" if absent else "ok",
        detail=", ".join(
            f"{package} {version or 'missing'}" for package, version in versions.items()
        ),
        mend=f"pip install 'foleyflow[{extra}]'" if absent else "",
    )


def _processor() -> Finding:
    features = feature_text(processor_features())
    return Finding(name="processor", state="ok", detail=f"{processor_name()}, features: {features}")


def _precision() -> Iterator[Finding]:
    """What the networks compute in on each device, under the current setting."""
    try:
        import torch
    except (ImportError, OSError):
        return  # the finding about devices reports it
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    parts = [f"{precision_on(torch.device(device))} on {device}" for device in devices]
    detail = f"{', '.join(parts)} (setting: {precision_setting()})"
    yield Finding(name="precision", state="ok", detail=detail)


def _devices() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(name="devices", state="broken", detail=_one_line(error), needed=True)
    parts = [f"cpu with {torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    for index in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(index)
        parts.append(f"cuda:{index} {seen.name} with {seen.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        parts.append("no cuda")
    return Finding(name="devices", state="ok", detail=", ".join(parts), needed=True)


def _start_trial(code: str, *, needs: str) -> subprocess.Popen[str] | None:
    """Runs some code in a process of its own, if the package that it needs is there."""
    if not _version(needs):
        return None
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _complaint(trial: subprocess.Popen[str]) -> str:
    """The last line of what went wrong in a trial; empty if nothing did."""
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
    """Whether timm can be imported: it needs a torchvision that was built for this torch."""
    complaint = _complaint(trial)
    return Finding(
        name="torchvision (encoders only)",
        state="broken" if complaint else "ok",
        detail=complaint[:160] or f"{_version('torchvision')}",
        mend="install torch and torchvision from the same place: "
        "https://pytorch.org/get-started/locally"
        if complaint
        else "",
    )


def _rendering(trial: subprocess.Popen[str] | None) -> Finding:
    """Whether simulated clips can be drawn: OpenGL without a screen."""
    name = "rendering (simulation only)"
    if trial is None:
        return Finding(
            name=name,
            state="missing",
            detail="needs mujoco",
            mend="pip install 'foleyflow[physics]'",
        )
    complaint = _complaint(trial)
    backend = os.environ.get("MUJOCO_GL", "osmesa")
    if not complaint:
        return Finding(name=name, state="ok", detail=f"OpenGL by {backend}")
    mend = "apt-get install libosmesa6" if backend == "osmesa" else "unset MUJOCO_GL"
    return Finding(name=name, state="broken", detail=f"{backend}: {complaint}", mend=mend)


def _media_encoders() -> Iterator[Finding]:
    try:
        import av
    except (ImportError, OSError) as error:
        yield Finding(name="media", state="broken", detail=_one_line(error), needed=True)
        return
    for encoder, purpose in ENCODERS.items():
        there = _can_encode(encoder)
        yield Finding(
            name=f"encoder {encoder}",
            state="ok" if there else "missing",
            detail=purpose if there else f"PyAV {av.__version__} was built without it: {purpose}",
            mend="" if there else "pip install --force-reinstall --only-binary av av",
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
    """Whether a model is there, whole, and can be loaded; nothing is computed with it."""
    name = "embedded model" if folder is None else f"model {folder}"
    mend = "pip install --force-reinstall --no-deps foleyflow" if folder is None else ""
    state: State = "ok"
    try:
        from foleyflow import pretrained

        folder = folder or pretrained.EMBEDDED
        if not (folder / "config.json").is_file():
            state, detail = "missing", f"no config.json in {folder}"
        else:
            for load in (pretrained.load_codec, pretrained.load_aligner, pretrained.load_flow):
                load(folder)
            size_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
            detail = f"{size_bytes / 1e6:.1f} MB, hashes match, loads"
    except (CheckpointError, OSError, ImportError) as error:
        state, detail = "broken", _one_line(error)
    return Finding(
        name=name, state=state, detail=detail, mend="" if state == "ok" else mend, needed=True
    )


def _encoder_weights(folder: Path | None) -> Iterator[Finding]:
    """Which published encoders' weights are there, and whether they are the right ones."""
    from foleyflow.encoders.catalogue import (
        SOUND_ENCODERS,
        VIDEO_ENCODERS,
        Encoder,
        default_folder,
        weights_path,
    )
    from foleyflow.weights import file_sha256

    encoders: list[Encoder[Any]] = [*VIDEO_ENCODERS.values(), *SOUND_ENCODERS.values()]
    for encoder in encoders:
        name = f"weights of {encoder.name}"
        file = encoder.file
        try:
            path = weights_path(encoder, folder or default_folder())
        except CheckpointError as error:
            damaged = "its hash is" in str(error)
            yield Finding(
                name=name,
                state="broken" if damaged else "missing",
                detail=_one_line(error) if damaged else f"{encoder.says}; {file.licence}",
                mend=error.hint or "",
            )
            continue
        known = "the published hash" if file.sha256 else "none is published to compare with"
        said = f"sha256 {file_sha256(path)[:16]}..., {known}" if folder else "hash not looked at"
        detail = f"{path.name}, {path.stat().st_size / 1e6:.0f} MB, {said}; {file.licence}"
        yield Finding(name=name, state="ok", detail=detail)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
