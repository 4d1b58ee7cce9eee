"""Weight files of the judges: names, hashes, download hints and loading.

Published weights are not part of foleyflow and are never downloaded automatically: the error for
a missing file has a hint with the download command. A file with another hash is refused. The two
small judges in `assets/judges` are part of foleyflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from foleyflow.errors import CheckpointError
from foleyflow.judges.networks.imagebind import OTHER_MODALITIES, PUBLISHED_FILE
from foleyflow.weights import CONFIG_NAME, file_sha256, read_untrusted

SHIPPED = Path(__file__).parent.parent / "assets" / "judges"
SHIPPED_JUDGES = {"tagger-sim": "tagger", "sync-sim": "sync"}  # judge -> component in SHIPPED


@dataclass(frozen=True, kw_only=True)
class JudgeFile:
    """A published file of weights."""

    judge: str  # name of the judge that needs it
    name: str  # of the file
    url: str  # the authors' download address
    # Hexadecimal, complete or its first digits, as the authors publish it; "" accepts any file
    sha256: str
    key: str | None = None  # of the tensors in the file; None if they are at the top level
    prefix: str = ""  # removed from tensor names
    skipped: tuple[str, ...] = ()  # prefixes, without `prefix`, of tensors that are not needed


# In the order in which the networks of a judge are passed to it
FILES: dict[str, JudgeFile] = {
    "vggish": JudgeFile(
        judge="vggish",
        name="vggish-10086976.pth",
        url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
        sha256="10086976",
        skipped=("pproc.",),
    ),
    "panns": JudgeFile(
        judge="panns",
        name="Cnn14_16k_mAP=0.438.pth",
        url="https://zenodo.org/records/3987831/files/Cnn14_16k_mAP=0.438.pth",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        key="model",
    ),
    "passt": JudgeFile(
        judge="passt",
        name="passt-s-f128-p16-s10-ap.476-swa.pt",
        url="https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/"
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        sha256="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
    ),
    "clap": JudgeFile(
        judge="clap",
        name="larger_clap_general.bin",
        url="https://huggingface.co/laion/larger_clap_general/resolve/"
        "ada0c23a36c4e8582805bb38fec3905903f18b41/pytorch_model.bin",
        sha256="314eb00cce6ad68d25237b8446b659ccdb136ed4672c1bca470f142f72455026",
        skipped=("text_model.", "text_projection.", "logit_scale_"),
    ),
    "synchformer": JudgeFile(
        judge="synchformer",
        name="synchformer_state_dict.pth",
        url="https://github.com/hkchengrex/MMAudio/releases/download/v0.1/"
        "synchformer_state_dict.pth",
        sha256="8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
        skipped=("vfeat_extractor.patch_embed.",),
    ),
    "diff-foley": JudgeFile(
        judge="diff-foley",
        name="eval_classifier.ckpt",
        url="https://huggingface.co/SimianLuo/Diff-Foley/resolve/"
        "b17ddbe76e6d42f4b4135eeb443b1c1644267e3e/diff_foley_ckpt/eval_classifier.ckpt",
        sha256="",
        key="state_dict",
        skipped=(
            "first_stage_model.decoder.",
            "first_stage_model.post_quant_conv.",
            "first_stage_model.loss.",
            # The noise schedule, which evaluation does not use, and the scale, which is a constant
            "alphas_cumprod",
            "betas",
            "log_one_minus_alphas_cumprod",
            "posterior_",
            "scale_factor",
            "sqrt_",
        ),
    ),
    "imagebind": JudgeFile(
        judge="imagebind",
        name=PUBLISHED_FILE.name,
        url=PUBLISHED_FILE.url,
        sha256=PUBLISHED_FILE.sha256 or "",
        skipped=(
            "modality_postprocessors.",
            *(
                f"modality_{kind}.{name}."
                for kind in ("preprocessors", "trunks", "heads")
                for name in OTHER_MODALITIES
            ),
        ),
    ),
    "cavp": JudgeFile(
        judge="diff-foley",
        name="cavp_epoch66.ckpt",
        url="https://huggingface.co/SimianLuo/Diff-Foley/resolve/"
        "b17ddbe76e6d42f4b4135eeb443b1c1644267e3e/diff_foley_ckpt/cavp_epoch66.ckpt",
        sha256="3472c2217a9481f530a96e32611c9e4611766f10b7f0d185a1ce35be7b7f9c80",
        key="state_dict",
        prefix="module.",
        skipped=("spec_encoder.", "spec_project_head.", "logit_scale"),
    ),
}


def default_folder() -> Path:
    """The default folder of published judge weights."""
    return Path.home() / ".cache" / "foleyflow" / "judges"


def shipped_folder(judge: str, folder: Path) -> Path:
    """The folder of a judge of `SHIPPED_JUDGES`: `folder` if it contains the judge, else `SHIPPED`.

    Raises:
        CheckpointError: neither contains it.
    """
    component = SHIPPED_JUDGES[judge]
    for candidate in (folder, SHIPPED):
        files = (candidate / f"{component}.safetensors", candidate / CONFIG_NAME)
        if all(file.is_file() for file in files):
            return candidate
    raise CheckpointError(
        f"judge {judge!r}: weights not found, expected {component}.safetensors and {CONFIG_NAME} "
        f"in {folder} or {SHIPPED}",
        hint=f"train it with foleyflow train judge --recipe {component} --data DATA --out "
        f"runs/judge-{component}, then add --judges runs/judge-{component}/model",
    )


def verify_file(folder: Path, file: JudgeFile) -> tuple[Path, str]:
    """The path of a judge's file in a folder, and the complete hash of the file.

    Raises:
        CheckpointError: it is missing, or its hash is not the published one.
    """
    path = folder / file.name
    if not path.is_file():
        raise CheckpointError(
            f"judge {file.judge!r}: weights not found, expected {path}",
            hint=f"mkdir -p '{folder}' && curl -L -o '{path}' '{file.url}'",
        )
    sha256 = file_sha256(path)
    if not sha256.startswith(file.sha256):
        raise CheckpointError(
            f"{path}: its hash is {sha256}, expected {file.sha256}",
            hint=f"it is damaged or another file; download it again from {file.url}",
        )
    return path, sha256


def load_published(module: nn.Module, path: Path, file: JudgeFile) -> nn.Module:
    """Load the tensors of a published file into a network, strictly, and freeze the network.

    Raises:
        CheckpointError: the file contains no tensors, or they don't fit.
    """
    with torch.serialization.safe_globals(_allowed_globals()):
        content = read_untrusted(path, hint=f"download it again from {file.url}")
    tensors = content if file.key is None else content.get(file.key)
    if not isinstance(tensors, Mapping):
        raise CheckpointError(f"{path}: expected tensors under the key {file.key!r}, found none")
    named = {name.removeprefix(file.prefix): value for name, value in tensors.items()}
    needed = {name: value for name, value in named.items() if not name.startswith(file.skipped)}
    try:
        module.load_state_dict(needed)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit {file.judge}: {lines[:300]}") from error
    return module.eval().requires_grad_(False)


class _Placeholder:
    """Replaces a class that a published file names and that is not needed."""


def _allowed_globals() -> list[Any]:
    """Harmless classes and functions that published files name in addition to tensors.

    The file of PANNs contains arrays of the training sampler; files of old Lightning versions name
    the class of the callback that wrote them.
    """
    # The function that restores arrays has moved; files name its old module
    reconstruct = np.zeros(0).__reduce__()[0]
    return [
        np.ndarray,
        np.dtype,
        np.dtypes.Int64DType,
        reconstruct,
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (_Placeholder, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
    ]
