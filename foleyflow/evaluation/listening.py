"""From a folder of weights to judges that metrics can ask.

Pairs each judge's name with its network, its file and its rule of lengths; what the networks are
stands in `listeners`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import CheckpointError, FoleyflowError
from foleyflow.evaluation.judge_files import (
    FILES,
    NOT_BUILT,
    checked_file,
    fill_from,
)
from foleyflow.evaluation.judges import AnyJudge, ClipRule
from foleyflow.listeners import panns, passt, vggish


class SoundJudge:
    """A network that hears sounds, as metrics ask it; see `judges.Judge`."""

    def __init__(
        self,
        name: str,
        *,
        rate_hz: int,
        weights_sha256: str,
        embed: Callable[[Tensor], Tensor],
        logits: Callable[[Tensor], Tensor] | None,
        clip: ClipRule | None = None,
    ) -> None:
        """Takes what the network gives: (N,) sound to (E, D) and, with classes, to (C,)."""
        self.name = name
        self.rate_hz = rate_hz
        self.clip = clip or ClipRule()
        self.weights_sha256 = weights_sha256
        self._embed = embed
        self._logits = logits

    @torch.no_grad()
    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(E, D) embeddings of one (N,) sound."""
        return self._embed(_tensor(samples)).double().numpy()

    @torch.no_grad()
    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) logits of one (N,) sound.

        Raises:
            ValueError: the network has no classes.
        """
        if self._logits is None:
            raise ValueError(f"the judge {self.name!r} has no classes")
        return self._logits(_tensor(samples)).double().numpy()


def vggish_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """VGGish as a judge: one embedding per 0.96 s.

    Args:
        network: a `Vggish`.
        weights_sha256: of its file.

    Source: as av-benchmark uses it.
    """
    return SoundJudge(
        "vggish",
        rate_hz=vggish.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(network.patches(sound)),
        logits=None,
    )


def panns_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """CNN14 as a judge: the whole sound at once.

    Args:
        network: a `Cnn14`.
        weights_sha256: of its file.

    Source: as av-benchmark uses it.
    """
    return SoundJudge(
        "panns",
        rate_hz=panns.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(sound[None])[1],
        logits=lambda sound: network(sound[None])[0][0],
    )


def passt_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """PaSST as a judge: exactly 10 s, cut or filled with zeros.

    Args:
        network: a `Passt`.
        weights_sha256: of its file.

    Source: as av-benchmark uses it.
    """
    return SoundJudge(
        "passt",
        rate_hz=passt.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(sound[None])[1],
        logits=lambda sound: network(sound[None])[0][0],
        clip=ClipRule(longest_s=passt.LONGEST_S, filled=True),
    )


# Name -> (its network, unfilled; the network as a judge).
PUBLISHED: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, str], SoundJudge]]] = {
    "vggish": (vggish.Vggish, vggish_judge),
    "panns": (panns.Cnn14, panns_judge),
    "passt": (passt.Passt, passt_judge),
}


def load_judge(name: str, folder: Path) -> AnyJudge:
    """A judge with its weights.

    Args:
        name: as metrics call it.
        folder: where published weights lie.

    Returns:
        the judge, ready to be asked.

    Raises:
        CheckpointError: its file is missing, damaged or another one; or there is no loader for it.

    Source: ours.
    """
    if name in PUBLISHED:
        build, as_judge = PUBLISHED[name]
        path, sha256 = checked_file(folder, FILES[name])
        return as_judge(fill_from(build(), path, FILES[name]), sha256)
    known = ", ".join(PUBLISHED)
    if name in NOT_BUILT:
        raise CheckpointError(
            f"the judge {name!r} can't be loaded: foleyflow has no loader for it yet",
            hint=f"leave its metrics out; there are loaders for {known}",
        )
    raise CheckpointError(f"no judge {name!r}", hint=f"there are {known}")


def load_judges(
    names: Iterable[str], folder: Path
) -> tuple[dict[str, AnyJudge], dict[str, FoleyflowError]]:
    """As many of some judges as can be had.

    Args:
        names: as metrics call them.
        folder: where published weights lie.

    Returns:
        name -> judge, and name -> why it can't be had.

    Source: ours.
    """
    judges: dict[str, AnyJudge] = {}
    missing: dict[str, FoleyflowError] = {}
    for name in dict.fromkeys(names):
        try:
            judges[name] = load_judge(name, folder)
        except FoleyflowError as error:
            missing[name] = error
    return judges, missing


def _tensor(samples: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
