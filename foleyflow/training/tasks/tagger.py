"""Trains a judge of sound on simulated clips: the struck material and the kind of scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.features.mel_levels import disturbed
from foleyflow.judges.networks.log_mel import FRAME_RATE_HZ, relative
from foleyflow.judges.networks.tagger import Tagger
from foleyflow.training.task import Batch, Task

VALIDATION_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class TaggerLossConfig:
    """What the tagger is trained on.

    Attributes:
        crop_s: seconds of each training sound.
        smoothing: share of each label that is spread over all classes.
        disturbance: strength of changes that another recording or codec might make.
    """

    crop_s: float = 3.2
    smoothing: float = 0.05
    disturbance: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TaggedLevels:
    """Sounds of a split with their classes.

    Attributes:
        levels: (N, T, M) natural logarithms of magnitudes.
        materials: (N,) int64, index of a material class.
        kinds: (N,) int64, index of a kind of scene.
    """

    levels: NDArray[np.float16]
    materials: NDArray[np.int64]
    kinds: NDArray[np.int64]


class TaggerTask(Task):
    """The tagger as a `Task`; one turn."""

    turns = ("tagger",)

    def __init__(
        self,
        model: Tagger,
        losses: TaggerLossConfig,
        *,
        train: TaggedLevels,
        validation: TaggedLevels,
    ) -> None:
        self.losses = losses
        self.modules = {"tagger": model}
        self._train = train
        self._validation = validation
        self._crop = min(round(losses.crop_s * FRAME_RATE_HZ), train.levels.shape[1])

    def draw(self, rng: np.random.Generator, clips: int) -> Batch:
        """Disturbed crops of random sounds."""
        rows = rng.integers(len(self._train.levels), size=clips)
        starts = rng.integers(self._train.levels.shape[1] - self._crop + 1, size=clips)
        crops = [
            disturbed(
                self._train.levels[row, start : start + self._crop].astype(np.float32),
                rng,
                strength=self.losses.disturbance,
            )
            for row, start in zip(rows, starts, strict=True)
        ]
        return {
            "levels": torch.from_numpy(np.stack(crops)),
            "material": torch.from_numpy(self._train.materials[rows]),
            "kind": torch.from_numpy(self._train.kinds[rows]),
        }

    def loss(self, turn: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of both answers."""
        materials, kinds, _ = self.modules["tagger"](relative(batch["levels"]))
        with torch.autocast(materials.device.type, enabled=False):
            parts = {
                name: functional.cross_entropy(
                    logits.float(), batch[name], label_smoothing=self.losses.smoothing
                )
                for name, logits in (("material", materials), ("kind", kinds))
            }
        total = parts["material"] + parts["kind"]
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def validate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Shares of validation sounds, whole and undisturbed, that are named rightly."""
        model = modules["tagger"]
        device = next(model.parameters()).device
        right: dict[str, list[Tensor]] = {"material": [], "kind": []}
        known = {"material": self._validation.materials, "kind": self._validation.kinds}
        for start in range(0, len(self._validation.levels), VALIDATION_BATCH):
            rows = slice(start, start + VALIDATION_BATCH)
            levels = torch.from_numpy(self._validation.levels[rows].astype(np.float32))
            materials, kinds, _ = model(relative(levels.to(device)))
            for name, logits in (("material", materials), ("kind", kinds)):
                right[name].append(logits.argmax(1).cpu() == torch.from_numpy(known[name][rows]))
        shares = {name: float(torch.cat(hits).float().mean()) for name, hits in right.items()}
        return {f"{name}_accuracy": share for name, share in shares.items()}

    def export(
        self, modules: Mapping[str, nn.Module]
    ) -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
        """The averaged tagger, which knows the names of its classes."""
        model = modules["tagger"]
        return {"tagger": (model, asdict(model.config))}
