"""Which file each judge is, where it is expected, and that it is the one it should be.

Published weights are not part of foleyflow and never fetched on the quiet: where one is missing,
one line says which file belongs where and the hint fetches it. A file with another hash is
refused. The two small judges that ship with foleyflow lie in `assets/judges`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foleyflow.errors import CheckpointError
from foleyflow.judges.networks.imagebind import OTHER_MODALITIES, PUBLISHED_FILE
from foleyflow.weights import CONFIG_NAME, file_sha256, read_without_running

SHIPPED = Path(__file__).parent.parent / "assets" / "judges"
SHIPPED_JUDGES = {"tagger-sim": "tagger", "sync-sim": "sync"}  # judge -> component in SHIPPED


@dataclass(frozen=True, kw_only=True)
class JudgeFile:
    """One published file of weights.

    Attributes:
        judge: whose it is.
        name: of the file.
        url: where its authors publish it.
        sha256: hexadecimal, of the whole file or its first digits (as its authors name them);
            empty where nobody publishes it: then any file is taken, and the report says which.
        inner: key in the file under which the tensors lie; None where they lie open.
        dropped: a beginning of tensor names that is taken away where it is there.
        left_out: beginnings of tensor names, after that, which are not needed.
    """

    judge: str
    name: str
    url: str
    sha256: str
    inner: str | None = None
    dropped: str = ""
    left_out: tuple[str, ...] = ()


FILES: dict[str, JudgeFile] = {
    "vggish": JudgeFile(
        judge="vggish",
        name="vggish-10086976.pth",
        url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
        sha256="10086976",
        left_out=("pproc.",),
    ),
    "panns": JudgeFile(
        judge="panns",
        name="Cnn14_16k_mAP=0.438.pth",
        url="https://zenodo.org/records/3987831/files/Cnn14_16k_mAP=0.438.pth",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        inner="model",
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
        left_out=("text_model.", "text_projection.", "logit_scale_"),
    ),
    "synchformer": JudgeFile(
        judge="synchformer",
        name="synchformer_state_dict.pth",
        url="https://github.com/hkchengrex/MMAudio/releases/download/v0.1/"
        "synchformer_state_dict.pth",
        sha256="8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
        left_out=("vfeat_extractor.patch_embed.",),
    ),
    "diff-foley": JudgeFile(
        judge="diff-foley",
        name="eval_classifier.ckpt",
        url="https://huggingface.co/SimianLuo/Diff-Foley/resolve/"
        "b17ddbe76e6d42f4b4135eeb443b1c1644267e3e/diff_foley_ckpt/eval_classifier.ckpt",
        sha256="",
        inner="state_dict",
        left_out=(
            "first_stage_model.decoder.",
            "first_stage_model.post_quant_conv.",
            "first_stage_model.loss.",
            # Of a noise schedule that evaluation does not use, and the scale that is a constant.
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
        left_out=(
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
        inner="state_dict",
        dropped="module.",
        left_out=("spec_encoder.", "spec_project_head.", "logit_scale"),
    ),
}


def default_folder() -> Path:
    """Where published weights are expected if no folder is named.

    Source: ours.
    """
    return Path.home() / ".cache" / "foleyflow" / "judges"


def shipped_folder(judge: str, folder: Path) -> Path:
    """Where one of our own judges lies: in a folder that is named, else among those that ship.

    Args:
        judge: a key of `SHIPPED_JUDGES`.
        folder: looked at first.

    Raises:
        CheckpointError: it is in neither.

    Source: ours.
    """
    component = SHIPPED_JUDGES[judge]
    for where in (folder, SHIPPED):
        if (where / f"{component}.safetensors").is_file() and (where / CONFIG_NAME).is_file():
            return where
    raise CheckpointError(
        f"the judge {judge!r} is not here: expected {component}.safetensors and {CONFIG_NAME} in "
        f"{folder} or {SHIPPED}",
        hint=f"foleyflow train judge --recipe {component} --data DATA --out runs/judge-{component} "
        f"makes it; then give --judges runs/judge-{component}/model",
    )


def checked_file(folder: Path, file: JudgeFile) -> tuple[Path, str]:
    """A judge's file, if it is there and the right one.

    Args:
        folder: where it is expected.
        file: what is expected.

    Returns:
        its path and the hash of the whole file.

    Raises:
        CheckpointError: it is missing, or another one.

    Source: ours.
    """
    path = folder / file.name
    if not path.is_file():
        raise CheckpointError(
            f"the judge {file.judge!r} is not here: expected its weights in {path}",
            hint=f"mkdir -p '{folder}' && curl -L -o '{path}' '{file.url}'",
        )
    sha256 = file_sha256(path)
    if not sha256.startswith(file.sha256):
        raise CheckpointError(
            f"{path}: its hash is {sha256}, expected {file.sha256}",
            hint=f"it is damaged or another file; fetch it again from {file.url}",
        )
    return path, sha256


def fill_from(module: nn.Module, path: Path, file: JudgeFile) -> nn.Module:
    """Fills a network with the tensors of a published file, strictly.

    Args:
        module: of the file's architecture.
        path: of a file whose hash was checked.
        file: where in it the tensors lie.

    Returns:
        the module, in eval mode, without gradients.

    Raises:
        CheckpointError: not a file of tensors, or tensors that don't fit.

    Source: ours.
    """
    with torch.serialization.safe_globals(_harmless()):
        content = read_without_running(path, hint=f"fetch it again from {file.url}")
    tensors = content.get(file.inner) if file.inner is not None else content
    if not isinstance(tensors, Mapping):
        raise CheckpointError(f"{path}: holds no tensors under {file.inner!r}")
    named = {name.removeprefix(file.dropped): value for name, value in tensors.items()}
    kept: dict[str, Tensor] = {
        name: value for name, value in named.items() if not name.startswith(file.left_out)
    }
    try:
        module.load_state_dict(kept)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit {file.judge}: {lines[:300]}") from error
    return module.eval().requires_grad_(False)


class _StandIn:
    """Takes the place of a class that a file names and nobody needs; it can't do anything."""


def _harmless() -> list[Any]:
    """What published files hold besides tensors.

    PANNs' has arrays of its training's sampler; Lightning's of that age name the class of what
    wrote them.
    """
    import numpy as np

    kinds: list[Any] = [np.ndarray, np.dtype, np.dtypes.Int64DType]
    # The function that arrays are stored by has moved; files name its old place.
    rebuild = np.zeros(0).__reduce__()[0]
    return [
        *kinds,
        rebuild,
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (_StandIn, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
    ]
