"""Adapters of the networks that take sounds, to the interface of judges."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.judges.interface import LONGEST_PAIR_S, BatchJudge, ClipRule
from foleyflow.judges.networks import log_mel
from foleyflow.judges.networks.log_mel import JudgeLogMel, normalise_to_peak
from foleyflow.judges.networks.tagger import Tagger, joint_logits

ANY_LENGTH = ClipRule()
BATCH_SOUNDS = 32  # of one length, in one batch on a GPU


@dataclass
class AudioJudge(BatchJudge):
    """A published network for sounds; see `interface.Judge`.

    `apply` takes the network and sounds (B, N), and returns embeddings (B, E, D) and, if there are
    classes, logits (B, C).
    """

    name: str
    network: nn.Module
    weights_sha256: str
    _: KW_ONLY
    rate_hz: int
    apply: Callable[[Any, Tensor], tuple[Tensor, Tensor | None]]
    clip: ClipRule = ANY_LENGTH

    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(E, D) embeddings of a (N,) sound."""
        return self._run([samples])[0][0].double().numpy()

    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) logits of a (N,) sound; a ValueError if the network has no classes."""
        logits = self._run([samples])[1]
        if logits is None:
            raise ValueError(f"the judge {self.name!r} has no classes")
        return logits[0].double().numpy()

    def outputs(self, sounds: Sequence[NDArray[np.float32]]) -> list[dict[str, NDArray[Any]]]:
        """See `interface.BatchJudge`: on a GPU, sounds of one length are one batch.

        A CPU gains nothing from batches; there, each sound is computed alone with the same result
        as by `embed` and `logits`.
        """
        most = 1 if device_of(self.network).type == "cpu" else BATCH_SOUNDS
        results: list[dict[str, NDArray[Any]]] = [{} for _ in sounds]
        for indices in _batches([len(sound) for sound in sounds], most):
            with contextlib.suppress(ValueError):
                embeddings, logits = self._run([sounds[index] for index in indices])
                for row, index in enumerate(indices):
                    results[index]["embed"] = embeddings[row].double().numpy()
                    if logits is not None:
                        results[index]["logits"] = logits[row].double().numpy()
        return results

    @torch.no_grad()
    def _run(self, sounds: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor | None]:
        """Embeddings and logits of sounds of one length, on the CPU."""
        batch = torch.stack([as_tensor(sound) for sound in sounds]).to(device_of(self.network))
        embeddings, logits = self.apply(self.network, batch)
        return embeddings.cpu(), None if logits is None else logits.cpu()


class TaggerJudge(BatchJudge):
    """The tagger as a judge; see `interface.MaterialJudge`.

    There is one logit per pair of a material and a kind of scene, and one embedding per second.
    """

    name = "tagger-sim"
    rate_hz = log_mel.RATE_HZ
    clip = ClipRule(longest_s=LONGEST_PAIR_S)

    def __init__(self, network: Tagger, weights_sha256: str) -> None:
        self.weights_sha256 = weights_sha256
        self._network = network
        self._front_end = JudgeLogMel()

    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(E, D) embeddings of a (N,) sound."""
        return self._outputs(samples)["embed"]

    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) logits of a (N,) sound."""
        return self._outputs(samples)["logits"]

    def outputs(self, sounds: Sequence[NDArray[np.float32]]) -> list[dict[str, NDArray[Any]]]:
        """See `interface.BatchJudge`; the small network takes one sound at a time."""
        results: list[dict[str, NDArray[Any]]] = [{} for _ in sounds]
        for sound, result in zip(sounds, results, strict=True):
            with contextlib.suppress(ValueError):
                result |= self._outputs(sound)
        return results

    def _outputs(self, samples: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        materials, kinds, tracks = self._run(samples)
        count = max(1, len(tracks[0]) // round(self._network.frame_rate_hz))
        means = [segment.mean(0) for segment in tracks[0].tensor_split(count)]
        return {
            "embed": torch.stack(means).double().numpy(),
            "logits": joint_logits(materials, kinds)[0].double().numpy(),
        }

    def material(self, samples: NDArray[np.float32]) -> str:
        """The most likely material of a (N,) sound, "nothing" for a silent one."""
        return self._network.config.materials[int(self._run(samples)[0][0].argmax())]

    @torch.no_grad()
    def _run(self, samples: NDArray[np.float32]) -> tuple[Tensor, Tensor, Tensor]:
        if len(samples) < self.rate_hz // 10:
            raise ValueError(f"{len(samples)} samples at {self.rate_hz} Hz, expected 0.1 s")
        device = device_of(self._network)
        front_end = self._front_end.to(device)
        levels, kinds, frames = self._network(
            normalise_to_peak(front_end(as_tensor(samples)[None].to(device)))
        )
        return levels.cpu(), kinds.cpu(), frames.cpu()


def classify(network: Any, sounds: Tensor) -> tuple[Tensor, Tensor]:
    """One embedding and the logits of each sound, from a network that returns both."""
    logits, embeddings = network(sounds)
    return embeddings[:, None], logits


def embed_patches(network: Any, sounds: Tensor) -> tuple[Tensor, None]:
    """One embedding per patch of each sound."""
    patches = torch.stack([network.patches(sound) for sound in sounds])
    return network(patches.flatten(0, 1)).unflatten(0, patches.shape[:2]), None


def embed_each(network: Any, sounds: Tensor) -> tuple[Tensor, None]:
    """One embedding of each sound, from a network that takes one at a time."""
    return torch.stack([network(sound)[None] for sound in sounds]), None


def device_of(network: nn.Module) -> torch.device:
    """The device of a network's parameters."""
    return next(network.parameters()).device


def as_tensor(samples: NDArray[np.float32]) -> Tensor:
    """Samples as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))


def _batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices of sounds of one length, at most that many together."""
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    return [
        indices[start : start + most]
        for indices in by_length.values()
        for start in range(0, len(indices), most)
    ]
