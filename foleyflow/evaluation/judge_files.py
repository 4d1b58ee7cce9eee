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
from foleyflow.weights import CONFIG_NAME, file_sha256

SHIPPED = Path(__file__).parent.parent / "assets" / "judges"
SHIPPED_JUDGES = {"tagger-sim": "tagger", "sync-sim": "sync"}  # judge -> component in SHIPPED


@dataclass(frozen=True, kw_only=True)
class JudgeFile:
    """One published file of weights.

    Attributes:
        judge: whose it is.
        name: of the file.
        url: where its authors publish it.
        sha256: hexadecimal, of the whole file or its first digits (as its authors name them).
        inner: key in the file under which the tensors lie; None where they lie open.
        left_out: beginnings of tensor names that are not needed.
    """

    judge: str
    name: str
    url: str
    sha256: str
    inner: str | None = None
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
}
# Judges that metrics name, for which there is no loader yet.
NOT_BUILT = ("clap", "synchformer", "imagebind", "diff-foley")


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
    try:
        with torch.serialization.safe_globals(_harmless()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the damage brings about
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path}: can't be read as tensors alone ({type(error).__name__}: {first})",
            hint=f"fetch it again from {file.url}",
        ) from error
    tensors = content.get(file.inner) if file.inner is not None else content
    if not isinstance(tensors, Mapping):
        raise CheckpointError(f"{path}: holds no tensors under {file.inner!r}")
    kept: dict[str, Tensor] = {
        name: value for name, value in tensors.items() if not name.startswith(file.left_out)
    }
    try:
        module.load_state_dict(kept)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit {file.judge}: {lines[:300]}") from error
    return module.eval().requires_grad_(False)


def _harmless() -> list[Any]:
    """What PANNs' 16 kHz file holds besides tensors: arrays of its training's sampler."""
    import numpy as np

    kinds: list[Any] = [np.ndarray, np.dtype, np.dtypes.Int64DType]
    # The function that arrays are stored by has moved; files name its old place.
    rebuild = np.zeros(0).__reduce__()[0]
    return [*kinds, rebuild, (rebuild, "numpy.core.multiarray._reconstruct")]
